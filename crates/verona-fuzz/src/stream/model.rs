//! What may flow, made of what was said and not of the machine: a peer may send for a pair, or we may, only if the
//! model knows why (XEP-0220 §3.1, XEP-0288 §2.2).

use std::collections::BTreeSet;

use verona_proto::addr::Domain;
use verona_proto::dialback::Verdict;
use verona_proto::ns;
use verona_proto::policy::{IdentityMethod, PeerPolicy};
use verona_proto::stream::Role;
use verona_xml::{Element, Limits, Scan, Scanner};

/// A pair: our domain, the peer's.
pub(super) type Names = (String, String);

/// What is known of one stream.
pub(super) struct Model {
    role: Role,
    accepts_certificates: bool,
    accepts_dialback: bool,
    is_secured: bool,
    /// The domains that the peer's certificate proves; none without TLS.
    certified: BTreeSet<String>,
    bidi: bool,
    /// The peer's latest header before it was authenticated.
    header: Option<Names>,
    /// The pair that we dialled for.
    pub(super) dialled: Option<Names>,
    has_written_auth: bool,
    has_written_success: bool,
    /// Pairs for which the peer sent a key, and those whose key the authoritative server confirmed.
    asked: BTreeSet<Names>,
    confirmed: BTreeSet<Names>,
    /// Pairs for which we sent a key.
    asking: BTreeSet<Names>,
    /// What the peer may send for, and what we may, by its own grounds.
    proven: BTreeSet<Names>,
    consented: BTreeSet<Names>,
    /// Keys that were really ours, as (who asked, who made it), and ids whose key the peer confirmed.
    vouched: BTreeSet<Names>,
    verified: BTreeSet<String>,
    /// The key that we sent last, which a peer may use as it likes.
    pub(super) latest_key: String,
    theirs: Ear,
}

impl Model {
    pub(super) fn new(role: Role, policy: &PeerPolicy) -> Self {
        Self {
            role,
            accepts_certificates: policy.accepts(IdentityMethod::Certificate),
            accepts_dialback: policy.accepts(IdentityMethod::Dialback),
            is_secured: false,
            certified: BTreeSet::new(),
            bidi: false,
            header: None,
            dialled: None,
            has_written_auth: false,
            has_written_success: false,
            asked: BTreeSet::new(),
            confirmed: BTreeSet::new(),
            asking: BTreeSet::new(),
            proven: BTreeSet::new(),
            consented: BTreeSet::new(),
            vouched: BTreeSet::new(),
            verified: BTreeSet::new(),
            latest_key: "key".to_owned(),
            theirs: Ear::default(),
        }
    }

    /// TLS stands: nothing said before counts (TLS-10).
    pub(super) fn secure(&mut self, certified: Vec<String>) {
        self.is_secured = true;
        self.certified = certified.into_iter().collect();
        self.bidi = false;
        self.header = None;
        self.has_written_auth = false;
        self.has_written_success = false;
        for pairs in [
            &mut self.asked,
            &mut self.confirmed,
            &mut self.asking,
            &mut self.proven,
            &mut self.consented,
        ] {
            pairs.clear();
        }
        self.theirs = Ear::default();
    }

    pub(super) fn is_secured(&self) -> bool {
        self.is_secured
    }

    pub(super) fn is_bidirectional(&self) -> bool {
        self.bidi
    }

    pub(super) fn was_asked(&self, pair: &Names) -> bool {
        self.asked.contains(pair)
    }

    /// The pairs for which the peer has sent a key.
    pub(super) fn asked_pairs(&self) -> Vec<Names> {
        self.asked.iter().cloned().collect()
    }

    /// The pairs for which we may send.
    pub(super) fn sendable_pairs(&self) -> Vec<Names> {
        let pairs = self.proven.union(&self.consented);
        pairs.filter(|pair| self.may_send(pair)).cloned().collect()
    }

