//! Our certificates in the directories of the usual tools, and how they are replaced there.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::date_time_ymd;
use tempfile::TempDir;

use super::*;

/// A directory, the store over it, and what is shown.
struct World {
    dir: TempDir,
    authority: Authority,
    store: CertificateStore,
    shown: Certificates,
    now: SystemTime,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        Self {
            store: CertificateStore::new(vec![dir.path().to_owned()]),
            dir,
            authority: Authority::new("An Authority"),
            shown: Certificates::default(),
            now: SystemTime::now(),
        }
    }

    fn issue(&self, names: &[&str], year: i32) -> Issued {
        self.authority
            .issue(names, |params| params.not_after = date_time_ymd(year, 1, 1))
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        self.age(&path, 60);
    }

    /// As if it had been written so long ago. The other time, of the last change, cannot be set: looks are in the future.
    fn age(&self, path: &Path, seconds: u64) {
        let at = self.now - Duration::from_secs(seconds);
        File::options()
            .append(true)
            .open(path)
            .unwrap()
            .set_modified(at)
            .unwrap();
    }

    fn write_pair(&self, chain: &str, key: &str, issued: &Issued) {
        self.write(chain, &chain_of(issued));
        self.write(key, &issued.key.serialize_pem());
    }

    /// Looks when everything has come to rest, and takes what is chosen.
    fn look(&mut self, domains: &[&str]) -> Vec<String> {
        self.look_with(domains, Patience::UntilSettled, Duration::from_secs(10))
            .1
    }

    fn look_with(
        &mut self,
        domains: &[&str],
        patience: Patience,
        later: Duration,
    ) -> (bool, Vec<String>) {
        let domains: Vec<Domain> = domains.iter().map(|name| domain(name)).collect();
        let changed = self.store.look(patience, self.now + later);
        let (chosen, problems) = self.store.choose(&domains, &self.shown, self.now);
        self.shown = chosen;
        let prefix = format!("{}/", self.dir.path().display());
        let said = problems
            .iter()
            .map(|problem| problem.to_string().replace(&prefix, ""));
        (changed, said.collect())
    }

    fn file(&self, name: &str) -> String {
        match self.shown.get(&domain(name)) {
            Some(own) => own
                .file()
                .strip_prefix(self.dir.path())
                .unwrap()
                .display()
                .to_string(),
            None => "nothing".to_owned(),
        }
    }

    fn shows(&self, name: &str, issued: &Issued) -> bool {
        self.shown
            .get(&domain(name))
            .is_some_and(|own| own.key().cert == issued.chain)
    }
}

fn chain_of(issued: &Issued) -> String {
    issued
        .chain
        .iter()
        .map(|certificate| pem("CERTIFICATE", certificate))
        .collect()
}

#[test]
fn the_directories_of_the_usual_tools_are_found() {
    let mut world = World::new();
    for (name, chain, key) in [
        (
            "certbot.lit",
            "certbot.lit/fullchain.pem",
            "certbot.lit/privkey.pem",
        ),
        ("lego.lit", "lego.lit.crt", "lego.lit.key"),
        (
            "acme.lit",
            "acme.lit/fullchain.cer",
            "acme.lit/acme.lit.key",
        ),
        (
            "elliptic.lit",
            "elliptic.lit_ecc/fullchain.cer",
            "elliptic.lit_ecc/elliptic.lit.key",
        ),
        (
            "caddy.lit",
            "acme-v02.api.letsencrypt.org-directory/caddy.lit/caddy.lit.crt",
            "acme-v02.api.letsencrypt.org-directory/caddy.lit/caddy.lit.key",
        ),
        (
            "issuer.lit",
            "issuer.lit/issuer.lit.crt",
            "issuer.lit/issuer.lit.key",
        ),
        ("secret.lit", "secret.lit/tls.crt", "secret.lit/tls.key"),
    ] {
        world.write_pair(chain, key, &world.issue(&[name], 3000));
        assert_eq!(world.look(&[name]), [""; 0], "{name}");
        assert_eq!(world.file(name), chain);
    }
    // What these tools put beside it is not in the way.
    world.write("lego.lit.issuer.crt", "no key for this one");
    world.write("lego.lit.json", "{}");
    world.write("acme.lit/acme.lit.cer", "the certificate alone");
    world.write("README", "not looked at");
    assert_eq!(world.look(&["lego.lit", "acme.lit"]), [""; 0]);
}

