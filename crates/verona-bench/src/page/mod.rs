//! The page of results and its plots, made of the file of results alone.
//! Why generated: a figure that was copied by hand is one that nobody can repeat.

mod cold;
mod goals;
mod growth;
mod latency;
mod plot;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::results::{Results, Work};
use crate::world::Kind;

/// Writes `benchmarks.md` beside the folder of results, and the plots into the folder.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<()> {
    let mut page = INTRODUCTION.to_owned();
    circumstances(results, &mut page);
    goals::write(results, &mut page);
    if let Some(work) = results.works.get("relay") {
        relay(work, folder, &mut page)?;
    }
    if let Some(work) = results.works.get("bare") {
        bare(work, &mut page);
    }
    if let Some(work) = results.works.get("latency") {
        latency::write(work, folder, &mut page)?;
    }
    if let Some(work) = results.works.get("cold") {
        cold::write(work, &mut page);
    }
    if let Some(work) = results.works.get("idle") {
        idle(work, folder, &mut page)?;
    }
    if let Some(work) = results.works.get("setup") {
        setup(work, folder, &mut page)?;
    }
    if let Some(work) = results.works.get("growth") {
        growth::write(work, &mut page);
    }
    let file = folder.with_extension("md");
    fs::write(&file, page).with_context(|| format!("writing {}", file.display()))
}

/// Machine, versions and noise, for each work: they may be of different days.
fn circumstances(results: &Results, page: &mut String) {
    page.push_str("## With what\n\n");
    let mut versions = std::collections::BTreeMap::new();
    for (name, work) in &results.works {
        let _ = writeln!(
            page,
            "- `{name}`: {} UTC on {}; {:.1} other processes wanted a processor in the minute before{}.",
            work.date,
            work.machine,
            work.load_before,
            match work.is_quick {
                true => "; **quick: short runs and few rounds, to try it and not to quote**",
                false => "",
            }
        );
        versions.extend(work.versions.clone());
    }
    page.push_str("\n| | version |\n|---|---|\n");
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_bare()) {
        if let Some(version) = versions.get(kind.name()) {
            let _ = writeln!(page, "| {} | {version} |", kind.title());
        }
    }
    page.push('\n');
}

fn relay(work: &Work, folder: &Path, page: &mut String) -> Result<()> {
    page.push_str(RELAY);
    for peers in [1, 100] {
        for bytes in [200, 2048] {
            let cases: Vec<String> = ["in", "out", "both"]
                .iter()
                .map(|way| format!("{way}-{bytes}-{peers}"))
                .collect();
            let _ = writeln!(
                page,
                "### {bytes} bytes, {peers} {}\n",
                if peers == 1 { "peer" } else { "peers" }
            );
            page.push_str(
                "| | in | out | both ways | in, a second | out, a second | generator, in |\n\
                 |---|---|---|---|---|---|---|\n",
            );
            let mut bars = Vec::new();
            for kind in present(work, &cases) {
                let name = kind.name();
                let _ = write!(page, "| {} |", kind.title());
                for case in &cases {
                    let _ = write!(page, " {} |", with_spread(work, case, name, "cpu"));
                }
                for case in cases.iter().take(2) {
                    let _ = write!(page, " {} |", thousands(work.median(case, name, "rate")));
                }
                let generator = cases
                    .first()
                    .and_then(|case| work.median(case, name, "generator"));
                let _ = writeln!(page, " {} |", figure(generator));
                for (case, way) in cases.iter().zip(["in", "out"]) {
                    if let Some(cpu) = work.median(case, name, "cpu") {
                        bars.push((format!("{}, {way}", kind.title()), cpu));
                    }
                }
            }
            let file = format!("relay-{bytes}-{peers}.svg");
            plot::bars(
                &folder.join(&file),
                &format!("CPU seconds for 100,000 stanzas of {bytes} bytes, peers: {peers}"),
                &bars,
            )?;
            let _ = writeln!(
                page,
                "\n![The same as bars, on a logarithmic scale]({}/{file})\n",
                name_of(folder)
            );
        }
    }
    Ok(())
}

fn bare(work: &Work, page: &mut String) {
    page.push_str(BARE);
    for name in ["scanner", "encrypt", "decrypt"] {
        let _ = writeln!(
            page,
            "| {name} | {} | {} |",
            with_spread(work, "200", name, "cpu"),
            with_spread(work, "2048", name, "cpu")
        );
    }
    page.push('\n');
}

fn idle(work: &Work, folder: &Path, page: &mut String) -> Result<()> {
    page.push_str(IDLE);
    let mut cases: Vec<&str> = Vec::new();
    for row in &work.rows {
        if !cases.contains(&row.case.as_str()) {
            cases.push(&row.case);
        }
    }
    page.push_str("| | what | KiB each | MiB in all |\n|---|---|---|---|\n");
    let mut bars = Vec::new();
    for kind in Kind::ALL {
        for case in &cases {
            let Some(each) = work.median(case, kind.name(), "kib") else {
                continue;
            };
            let _ = writeln!(
                page,
                "| {} | {case} | {each:.1} | {:.0} |",
                kind.title(),
                work.median(case, kind.name(), "total_mib")
                    .unwrap_or_default()
            );
            bars.push((format!("{}, {case}", kind.title()), each));
        }
    }
    plot::bars(&folder.join("idle.svg"), "Resident KiB for each", &bars)?;
    let _ = writeln!(
        page,
        "\n![The same as bars]({}/idle.svg)\n",
        name_of(folder)
    );
    Ok(())
}

