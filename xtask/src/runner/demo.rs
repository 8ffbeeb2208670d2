//! The demo as a test: it must end by itself, well, in time, and where there is no DNS.
//! It is the first command of everybody who tries verona, so it is tried before everybody.

use std::path::Path;
use std::time::Duration;

use super::Place;
use super::command::Run;
use super::stage::Outcome;
use super::tally::Tally;

const DEMOS: &[&[&str]] = &[&["demo"], &["demo", "--auth", "dialback"]];

/// What the demo promises.
const DEMO_MAX: Duration = Duration::from_secs(10);

/// Runs each demo once; each counts as a test.
pub(super) fn run(place: &Place) -> Outcome {
    let isolation = Isolation::find();
    println!("{}", isolation.says());
    let mut tally = Tally::default();
    let mut faults = Vec::new();
    for arguments in DEMOS {
        let name = format!("verona {}", arguments.join(" "));
        match isolation
            .run(&place.verona(), arguments)
            .directory(&place.root)
            .go()
        {
            Ok(done) if done.is_success() => {
                println!("{name}: passed in {:.1} s", done.took.as_secs_f64());
                tally.passed += 1;
            }
            Ok(done) => {
                println!(
                    "{name}: FAILED, {} after {:.1} s",
                    done.ending(),
                    done.took.as_secs_f64()
                );
                tally.failed += 1;
                faults.push(format!("{name}: {}", done.ending()));
            }
            Err(error) => {
                tally.failed += 1;
                faults.push(format!("{error:#}"));
            }
        }
    }
    let mut outcome = Outcome::passed();
    if tally.failed > 0 {
        outcome = Outcome::failed(faults.join("; "));
    }
    outcome.tally = tally;
    outcome
}

/// Whether the demo can be kept from the network, so that a need for DNS would show.
#[derive(Clone, Copy)]
enum Isolation {
    /// A network of its own, with nothing but loopback.
    Namespace,
    /// The system does not allow that here.
    None,
}

impl Isolation {
    fn find() -> Self {
        let probe = Run::new("unshare").args([
            "--user",
            "--map-root-user",
            "--net",
            "sh",
            "-c",
            LOOPBACK_UP,
        ]);
        match probe.quiet().go() {
            Ok(done) if done.is_success() => Isolation::Namespace,
            Ok(_) | Err(_) => Isolation::None,
        }
    }

    fn says(self) -> &'static str {
        match self {
            Isolation::Namespace => {
                "in a network namespace with loopback only: DNS cannot be reached"
            }
            Isolation::None => {
                "on this machine's network: a namespace of its own cannot be made here"
            }
        }
    }

    fn run(self, program: &Path, arguments: &[&str]) -> Run {
        let run = match self {
            Isolation::Namespace => {
                let script = format!("{LOOPBACK_UP} && exec \"$0\" \"$@\"");
                Run::new("unshare")
                    .args(["--user", "--map-root-user", "--net", "sh", "-c", &script])
                    .args([program])
                    .args(arguments)
            }
            Isolation::None => Run::new(program).args(arguments),
        };
        run.deadline(DEMO_MAX)
    }
}

const LOOPBACK_UP: &str = "PATH=$PATH:/usr/sbin:/sbin ip link set lo up";
