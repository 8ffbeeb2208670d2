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

use crate::case::Case;

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
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

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
