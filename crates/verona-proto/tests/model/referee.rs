//! The reference model of one connection, written from the specification: it hears what the peer says, reads what verona
//! says, and knows from that alone which pairs may flow which way (XEP-0288 §2.2, XEP-0220 §2, XEP-0178 §3).
//!
//! It is exact: while a stream is open, verona must grant just these pairs, no more and no fewer.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;

use verona_proto::learned::Learned;

use crate::names::{Address, Name, Pair, Pairs};
use crate::rules::{Certificate, Rule, Rules};
use crate::wire::{Authzid, Bidi, Features, Outcome, Sentence};

/// Who opened the connection, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Receiving,
    /// To carry the pair; whether SASL EXTERNAL and bidi may be asked for.
    Initiating {
        pair: Pair,
        external: bool,
        bidi: bool,
    },
    /// To have keys of the pair checked.
    Verifying(Pair),
}

/// How far the two have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The peer's header is to come.
    Header,
    /// Initiating: the peer's features are to come.
    Features,
    /// Receiving: the peer chooses what to do; initiating: we do.
    Choice,
    /// Initiating: `<starttls/>` is said.
    Proceed,
    Handshake,
    /// Initiating: `<auth/>` is said.
    SaslOutcome,
    /// `<success/>` is said; the peer's header is to come.
    HeaderAfterSasl,
    /// Initiating, behind that header.
    FeaturesAfterSasl,
    Open,
    /// Nothing that the peer says counts any more.
    Over,
}

/// A key of the peer's that the authoritative server must check.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) pair: Pair,
    pub(crate) id: String,
    pub(crate) key: String,
    deadline: u64,
}

/// A key of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    pub(crate) pair: Pair,
    pub(crate) fate: Fate,
    deadline: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pending,
    Granted,
    Refused,
    Expired,
}

/// A key that we had checked on this connection.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) outcome: Option<Outcome>,
}

/// A key of ours: for whom, of which domain, on the stream of which id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issued {
    pub(crate) receiving: Name,
    pub(crate) originating: Name,
    pub(crate) id: String,
    pub(crate) key: String,
}

#[derive(Debug)]
pub(crate) struct Referee {
    pub(crate) rules: Rc<Rules>,
    pub(crate) part: Part,
    /// Who proved itself to this server before, on whichever stream.
    learned: Learned,
    pub(crate) stage: Stage,
    pub(crate) now: u64,
    /// The peer's certificate, once TLS stands.
    pub(crate) certificate: Option<Rc<Certificate>>,
    /// Receiving: the addresses of the peer's header on the stream as it is.
    pub(crate) from: Option<Name>,
    pub(crate) to: Option<Name>,
    /// What the peer offered, when we opened.
    pub(crate) offer: Features,
    pub(crate) peer_has_dialback: bool,
    /// The id of the latest response header.
    pub(crate) id: Option<String>,
    ids: Vec<String>,
    offered_bidi: bool,
    pub(crate) bidi: bool,
    /// The peers with which the operator allows bidi, traffic under TLS, traffic in the clear: a bit for each.
    bidi_remotes: u16,
    secure_remotes: u16,
    clear_remotes: u16,
    /// Who proved what to us.
    pub(crate) by_sasl: Pairs,
    pub(crate) by_certificate: Pairs,
    pub(crate) by_dialback: Pairs,
    /// Who agreed to receive what.
    pub(crate) agreed_by_sasl: Pairs,
    pub(crate) agreed_by_dialback: Pairs,
    pub(crate) asked: Vec<Asked>,
    /// The peer's requests that have no answer.
    unanswered: Vec<Pair>,
    pub(crate) asking: Vec<Asking>,
    /// Keys that the federation must be told of, in order.
    key_checks: Vec<Asked>,
    /// What verona owes the peer.
    due_proceed: bool,
    due_success: u32,
    due_failure: u32,
    sasl_failures: u32,
    due_features: Option<(bool, bool)>,
    pub(crate) checks: Vec<Check>,
    /// Questions of the peer about keys of ours, and the keys that we really made, here and elsewhere.
    questions: Vec<Issued>,
    pub(crate) issued_elsewhere: Vec<Issued>,
    pub(crate) issued: Vec<Issued>,
    /// The ids of the streams that this server opened, with whom.
    pub(crate) ids_seen: IdsSeen,
    /// The peer used the stream's id before, or gave none: a key on it proves nothing (BIDI-35, STREAM-17).
    is_id_old: bool,
    /// The server that we dialled was believed when the stream was negotiated. What expires later takes nothing back
    /// (ADR 0010).
    is_believed: bool,
}

