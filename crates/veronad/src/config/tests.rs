//! The starting point agrees with the code, and no file whatever panics.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use verona::config::Dnssec;
use verona_proto::limits::Limits;
use verona_proto::policy::PeerPolicy;

use toml::de::DeTable;

use super::section::Section;
use super::{Report, TEMPLATE, parse, policy};

/// The starting point with every key that is commented out put in force.
fn uncommented() -> String {
    TEMPLATE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => rest,
            Some(_) | None => line,
        })
        .fold(String::new(), |text, line| text + line + "\n")
}

fn errors(source: &str) -> Vec<String> {
    let loaded = parse(source, Path::new("verona.toml"));
    let errors = loaded.report.problems().iter();
    errors
        .filter(|problem| problem.severity == super::problem::Severity::Error)
        .map(|problem| problem.message.clone())
        .collect()
}

#[test]
fn the_starting_point_lacks_a_certificate_and_nothing_else() {
    let errors = errors(TEMPLATE);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].starts_with("the certificates in `certs` cannot be read"),
        "{errors:?}"
    );
}

#[test]
fn every_key_of_the_starting_point_is_known() {
    for error in errors(&uncommented()) {
        assert!(
            error.contains("cannot read")
                || error.contains("cannot be read")
                || error.contains("not available"),
            "{error}"
        );
    }
}

#[test]
fn the_defaults_that_the_starting_point_shows_are_the_defaults() {
    let text = uncommented();
    let limits = text.split("[defaults.limits]\n").nth(1).unwrap();
    let mut told = Limits::default();
    let mut names: Vec<&str> = Vec::new();
    for line in limits.lines().take_while(|line| !line.is_empty()) {
        let (name, rest) = line.split_once(" = ").unwrap();
        let value = rest.split('#').next().unwrap().trim();
        told.set(name, value.parse().unwrap()).unwrap();
        names.push(name);
    }
    assert_eq!(told, Limits::default());
    assert_eq!(names, Limits::names());

    let defaults = text
        .split("[defaults]\n")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    let mut report = Report::new("verona.toml", defaults);
    let root = DeTable::parse(defaults).unwrap();
    let mut section = Section::root(&root);
    let policy = policy::defaults(&mut section, &Dnssec::Off, &mut report);
    section.finish(&mut report);
    assert!(!report.has_errors(), "{}", report.render(false));
    assert_eq!(
        format!("{policy:?}"),
        format!("{:?}", PeerPolicy::default())
    );
}

#[test]
fn no_file_panics() {
    let mut random = Random(0x5eed);
    // Loading what the system trusts would take most of the time.
    let seeds = [TEMPLATE.to_owned(), uncommented(), SEED.to_owned()].map(|seed| {
        seed.replace("#trust = ", "trust = ")
            .replace("[\"system\"]", "[]")
    });
    for round in 0..4000 {
        let mut bytes = seeds[round % seeds.len()].clone().into_bytes();
        for _ in 0..=random.below(6) {
            mutate(&mut bytes, &mut random);
        }
        let text = String::from_utf8_lossy(&bytes);
        let loaded = parse(&text, Path::new("verona.toml"));
        let rendered = loaded.report.render(round % 2 == 0);
        let _ = super::summary(loaded.settings.as_ref(), &loaded.report);
        assert_eq!(rendered.is_empty(), loaded.report.problems().is_empty());
        assert!(
            loaded.settings.is_some() || loaded.report.has_errors(),
            "no settings and no error:\n{text}"
        );
        let escape = rendered.replace("\x1b[1;3", "").replace("\x1b[0m", "");
        assert!(
            !escape.contains('\x1b'),
            "an escape of the file reached the terminal"
        );
    }
}

/// Removes, doubles or replaces a few bytes, or puts a piece of TOML somewhere.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let end = (at + random.below(20)).min(bytes.len());
    match random.below(4) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        2 => bytes.splice(at..end, random.bytes(end - at)).for_each(drop),
        _ => {
            let piece = PIECES[random.below(PIECES.len())];
            bytes.splice(at..at, piece.bytes());
        }
    }
}

const PIECES: &[&str] = &[
    "\"",
    "'''",
    "[[",
    "]]",
    "{",
    "}",
    "[",
    "]",
    "=",
    ".",
    ",",
    "\n",
    "#",
    "\u{1b}[31m",
    "é",
    "☃",
    "\u{0}",
    "-1",
    "1e400",
    "0x_",
    "99999999999999999999",
    "1979-05-27T07:32:00Z",
    "true",
    "[[peer]]\n",
    "[[domain]]\n",
    "limits = {",
    "unix:",
    "tls://",
    "*.",
    "xn--",
    "secret = \"a",
    "[::]:",
    "{a={a={a={a={",
    "[[[[[[[[[[[[",
    "\\u0000",
    "\\U0010FFFF",
    "\r\n",
];

const SEED: &str = r#"
[[domain]]
name = "capulet.lit"
component = { secret = "hunter2", conflict = "kick-old" }
[tls]
trust = ["system"]
[s2s]
listen = ["127.0.0.1:5269", "[::1]:5269"]
bind = ["192.0.2.7"]
allow_networks = ["127.0.0.0/8"]
[[peer]]
domain = "*.example.net"
address = "tls://127.0.0.2:5270"
limits = { stanza_bytes_max = 20000 }
[admin]
listen = "unix:verona.sock"
"#;

/// A small generator: the same files in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 8).unwrap() % bound.max(1)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}
