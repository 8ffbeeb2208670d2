//! What a stanza costs in instructions on its way through the machines: counted, and so the same on a noisy machine.
//! Why beside the benchmarks: those tell how fast it is, this fails the change that makes it slower.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Place;
use super::command::Run;
use super::stage::Outcome;
use super::tally::Tally;

/// The most that a stanza of 200 bytes may cost, by the way that it takes: what was counted (10,734 and 13,125), and a sixth more for other
/// compilers and for libraries that choose their code by the processor.
const MOST: &[(&str, u64)] = &[("in", 12_500), ("out", 15_300)];

/// The first of these runs pays for what is done once; the difference is what stanzas cost.
const STANZAS: [u64; 2] = [1000, 3000];

/// An emulated processor is fifty times slower than a real one.
const COUNT_MAX: Duration = Duration::from_secs(120);

/// Builds the example that does nothing else, and has its instructions counted.
pub(super) fn run(place: &Place) -> Outcome {
    let built = super::gate(place.cargo().args([
        "build",
        "--release",
        "--package",
        "verona-proto",
        "--example",
        "relay",
    ]));
    if built != Outcome::passed() {
        return built;
    }
    let mut tally = Tally::default();
    for (way, most) in MOST {
        match cost(place, way) {
            Ok(cost) => {
                println!("{way}: {cost} instructions for each stanza of 200 bytes, {most} at most");
                match cost <= *most {
                    true => tally.passed += 1,
                    false => tally.failed += 1,
                }
            }
            Err(error) => return Outcome::failed(format!("{error:#}")),
        }
    }
    match tally.failed {
        0 => Outcome {
            tally,
            ..Outcome::passed()
        },
        _ => Outcome::failed(
            "a stanza costs more than it did: xtask/src/runner/count.rs has the figures",
        ),
    }
}

fn cost(place: &Place, way: &str) -> Result<u64> {
    let [few, many] = STANZAS;
    let (base, more) = (
        instructions(place, way, few)?,
        instructions(place, way, many)?,
    );
    Ok(more.saturating_sub(base) / (many - few))
}

fn instructions(place: &Place, way: &str, stanzas: u64) -> Result<u64> {
    let log = place.target.join("relay.callgrind.log");
    let done = Run::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args([format!("--log-file={}", log.display())])
        .args([place.target.join("release").join("examples").join("relay")])
        .args([way.to_owned(), stanzas.to_string()])
        .deadline(COUNT_MAX)
        .quiet()
        .go()
        .context("running valgrind (Debian package valgrind)")?;
    if !done.is_success() {
        bail!("relay {way} {stanzas} under valgrind: {}", done.ending());
    }
    let text = fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))?;
    collected(&text).with_context(|| format!("{} has no count of instructions", log.display()))
}

/// The count in what callgrind says: `==7== Collected : 123456`.
fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    line.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_callgrind_says() {
        let text = "==7== Events    : Ir\n==7== Collected : 5123456\n==7== \n==7== I   refs:      5,123,456\n";
        assert_eq!(collected(text), Some(5_123_456));
        assert_eq!(collected("==7== \n"), None);
    }
}
