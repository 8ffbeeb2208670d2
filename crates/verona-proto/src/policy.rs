//! What suffices for whom: TLS, identity, bidi, multiplexing, per peer.
//!
//! The rules of the configuration's `[defaults]` and `[[peer]]`, first match wins, key by key (contract §3).

use std::ops::Deref;
use std::sync::Arc;

use crate::addr::Domain;
use crate::limits::Limits;

/// The policy for every peer: defaults, and exceptions in order.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// For everybody.
    pub defaults: PeerPolicy,
    /// For some; the first match wins, key by key.
    pub peers: Vec<PeerRule>,
}

impl Policy {
    /// The policy in force for `domain`.
    #[must_use]
    pub fn for_peer(&self, domain: &Domain) -> PeerPolicy {
        let mut policy = self.defaults.clone();
        // Applied from the last match to the first, so that the first has the last word.
        for rule in self
            .peers
            .iter()
            .rev()
            .filter(|rule| rule.domain.matches(domain))
        {
            let over = rule.clone();
            policy.tls = over.tls.unwrap_or(policy.tls);
            policy.identity = over.identity.unwrap_or(policy.identity);
            policy.pins = over.pins.unwrap_or(policy.pins);
            policy.weaker = over.weaker.unwrap_or(policy.weaker);
            policy.bidi = over.bidi.unwrap_or(policy.bidi);
            policy.multiplex = over.multiplex.unwrap_or(policy.multiplex);
            policy.management = over.management.unwrap_or(policy.management);
            policy.to = over.to.unwrap_or(policy.to);
            policy.federate = over.federate.unwrap_or(policy.federate);
            policy.on_uncertain = over.on_uncertain.unwrap_or(policy.on_uncertain);
            policy.direct_tls = over.direct_tls.unwrap_or(policy.direct_tls);
            policy.learned = over.learned.unwrap_or(policy.learned);
            policy.bidi_offer = over.bidi_offer.unwrap_or(policy.bidi_offer);
            for (name, value) in over.limits {
                // The names were checked when the rule was made.
                let _ = policy.limits.set(&name, value);
            }
        }
        policy
    }

    /// The same for whoever keeps it for long.
    pub(crate) fn in_force(self: &Arc<Self>, domain: &Domain) -> InForce {
        match self.peers.iter().any(|rule| rule.domain.matches(domain)) {
            true => InForce::Own(Box::new(self.for_peer(domain))),
            false => InForce::defaults(self),
        }
    }
}

/// The policy in force on one stream. Nearly all have the defaults, and share them: half a KiB each, of ten thousand.
#[derive(Clone, Debug)]
pub(crate) enum InForce {
    /// Those of the whole policy.
    Defaults(Arc<Policy>),
    /// One that a rule made.
    Own(Box<PeerPolicy>),
}

impl InForce {
    /// That of a peer nobody knows yet.
    pub(crate) fn defaults(policy: &Arc<Policy>) -> Self {
        Self::Defaults(Arc::clone(policy))
    }

    /// Here TLS is needed, whatever the rules say.
    pub(crate) fn require_tls(&mut self) {
        if self.tls != TlsPolicy::Required {
            let mut own = PeerPolicy::clone(self);
            own.tls = TlsPolicy::Required;
            *self = Self::Own(Box::new(own));
        }
    }
}

impl Deref for InForce {
    type Target = PeerPolicy;

    fn deref(&self) -> &PeerPolicy {
        match self {
            Self::Defaults(policy) => &policy.defaults,
            Self::Own(policy) => policy,
        }
    }
}

/// The policy for one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPolicy {
    /// Whether stanzas may flow without TLS (TLS-06).
    pub tls: TlsPolicy,
    /// What may prove the peer; any one suffices.
    pub identity: Vec<IdentityMethod>,
    /// The keys that the operator named for the peer: each the SHA-256 of a certificate's SubjectPublicKeyInfo.
    pub pins: Vec<[u8; 32]>,
    /// Whether a peer may offer less than it proved before.
    pub weaker: Weaker,
    /// Whether bidi is offered, requested and used (XEP-0288).
    pub bidi: BidiPolicy,
    /// Whether many pairs and reverse requests share one stream (BIDI-76).
    pub multiplex: Multiplex,
    /// Whether stanzas are acknowledged, and lost streams taken up again (XEP-0198).
    pub management: ManagementPolicy,
    /// Which of our domains a proven peer may address (ROUTE-05).
    pub to: Strictness,
    /// Whether we talk to the peer at all (ROUTE-26).
    pub federate: Federate,
    /// What becomes of stanzas of which nobody knows whether they arrived (SM-12).
    pub on_uncertain: OnUncertain,
    /// Whether `_xmpps-server` records are used (XEP-0368).
    pub direct_tls: DirectTls,
    /// Whether experience with the peer counts.
    pub learned: UseLearned,
    /// Under which namespaces bidi is offered to it.
    pub bidi_offer: BidiOffer,
    /// The limits for this peer's streams.
    pub limits: Limits,
}

