//! Keys of the contract whose feature this version does not have.
//!
//! Ignoring such a key would let an operator believe in a protection that is not there.

use super::problem::Report;
use super::section::Node;

/// Reports that `feature`, asked for by `node`, does not exist yet, and what to do.
pub(super) fn report(node: &Node<'_>, feature: &str, remedy: &str, report: &mut Report) {
    report
        .error(
            &node.place(),
            format!("{feature} is not available in this version"),
        )
        .suggest(remedy);
}
