//! The part of the page about round trips through a component.
//! Why microseconds beside those of the bare relay: the machine's own part is in all of them.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::{figure, name_of, plot, with_spread};
use crate::results::Work;
use crate::world::Kind;

const CASES: [(&str, &str); 4] = [
    ("same-200", "200 a second"),
    ("load-1", "1 % of its most"),
    ("load-50", "50 %"),
    ("load-90", "90 %"),
];

/// Writes it.
pub(super) fn write(work: &Work, folder: &Path, page: &mut String) -> Result<()> {
    page.push_str(INTRODUCTION);
    let mut bars = Vec::new();
    for (case, title) in CASES {
        let _ = writeln!(
            page,
            "### {title}\n\n| | a second | p50, µs | p99, µs | p99.9, µs | messages |\n|---|---|---|---|---|---|"
        );
        for kind in Kind::ALL {
            let name = kind.name();
            let Some(pace) = work.median(case, name, "pace") else {
                continue;
            };
            let _ = writeln!(
                page,
                "| {} | {pace:.0} | {} | {} | {} | {:.0} |",
                kind.title(),
                with_spread(work, case, name, "p50"),
                with_spread(work, case, name, "p99"),
                figure(work.median(case, name, "p999")),
                work.median(case, name, "messages").unwrap_or_default()
            );
            if let Some(most) = work.median(case, name, "p99") {
                bars.push((format!("{}, {title}", kind.title()), most));
            }
        }
        page.push('\n');
    }
    plot::bars(
        &folder.join("latency.svg"),
        "p99 of the round trip, µs",
        &bars,
    )?;
    let _ = writeln!(
        page,
        "![p99 as bars, on a logarithmic scale]({}/latency.svg)\n",
        name_of(folder)
    );
    Ok(())
}

const INTRODUCTION: &str = "\
## A message there and back

A peer sends messages of 200 bytes to a component, which sends each back at once; both are the load generator's one thread,
which sleeps until the next is due. A message counts from when it is sent, or from when it was due if the connection did not
take it. How many go there and back at most is found out before, with 512 under way. Each turn is run in for 0.2 s, which
count nowhere: on connections that rested the first messages may wait for TCP. p50 and p99 are medians over the turns; p99.9
is of all together. There is one turn of 1.5 s in each round; at 200 a second there are six of three seconds, in which all
servers follow each other, for a noisy second makes the p99 of six hundred messages, and should not make the median.

";
