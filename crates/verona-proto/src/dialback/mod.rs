//! Server dialback: keys, elements and outcomes (XEP-0220, XEP-0185).
//!
//! Whether an outcome was asked for is decided where the question was remembered, in `authorizations`: here is only
//! what travels.

mod element;
mod issued;
mod key;

pub use element::{
    Dialback, DialbackError, write_answer, write_request, write_verdict, write_verify,
};
pub use issued::{ID_MEMORY, IdSeen, IssuedKeys, PeerStreamIds};
pub(crate) use key::hexadecimal;
pub use key::{Secret, Secrets};

use crate::stanza::StanzaCondition;

/// What a receiving server says to a request (`<db:result type='…'/>`, XEP-0220 §2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The pair may flow.
    Valid,
    /// The key was refused.
    Invalid,
    /// The key could not be verified; the stream lives on (DB-40).
    Error(StanzaCondition),
}

/// What an authoritative server says about a key (`<db:verify type='…'/>`, XEP-0220 §2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It made the key.
    Valid,
    /// It did not.
    Invalid,
    /// It cannot say.
    Error(StanzaCondition),
}