fn setup(work: &Work, folder: &Path, page: &mut String) -> Result<()> {
    page.push_str(SETUP);
    let mut bars = Vec::new();
    for kind in Kind::ALL {
        for case in ["starttls", "direct-tls"] {
            if let Some(rate) = work.median(case, kind.name(), "per_cpu_second") {
                let _ = writeln!(
                    page,
                    "| {} | {case} | {} | {rate:.0} |",
                    kind.title(),
                    with_spread(work, case, kind.name(), "ms")
                );
                bars.push((format!("{}, {case}", kind.title()), rate));
            }
        }
    }
    plot::bars(
        &folder.join("setup.svg"),
        "Link set-ups for each second of CPU",
        &bars,
    )?;
    let _ = writeln!(
        page,
        "\n![The same as bars]({}/setup.svg)\n",
        name_of(folder)
    );
    Ok(())
}

/// The servers that have any of these figures, in the order of the list.
fn present(work: &Work, cases: &[String]) -> Vec<Kind> {
    Kind::ALL
        .into_iter()
        .filter(|kind| {
            cases
                .iter()
                .any(|case| work.median(case, kind.name(), "cpu").is_some())
        })
        .collect()
}

fn name_of(folder: &Path) -> String {
    folder
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The median, and the width of the middle half as a part of it.
fn with_spread(work: &Work, case: &str, kind: &str, name: &str) -> String {
    match work.median(case, kind, name) {
        None => "–".to_owned(),
        median => format!(
            "{} (±{:.0} %)",
            figure(median),
            work.spread(case, kind, name).unwrap_or_default() * 50.0
        ),
    }
}

/// Three digits that matter.
fn figure(figure: Option<f64>) -> String {
    match figure {
        None => "–".to_owned(),
        Some(figure) if figure < 0.1 => format!("{figure:.4}"),
        Some(figure) if figure < 1.0 => format!("{figure:.3}"),
        Some(figure) if figure < 10.0 => format!("{figure:.2}"),
        Some(figure) if figure < 1000.0 => format!("{figure:.1}"),
        Some(figure) => format!("{figure:.0}"),
    }
}

fn thousands(figure: Option<f64>) -> String {
    figure.map_or_else(
        || "–".to_owned(),
        |figure| format!("{:.0} k", figure / 1000.0),
    )
}

const INTRODUCTION: &str = "\
# Benchmarks

What verona costs, beside other servers, and beside what the machine could do at best. Written by `cargo xtask bench`
from `benchmarks/results.json`; a change by hand is lost.

One command repeats it on a Debian machine as root: `cargo xtask bench`. A work alone: `cargo xtask bench relay`. To try
it, in minutes: `--quick`.

- Every server gets the same bytes from the same load generator (`crates/verona-bench`), by turns within one run: a noisy
  minute meets all of them. It is one thread, sends what it wrote before and counts end tags; what it took itself stands
  beside.
- Each figure is the median of the rounds; ± is half the width of the middle half of them, as a part of the median.
- CPU is user and system time of all processes and threads of the server, from /proc. It outlives a noisy machine, so it
  is what to look at; stanzas a second depend on what else the machine did, and on the generator, which shares it.
- Where it says nothing else, peers prove themselves by certificates over TLS 1.3 and STARTTLS, and use one connection for
  both directions (XEP-0288). ejabberd 23.01 and jabberd2 need two; jabberd2 knows dialback only.
- All log errors only. verona's rate limits are raised where a benchmark would meet them
  (`crates/verona-bench/src/world/configuration.rs`); Prosody runs without `mod_limits`.
- verona and Prosody are measured with acknowledgements (XEP-0198) and without: they are work.

";

const RELAY: &str = "\
## Stanzas through a link

*In*: peers send, a component receives. *Out*: the component sends, peers receive, over the same links. CPU seconds for
100,000 stanzas. At most 512 KiB are under way in each direction, all peers together: with a hundred peers each has little
at a time, so less of it can be done at once. The bare relays do no XMPP: TLS on one side, none on the other; one of them
scans every stanza.

";

const BARE: &str = "\
## The parts alone

In one process without a socket, CPU seconds for 100,000 stanzas: the scanner over them; TLS 1.3 for records that are full
of them.

| | 200 bytes | 2048 bytes |
|---|---|---|
";

const IDLE: &str = "\
## Memory of idle links and of strangers

Resident memory of the server for each, beyond what it had with one; 10,000 with verona, 1,000 with those that take minutes
for more. *links*: proven in both directions where the server has bidi (with ejabberd 23.01 in one), and never used.
*used-links*: after a stanza in each direction. *strangers*: streams that have got the features and proven nothing. The
kernel's own memory for sockets is not in it.

";

const SETUP: &str = "\
## Link set-ups

From the connection to where stanzas may go both ways: TLS 1.3 with both certificates and no resumption, EXTERNAL, bidi, and
acknowledgements where the server has them. CPU of the accepting server; the links stay open while it is measured.

| | | ms of CPU each | for one second of CPU |
|---|---|---|---|
";