#[test]
fn the_wildcards_of_the_usual_tools_are_found() {
    for (chain, key) in [
        ("_.example.lit.crt", "_.example.lit.key"),
        (
            "*.example.lit_ecc/fullchain.cer",
            "*.example.lit_ecc/*.example.lit.key",
        ),
        (
            "local/wildcard_.example.lit/wildcard_.example.lit.crt",
            "local/wildcard_.example.lit/wildcard_.example.lit.key",
        ),
    ] {
        let mut world = World::new();
        world.write_pair(chain, key, &world.issue(&["*.example.lit"], 3000));
        assert_eq!(world.look(&["rooms.example.lit"]), [""; 0]);
        assert_eq!(world.file("rooms.example.lit"), chain);
        let said = world.look(&["example.lit"]);
        assert!(
            said[0].contains("there is no certificate for example.lit"),
            "{said:?}"
        );
    }
}

#[test]
fn of_several_the_usable_one_that_lasts_longest_is_shown() {
    let mut world = World::new();
    world.write_pair(
        "a.lit/fullchain.pem",
        "a.lit/privkey.pem",
        &world.issue(&["a.lit"], 2999),
    );
    world.write_pair("a.lit.crt", "a.lit.key", &world.issue(&["a.lit"], 3000));
    world.write_pair(
        "local/a.lit/a.lit.crt",
        "local/a.lit/a.lit.key",
        &world.issue(&["a.lit"], 2020),
    );
    world.write_pair(
        "a.lit_ecc/fullchain.cer",
        "a.lit_ecc/a.lit.key",
        &world.issue(&["b.lit"], 3001),
    );
    assert_eq!(world.look(&["a.lit"]), [""; 0]);
    assert_eq!(world.file("a.lit"), "a.lit.crt");
    // One that has expired is no better for bearing the name.
    let mut world = World::new();
    world.write_pair("a.lit.crt", "a.lit.key", &world.issue(&["a.lit"], 2020));
    world.write("other.pem", &world.issue(&["a.lit", "b.lit"], 3000).pem());
    assert_eq!(world.look(&["a.lit", "b.lit"]), [""; 0]);
    assert_eq!(
        (world.file("a.lit"), world.file("b.lit")),
        ("other.pem".to_owned(), "other.pem".to_owned())
    );
}

#[test]
fn several_directories_are_one() {
    let (mut world, other) = (World::new(), World::new());
    let directories = vec![world.dir.path().to_owned(), other.dir.path().to_owned()];
    world.store = CertificateStore::new(directories);
    world.write("a.lit.pem", &world.issue(&["a.lit"], 3000).pem());
    let there = world.issue(&["b.lit"], 3000);
    other.write("b.lit.pem", &there.pem());
    assert_eq!(world.look(&["a.lit", "b.lit"]), [""; 0]);
    assert!(world.shows("b.lit", &there));
}

/// Each way of replacing a certificate that the tools have, and every state on the way.
#[test]
fn what_is_half_written_is_not_shown() {
    let mut world = World::new();
    let (old, new) = (world.issue(&["a.lit"], 2998), world.issue(&["a.lit"], 2999));
    let (chain, key) = ("a.lit/fullchain.pem", "a.lit/privkey.pem");
    world.write_pair(chain, key, &old);
    assert_eq!(world.look(&["a.lit"]), [""; 0]);
    let whole = chain_of(&new);
    let states: [(&str, &str, &str); 6] = [
        (chain, "", "a.lit/fullchain.pem: holds no certificate"),
        (
            chain,
            &whole[..300],
            "a.lit/fullchain.pem: damaged: the line",
        ),
        (
            chain,
            &whole,
            "a.lit/privkey.pem: the private key does not match",
        ),
        (key, "", "a.lit/privkey.pem: holds no private key"),
        (
            key,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "a.lit/privkey.pem: the private key for a.lit cannot be used",
        ),
        (
            key,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n",
            "a.lit/privkey.pem: damaged",
        ),
    ];
    for (file, text, expected) in states {
        world.write(file, text);
        for _ in 0..2 {
            let said = world.look(&["a.lit"]);
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with(expected), "{said:?}");
            assert!(world.shows("a.lit", &old), "{expected}");
        }
    }
    fs::remove_file(world.dir.path().join(key)).unwrap();
    assert!(world.look(&["a.lit"])[0].starts_with("a.lit/privkey.pem: holds no private key"));
    fs::remove_dir_all(world.dir.path().join("a.lit")).unwrap();
    assert!(world.look(&["a.lit"])[0].contains("there is no certificate for a.lit"));
    assert!(world.shows("a.lit", &old));
    world.write_pair(chain, key, &new);
    assert_eq!(world.look(&["a.lit"]), [""; 0]);
    assert!(world.shows("a.lit", &new));
}

