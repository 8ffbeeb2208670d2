//! What a name server of these tests answers: by name and type, mostly like any other, and then one thing not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use verona_sim::name_server::message::{
    A, AAAA, Message, NX_DOMAIN, Question, Record, SRV, TRUNCATED, a, soa, srv,
};
use verona_sim::name_server::{Act, Transport};

use crate::world::{Place, STARTTLS};

/// What is done about a question.
pub(crate) type Reply = Arc<dyn Fn(&Question) -> Vec<Act> + Send + Sync>;

/// Replies by (name, type); to all else there is no such name.
#[derive(Clone)]
pub(crate) struct Zone {
    replies: BTreeMap<(String, u16), Reply>,
    other: Reply,
    every: Option<Every>,
}

type Every = Arc<dyn Fn(&Question, Vec<Act>) -> Vec<Act> + Send + Sync>;

impl Zone {
    /// A domain as it should be: one server, found by SRV; and an address of its own, which is not to be dialled then.
    pub(crate) fn good(place: &Place) -> Self {
        let empty = Self {
            replies: BTreeMap::new(),
            other: nx_domain(),
            every: None,
        };
        empty
            .on(XMPP, SRV, records(vec![srv(XMPP, 0, 0, STARTTLS, HOST_A)]))
            .on(HOST_A, A, records(vec![a(HOST_A, place.a())]))
            .on(HOST_A, AAAA, no_data())
            .on(HOST_B, A, records(vec![a(HOST_B, place.b())]))
            .on(HOST_B, AAAA, no_data())
            .on(HOST_C, A, records(vec![a(HOST_C, place.c())]))
            .on(HOST_C, AAAA, no_data())
            .on(DOMAIN, A, records(vec![a(DOMAIN, place.domain())]))
            .on(DOMAIN, AAAA, no_data())
            .on(TRAP, A, records(vec![a(TRAP, place.trap())]))
            .on(TRAP, AAAA, no_data())
            .on(OTHER, A, no_data())
    }

    /// A domain without SRV records.
    pub(crate) fn without_srv(place: &Place) -> Self {
        Self::good(place).on(XMPP, SRV, nx_domain())
    }

    /// From here on this is what is done.
    pub(crate) fn on(mut self, name: &str, kind: u16, reply: Reply) -> Self {
        self.replies
            .insert((name.to_ascii_lowercase(), kind), reply);
        self
    }

    /// Does this instead of anything else.
    pub(crate) fn all(mut self, reply: Reply) -> Self {
        self.replies.clear();
        self.other = reply;
        self
    }

    /// Changes what is done about every question.
    pub(crate) fn every(
        mut self,
        change: impl Fn(&Question, Vec<Act>) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        self.every = Some(Arc::new(change));
        self
    }

    pub(crate) fn answer(&self, question: &Question) -> Vec<Act> {
        let key = (question.name.clone(), question.kind);
        let acts = self.replies.get(&key).unwrap_or(&self.other)(question);
        match &self.every {
            Some(change) => change(question, acts),
            None => acts,
        }
    }
}

/// These records, in the answer section.
pub(crate) fn records(records: Vec<Record>) -> Reply {
    message(move |message| message.answers.clone_from(&records))
}

/// One server by STARTTLS.
pub(crate) fn server(host: &str) -> Reply {
    records(vec![srv(XMPP, 0, 0, STARTTLS, host)])
}

/// An answer without error, filled in as told.
pub(crate) fn message(fill: impl Fn(&mut Message) + Send + Sync + 'static) -> Reply {
    said(move |question| {
        let mut message = Message::reply(question);
        fill(&mut message);
        message.to_bytes_for(question)
    })
}

/// A message of the caller's.
pub(crate) fn said(bytes: impl Fn(&Question) -> Vec<u8> + Send + Sync + 'static) -> Reply {
    Arc::new(move |question| vec![Act::Say(bytes(question))])
}

pub(crate) fn code(code: u16) -> Reply {
    said(move |question| Message::code(question, code).to_bytes())
}

/// No such name, and that for a minute.
pub(crate) fn nx_domain() -> Reply {
    absent(NX_DOMAIN, 60)
}

/// No such record, and that for a minute.
pub(crate) fn no_data() -> Reply {
    absent(0, 60)
}

/// Nothing there, and that for so many seconds.
pub(crate) fn absent(code: u16, seconds: u32) -> Reply {
    message(move |message| {
        message.flags |= code;
        message.authorities.push(soa("lit", seconds));
    })
}

pub(crate) fn silence() -> Reply {
    Arc::new(|_| Vec::new())
}

pub(crate) fn late(time: Duration, reply: Reply) -> Reply {
    Arc::new(move |question| {
        let mut acts = vec![Act::Wait(time)];
        acts.extend(reply(question));
        acts
    })
}

/// The first `times` times one, later the other.
pub(crate) fn first(times: usize, early: Reply, later: Reply) -> Reply {
    Arc::new(move |question| match question.earlier < times {
        true => early(question),
        false => later(question),
    })
}

/// One over UDP, the other over TCP.
pub(crate) fn by_transport(udp: Reply, tcp: Reply) -> Reply {
    Arc::new(move |question| match question.transport {
        Transport::Udp => udp(question),
        Transport::Tcp => tcp(question),
    })
}

/// "It does not fit": nothing but that.
pub(crate) fn truncated() -> Reply {
    message(|message| message.flags |= TRUNCATED)
}

/// Both, one after the other.
pub(crate) fn both(one: Reply, other: Reply) -> Reply {
    Arc::new(move |question| {
        let mut acts = one(question);
        acts.extend(other(question));
        acts
    })
}

pub(crate) const DOMAIN: &str = "capulet.lit";
/// Another domain, whose names nobody may speak for.
pub(crate) const OTHER: &str = "escalus.lit";
pub(crate) const XMPP: &str = "_xmpp-server._tcp.capulet.lit";
pub(crate) const XMPPS: &str = "_xmpps-server._tcp.capulet.lit";
pub(crate) const HOST_A: &str = "a.capulet.lit";
pub(crate) const HOST_B: &str = "b.capulet.lit";
pub(crate) const HOST_C: &str = "c.capulet.lit";
pub(crate) const TRAP: &str = "trap.lit";
