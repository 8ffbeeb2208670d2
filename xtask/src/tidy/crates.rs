//! The layers between crates: which of ours may depend on which, and on what of the world's.
//! Cargo enforces what a manifest says; this enforces what a manifest may say.

use super::Finding;
use super::tree::Tree;

/// A crate, those of ours that it may depend on, and those that only its tests may.
const OURS: &[(&str, &[&str], &[&str])] = &[
    ("verona-xml", &[], &[]),
    ("verona-proto", &["verona-xml"], &["verona-sim"]),
    // Its tests ask real name servers, which the interop suite knows how to start.
    (
        "verona",
        &["verona-xml", "verona-proto"],
        &["verona-sim", "verona-interop"],
    ),
    (
        "veronad",
        &["verona-xml", "verona-proto", "verona"],
        &["verona-sim"],
    ),
    ("verona-sim", &["verona-xml", "verona-proto"], &[]),
    // The daemon only for what reads its configuration.
    (
        "verona-fuzz",
        &["verona-xml", "verona-proto", "veronad"],
        &[],
    ),
    ("verona-interop", &[], &[]),
    // It speaks with a server as a stranger does, so it has nothing of ours but the way to start real servers.
    ("verona-hostile", &["verona-interop"], &[]),
    // It speaks with every server in the same way, scans alone to know what the scanner costs, and has an engine of its own
    // where what is said inside TLS is to be shown.
    (
        "verona-bench",
        &["verona-xml", "verona-proto", "verona", "verona-interop"],
        &[],
    ),
    ("xtask", &[], &[]),
];

/// Crates of the world, by the start of their names; who alone may have them; and why.
const WORLD: &[(&str, &[&str], &str)] = &[
    (
        "tokio",
        // The suite's fault proxy carries thousands of connections; the benchmark has an engine of its own.
        &[
            "verona",
            "veronad",
            "verona-hostile",
            "verona-interop",
            "verona-bench",
        ],
        "the protocol has no runtime: bytes and the time are arguments",
    ),
    (
        "async-",
        &["verona", "veronad"],
        "the protocol has no runtime: bytes and the time are arguments",
    ),
    (
        "futures",
        &["verona", "veronad"],
        "the protocol has no runtime: bytes and the time are arguments",
    ),
    (
        "mio",
        &["verona", "veronad", "verona-bench"],
        "the protocol has no sockets",
    ),
    (
        "rustls",
        &["verona", "veronad", "verona-hostile", "verona-bench"],
        "TLS belongs to the engine: the protocol sees a `PeerCertificate`",
    ),
    (
        "hickory-",
        &["verona", "veronad"],
        "DNS belongs to the engine: the protocol sees records",
    ),
    (
        "tracing",
        &["verona", "veronad"],
        "the protocol does not log: it emits events",
    ),
    (
        "log",
        &["verona", "veronad"],
        "the protocol does not log: it emits events",
    ),
    (
        "rand",
        &["verona", "veronad"],
        "randomness is an argument of the protocol",
    ),
    (
        "getrandom",
        &["verona", "veronad", "verona-hostile"],
        "randomness is an argument of the protocol",
    ),
    (
        "redb",
        &["verona"],
        "the journal belongs to the engine: the protocol has no files",
    ),
    (
        "rustix",
        &["verona", "verona-bench"],
        "asking the system is the engine's: the protocol has none",
    ),
    ("axum", &["veronad"], "HTTP belongs to the daemon"),
    (
        "hyper",
        &["verona", "veronad"],
        "HTTP belongs to the daemon, but for the documents that the engine asks web servers for",
    ),
    (
        "clap",
        &[
            "veronad",
            "verona-interop",
            "verona-hostile",
            "verona-bench",
        ],
        "a command line belongs to a program",
    ),
    (
        "toml",
        &["veronad", "verona-fuzz", "xtask"],
        "the configuration file belongs to the daemon, the requirements to the tasks",
    ),
    (
        "anyhow",
        &[
            "veronad",
            "verona-interop",
            "verona-hostile",
            "verona-bench",
            "xtask",
        ],
        "a library returns errors that a program can match",
    ),
];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in &tree.texts {
        let Some(directory) = path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        let own = directory.strip_prefix("crates/").unwrap_or(directory);
        let Some((_, shipped, tested)) = OURS.iter().find(|(name, _, _)| *name == own) else {
            if directory.starts_with("crates/") {
                let say = format!(
                    "the crate `{own}` has no place: give it a row in xtask/src/tidy/crates.rs"
                );
                findings.push(Finding::new(path, 1, say));
            }
            continue;
        };
        for dependency in dependencies(text) {
            let name = dependency.name.as_str();
            let is_ours = OURS.iter().any(|(ours, _, _)| *ours == name);
            let may =
                shipped.contains(&name) || (dependency.is_for_tests && tested.contains(&name));
            if is_ours && !may {
                let say = format!(
                    "`{own}` may not depend on `{name}`: dependencies point down (xtask/src/tidy/crates.rs)"
                );
                findings.push(Finding::new(path, dependency.line, say));
            }
            if let Some((_, may, why)) = foreign(name).filter(|(_, may, _)| !may.contains(&own)) {
                let say = format!("only {} may depend on `{name}`: {why}", may.join(" and "));
                findings.push(Finding::new(path, dependency.line, say));
            }
        }
    }
}

