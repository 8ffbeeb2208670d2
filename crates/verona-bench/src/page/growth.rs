//! The part of the page about many pairs and many domains.
//! Why with a ratio: what matters is not the figure but whether it grows.

use std::fmt::Write as _;

use super::{figure, with_spread};
use crate::results::Work;

/// Writes it.
pub(super) fn write(work: &Work, page: &mut String) {
    page.push_str(INTRODUCTION);
    for (case, title) in [
        ("40-pairs", "40 pairs"),
        ("10000-pairs", "10,000 pairs"),
        ("10000-hosted", "40 pairs, 10,000 more domains hosted"),
    ] {
        let of = |way: &str| with_spread(work, &format!("{way}-{case}"), VERONA, "cpu");
        let memory = work.median(&format!("memory-{case}"), VERONA, "mib");
        let _ = writeln!(
            page,
            "| {title} | {} | {} | {} |",
            of("in"),
            of("out"),
            figure(memory)
        );
    }
    let start = |hosted: &str| with_spread(work, &format!("start-{hosted}"), VERONA, "seconds");
    let _ = writeln!(
        page,
        "\nFrom the start of the process to where all its ports listen: {} s with one domain, {} s with 10,000 more.\n",
        start("0"),
        start("10000")
    );
}

const VERONA: &str = "verona";

const INTRODUCTION: &str = "\
## Many pairs, many domains

40,000 stanzas of 200 bytes a second over 40 links, one after the other on each link; the pairs of domains take turns, so
that hardly two stanzas that go together are of one pair. So many single stanzas cost more each than those above, which come
in heaps. CPU seconds for 100,000 stanzas, and resident MiB at the end.

| over 40 links | in | out | MiB |
|---|---|---|---|
";