pub(crate) type IdsSeen = Rc<RefCell<BTreeSet<(Name, String)>>>;

/// Seconds for the authoritative server (LIM-14), and for an answer to a request of ours (DB-07).
const VERIFICATION_SECONDS: u64 = 30;
const ANSWER_SECONDS: u64 = 45;
/// Keys that may await their verdict on one stream (LIM-09).
const VERIFICATIONS_MAX: usize = 4;
/// Failed authentications that a peer survives (SASL-21).
const SASL_FAILURES_MAX: u32 = 3;

impl Asked {
    pub(crate) fn new(pair: Pair, id: String, key: String) -> Self {
        Self {
            pair,
            id,
            key,
            deadline: 0,
        }
    }

    /// Whether it is about the same key of the same stream.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.pair, &self.id, &self.key) == (other.pair, &other.id, &other.key)
    }
}

impl Referee {
    pub(crate) fn new(rules: Rc<Rules>, part: Part, learned: Learned, now: u64) -> Self {
        let remotes = |is: &dyn Fn(Rule) -> bool| {
            let all = (0..Name::COUNT).map(Name);
            all.filter(|name| is(rules.for_peer(*name)))
                .fold(0, |mask, name| mask | 1 << name.0)
        };
        Self {
            bidi_remotes: remotes(&|rule| rule.bidi),
            secure_remotes: remotes(&|rule| !rule.deny),
            clear_remotes: remotes(&|rule| !rule.deny && !rule.tls_required),
            rules,
            part,
            learned,
            stage: Stage::Header,
            now,
            certificate: None,
            from: None,
            to: None,
            offer: Features::default(),
            peer_has_dialback: false,
            id: None,
            ids: Vec::new(),
            offered_bidi: false,
            bidi: false,
            by_sasl: Pairs::default(),
            by_certificate: Pairs::default(),
            by_dialback: Pairs::default(),
            agreed_by_sasl: Pairs::default(),
            agreed_by_dialback: Pairs::default(),
            asked: Vec::new(),
            unanswered: Vec::new(),
            asking: Vec::new(),
            key_checks: Vec::new(),
            due_proceed: false,
            due_success: 0,
            due_failure: 0,
            sasl_failures: 0,
            due_features: None,
            checks: Vec::new(),
            questions: Vec::new(),
            issued_elsewhere: Vec::new(),
            issued: Vec::new(),
            ids_seen: IdsSeen::default(),
            is_id_old: false,
            is_believed: false,
        }
    }

    // What may flow.

    /// The pairs for which the peer may send.
    pub(crate) fn receivable(&self) -> Pairs {
        let proven = self
            .by_sasl
            .union(&self.by_certificate)
            .union(&self.by_dialback);
        let agreed = self.agreed_by_sasl.union(&self.agreed_by_dialback);
        self.flowing(proven, agreed, self.part == Part::Receiving)
    }

    /// The pairs for which we may send.
    pub(crate) fn sendable(&self) -> Pairs {
        let proven = self
            .by_sasl
            .union(&self.by_certificate)
            .union(&self.by_dialback);
        let agreed = self.agreed_by_sasl.union(&self.agreed_by_dialback);
        self.flowing(agreed, proven, self.part != Part::Receiving)
    }

