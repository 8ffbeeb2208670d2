//! What is tried, by area.
//! Why both good and bad: a server that refuses everybody passes every attack, and serves nobody.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a case looks for one thing; whatever else is heard, tomorrow too, is its verdict as it stands"
)]
#![allow(
    clippy::type_complexity,
    reason = "the tables of cases are read across, and a name for each row would hide its columns"
)]

use crate::case::{Case, Need};

mod attack;
mod dialback;
mod floods;
mod headers;
mod order;
mod served;
mod slow;
mod spoofing;
mod starttls;
mod xml;

/// All cases, in their order.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(served::cases());
    cases.extend(order::cases());
    cases.extend(headers::cases());
    cases.extend(starttls::cases());
    cases.extend(spoofing::cases());
    cases.extend(dialback::cases());
    cases.extend(xml::cases());
    cases.extend(slow::cases());
    cases.extend(floods::cases());
    for case in &mut cases {
        let is_about = |start: &&str| case.id.starts_with(start);
        if BOTH_DIRECTIONS.iter().any(is_about) && case.id != "reverse-without-bidi" {
            case.needs.push(Need::Bidi);
        }
    }
    cases
}

/// How the names begin of those cases that make no sense without XEP-0288.
const BOTH_DIRECTIONS: &[&str] = &[
    "served-bidi",
    "served-visit-bidi",
    "served-reverse",
    "reverse-",
    "spoof-visit-another",
    "spoof-visit-the-target",
    "spoof-visit-to",
    "spoof-visit-no-from",
    "spoof-visit-header",
    "order-nothing-before",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_manual_lists_every_case_and_no_other() {
        let manual = include_str!("../../../../docs/hostile.md");
        let listed: BTreeSet<&str> = manual
            .lines()
            .skip_while(|line| !line.starts_with("## The cases"))
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        let cases = all();
        let names: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
        let differ: Vec<_> = names.symmetric_difference(&listed).collect();
        assert!(
            differ.is_empty(),
            "`verona-hostile --list` prints the table: {differ:?}"
        );
    }

    #[test]
    fn every_case_has_a_name_of_its_own_a_requirement_and_a_verdict() {
        let cases = all();
        let names: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
        assert_eq!(names.len(), cases.len());
        for case in &cases {
            assert!(!case.requirements.is_empty(), "{}", case.id);
            assert!(!case.expected.is_empty(), "{}", case.id);
            assert!(case.about.ends_with('.'), "{}: {}", case.id, case.about);
        }
    }
}