type Foreign = (&'static str, &'static [&'static str], &'static str);

/// The row for a crate of the world: `tokio` and what follows it with a hyphen, `hickory-` and all.
fn foreign(name: &str) -> Option<Foreign> {
    WORLD.iter().copied().find(|(start, _, _)| {
        name.strip_prefix(start)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-') || start.ends_with('-'))
    })
}

struct Dependency {
    name: String,
    line: usize,
    is_for_tests: bool,
}

/// The names in the dependency tables of a manifest. Read by lines: a manifest is written by us, one
/// dependency to a line.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut found = Vec::new();
    let mut table = String::new();
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']').to_owned();
            if let Some((kind, name)) = table.rsplit_once("dependencies.") {
                found.push(Dependency {
                    name: name.to_owned(),
                    line: index + 1,
                    is_for_tests: kind.ends_with("dev-"),
                });
            }
            continue;
        }
        if !table.ends_with("dependencies") || line.starts_with('#') {
            continue;
        }
        let end = line.find(['.', '=', ' ']).unwrap_or(0);
        let name = line.get(..end).unwrap_or_default().trim_matches('"');
        if !name.is_empty() {
            found.push(Dependency {
                name: name.to_owned(),
                line: index + 1,
                is_for_tests: table.ends_with("dev-dependencies"),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(own: &str, manifest: &str) -> Vec<String> {
        let mut findings = Vec::new();
        let path = format!("crates/{own}/Cargo.toml");
        check(&Tree::default().with(&path, manifest), &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dependencies_point_down() {
        let down = "[dependencies]\nbytes.workspace = true\nverona-xml.workspace = true\n";
        assert_eq!(say("verona-proto", down), [""; 0]);
        let up = "[dependencies]\nbytes = \"1\"\nverona = { path = \"../verona\" }\n";
        let found = say("verona-proto", up);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("crates/verona-proto/Cargo.toml:3: "));
    }

    #[test]
    fn tests_may_use_the_simulator_and_products_may_not() {
        assert_eq!(
            say(
                "verona-proto",
                "[dev-dependencies]\nverona-sim.workspace = true"
            ),
            [""; 0]
        );
        assert_eq!(
            say(
                "verona-proto",
                "[dependencies]\nverona-sim.workspace = true"
            )
            .len(),
            1
        );
    }

    #[test]
    fn the_protocol_has_no_runtime() {
        for manifest in [
            "[dependencies]\ntokio.workspace = true",
            "[dependencies.tokio]\nversion = \"1\"",
            "[target.'cfg(unix)'.dependencies]\ntokio-rustls = \"0.26\"",
            "[dev-dependencies]\nhickory-resolver = \"0.26\"",
        ] {
            assert_eq!(say("verona-proto", manifest).len(), 1, "{manifest}");
            assert_eq!(say("verona", manifest), [""; 0], "{manifest}");
        }
        assert_eq!(
            say("verona", "[dependencies]\naxum.workspace = true").len(),
            1
        );
    }

    #[test]
    fn a_new_crate_needs_a_row() {
        assert_eq!(say("verona-extra", "[package]").len(), 1);
    }
}