    /// A direction flows on its own grounds along the connection, and against it only with bidi; the inverse of the
    /// other direction's grounds needs bidi always.
    fn flowing(&self, direct: Pairs, inverse: Pairs, along: bool) -> Pairs {
        if self.stage != Stage::Open {
            return Pairs::default();
        }
        let bidi = if self.bidi { self.bidi_remotes } else { 0 };
        let direct = if along {
            direct
        } else {
            direct.of_remotes(bidi)
        };
        let allowed = match self.certificate {
            Some(_) => self.secure_remotes,
            None => self.clear_remotes,
        };
        direct.union(&inverse.of_remotes(bidi)).of_remotes(allowed)
    }

    /// BIDI-71: what the operator wants of that peer holds for both directions.
    fn bidi_with(&self, remote: Name) -> bool {
        self.bidi && self.rules.for_peer(remote).bidi
    }

    fn is_allowed(&self, remote: Name) -> bool {
        let rule = self.rules.for_peer(remote);
        !rule.deny && (self.certificate.is_some() || !rule.tls_required)
    }

    /// ROUTE-03..05: whether a stanza of the peer's may be delivered.
    pub(crate) fn may_deliver(&self, from: Address, to: Address) -> bool {
        let (Some(from), Some(to)) = (from.name(), to.name()) else {
            return false;
        };
        let receivable = self.receivable();
        self.rules.hosts(to)
            && !self.rules.hosts(from)
            && (receivable.contains(Pair::new(to, from))
                || self.rules.for_peer(from).any_hosted && receivable.has_remote(from))
    }

    fn covered(&self, name: Name) -> bool {
        self.certificate
            .as_ref()
            .is_some_and(|certificate| certificate.covers(name, self.now))
            && self.rules.for_peer(name).certificate
    }

    /// BIDI-23, TLS-23: whether we may believe that the server which we dialled is the one.
    pub(crate) fn believes(&self, remote: Name) -> bool {
        self.covered(remote) || self.rules.for_peer(remote).dialback
    }

    // What happens.

    /// TLS stands: nothing that was said before counts (TLS-10).
    pub(crate) fn secured(&mut self, certificate: Rc<Certificate>) {
        let ids = std::mem::take(&mut self.ids);
        let checks = std::mem::take(&mut self.checks);
        let issued = std::mem::take(&mut self.issued);
        let elsewhere = std::mem::take(&mut self.issued_elsewhere);
        let ids_seen = Rc::clone(&self.ids_seen);
        let learned = self.learned.clone();
        *self = Self::new(Rc::clone(&self.rules), self.part, learned, self.now);
        self.certificate = Some(certificate);
        self.ids = ids;
        self.checks = checks;
        self.issued = issued;
        self.issued_elsewhere = elsewhere;
        self.ids_seen = ids_seen;
    }

    /// Time passed, and verona was told.
    pub(crate) fn tick(&mut self, now: u64) {
        self.now = now;
        //  What nobody confirmed in time is not confirmed later.
        self.asked.retain(|asked| asked.deadline > now);
        for asking in &mut self.asking {
            if asking.fate == Fate::Pending && asking.deadline <= now {
                asking.fate = Fate::Expired;
            }
        }
    }

    /// The authoritative server answered about a key received here.
    pub(crate) fn verdict(&mut self, pair: Pair, outcome: Outcome) {
        let Some(at) = self.asked.iter().position(|asked| asked.pair == pair) else {
            return;
        };
        self.asked.remove(at);
        if outcome == Outcome::Valid {
            self.by_dialback.insert(pair);
        }
    }

    /// The peer said something. For a stanza: whether it may be delivered.
    pub(crate) fn heard(&mut self, sentence: &Sentence) -> Option<bool> {
        match sentence {
            Sentence::Stanza { from, to, .. } => {
                let admitted = self.may_deliver(*from, *to);
                // Before the stream is open, or without grounds, a stanza is the end (STREAM-34, BIDI-22).
                if !admitted {
                    self.stage = Stage::Over;
                    self.forget();
                }
                return Some(admitted);
            }
            Sentence::Close | Sentence::StreamError(_) => {
                self.stage = Stage::Over;
            }
            Sentence::Space => {}
            _ => match self.part {
                Part::Receiving => self.heard_of_initiator(sentence),
                Part::Initiating { .. } => self.heard_of_receiver(sentence),
                Part::Verifying(pair) => self.heard_of_authority(pair, sentence),
            },
        }
        None
    }

