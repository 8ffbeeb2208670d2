//! What was aimed at, and whether it was reached, computed from the same figures.
//! Why on the page: a goal that was missed is worth more to a reader than one that is not mentioned.

use std::fmt::Write as _;

use crate::results::{Results, Work};

/// A ratio that shall be at least so much, or a figure that shall be at most so much.
struct Goal {
    what: String,
    measured: Option<f64>,
    wanted: f64,
    is_least: bool,
}

/// Writes the table.
pub(super) fn write(results: &Results, page: &mut String) {
    let mut goals = Vec::new();
    if let Some(work) = results.works.get("relay") {
        relay(work, &mut goals);
    }
    if let Some(work) = results.works.get("idle") {
        idle(work, &mut goals);
    }
    if let Some(work) = results.works.get("setup") {
        let rate = work.median("starttls", "verona", "per_cpu_second");
        goals.push(Goal::least(
            "link set-ups for one second of CPU",
            rate,
            2000.0,
        ));
    }
    if let Some(work) = results.works.get("latency") {
        latency(work, &mut goals);
    }
    if let Some(work) = results.works.get("cold") {
        for (case, kind, wanted) in [
            ("starttls-external-first", "prosody", 7.0),
            ("direct-tls-external-first", "prosody", 5.0),
            ("starttls-external-again", "verona", 4.0),
        ] {
            let trips = work.median(case, kind, "round_trips");
            let what = format!("round trips before the first stanza leaves, {case}, {kind}");
            goals.push(Goal::most(&what, trips, wanted));
        }
    }
    if let Some(work) = results.works.get("growth") {
        growth(work, &mut goals);
    }
    if goals.is_empty() {
        return;
    }
    page.push_str("## What was aimed at\n\n| | wanted | measured | |\n|---|---|---|---|\n");
    for goal in &goals {
        let _ = writeln!(page, "{goal}");
    }
    page.push('\n');
    let missed: Vec<&Goal> = goals.iter().filter(|goal| goal.is_missed()).collect();
    for (topic, why) in REASONS {
        if missed.iter().any(|goal| goal.what.contains(topic)) {
            let _ = writeln!(page, "- Why not, {topic}: {why}");
        }
    }
    page.push('\n');
}

fn relay(work: &Work, goals: &mut Vec<Goal>) {
    for (bytes, ratios) in [
        (
            200,
            [("prosody", 30.0), ("ejabberd", 12.0), ("jabberd2", 8.0)],
        ),
        (
            2048,
            [("prosody", 40.0), ("ejabberd", 8.0), ("jabberd2", 6.0)],
        ),
    ] {
        for way in ["in", "out"] {
            let case = format!("{way}-{bytes}-1");
            let Some(own) = work.median(&case, "verona", "cpu") else {
                continue;
            };
            for (kind, wanted) in ratios {
                let ratio = work.median(&case, kind, "cpu").map(|cpu| cpu / own);
                let what = format!("{bytes} bytes, {way}: times less CPU than {kind}");
                goals.push(Goal::least(&what, ratio, wanted));
            }
            if bytes == 200 {
                let ratio = work
                    .median(&case, "scanning-relay", "cpu")
                    .map(|bare| own / bare);
                let what = format!("{bytes} bytes, {way}: times the CPU of the relay that scans");
                goals.push(Goal::most(&what, ratio, 3.0));
            }
        }
    }
}

fn idle(work: &Work, goals: &mut Vec<Goal>) {
    let total = work.median("used-links-10000", "verona", "total_mib");
    goals.push(Goal::most("MiB for 10,000 idle links", total, 200.0));
    for case in ["strangers-10000", "strangers-with-tls-10000"] {
        let each = work.median(case, "verona", "kib");
        goals.push(Goal::most(&format!("KiB for each of {case}"), each, 16.0));
    }
}

/// At a pace that is the same for all, for what one server calls little is much for another.
fn latency(work: &Work, goals: &mut Vec<Goal>) {
    let of = |kind: &str| work.median("same-200", kind, "p99");
    for (kind, wanted) in [
        ("relay", 1.5),
        ("prosody", 1.0),
        ("ejabberd", 1.0),
        ("jabberd2", 1.0),
    ] {
        let ratio = of("verona").zip(of(kind)).map(|(own, other)| own / other);
        let what = format!("p99 of the round trip at low load, as a multiple of that of {kind}");
        goals.push(Goal::most(&what, ratio, wanted));
    }
}

fn growth(work: &Work, goals: &mut Vec<Goal>) {
    for way in ["in", "out"] {
        let of = |case: &str| work.median(&format!("{way}-{case}"), "verona", "cpu");
        let ratio = of("10000-pairs")
            .zip(of("40-pairs"))
            .map(|(many, few)| many / few);
        let what =
            format!("{way}: CPU of a stanza with 10,000 pairs as a multiple of that with 40");
        goals.push(Goal::most(&what, ratio, 1.3));
    }
    let start = work.median("start-10000", "verona", "seconds");
    goals.push(Goal::most(
        "seconds to start with 10,000 domains",
        start,
        2.0,
    ));
}

impl Goal {
    fn least(what: &str, measured: Option<f64>, wanted: f64) -> Self {
        Self {
            what: what.to_owned(),
            measured,
            wanted,
            is_least: true,
        }
    }

    fn most(what: &str, measured: Option<f64>, wanted: f64) -> Self {
        Self {
            is_least: false,
            ..Self::least(what, measured, wanted)
        }
    }

    fn is_missed(&self) -> bool {
        self.measured.is_some_and(|measured| match self.is_least {
            true => measured < self.wanted,
            false => measured > self.wanted,
        })
    }
}

/// What is known of goals that were missed, by words that name them. Said where one is missed, and only there.
const REASONS: &[(&str, &str)] = &[
    (
        "times the CPU of the relay that scans",
        "the relay keeps no queue, knows no pair and answers for nothing: each stanza of verona's is admitted, queued and kept \
         until it is out of our hands, and crosses from one task to another.",
    ),
    (
        "p99 of the round trip at low load, as a multiple of that of relay",
        "a stanza wakes two tasks each way where the relay has one loop, and where both sleep the system wakes them.",
    ),
];

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = match self.is_least {
            true => "at least",
            false => "at most",
        };
        write!(f, "| {} | {word} {} |", self.what, self.wanted)?;
        match self.measured {
            None => write!(f, " – | not measured |"),
            Some(measured) => {
                let verdict = match self.is_missed() {
                    false => "reached",
                    true => "**not reached**",
                };
                write!(f, " {measured:.2} | {verdict} |")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_judged_by_its_kind() {
        let cases = [
            (Goal::least("a", Some(30.0), 30.0), "| reached |"),
            (Goal::least("a", Some(29.0), 30.0), "**not reached**"),
            (Goal::most("a", Some(3.1), 3.0), "**not reached**"),
            (Goal::most("a", None, 3.0), "not measured"),
        ];
        for (goal, says) in cases {
            assert!(goal.to_string().contains(says), "{goal}");
        }
    }
}