impl PeerPolicy {
    /// Whether `method` may prove the peer.
    #[must_use]
    pub fn accepts(&self, method: IdentityMethod) -> bool {
        self.identity.contains(&method)
    }
}

impl Default for PeerPolicy {
    fn default() -> Self {
        Self {
            //= TLS-06
            tls: TlsPolicy::Required,
            identity: vec![
                IdentityMethod::Certificate,
                IdentityMethod::Dane,
                IdentityMethod::Posh,
                IdentityMethod::Dialback,
            ],
            pins: Vec::new(),
            weaker: Weaker::Refuse,
            bidi: BidiPolicy::Auto,
            multiplex: Multiplex::Auto,
            management: ManagementPolicy::Auto,
            to: Strictness::ExactPair,
            federate: Federate::Allow,
            on_uncertain: OnUncertain::Bounce,
            direct_tls: DirectTls::Auto,
            learned: UseLearned::Use,
            bidi_offer: BidiOffer::Auto,
            limits: Limits::default(),
        }
    }
}

/// An exception for one peer or a pattern of peers: the keys that it sets.
#[derive(Clone, Debug)]
pub struct PeerRule {
    /// Whom it is for.
    pub domain: DomainPattern,
    /// See [`PeerPolicy::tls`].
    pub tls: Option<TlsPolicy>,
    /// See [`PeerPolicy::identity`].
    pub identity: Option<Vec<IdentityMethod>>,
    /// See [`PeerPolicy::pins`].
    pub pins: Option<Vec<[u8; 32]>>,
    /// See [`PeerPolicy::weaker`].
    pub weaker: Option<Weaker>,
    /// See [`PeerPolicy::bidi`].
    pub bidi: Option<BidiPolicy>,
    /// See [`PeerPolicy::multiplex`].
    pub multiplex: Option<Multiplex>,
    /// See [`PeerPolicy::management`].
    pub management: Option<ManagementPolicy>,
    /// See [`PeerPolicy::to`].
    pub to: Option<Strictness>,
    /// See [`PeerPolicy::federate`].
    pub federate: Option<Federate>,
    /// See [`PeerPolicy::on_uncertain`].
    pub on_uncertain: Option<OnUncertain>,
    /// See [`PeerPolicy::direct_tls`].
    pub direct_tls: Option<DirectTls>,
    /// See [`PeerPolicy::learned`].
    pub learned: Option<UseLearned>,
    /// See [`PeerPolicy::bidi_offer`].
    pub bidi_offer: Option<BidiOffer>,
    /// Limits by name, as [`Limits::set`] takes them.
    pub limits: Vec<(String, u64)>,
}

impl PeerRule {
    /// A rule that sets nothing yet.
    #[must_use]
    pub fn new(domain: DomainPattern) -> Self {
        Self {
            domain,
            tls: None,
            identity: None,
            pins: None,
            weaker: None,
            bidi: None,
            multiplex: None,
            management: None,
            to: None,
            federate: None,
            on_uncertain: None,
            direct_tls: None,
            learned: None,
            bidi_offer: None,
            limits: Vec::new(),
        }
    }
}

/// One domain, or all below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainPattern {
    /// This domain alone.
    Exact(Domain),
    /// `*.example.net`: any depth below `example.net`, not `example.net` itself.
    Below(Domain),
}

impl DomainPattern {
    /// Whether `domain` is meant.
    #[must_use]
    pub fn matches(&self, domain: &Domain) -> bool {
        match self {
            Self::Exact(own) => own == domain,
            Self::Below(parent) => domain
                .ascii()
                .strip_suffix(parent.ascii())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        }
    }
}

/// Whether TLS is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPolicy {
    /// No stanza, key or proof without it.
    Required,
    /// Used where the peer has it.
    Optional,
}