    /// Nothing that was granted counts any more.
    fn forget(&mut self) {
        for pairs in [
            &mut self.by_sasl,
            &mut self.by_certificate,
            &mut self.by_dialback,
            &mut self.agreed_by_sasl,
            &mut self.agreed_by_dialback,
        ] {
            *pairs = Pairs::default();
        }
    }

    fn heard_of_initiator(&mut self, sentence: &Sentence) {
        match (self.stage, sentence) {
            (Stage::Header, Sentence::Header { from, to, .. }) => self.first_header(*from, *to),
            (Stage::HeaderAfterSasl, Sentence::Header { from, to, .. }) => {
                // STREAM-24, BIDI-19: the pair is that of the header which authenticated.
                match (from.name(), to.name()) {
                    (Some(from), Some(to)) if self.from == Some(from) && self.to == Some(to) => {
                        self.by_sasl.insert(Pair::new(to, from));
                        self.stage = Stage::Open;
                        self.due_features =
                            Some((false, self.rules.for_peer(from).bidi && !self.bidi));
                    }
                    _ => self.stage = Stage::Over,
                }
            }
            //= BIDI-15
            (Stage::Choice | Stage::Open | Stage::HeaderAfterSasl, Sentence::Bidi(bidi)) => {
                if *bidi != Bidi::WrongNamespace && self.offered_bidi {
                    self.bidi = true;
                } else if *bidi == Bidi::WrongNamespace && self.stage == Stage::HeaderAfterSasl {
                    self.stage = Stage::Over;
                }
            }
            (Stage::Choice, Sentence::StartTls) => {
                self.due_proceed = self.certificate.is_none() && self.rules.tls_available;
                self.stage = match self.due_proceed {
                    true => Stage::Handshake,
                    false => Stage::Over,
                };
            }
            (Stage::Choice, Sentence::Auth(authzid)) => self.heard_auth(*authzid),
            (Stage::Choice | Stage::Open, _) if is_dialback(sentence) => {
                self.heard_dialback(sentence)
            }
            (Stage::Choice | Stage::Open, Sentence::Header { .. })
            | (Stage::Open, Sentence::StartTls)
            | (Stage::Header | Stage::HeaderAfterSasl, _) => self.stage = Stage::Over,
            // A byte in the clear after TLS was agreed on is an injection (TLS-07).
            (Stage::Handshake, _) => self.stage = Stage::Over,
            (_, _) => {}
        }
    }

    fn first_header(&mut self, from: Address, to: Address) {
        let rule = match from {
            Address::Of(name, _) => self.rules.for_peer(name),
            Address::Absent | Address::Nonsense => self.rules.defaults,
        };
        let is_bad = from == Address::Nonsense
            || !to.name().is_some_and(|to| self.rules.hosts(to))
            || from.name().is_some_and(|from| self.rules.hosts(from))
            || from.name().is_some() && rule.deny;
        if is_bad {
            self.stage = Stage::Over;
            return;
        }
        (self.from, self.to) = (from.name(), to.name());
        self.stage = Stage::Choice;
        // BIDI-02: with TLS still to come and required, bidi is not offered.
        let tls_first = self.certificate.is_none() && self.rules.tls_available && rule.tls_required;
        self.offered_bidi = rule.bidi && !tls_first;
        let external = self.from.is_some_and(|from| self.covered(from));
        self.due_features = Some((external, self.offered_bidi));
    }

    fn heard_auth(&mut self, authzid: Authzid) {
        let from = self.from.filter(|from| self.covered(*from));
        let is_theirs = match authzid {
            Authzid::Nobody | Authzid::Empty => true,
            Authzid::Of(name) => self.from == Some(name),
            Authzid::Garbage | Authzid::Plain => false,
        };
        if from.is_some() && is_theirs {
            self.due_success += 1;
            self.stage = Stage::HeaderAfterSasl;
            return;
        }
        self.due_failure += 1;
        self.sasl_failures += 1;
        let rule = self
            .from
            .map_or(self.rules.defaults, |from| self.rules.for_peer(from));
        //= SASL-25
        if self.sasl_failures > SASL_FAILURES_MAX || !rule.dialback {
            self.stage = Stage::Over;
        }
    }

