//! Pings of our own (XEP-0199): sent from a hosted domain, matched with their answers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;
use verona_proto::addr::Jid;
use verona_proto::stanza::{Stanza, StanzaClass};

use crate::shared::lock;

/// The pings that wait for their answers.
#[derive(Debug, Default)]
pub(crate) struct Pings {
    /// How many there are: nearly always none, and then a stanza that passes costs nothing.
    count: AtomicUsize,
    waiting: Mutex<BTreeMap<String, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    /// Who was asked: nobody else may answer (LOCAL-16).
    to: Jid,
    answer: oneshot::Sender<Outcome>,
}

/// The answer to a ping. Whoever waits may be given up at any moment, as when the client of the API hangs up.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    pings: &'a Pings,
    id: String,
    pub(crate) answer: oneshot::Receiver<Outcome>,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.pings.forget(&self.id);
    }
}

/// How a ping came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The other side answered, with a result or an error: it lives (LOCAL-16).
    Answered,
    /// It could not be delivered.
    Undeliverable(String),
}

impl Pings {
    /// A ping with that id is about to go out; nobody waits for its answer any more when what is returned is dropped.
    pub(crate) fn expect(&self, id: String, to: Jid) -> Expected<'_> {
        let (sender, answer) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        let sent = Waiting { to, answer: sender };
        waiting.insert(id.clone(), sent);
        self.count.store(waiting.len(), Ordering::Relaxed);
        Expected {
            pings: self,
            id,
            answer,
        }
    }

    fn forget(&self, id: &str) {
        let mut waiting = lock(&self.waiting);
        waiting.remove(id);
        self.count.store(waiting.len(), Ordering::Relaxed);
    }

    /// Whether the stanza is the answer to a ping of ours; then it goes no further.
    pub(crate) fn settles(&self, stanza: &Stanza) -> bool {
        match stanza.class() {
            StanzaClass::Answer | StanzaClass::Error => {}
            StanzaClass::Request | StanzaClass::Other => return false,
        }
        //= LOCAL-16
        //= LOCAL-15
        self.take(stanza, |waiting, stanza| waiting.to == stanza.sender())
            .is_some_and(|waiting| waiting.answer.send(Outcome::Answered).is_ok())
    }

    /// Whether the stanza is a ping of ours that could not be delivered.
    pub(crate) fn fails(&self, stanza: &Stanza, text: &str) -> bool {
        self.take(stanza, |waiting, stanza| waiting.to == stanza.recipient())
            .is_some_and(|waiting| {
                waiting
                    .answer
                    .send(Outcome::Undeliverable(text.to_owned()))
                    .is_ok()
            })
    }

    fn take(
        &self,
        stanza: &Stanza,
        matches: impl FnOnce(&Waiting, &Stanza) -> bool,
    ) -> Option<Waiting> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let id = stanza.id()?;
        let mut waiting = lock(&self.waiting);
        if !waiting.get(&id).is_some_and(|found| matches(found, stanza)) {
            return None;
        }
        let found = waiting.remove(&id);
        self.count.store(waiting.len(), Ordering::Relaxed);
        found
    }
}

/// Why a ping was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PingError {
    /// The domain to ping from is not hosted here.
    NotHosted(String),
    /// The recipient is one of our own domains' addresses that cannot be asked, or no address at all.
    BadRecipient(String),
    /// The ping came back; the text says why.
    Undeliverable(String),
    /// Nobody answered in time.
    NoAnswer {
        /// The address that was asked.
        to: String,
        /// For how many seconds.
        seconds: u64,
    },
}

impl fmt::Display for PingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHosted(domain) => write!(
                f,
                "{domain} is not hosted here; ping from a domain of the configuration's [[domain]]"
            ),
            Self::BadRecipient(text) | Self::Undeliverable(text) => f.write_str(text),
            Self::NoAnswer { to, seconds } => write!(f, "{to} did not answer within {seconds} s"),
        }
    }
}

impl std::error::Error for PingError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use verona_proto::stanza::StanzaKind;

    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    /// An `<iq/>` to montague.lit.
    fn iq(from: &str, type_attribute: &str, id: &str) -> Stanza {
        let to = jid("montague.lit");
        Stanza::build(
            StanzaKind::Iq,
            &jid(from),
            &to,
            Some(type_attribute),
            Some(id),
            "",
        )
    }

    #[test]
    fn only_who_was_asked_may_answer_and_only_once() {
        //= LOCAL-15
        //= LOCAL-16
        for type_attribute in ["result", "error"] {
            let pings = Pings::default();
            let mut expected = pings.expect("p1".into(), jid("capulet.lit"));
            for unasked in [
                iq("bank.lit", type_attribute, "p1"),
                iq("juliet@capulet.lit", type_attribute, "p1"),
                iq("capulet.lit", type_attribute, "p2"),
                iq("capulet.lit", "get", "p1"),
                iq("capulet.lit", "set", "p1"),
            ] {
                assert!(!pings.settles(&unasked), "{unasked:?}");
                assert!(expected.answer.try_recv().is_err(), "{unasked:?}");
            }
            let asked = iq("capulet.lit", type_attribute, "p1");
            assert!(pings.settles(&asked), "{type_attribute} proves life");
            assert_eq!(expected.answer.try_recv(), Ok(Outcome::Answered));
            assert!(!pings.settles(&asked), "nobody waits any more");
        }
    }

    #[test]
    fn a_ping_that_comes_back_says_why() {
        //= LOCAL-16
        let pings = Pings::default();
        let mut expected = pings.expect("p1".into(), jid("capulet.lit"));
        let ours = Stanza::build(
            StanzaKind::Iq,
            &jid("montague.lit"),
            &jid("capulet.lit"),
            Some("get"),
            Some("p1"),
            "",
        );
        assert!(!pings.fails(&iq("montague.lit", "get", "p1"), "to another"));
        assert!(pings.fails(&ours, "no way"));
        assert_eq!(
            expected.answer.try_recv(),
            Ok(Outcome::Undeliverable("no way".into()))
        );
    }

    #[test]
    fn a_ping_that_nobody_waits_for_is_forgotten() {
        let pings = Pings::default();
        drop(pings.expect("p1".into(), jid("capulet.lit")));
        assert!(lock(&pings.waiting).is_empty());
        assert!(!pings.settles(&iq("capulet.lit", "result", "p1")));
    }
}
