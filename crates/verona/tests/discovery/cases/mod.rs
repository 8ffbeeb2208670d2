//! All cases, by what goes wrong.

mod addresses;
mod answers;
mod failures;
mod forged;
mod memory;
mod records;
mod transport;

use crate::case::Case;

/// A heading of the page, and what stands below it.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) cases: Vec<Case>,
}

pub(crate) fn all() -> Vec<Group> {
    vec![
        Group {
            title: "Right answers",
            cases: answers::cases(),
        },
        Group {
            title: "Servers that fail, or say nothing",
            cases: failures::cases(),
        },
        Group {
            title: "UDP and TCP",
            cases: transport::cases(),
        },
        Group {
            title: "Answers that are none, and forgeries",
            cases: forged::cases(),
        },
        Group {
            title: "SRV records and aliases",
            cases: records::cases(),
        },
        Group {
            title: "Addresses",
            cases: addresses::cases(),
        },
        Group {
            title: "Memory: a second message",
            cases: memory::cases(),
        },
    ]
}