#[test]
fn what_serves_is_not_given_up_for_something_worse() {
    let mut world = World::new();
    let good = world.issue(&["a.lit"], 2998);
    world.write("a.lit.pem", &good.pem());
    world.look(&["a.lit"]);
    let client = world.authority.issue(&["a.lit"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let early = world.authority.issue(&["a.lit"], |params| {
        params.not_before = date_time_ymd(2999, 1, 1)
    });
    for (worse, expected) in [
        (world.issue(&["a.lit"], 2020), "expired on 2020-01-01"),
        (world.issue(&["b.lit"], 3000), "does not cover a.lit"),
        (client, "not for server authentication"),
        (early, "not valid before 2999-01-01"),
    ] {
        world.write("a.lit.pem", &worse.pem());
        let said = world.look(&["a.lit"]);
        assert!(said[0].contains(expected), "{said:?}");
        assert!(world.shows("a.lit", &good), "{expected}");
    }
    // One that ends earlier is no worse: its key may have been replaced because the other leaked.
    let shorter = world.issue(&["a.lit"], 2997);
    world.write("a.lit.pem", &shorter.pem());
    assert_eq!(world.look(&["a.lit"]), [""; 0]);
    assert!(world.shows("a.lit", &shorter));
    // What has expired itself gives way to anything that is valid, and stays for want of it.
    world.now += Duration::from_secs(1000 * 366 * 24 * 60 * 60);
    let said = world.look(&["a.lit"]);
    assert!(said[0].contains("expired on 2997-01-01"), "{said:?}");
    world.write("a.lit.pem", "");
    let said = world.look(&["a.lit"]);
    assert!(
        said.iter()
            .any(|line| line.contains("holds no certificate")),
        "{said:?}"
    );
    assert!(world.shows("a.lit", &shorter));
}

/// A file of another name that is better for a moment is not shown for a moment.
#[test]
fn a_file_that_is_being_written_makes_no_other_one_serve() {
    let mut world = World::new();
    let wildcard = world.issue(&["*.a.lit"], 2998);
    world.write("best.pem", &wildcard.pem());
    world.write("second.pem", &world.issue(&["*.a.lit"], 2997).pem());
    world.look(&["rooms.a.lit"]);
    world.write("best.pem", &wildcard.pem()[..100]);
    assert!(world.look(&["rooms.a.lit"])[0].starts_with("best.pem: "));
    assert_eq!(world.file("rooms.a.lit"), "best.pem");
    assert!(world.shows("rooms.a.lit", &wildcard));
}

#[test]
fn a_link_that_leads_elsewhere_is_a_change() {
    let mut world = World::new();
    let (old, new) = (world.issue(&["a.lit"], 2998), world.issue(&["a.lit"], 2999));
    // Certbot replaces the link of each file, Kubernetes that of the directory.
    world.write_pair("..1/fullchain.pem", "..1/privkey.pem", &old);
    world.write_pair("..2/fullchain.pem", "..2/privkey.pem", &new);
    let at = |name: &str| world.dir.path().join(name);
    symlink("..1", at("..data")).unwrap();
    fs::create_dir(at("a.lit")).unwrap();
    for file in ["fullchain.pem", "privkey.pem"] {
        symlink(format!("../..data/{file}"), at("a.lit").join(file)).unwrap();
    }
    assert_eq!(world.look(&["a.lit"]), [""; 0]);
    assert!(world.shows("a.lit", &old));
    let (data, temporary) = (
        world.dir.path().join("..data"),
        world.dir.path().join("..tmp"),
    );
    symlink("..2", &temporary).unwrap();
    fs::rename(&temporary, &data).unwrap();
    assert_eq!(world.look(&["a.lit"]), [""; 0]);
    assert!(world.shows("a.lit", &new));
    // The time of a file that is put back need not be new.
    symlink("..1", &temporary).unwrap();
    fs::rename(&temporary, &data).unwrap();
    assert_eq!(world.look(&["a.lit"]), [""; 0]);
    assert!(world.shows("a.lit", &old));
    fs::remove_file(&data).unwrap();
    let said = world.look(&["a.lit"]);
    assert!(
        said[0].starts_with("a.lit/fullchain.pem: cannot be read for a.lit: No such file"),
        "{said:?}"
    );
    assert!(world.shows("a.lit", &old));
}

#[test]
fn the_writer_of_a_file_is_waited_for_unless_somebody_vouches_for_it() {
    let mut world = World::new();
    let (old, new) = (world.issue(&["a.lit"], 2998), world.issue(&["a.lit"], 2999));
    world.write("a.lit.pem", &old.pem());
    assert!(
        world
            .look_with(&["a.lit"], Patience::None, Duration::ZERO)
            .0
    );
    // What was read just after it was written is read once more.
    assert!(
        world
            .look_with(&["a.lit"], Patience::UntilSettled, Duration::from_secs(10))
            .0
    );
    assert!(
        !world
            .look_with(&["a.lit"], Patience::UntilSettled, Duration::from_secs(20))
            .0
    );
    world.write("a.lit.pem", &new.pem());
    world.now = SystemTime::now();
    assert!(
        !world
            .look_with(&["a.lit"], Patience::UntilSettled, Duration::ZERO)
            .0
    );
    assert!(world.shows("a.lit", &old));
    assert!(
        world
            .look_with(&["a.lit"], Patience::None, Duration::ZERO)
            .0
    );
    assert!(world.shows("a.lit", &new));
    // A first certificate is waited for as well.
    world.write("b.lit.pem", &world.issue(&["b.lit"], 3000).pem());
    world.now = SystemTime::now();
    assert!(
        !world
            .look_with(&["b.lit"], Patience::UntilSettled, Duration::ZERO)
            .0
    );
    assert!(
        world
            .look_with(&["b.lit"], Patience::UntilSettled, Duration::from_secs(10))
            .0
    );
    assert_eq!(world.file("b.lit"), "b.lit.pem");
}

#[test]
fn only_what_changed_is_read_again() {
    let mut world = World::new();
    for name in ["a.lit", "b.lit"] {
        world.write(&format!("{name}.pem"), &world.issue(&[name], 3000).pem());
    }
    world.look(&["a.lit", "b.lit"]);
    let before = world.shown.clone();
    world.write("a.lit.pem", &world.issue(&["a.lit"], 3001).pem());
    world.look(&["a.lit", "b.lit"]);
    assert_eq!(world.shown.differing_from(&before), 1);
    let [then, now] =
        [&before, &world.shown].map(|shown| Arc::clone(shown.get(&domain("b.lit")).unwrap()));
    assert!(Arc::ptr_eq(&then, &now));
    // The same certificate in a file that was written anew is no other one.
    let before = world.shown.clone();
    let text = fs::read_to_string(world.dir.path().join("a.lit.pem")).unwrap();
    fs::remove_file(world.dir.path().join("a.lit.pem")).unwrap();
    world.write("a.lit.pem", &text);
    world.look(&["a.lit", "b.lit"]);
    assert_eq!(world.shown.differing_from(&before), 0);
}

#[test]
fn what_is_no_file_holds_nobody_up() {
    let mut world = World::new();
    let pipe = world.dir.path().join("a.lit.pem");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let said = world.look(&["a.lit"]);
    assert!(
        said[0].starts_with("a.lit.pem: cannot be read for a.lit: it is not a file"),
        "{said:?}"
    );
    fs::remove_file(&pipe).unwrap();
    world.write("a.lit.pem", &"x".repeat(2 * 1024 * 1024));
    let said = world.look(&["a.lit"]);
    assert!(
        said[0].contains("it has more than 1048576 bytes"),
        "{said:?}"
    );
}