    pub(super) fn was_vouched_for(&self, receiving: &Domain, originating: &Domain) -> bool {
        self.vouched
            .contains(&(receiving.to_string(), originating.to_string()))
    }

    pub(super) fn was_verified(&self, id: &str) -> bool {
        self.verified.contains(id)
    }

    pub(super) fn peer_says(&mut self, bytes: &[u8]) {
        for element in self.theirs.hear(bytes, self.role, self.has_written_auth) {
            self.heard(&element);
        }
    }

    /// All that we had to say to what the peer said is said.
    pub(super) fn is_answered(&mut self) {
        self.theirs.awaits_answer = false;
        self.peer_says(b"");
    }

    fn heard(&mut self, element: &Element) {
        let names = || Some((prepared(element, "to")?, prepared(element, "from")?));
        match (
            element.name(),
            element.namespace(),
            element.attribute("type"),
        ) {
            // Behind <success/> the peer's header completes the authentication (BIDI-17).
            ("stream", ns::STREAM, _) if self.has_written_success => {
                self.proven.extend(self.header.clone());
            }
            // Another one inside the stream is an element like others.
            ("stream", ns::STREAM, _) if self.header.is_none() => self.header = names(),
            ("bidi", ns::BIDI, _) if self.role == Role::Receiving => self.bidi = true,
            ("success", ns::SASL, _) if self.has_written_auth => {
                self.consented.extend(self.dialled.clone());
            }
            ("result", ns::DIALBACK, None) => self.asked.extend(names()),
            ("result", ns::DIALBACK, Some("valid")) => {
                if let Some(pair) = names().filter(|pair| self.asking.remove(pair)) {
                    self.consented.insert(pair);
                }
            }
            ("verify", ns::DIALBACK, None) => self.note_key(element),
            ("verify", ns::DIALBACK, Some("valid")) => {
                self.verified
                    .extend(element.attribute("id").map(str::to_owned));
            }
            _ => {}
        }
    }

    /// Whether a key that the peer has checked here is one of ours.
    fn note_key(&mut self, element: &Element) {
        let domain = |name| Domain::parse(element.attribute(name)?).ok();
        if let (Some(receiving), Some(originating), Some(id)) =
            (domain("from"), domain("to"), element.attribute("id"))
            && super::secrets().is_key(&receiving, &originating, id, &element.text())
        {
            self.vouched
                .insert((receiving.to_string(), originating.to_string()));
        }
    }

    pub(super) fn we_say(&mut self, element: &Element) {
        let names = || Some((prepared(element, "from")?, prepared(element, "to")?));
        match (
            element.name(),
            element.namespace(),
            element.attribute("type"),
        ) {
            ("bidi", ns::BIDI, _) if self.role == Role::Initiating => self.bidi = true,
            ("auth", ns::SASL, _) => self.has_written_auth = true,
            ("success", ns::SASL, _) => {
                let header = self.header.as_ref();
                assert!(
                    self.accepts_certificates
                        && header.is_some_and(|(_, remote)| self.certified.contains(remote)),
                    "<success/> for a peer that has not proved who it is"
                );
                self.has_written_success = true;
                self.theirs.may_restart = true;
            }
            ("result", ns::DIALBACK, None) => {
                self.asking.extend(names());
                self.latest_key = element.text();
            }
            ("result", ns::DIALBACK, Some("valid")) => {
                let pair = names().expect("an answer of ours has both addresses");
                let by_key = self.accepts_dialback && self.confirmed.contains(&pair);
                let by_certificate = self.accepts_certificates && self.certified.contains(&pair.1);
                let is_known = self.asked.contains(&pair) && (by_key || by_certificate);
                assert!(
                    is_known || self.may_receive(&pair),
                    "`valid` for {pair:?} without grounds"
                );
                self.proven.insert(pair);
            }
            _ => {}
        }
    }

    pub(super) fn verdict(&mut self, pair: &Names, verdict: Verdict) {
        if verdict == Verdict::Valid && self.asked.contains(pair) {
            self.confirmed.insert(pair.clone());
        }
    }

