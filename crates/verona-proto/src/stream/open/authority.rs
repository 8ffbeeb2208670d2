//! We are the authoritative server: a peer asks whether a key is one of ours (XEP-0220 §2.2.2).
//!
//! Whoever asks need not be authenticated, so what is answered tells nothing but yes or no.

use std::time::Instant;

use super::super::context::Context;
use super::super::{Event, StreamError};
use crate::addr::Domain;
use crate::dialback::{Verdict, write_verdict};
use crate::stanza::condition::StanzaCondition;

/// How many checks of keys move the deadline of a peer that has nothing authorised: a small cap (STREAM-57).
pub(in crate::stream) const VOUCHED_MAX: u64 = 16;

/// Answers a check of one of our keys: we are the authoritative server (XEP-0220 §2.2.2).
pub(in crate::stream) fn vouch(
    from: &Domain,
    to: &Domain,
    id: &str,
    key: &str,
    own_id: Option<&str>,
    context: &mut Context,
    now: Instant,
) {
    let verdict = if context.config.hosts.local(to).is_none() {
        //= DB-33
        Verdict::Error(StanzaCondition::ItemNotFound)
    } else if own_id == Some(id) {
        //= BIDI-43
        Verdict::Error(StanzaCondition::NotAcceptable)
    } else if context.config.secrets.is_key(from, to, id, key)
        //= DB-35
        //= BIDI-35
        && context.config.memory.issued.knows(key, now)
    {
        //= DB-34
        Verdict::Valid
    } else {
        Verdict::Invalid
    };
    context.write(|out| write_verdict(out, to, from, id, verdict));
    context.event(Event::Vouched {
        receiving: from.clone(),
        originating: to.clone(),
        valid: verdict == Verdict::Valid,
    });
}

/// Refuses a check that lacks something: answered where there is an address to answer to (DB-51).
pub(in crate::stream) fn refuse_verify(
    from: Option<&Domain>,
    to: Option<&Domain>,
    id: Option<&str>,
    context: &mut Context,
) -> Result<(), StreamError> {
    //= DB-51
    if let (Some(from), Some(to)) = (from, to) {
        let verdict = Verdict::Error(StanzaCondition::BadRequest);
        context.write(|out| write_verdict(out, to, from, id.unwrap_or_default(), verdict));
    }
    context.irregular("a <db:verify/> without valid 'from', 'to' and 'id'")
}