    fn heard_of_receiver(&mut self, sentence: &Sentence) {
        match (self.stage, sentence) {
            (Stage::Header, Sentence::Header { id, dialback, .. }) => {
                self.id.clone_from(id);
                self.peer_has_dialback = *dialback;
                self.stage = Stage::Features;
            }
            (Stage::HeaderAfterSasl, Sentence::Header { id, dialback, .. }) => {
                self.id.clone_from(id);
                self.peer_has_dialback = *dialback;
                self.stage = Stage::FeaturesAfterSasl;
            }
            (Stage::Features, Sentence::Features(offer)) => {
                self.offer = *offer;
                self.stage = Stage::Choice;
            }
            (Stage::FeaturesAfterSasl, Sentence::Features(_)) => {
                if let Part::Initiating { pair, .. } = self.part {
                    self.agreed_by_sasl.insert(pair);
                }
                self.open();
            }
            (Stage::Proceed, Sentence::Proceed) => self.stage = Stage::Handshake,
            (Stage::SaslOutcome, Sentence::Success) => self.stage = Stage::HeaderAfterSasl,
            (Stage::SaslOutcome, Sentence::SaslFailure) => self.stage = Stage::Choice,
            (Stage::Open, _) if is_dialback(sentence) => self.heard_dialback(sentence),
            (Stage::Header | Stage::HeaderAfterSasl | Stage::Handshake, _)
            | (_, Sentence::Header { .. })
            | (Stage::Open, Sentence::StartTls) => self.stage = Stage::Over,
            (_, _) => {}
        }
    }

    /// The stream that we opened is open: its id is one of those that the peer has used.
    fn open(&mut self) {
        if let (Part::Initiating { pair, .. }, true) = (self.part, self.stage != Stage::Open) {
            self.is_id_old = match self.id.clone() {
                Some(id) => !self.ids_seen.borrow_mut().insert((pair.remote, id)),
                None => true,
            };
        }
        self.stage = Stage::Open;
    }

    fn heard_of_authority(&mut self, pair: Pair, sentence: &Sentence) {
        match (self.stage, sentence) {
            (Stage::Header, Sentence::Header { id, .. }) => {
                self.id.clone_from(id);
                self.stage = Stage::Features;
            }
            (Stage::Features, Sentence::Features(_)) => self.stage = Stage::Choice,
            (Stage::Proceed, Sentence::Proceed) => self.stage = Stage::Handshake,
            // DB-27: 'from', 'to' and 'id' all match a question that we put here and that is not answered.
            (
                Stage::Open,
                Sentence::Verdict {
                    from,
                    to,
                    id,
                    outcome,
                },
            ) if from.name() == Some(pair.remote)
                && to.name() == Some(pair.local)
                && *outcome != Outcome::Odd =>
            {
                let check = self
                    .checks
                    .iter_mut()
                    .find(|check| check.id == *id && check.outcome.is_none());
                if let Some(check) = check {
                    check.outcome = Some(*outcome);
                }
            }
            (_, _) => {}
        }
    }

    /// The dispatch of conformance §4.1.
    fn heard_dialback(&mut self, sentence: &Sentence) {
        match sentence {
            Sentence::Request { from, to, key } => match (from.name(), to.name()) {
                (Some(from), Some(to)) => self.heard_request(from, to, key),
                _ => self.stage = Stage::Over,
            },
            Sentence::Answer { from, to, outcome } => {
                if let (Some(from), Some(to)) = (from.name(), to.name()) {
                    self.heard_answer(Pair::new(to, from), *outcome);
                }
            }
            Sentence::Verify { from, to, id, key } => {
                if let (Some(from), Some(to)) = (from.name(), to.name()) {
                    self.questions.push(Issued {
                        receiving: from,
                        originating: to,
                        id: id.clone(),
                        key: key.clone(),
                    });
                }
            }
            // BIDI-38: nobody was asked here.
            _ => {}
        }
    }