    /// Whether the peer may send for the pair.
    pub(super) fn may_receive(&self, pair: &Names) -> bool {
        let inverse = self.bidi && self.consented.contains(pair) && self.is_identified(&pair.1);
        match self.role {
            Role::Initiating => self.bidi && (self.proven.contains(pair) || inverse),
            Role::Receiving => self.proven.contains(pair) || inverse,
        }
    }

    /// Whether the peer may send from that domain to some domain of ours.
    pub(super) fn may_receive_any(&self, remote: &str) -> bool {
        let mut pairs = self.proven.iter().chain(&self.consented);
        pairs.any(|pair| pair.1 == remote && self.may_receive(pair))
    }

    /// Whether we may send for the pair.
    pub(super) fn may_send(&self, pair: &Names) -> bool {
        let inverse = self.bidi && self.proven.contains(pair);
        match self.role {
            Role::Initiating => self.consented.contains(pair) || inverse,
            Role::Receiving => self.bidi && (self.consented.contains(pair) || inverse),
        }
    }

    /// Whether we may believe that the server that we dialled is that domain's (BIDI-23).
    fn is_identified(&self, remote: &str) -> bool {
        self.role == Role::Receiving
            || self.accepts_dialback
            || self.accepts_certificates && self.certified.contains(remote)
    }
}

/// An address attribute as it is compared.
fn prepared(element: &Element, attribute: &str) -> Option<String> {
    let domain = Domain::parse(element.attribute(attribute)?).ok()?;
    Some(domain.to_string())
}

/// What the peer sends, cut into elements, up to what cannot be read.
struct Ear {
    scanner: Scanner,
    is_open: bool,
    /// Authentication is done, so a header begins the stream anew; at any other time it is an element like others.
    may_restart: bool,
    /// The peer has asked to be authenticated; whether a header begins anything is known when that is answered.
    awaits_answer: bool,
    pending: Vec<u8>,
}

impl Default for Ear {
    fn default() -> Self {
        Self {
            scanner: Scanner::new(Limits::default()),
            is_open: false,
            may_restart: false,
            awaits_answer: false,
            pending: Vec::new(),
        }
    }
}

impl Ear {
    fn hear(&mut self, bytes: &[u8], role: Role, has_written_auth: bool) -> Vec<Element> {
        self.pending.extend_from_slice(bytes);
        let mut found = Vec::new();
        while !self.pending.is_empty() {
            if self.is_open && self.awaits_answer && begins_anew(&self.pending) {
                break;
            }
            if self.is_open && self.may_restart && begins_anew(&self.pending) {
                self.may_restart = false;
                self.scanner = Scanner::new(Limits::default());
                self.is_open = false;
            }
            let (len, element) = match self.scanner.scan(&self.pending) {
                Ok(Scan::Space { len } | Scan::Declaration { len } | Scan::Close { len }) => {
                    (len, None)
                }
                Ok(Scan::Header { len, .. }) => {
                    self.is_open = true;
                    (len, Element::parse_header(&self.pending[..len]).ok())
                }
                Ok(Scan::Element { len, .. }) => {
                    let bytes = &self.pending[..len];
                    (len, Element::parse(bytes, self.scanner.scope()).ok())
                }
                Ok(Scan::More) | Err(_) => break,
            };
            self.pending.drain(..len);
            let is_sasl = |name| element.as_ref().is_some_and(|it| it.is(name, ns::SASL));
            match role {
                Role::Receiving => self.awaits_answer |= is_sasl("auth"),
                Role::Initiating => self.may_restart |= has_written_auth && is_sasl("success"),
            }
            found.extend(element);
        }
        found
    }
}

/// A restart: the header comes again (RFC 6120 §4.3.3).
fn begins_anew(bytes: &[u8]) -> bool {
    bytes.starts_with(b"<?xml") || bytes.starts_with(b"<stream:stream")
}