/// What may prove a peer (contract §3, `identity`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityMethod {
    /// A certificate by a trusted authority (PKIX).
    Certificate,
    /// A certificate by DNSSEC (RFC 7673).
    Dane,
    /// A certificate by HTTPS (RFC 7711).
    Posh,
    /// A certificate with a key that the operator named ([`PeerPolicy::pins`]).
    Pin,
    /// A key by the server that DNS names (XEP-0220), and believing DNS about the server that we dialled (BIDI-23).
    Dialback,
}

/// Whether a peer may offer less than it proved in the last 30 days (contract §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weaker {
    /// It is refused, and the reason told.
    Refuse,
    /// It may.
    Allow,
}

/// Whether XEP-0288 is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BidiPolicy {
    /// Offered, and requested where offered.
    Auto,
    /// Never.
    Off,
}

/// Whether XEP-0198 is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagementPolicy {
    /// Acknowledgements with whoever offers them, and resumption with whoever announces it.
    Auto,
    /// Acknowledgements, and no resumption.
    Acknowledgements,
    /// Neither.
    Off,
}

/// Under which namespaces bidi is offered (BIDI-04).
///
/// As initiating servers, ejabberd 24.10 to 26.04 look for the offer under the namespace of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BidiOffer {
    /// Under both, to a peer that was seen to use the wrong one itself; to all others as XEP-0288 says.
    Auto,
    /// As XEP-0288 says.
    Standard,
    /// Under both.
    Both,
}

/// Whether experience with a peer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseLearned {
    /// What made it hang up is not tried again for a while.
    Use,
    /// Everything is tried each time.
    Ignore,
}

/// Whether one stream carries many pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multiplex {
    /// With peers that announce that they cope.
    Auto,
    /// Never.
    Off,
    /// Always.
    On,
}

/// How exact the target of a stanza must be (ROUTE-05).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// The very pair that was authorised.
    ExactPair,
    /// Any domain of ours, from a domain that is proven.
    AnyHosted,
}

/// Whether we federate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Federate {
    /// Yes.
    Allow,
    /// Neither in nor out.
    Deny,
}

/// What becomes of stanzas whose delivery is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUncertain {
    /// They are returned with an error: perhaps delivered, never twice.
    Bounce,
    /// They are sent again: perhaps twice, never lost. IQs are returned all the same.
    Resend,
}

/// Whether direct TLS is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectTls {
    /// Where DNS offers it.
    Auto,
    /// Never.
    Off,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[test]
    fn the_first_match_wins_key_by_key() {
        let mut exact = PeerRule::new(DomainPattern::Exact(domain("a.example.net")));
        exact.bidi = Some(BidiPolicy::Off);
        let mut below = PeerRule::new(DomainPattern::Below(domain("example.net")));
        below.bidi = Some(BidiPolicy::Auto);
        below.tls = Some(TlsPolicy::Optional);
        below.limits = vec![("stanza_bytes_max".into(), 20_000)];
        let policy = Policy {
            defaults: PeerPolicy::default(),
            peers: vec![exact, below],
        };
        let a = policy.for_peer(&domain("a.example.net"));
        assert_eq!(
            (a.bidi, a.tls, a.limits.stanza_bytes_max),
            (BidiPolicy::Off, TlsPolicy::Optional, 20_000)
        );
        let b = policy.for_peer(&domain("x.b.example.net"));
        assert_eq!((b.bidi, b.tls), (BidiPolicy::Auto, TlsPolicy::Optional));
        let apex = policy.for_peer(&domain("example.net"));
        assert_eq!(
            (apex.bidi, apex.tls),
            (BidiPolicy::Auto, TlsPolicy::Required)
        );
        assert_eq!(
            policy.for_peer(&domain("notexample.net")).tls,
            TlsPolicy::Required
        );
    }
    #[test]
    fn who_keeps_to_the_defaults_shares_them() {
        let mut below = PeerRule::new(DomainPattern::Below(domain("example.net")));
        below.tls = Some(TlsPolicy::Optional);
        let policy = Arc::new(Policy {
            defaults: PeerPolicy::default(),
            peers: vec![below],
        });
        for name in ["example.net", "a.example.net"] {
            let in_force = policy.in_force(&domain(name));
            assert_eq!(*in_force, policy.for_peer(&domain(name)));
            let shares = std::ptr::eq(&raw const *in_force, &raw const policy.defaults);
            assert_eq!(shares, name == "example.net");
        }
        let mut dialled = policy.in_force(&domain("a.example.net"));
        dialled.require_tls();
        assert_eq!(dialled.tls, TlsPolicy::Required);
        assert!(size_of::<InForce>() <= 16, "a stream holds one");
    }
}