    /// DB-15..18, BIDI-30..31: the peer asks to be believed.
    fn heard_request(&mut self, from: Name, to: Name, key: &str) {
        let pair = Pair::new(to, from);
        let rule = self.rules.for_peer(from);
        self.unanswered.push(pair);
        let in_clear = rule.tls_required && self.certificate.is_none();
        if in_clear && self.stage == Stage::Choice {
            return;
        }
        self.stage = Stage::Open;
        // DB-41: nobody who came with a certificate before is believed without TLS. A story is shorter than this memory.
        let is_less = self.certificate.is_none()
            && self
                .learned
                .proven(&from.domain(), Instant::now())
                .is_some();
        if !self.rules.hosts(to) || self.rules.hosts(from) || rule.deny || in_clear || is_less {
            return;
        }
        if self.part != Part::Receiving && !(self.bidi_with(from) && self.sendable().has_local(to))
        {
            return;
        }
        if self.receivable().contains(pair) {
            return;
        }
        if self.is_id_old {
            return;
        }
        if self.covered(from) {
            self.by_certificate.insert(pair);
            return;
        }
        if !rule.dialback || self.asked.iter().any(|asked| asked.pair == pair) {
            return;
        }
        if self.asked.len() >= VERIFICATIONS_MAX {
            return;
        }
        let asked = Asked {
            pair,
            id: self.id.clone().unwrap_or_default(),
            key: key.to_owned(),
            deadline: self.now + VERIFICATION_SECONDS,
        };
        self.key_checks.push(asked.clone());
        self.asked.push(asked);
    }

    /// DB-09, BIDI-37, BIDI-39: only what we asked here, and once.
    fn heard_answer(&mut self, pair: Pair, outcome: Outcome) {
        let asking = self
            .asking
            .iter_mut()
            .find(|asking| asking.pair == pair && asking.fate == Fate::Pending);
        let Some(asking) = asking else {
            return;
        };
        match outcome {
            Outcome::Valid => {
                asking.fate = Fate::Granted;
                self.agreed_by_dialback.insert(pair);
            }
            Outcome::Invalid | Outcome::Error => asking.fate = Fate::Refused,
            Outcome::Odd => {}
        }
    }

    /// The federation is told of a key.
    pub(crate) fn told_of_key(&mut self, pair: Pair, id: &str, key: &str) -> Result<(), String> {
        let due = |check: &Asked| check.pair == pair && check.id == id && check.key == key;
        match self.key_checks.iter().position(due) {
            Some(at) => {
                self.key_checks.remove(at);
                Ok(())
            }
            None => Err(format!("a key of {pair} is to be checked for no reason")),
        }
    }

    // What verona says.

