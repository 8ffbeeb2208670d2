//! XMPP server-to-server federation without I/O.
#![forbid(unsafe_code)]

pub mod addr;
pub mod authorizations;
pub mod certificate;
pub mod component;
pub mod dialback;
pub mod discovery;
pub mod federation;
pub mod grounds;
pub mod limits;
pub mod local;
pub mod ns;
pub mod outbox;
pub mod policy;
pub mod stanza;
pub mod stream;
pub mod switchboard;
