//! Certificates and trust roots in files, whole and broken.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use rcgen::date_time_ymd;
use tempfile::TempDir;

use super::*;

fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

/// The names of the certificate chosen for each domain, and the problems with the directory's path cut off.
fn load(dir: &Path, domains: &[&str]) -> (Vec<String>, Vec<String>) {
    let domains: Vec<Domain> = domains.iter().map(|name| domain(name)).collect();
    let (certificates, problems) = Certificates::from_directory(dir, &domains);
    let prefix = format!("{}/", dir.display());
    (
        domains
            .iter()
            .filter_map(|domain| {
                let own = certificates.get(domain)?;
                Some(format!(
                    "{domain}: {}",
                    own.file().strip_prefix(dir).unwrap().display()
                ))
            })
            .collect(),
        problems
            .iter()
            .map(|problem| problem.to_string().replace(&prefix, ""))
            .collect(),
    )
}

#[test]
fn both_layouts_are_found() {
    let authority = Authority::new("An Authority");
    let verona = authority.issue(&["verona.lit"], |_| {});
    let books = authority.issue(&["xn--bcher-kva.lit"], |_| {});
    let rooms = authority.issue(&["rooms.lit"], |_| {});
    let chain = pem("CERTIFICATE", &books.chain[0]);
    let dir = directory(&[
        ("verona.lit.pem", &verona.pem()),
        ("bücher.lit/fullchain.pem", &chain),
        ("bücher.lit/privkey.pem", &books.key.serialize_pem()),
        ("rooms.lit.pem", &rooms.pem()),
        ("unrelated.pem", "no certificate at all"),
        ("README", "not looked at"),
    ]);
    assert_eq!(
        load(dir.path(), &["verona.lit", "bücher.lit"]),
        (
            vec![
                "verona.lit: verona.lit.pem".to_owned(),
                "bücher.lit: bücher.lit/fullchain.pem".to_owned(),
            ],
            vec![]
        )
    );
}

#[test]
fn a_certificate_of_another_domain_serves_if_it_covers() {
    let authority = Authority::new("An Authority");
    let parent = authority.issue(&["verona.lit", "rooms.verona.lit"], |_| {});
    let wildcard = authority.issue(&["*.capulet.lit"], |params| {
        params.not_after = date_time_ymd(3000, 1, 1)
    });
    let shorter = authority.issue(&["*.capulet.lit"], |params| {
        params.not_after = date_time_ymd(2999, 1, 1)
    });
    let wrong = authority.issue(&["elsewhere.lit"], |_| {});
    let dir = directory(&[
        ("verona.lit.pem", &parent.pem()),
        ("all.pem", &shorter.pem()),
        ("best.pem", &wildcard.pem()),
        ("irc.capulet.lit.pem", &wrong.pem()),
        ("broken.capulet.lit.pem", "broken"),
    ]);
    let (found, problems) = load(
        dir.path(),
        &[
            "rooms.verona.lit",
            "mix.capulet.lit",
            "irc.capulet.lit",
            "broken.capulet.lit",
        ],
    );
    assert_eq!(
        found,
        [
            "rooms.verona.lit: verona.lit.pem",
            "mix.capulet.lit: best.pem",
            "irc.capulet.lit: best.pem",
            "broken.capulet.lit: best.pem",
        ]
    );
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("broken.capulet.lit.pem: holds no certificate"),
        "{problems:?}"
    );
}