    pub(crate) fn said(&mut self, sentence: &Sentence) -> Result<(), String> {
        let refuse = |what: &str| Err(format!("verona said {sentence:?}: {what}"));
        match sentence {
            Sentence::Header { from, to, id, .. } => {
                return self.said_header(*from, *to, id.as_deref());
            }
            Sentence::Features(features) => {
                let Some((external, bidi)) = self.due_features.take() else {
                    return refuse("no features are due");
                };
                if (features.external, features.bidi) != (external, bidi) {
                    return refuse("another offer is due");
                }
            }
            Sentence::StartTls => {
                if self.part == Part::Receiving
                    || self.stage != Stage::Choice
                    || self.certificate.is_some()
                {
                    return refuse("not the time for it");
                }
                self.stage = Stage::Proceed;
            }
            Sentence::Proceed => {
                if !std::mem::take(&mut self.due_proceed) {
                    return refuse("TLS was not asked for");
                }
            }
            Sentence::Bidi(_) => return self.said_bidi(),
            Sentence::Auth(authzid) => return self.said_auth(*authzid),
            Sentence::Success => {
                if self.due_success == 0 {
                    return refuse("the peer has not authenticated");
                }
                self.due_success -= 1;
            }
            Sentence::SaslFailure => {
                if self.due_failure == 0 {
                    return refuse("no authentication failed");
                }
                self.due_failure -= 1;
            }
            Sentence::Request { from, to, key } => match (from.name(), to.name()) {
                (Some(from), Some(to)) => return self.said_request(from, to, key),
                _ => return refuse("nobody is addressed"),
            },
            Sentence::Answer { from, to, outcome } => {
                let (Some(from), Some(to)) = (from.name(), to.name()) else {
                    return refuse("nobody is addressed");
                };
                let pair = Pair::new(from, to);
                let Some(at) = self.unanswered.iter().position(|asked| *asked == pair) else {
                    return refuse("nobody asked");
                };
                self.unanswered.remove(at);
                if *outcome == Outcome::Valid && !self.receivable().contains(pair) {
                    return refuse("the pair is not proven");
                }
            }
            Sentence::Verify { from, to, id, key } => {
                let Part::Verifying(pair) = self.part else {
                    return refuse("keys are checked on connections made for it");
                };
                let is_about = from.name() == Some(pair.local) && to.name() == Some(pair.remote);
                if !is_about || !self.is_allowed(pair.remote) {
                    return refuse("not the pair that the connection is for, or not yet");
                }
                self.stage = Stage::Open;
                self.checks.push(Check {
                    id: id.clone(),
                    key: key.clone(),
                    outcome: None,
                });
            }
            Sentence::Verdict {
                from,
                to,
                id,
                outcome,
            } => {
                return self.said_verdict(*from, *to, id, *outcome);
            }
            Sentence::Stanza { from, to, .. } => {
                let pair = from
                    .name()
                    .zip(to.name())
                    .map(|(from, to)| Pair::new(from, to));
                if self.stage != Stage::Open
                    || !pair.is_some_and(|pair| self.sendable().contains(pair))
                {
                    return refuse("there are no grounds to send it");
                }
                if self.due_features.is_some() || self.due_success > 0 {
                    return refuse("header and features come first (BIDI-17)");
                }
            }
            Sentence::TlsFailure | Sentence::StreamError(_) | Sentence::Close | Sentence::Space => {
            }
            Sentence::Unknown => return refuse("no server says that"),
        }
        Ok(())
    }

    fn said_header(&mut self, from: Address, to: Address, id: Option<&str>) -> Result<(), String> {
        match self.part {
            Part::Initiating { pair, .. } | Part::Verifying(pair) => {
                let names = (from.name(), to.name());
                if names != (Some(pair.local), Some(pair.remote)) || id.is_some() {
                    return Err(format!("our header names {names:?}, not {pair}"));
                }
            }
            Part::Receiving => {
                let id = id.ok_or("our header has no id")?.to_owned();
                if self.ids.contains(&id) {
                    return Err(format!("the id {id} was used before (STREAM-15)"));
                }
                self.ids.push(id.clone());
                // Keys that arrived behind the header in one go belong to this stream as well.
                for asked in self.asked.iter_mut().chain(&mut self.key_checks) {
                    if asked.id.is_empty() {
                        asked.id.clone_from(&id);
                    }
                }
                self.id = Some(id);
            }
        }
        Ok(())
    }

    fn said_bidi(&mut self) -> Result<(), String> {
        let Part::Initiating { pair, bidi, .. } = self.part else {
            return Err("only who opened a connection to carry stanzas asks for bidi".into());
        };
        let rule = self.rules.for_peer(pair.remote);
        let is_tls_done = self.certificate.is_some() || !self.offer.starttls && !rule.tls_required;
        let grounds = self.stage == Stage::Choice
            && !self.bidi
            && bidi
            && rule.bidi
            && self.offer.bidi
            && is_tls_done
            && self.believes(pair.remote);
        self.bidi = true;
        match grounds {
            true => Ok(()),
            false => Err("verona asked for bidi without an offer, too early, or of a peer that it must not believe".into()),
        }
    }

