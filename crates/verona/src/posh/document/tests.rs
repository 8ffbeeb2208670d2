//! What is read, what is refused and with which words, and that no bytes do harm.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use base64::engine::general_purpose::STANDARD;

use super::*;

fn read(text: &str) -> Result<Document, String> {
    Document::read(text.as_bytes()).map_err(|why| why.to_string())
}

fn fingerprints(text: &str) -> (Vec<Fingerprint>, u64) {
    match read(text) {
        Ok(Document::Fingerprints(list, expires)) => (list, expires.as_secs()),
        other => panic!("{text}: {other:?}"),
    }
}

/// The hashes of `certificate` as a document has them.
fn hashes(certificate: &[u8]) -> (String, String) {
    (
        STANDARD.encode(Sha256::digest(certificate)),
        STANDARD.encode(Sha512::digest(certificate)),
    )
}

#[test]
fn certificates_are_named_by_either_hash() {
    //= DNS-20
    //= DNS-23
    let (short, long) = hashes(b"one");
    let (other, _) = hashes(b"two");
    let both = format!(
        r#"{{"fingerprints":[{{"sha-256":"{short}","sha-512":"{long}"}},{{"sha-256":"{other}"}}],"expires":604800}}"#
    );
    let (list, expires) = fingerprints(&both);
    assert_eq!((list.len(), expires), (3, 604_800));
    for certificate in [&b"one"[..], b"two"] {
        assert!(list.iter().any(|one| one.matches(certificate)));
    }
    assert!(!list.iter().any(|one| one.matches(b"three")));
    let only_long = format!(r#"{{"fingerprints":[{{"sha-512":"{long}"}}],"expires":1}}"#);
    let (list, _) = fingerprints(&only_long);
    assert!(list[0].matches(b"one") && !list[0].matches(b"two"));
}

#[test]
fn the_example_of_the_specification_is_read() {
    //= DNS-20
    // RFC 7711 §3.1, without the white space that is there for readability; the first hash lacks its padding.
    let text = concat!(
        r#"{ "fingerprints": [ {"#,
        r#" "sha-256": "4/mggdlVx8A3pvHAWW5sD+qJyMtUHgiRuPjVC48N0XQ","#,
        r#" "sha-512": "25N+1hB2Vo42l9lSGqw+n3BKFhDHsyork8ou+D9B43TXeJ1J81mdQEDqm39oR/EHkPBDDG1y5+AG94Kec0xVqA=="#,
        r#"" }, { "sha-256": "otyLADSKjRDjVpj8X7/hmCAD5C7Qe+PedcmYV7cUncE=","#,
        r#" "sha-512": "MbBD+ausTGJisEXKSynROWrMfHP2xvBnmI79Pr/KXnDyLN+13Jof8/Uq9fj5HZG8Rk1E2fclcivpGdijUsvHRg=="#,
        r#"" } ], "expires": 806400 }"#
    );
    let (list, expires) = fingerprints(text);
    assert_eq!((list.len(), expires), (4, 806_400));
}

#[test]
fn a_reference_is_read() {
    //= DNS-20
    let text =
        r#"{"url":"https://hosting.example.net/.well-known/posh/spice.json","expires":86400}"#;
    let place = "https://hosting.example.net/.well-known/posh/spice.json".to_owned();
    assert_eq!(
        read(text),
        Ok(Document::Reference(place, Duration::from_secs(86_400)))
    );
}

#[test]
fn what_nobody_knows_is_passed_over() {
    let (short, _) = hashes(b"one");
    let text = format!(
        r#"{{"comment":{{"a":[1,null]}},"fingerprints":[{{"sha-256":"{short}","sha3-256":7,"md5":"AA"}}],"expires":9,"url":null}}"#
    );
    assert_eq!(fingerprints(&text).0.len(), 1);
}

#[test]
fn one_damaged_hash_does_not_spoil_the_others() {
    //= DNS-23
    let (short, long) = hashes(b"one");
    for damaged in [r#""AAAA""#, "7", "null", r#""?""#, r#""""#] {
        let text = format!(
            r#"{{"fingerprints":[{{"sha-256":{damaged},"sha-512":"{long}"}},{{"sha-256":"{short}"}}],"expires":9}}"#
        );
        assert_eq!(fingerprints(&text).0.len(), 2, "{damaged}");
    }
}

#[test]
fn how_long_it_holds() {
    //= DNS-22
    let text = |expires: &str| format!(r#"{{"url":"https://a.lit/","expires":{expires}}}"#);
    for (expires, seconds) in [
        ("1", 1),
        ("86400", 86_400),
        ("18446744073709551615", u64::MAX),
        ("18446744073709551616", u64::MAX),
        ("1e300", u64::MAX),
        ("600.0", 600),
        ("6e2", 600),
    ] {
        match read(&text(expires)) {
            Ok(Document::Reference(_, lasts)) => assert_eq!(lasts.as_secs(), seconds, "{expires}"),
            other => panic!("{expires}: {other:?}"),
        }
    }
    assert!(read(&text("0")).unwrap_err().contains("makes it invalid"));
    for expires in ["-1", "1.5", "0.5", "-0", "0.0", "-1e300"] {
        let why = read(&text(expires)).unwrap_err();
        assert!(
            why.contains("no whole number of seconds"),
            "{expires}: {why}"
        );
    }
    for expires in ["\"600\"", "[]", "true", "1e999", "0x10", "NaN"] {
        let why = read(&text(expires)).unwrap_err();
        assert!(
            why.starts_with("it is no POSH document"),
            "{expires}: {why}"
        );
    }
    for text in [
        r#"{"url":"https://a.lit/"}"#,
        r#"{"url":"https://a.lit/","expires":null}"#,
    ] {
        assert!(read(text).unwrap_err().contains("has no \"expires\""));
    }
}

#[test]
fn what_is_wrong_is_said() {
    //= DNS-20
    let (short, _) = hashes(b"one");
    let many = vec![format!(r#"{{"sha-256":"{short}"}}"#); DESCRIPTORS_MAX + 1].join(",");
    let list = |inner: &str| format!(r#"{{"fingerprints":[{inner}],"expires":9}}"#);
    for (text, why) in [
        (String::new(), "it is no POSH document: EOF"),
        (
            "<html>".to_owned(),
            "it is no POSH document: expected value",
        ),
        ("[]".to_owned(), "it is no POSH document"),
        ("\"\"".to_owned(), "it is no POSH document"),
        (r#"{"expires":9}"#.to_owned(), "neither"),
        (
            format!(
                r#"{{"fingerprints":[{{"sha-256":"{short}"}}],"url":"https://a.lit/","expires":9}}"#
            ),
            "both",
        ),
        (
            r#"{"url":7,"expires":9}"#.to_owned(),
            "it is no POSH document",
        ),
        (
            r#"{"url":"a","url":"b","expires":9}"#.to_owned(),
            "duplicate",
        ),
        (
            r#"{"url":"a","expires":0,"expires":9}"#.to_owned(),
            "duplicate",
        ),
        (list(""), "is empty"),
        (list("{}"), "\"sha-256\" or \"sha-512\" is needed"),
        (
            list(r#"{"sha-1":"AA=="}"#),
            "\"sha-256\" or \"sha-512\" is needed",
        ),
        (
            list(r#"{"SHA-256":"AA=="}"#),
            "\"sha-256\" or \"sha-512\" is needed",
        ),
        (
            list(r#"{"sha-256":"AA=="}"#),
            "its \"sha-256\" has 1 bytes in place of 32",
        ),
        (list(r#"{"sha-256":"a b"}"#), "its \"sha-256\" is no base64"),
        (
            list(r#"{"sha-256":["AA=="]}"#),
            "its \"sha-256\" is no string",
        ),
        (list("7"), "it is no POSH document"),
        (list(&many), "lists 65 certificates, more than 64"),
        (
            r#"{"fingerprints":{},"expires":9}"#.to_owned(),
            "it is no POSH document",
        ),
        (r#"{"url":"a","expires":9} x"#.to_owned(), "trailing"),
    ] {
        let said = read(&text).unwrap_err();
        assert!(said.contains(why), "{text}: {said}");
    }
    // A hash in hexadecimal is base64 by chance, of another length.
    let hex = list(&format!(r#"{{"sha-256":"{}"}}"#, "ab".repeat(32)));
    assert!(
        read(&hex)
            .unwrap_err()
            .contains("has 48 bytes in place of 32")
    );
    // The bits behind the last byte are zero.
    let loose = list(r#"{"sha-256":"4/mggdlVx8A3pvHAWW5sD+qJyMtUHgiRuPjVC48N0XR="}"#);
    assert!(read(&loose).unwrap_err().contains("is no base64"));
}

#[test]
fn depth_and_size_do_no_harm() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for depth in [100, 1000, 20_000] {
            let deep = format!("{}7{}", open.repeat(depth), close.repeat(depth));
            for text in [
                deep.clone(),
                format!(r#"{{"fingerprints":[{{"sha-256":{deep}}}],"expires":9}}"#),
                format!(r#"{{"url":{deep},"expires":9}}"#),
            ] {
                read(&text).unwrap_err();
            }
            // Where nobody looks it may be as deep as it likes, or too deep.
            let _ = read(&format!(
                r#"{{"x":{deep},"url":"https://a.lit/","expires":9}}"#
            ));
        }
    }
    let many = "{},".repeat(20_000);
    let why = read(&format!(r#"{{"fingerprints":[{many}{{}}],"expires":9}}"#)).unwrap_err();
    assert!(why.contains("lists 20001"), "{why}");
}

/// Any bytes are answered, and what is accepted keeps what is promised of it.
#[test]
fn mutations_of_documents_keep_the_promises() {
    let (short, long) = hashes(b"one");
    let seeds = [
        format!(
            r#"{{"fingerprints":[{{"sha-256":"{short}","sha-512":"{long}"}}],"expires":604800}}"#
        ),
        r#"{"url":"https://hosting.lit/a","expires":86400}"#.to_owned(),
    ];
    let words: [&[u8]; 12] = [
        b"{", b"}", b"[", b"]", b",", b":", b"\"", b"\\u0000", b"1e99", b"-", b"null", b"\xff",
    ];
    let mut state = 7_u64;
    let mut below = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % bound
    };
    let (mut taken, mut refused) = (0, 0);
    for round in 0..60_000 {
        let mut bytes = seeds[round % 2].clone().into_bytes();
        for _ in 0..=below(3) {
            let at = below(bytes.len() + 1);
            match below(4) {
                0 => drop(bytes.splice(at..at, words[below(words.len())].iter().copied())),
                1 if at < bytes.len() => bytes[at] = u8::try_from(below(256)).unwrap(),
                2 => bytes.truncate(at),
                _ => {
                    let end = (at + below(9)).min(bytes.len());
                    drop(bytes.drain(at..end));
                }
            }
        }
        match Document::read(&bytes) {
            Ok(Document::Fingerprints(list, expires)) => {
                assert!((1..=2 * DESCRIPTORS_MAX).contains(&list.len()));
                assert!(expires >= Duration::from_secs(1));
                taken += 1;
            }
            Ok(Document::Reference(_, expires)) => {
                assert!(expires >= Duration::from_secs(1));
                taken += 1;
            }
            Err(why) => {
                assert!(!why.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(taken > 1000 && refused > 1000, "{taken} {refused}");
}