#[test]
fn problems_name_the_file_and_the_repair() {
    let authority = Authority::new("An Authority");
    let good = authority.issue(&["a.lit"], |_| {});
    let expired = authority.issue(&["a.lit"], |params| {
        params.not_after = date_time_ymd(2020, 1, 2)
    });
    let early = authority.issue(&["a.lit"], |params| {
        params.not_before = date_time_ymd(2999, 1, 2)
    });
    let nameless = authority.issue(&[], |_| {});
    let wrong = authority.issue(&["b.lit", "c.lit"], |_| {});
    let client = authority.issue(&["a.lit"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let mut critical =
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    critical.set_criticality(true);
    let odd = authority.issue(&["a.lit"], |params| {
        params.custom_extensions = vec![critical]
    });
    let certificate = pem("CERTIFICATE", &good.chain[0]);
    let key = good.key.serialize_pem();
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    let encrypted = pem("ENCRYPTED PRIVATE KEY", &[0x30, 0]);
    for (files, fatal, expected) in [
        (
            vec![],
            true,
            "a.lit.pem: there is no certificate for a.lit; put its chain and key into this file",
        ),
        (
            vec![("a.lit.pem", "")],
            true,
            "a.lit.pem: holds no certificate for a.lit",
        ),
        (
            vec![("a.lit.pem", &certificate[..])],
            true,
            "a.lit.pem: holds no private key for a.lit",
        ),
        (
            vec![("a.lit.pem", &format!("{certificate}{encrypted}"))],
            true,
            "a.lit.pem: holds no private key for a.lit; add the key that belongs to the certificate, not encrypted",
        ),
        (
            vec![("a.lit/fullchain.pem", &certificate)],
            true,
            "a.lit/privkey.pem: holds no private key",
        ),
        (
            vec![
                ("a.lit/fullchain.pem", &certificate),
                ("a.lit/privkey.pem", &other_key),
            ],
            true,
            "a.lit/privkey.pem: the private key does not match its certificate",
        ),
        (
            vec![("a.lit.pem", &format!("{other_key}{certificate}"))],
            true,
            "a.lit.pem: the private key does not match its certificate for a.lit; the server's own certificate must",
        ),
        (
            vec![(
                "a.lit.pem",
                &format!("{key}{}", pem("CERTIFICATE", b"\x30\x03abc")),
            )],
            true,
            "a.lit.pem: damaged: its certificate is no X.509",
        ),
        (
            vec![("a.lit.pem", &certificate.replace("-----END", "----END"))],
            true,
            "a.lit.pem: damaged: the line \"-----END CERTIFICATE-----\" is missing",
        ),
        (
            vec![(
                "a.lit.pem",
                &format!("{certificate}{}", pem("PRIVATE KEY", b"\x30\x03abc")),
            )],
            true,
            "a.lit.pem: the private key for a.lit cannot be used",
        ),
        (
            vec![("a.lit.pem/x", "")],
            true,
            "a.lit.pem: cannot be read for a.lit: ",
        ),
        (
            vec![("a.lit.pem", &odd.pem())],
            true,
            "a.lit.pem: the certificate for a.lit cannot be used",
        ),
        (
            vec![("a.lit.pem", &expired.pem())],
            false,
            "a.lit.pem: the certificate for a.lit expired on 2020-01-02; renew it",
        ),
        (
            vec![("a.lit.pem", &early.pem())],
            false,
            "a.lit.pem: the certificate for a.lit is not valid before 2999-01-02",
        ),
        (
            vec![("a.lit.pem", &wrong.pem())],
            false,
            "a.lit.pem: the certificate is for b.lit, c.lit, it does not cover a.lit",
        ),
        (
            vec![("a.lit.pem", &nameless.pem())],
            false,
            "a.lit.pem: the certificate names no domain (subjectAltName)",
        ),
        (
            vec![("a.lit.pem", &client.pem())],
            false,
            "a.lit.pem: the certificate for a.lit is not for server authentication (extendedKeyUsage)",
        ),
    ] {
        let dir = directory(&files);
        let (certificates, problems) = Certificates::from_directory(dir.path(), &[domain("a.lit")]);
        assert_eq!(problems.len(), 1, "{expected}: {problems:?}");
        let text = problems[0]
            .to_string()
            .replace(&format!("{}/", dir.path().display()), "");
        assert!(text.starts_with(expected), "{text}\nexpected {expected}");
        assert_eq!(problems[0].is_fatal(), fatal, "{text}");
        // What is not fatal is used for want of a better one.
        assert_eq!(certificates.is_empty(), fatal, "{text}");
    }
    let (_, problems) =
        Certificates::from_directory(Path::new("/no/such/directory"), &[domain("a.lit")]);
    assert!(
        problems[0]
            .to_string()
            .starts_with("/no/such/directory/a.lit.pem: cannot be read"),
        "{problems:?}"
    );
}

#[test]
fn certificates_in_memory_are_kept_by_domain() {
    let authority = Authority::new("An Authority");
    let issued = authority.issue(&["verona.lit"], |params| {
        params.not_after = date_time_ymd(2020, 1, 2)
    });
    let certificates = Certificates::from_pem(vec![(domain("verona.lit"), issued.pem())]).unwrap();
    let own = certificates.get(&domain("VERONA.lit")).unwrap();
    assert!(own.covers(&domain("verona.lit")));
    assert!(own.not_after() < SystemTime::now());
    assert!(certificates.get(&domain("capulet.lit")).is_none());
    assert!(Arc::ptr_eq(certificates.first().unwrap(), own));
    assert_eq!(certificates.iter().count(), 1);
    let problem = Certificates::from_pem(vec![(domain("verona.lit"), String::new())]).unwrap_err();
    assert_eq!(problem.kind, CertificateProblemKind::NoCertificate);
}

#[test]
fn trust_is_what_the_files_say() {
    //= TLS-33
    let (one, two) = (Authority::new("One"), Authority::new("Two"));
    let dir = directory(&[
        (
            "both.pem",
            &format!("# two of them\n{}{}", one.0.pem(), two.0.pem()),
        ),
        ("one.pem", &one.0.pem()),
        ("key.pem", &one.0.key().serialize_pem()),
        ("damaged.pem", &pem("CERTIFICATE", b"\x30\x03abc")),
        ("cut.pem", &one.0.pem().replace("-----END", "")),
    ]);
    let path = |name: &str| dir.path().join(name);
    assert_eq!(TrustRoots::load(false, &[]).unwrap().len(), 0);
    assert_eq!(
        TrustRoots::load(false, &[path("one.pem")]).unwrap().len(),
        1
    );
    assert_eq!(
        TrustRoots::load(false, &[path("one.pem"), path("both.pem")])
            .unwrap()
            .len(),
        3
    );
    for (name, expected) in [
        ("missing.pem", "it cannot be read: No such file"),
        ("key.pem", "there is no certificate in it"),
        ("damaged.pem", "certificate 1 cannot be a root"),
        (
            "cut.pem",
            "certificate 1 is damaged: the line \"-----END CERTIFICATE-----\" is missing",
        ),
    ] {
        let error = TrustRoots::load(false, &[path(name)])
            .unwrap_err()
            .to_string();
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
}

#[test]
fn the_systems_authorities_are_there_or_missed() {
    match TrustRoots::load(true, &[]) {
        Ok(trust) => assert!(!trust.is_empty()),
        Err(error) => assert!(error.to_string().contains("ca-certificates"), "{error}"),
    }
}