    fn said_auth(&mut self, authzid: Authzid) -> Result<(), String> {
        let Part::Initiating { pair, external, .. } = self.part else {
            return Err("verona authenticates on a connection where it must not".into());
        };
        let own = self
            .certificate
            .as_ref()
            .is_some_and(|certificate| certificate.own);
        let grounds = self.stage == Stage::Choice
            && external
            && own
            && self.offer.external
            && authzid == Authzid::Of(pair.local)
            && self.believes(pair.remote);
        self.is_believed = grounds;
        self.stage = Stage::SaslOutcome;
        match grounds {
            true => Ok(()),
            false => Err("verona authenticated where it must not".into()),
        }
    }

    /// BIDI-26..28, DB-42, DB-43: whom we may ask for what.
    fn said_request(&mut self, local: Name, remote: Name, key: &str) -> Result<(), String> {
        let pair = Pair::new(local, remote);
        let is_proven = self.bidi_with(remote) && self.receivable().has_remote(remote);
        let grounds = self.rules.hosts(local)
            && self.is_allowed(remote)
            && !self.asking.iter().any(|asking| asking.pair == pair)
            && match self.part {
                Part::Receiving => self.stage == Stage::Open && is_proven,
                Part::Initiating { pair: dialled, .. } => {
                    self.is_believed |= self.believes(dialled.remote);
                    let is_dialled = dialled.remote == remote && self.is_believed;
                    (self.stage == Stage::Open || self.stage == Stage::Choice && pair == dialled)
                        && (is_dialled || is_proven || self.covered(remote))
                }
                Part::Verifying(_) => false,
            };
        if !grounds {
            return Err(format!(
                "verona asked for {pair} without grounds to ask this peer"
            ));
        }
        self.open();
        self.issued.push(Issued {
            receiving: remote,
            originating: local,
            id: self.id.clone().unwrap_or_default(),
            key: key.to_owned(),
        });
        self.asking.push(Asking {
            pair,
            fate: Fate::Pending,
            deadline: self.now + ANSWER_SECONDS,
        });
        Ok(())
    }

    /// DB-32, BIDI-43: verona vouches for a key that it made, and not to who got it on this very stream.
    fn said_verdict(
        &mut self,
        from: Address,
        to: Address,
        id: &str,
        outcome: Outcome,
    ) -> Result<(), String> {
        let is_about = |asked: &Issued| {
            from.name() == Some(asked.originating)
                && to.name() == Some(asked.receiving)
                && asked.id == id
        };
        let Some(at) = self.questions.iter().position(is_about) else {
            return Err(format!(
                "verona answered about a key of the stream {id} that nobody asked about"
            ));
        };
        let question = self.questions.remove(at);
        let is_ours = self.issued_elsewhere.contains(&question) && self.id.as_deref() != Some(id);
        match (outcome == Outcome::Valid, is_ours) {
            (true, false) => Err(format!(
                "verona vouched for {question:?}, which it never made"
            )),
            (false, true) => Err(format!("verona denied {question:?}, which it made")),
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// What must be settled when verona has nothing more to say and the stream is open.
    pub(crate) fn settled(&self) -> Result<(), String> {
        let is_pending = |pair: &Pair| self.asked.iter().any(|asked| asked.pair == *pair);
        if let Some(pair) = self.unanswered.iter().find(|pair| !is_pending(pair)) {
            return Err(format!("the peer's request for {pair} has no answer"));
        }
        if let Some(check) = self.key_checks.first() {
            return Err(format!(
                "nobody was told to check the key of {}",
                check.pair
            ));
        }
        if self.due_success > 0 || self.due_failure > 0 {
            return Err("the peer's authentication has no outcome".into());
        }
        if self.due_features.is_some() {
            return Err("no features followed the header".into());
        }
        Ok(())
    }
}

fn is_dialback(sentence: &Sentence) -> bool {
    matches!(
        sentence,
        Sentence::Request { .. }
            | Sentence::Answer { .. }
            | Sentence::Verify { .. }
            | Sentence::Verdict { .. }
    )
}
