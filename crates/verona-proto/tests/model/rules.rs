//! What the operator of one server allows, and what a certificate covers, in the model's own words.

use std::sync::Arc;
use std::time::{Duration, Instant};

use verona_proto::addr::Hosts;
use verona_proto::certificate::{CertificateName, Chain, PeerCertificate};
use verona_proto::dialback::{Secret, Secrets};
use verona_proto::policy::{
    BidiPolicy, DomainPattern, Federate, IdentityMethod, Multiplex, PeerPolicy, PeerRule, Policy,
    Strictness, TlsPolicy,
};
use verona_proto::stream::{Memory, Secured, StreamConfig};

use crate::chance::Chance;
use crate::names::{CAPULETS, MONTAGUES, Name};

/// What holds towards one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) tls_required: bool,
    pub(crate) certificate: bool,
    pub(crate) dialback: bool,
    pub(crate) bidi: bool,
    pub(crate) multiplex: Multiplex,
    pub(crate) any_hosted: bool,
    pub(crate) deny: bool,
}

/// Whom an exception is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Exactly(Name),
    Below(Name),
}

/// What one server goes by.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) ours: &'static [Name],
    pub(crate) defaults: Rule,
    pub(crate) exception: Option<(Whom, Rule)>,
    pub(crate) tls_available: bool,
    /// Which of the two servers it is.
    pub(crate) server: usize,
}

impl Rule {
    pub(crate) const PLAIN: Self = Self {
        tls_required: true,
        certificate: true,
        dialback: true,
        bidi: true,
        multiplex: Multiplex::Auto,
        any_hosted: false,
        deny: false,
    };

    pub(crate) fn any(chance: &mut Chance) -> Self {
        let (certificate, dialback) = chance.weighed(&[
            (60, (true, true)),
            (18, (true, false)),
            (20, (false, true)),
            (2, (false, false)),
        ]);
        Self {
            tls_required: chance.percent(70),
            certificate,
            dialback,
            bidi: chance.percent(85),
            multiplex: chance.weighed(&[
                (50, Multiplex::Auto),
                (40, Multiplex::On),
                (10, Multiplex::Off),
            ]),
            any_hosted: chance.percent(20),
            deny: chance.percent(3),
        }
    }

    fn policy(self) -> PeerPolicy {
        PeerPolicy {
            tls: self.tls(),
            identity: self.identity(),
            bidi: self.bidi(),
            multiplex: self.multiplex,
            to: self.strictness(),
            federate: self.federate(),
            // It says nothing about who may send what.
            management: verona_proto::policy::ManagementPolicy::Off,
            ..PeerPolicy::default()
        }
    }

    fn rule(self, whom: Whom) -> PeerRule {
        let mut rule = PeerRule::new(match whom {
            Whom::Exactly(name) => DomainPattern::Exact(name.domain()),
            Whom::Below(name) => DomainPattern::Below(name.domain()),
        });
        rule.tls = Some(self.tls());
        rule.identity = Some(self.identity());
        rule.bidi = Some(self.bidi());
        rule.multiplex = Some(self.multiplex);
        rule.to = Some(self.strictness());
        rule.federate = Some(self.federate());
        rule
    }

    fn tls(self) -> TlsPolicy {
        match self.tls_required {
            true => TlsPolicy::Required,
            false => TlsPolicy::Optional,
        }
    }

    fn identity(self) -> Vec<IdentityMethod> {
        let certificate = self.certificate.then_some(IdentityMethod::Certificate);
        let dialback = self.dialback.then_some(IdentityMethod::Dialback);
        certificate.into_iter().chain(dialback).collect()
    }

    fn bidi(self) -> BidiPolicy {
        match self.bidi {
            true => BidiPolicy::Auto,
            false => BidiPolicy::Off,
        }
    }

    fn strictness(self) -> Strictness {
        match self.any_hosted {
            true => Strictness::AnyHosted,
            false => Strictness::ExactPair,
        }
    }

    fn federate(self) -> Federate {
        match self.deny {
            true => Federate::Deny,
            false => Federate::Allow,
        }
    }
}

impl Rules {
    pub(crate) fn hosts(&self, name: Name) -> bool {
        self.ours.contains(&name)
    }

    pub(crate) fn for_peer(&self, name: Name) -> Rule {
        match self.exception {
            Some((Whom::Exactly(whom), rule)) if whom == name => rule,
            Some((Whom::Below(whom), rule)) if name.is_below(whom) => rule,
            Some(_) | None => self.defaults,
        }
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            defaults: self.defaults.policy(),
            peers: self
                .exception
                .map(|(whom, rule)| rule.rule(whom))
                .into_iter()
                .collect(),
        }
    }

    pub(crate) fn config(&self) -> Arc<StreamConfig> {
        Arc::new(StreamConfig {
            hosts: self.all_hosts(),
            policy: Arc::new(self.policy()),
            secrets: KEPT.with(|kept| kept[self.server].1.clone()),
            tls_available: self.tls_available,
            attestations: verona_proto::stream::Attestations::Unavailable,
            memory: Memory::default(),
        })
    }

    pub(crate) fn all_hosts(&self) -> Arc<Hosts> {
        KEPT.with(|kept| Arc::clone(&kept[self.server].0))
    }
}

thread_local! {
    /// What both servers need for every story, made once.
    static KEPT: [(Arc<Hosts>, Secrets); 2] = [
        (MONTAGUES, "of the montagues"),
        (CAPULETS, "of the capulets"),
    ]
    .map(|(names, secret)| {
        let hosts = Hosts::new(names.iter().map(|name| name.domain()));
        (Arc::new(hosts), Secrets::from(Secret::new(secret)))
    });
}

/// A certificate that a peer shows.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) chain: Trust,
    pub(crate) names: Vec<Covered>,
    /// In seconds of the play.
    pub(crate) expires: u64,
    /// Whether we have one of our own to show.
    pub(crate) own: bool,
}

/// Whether a path leads to an authority that we believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    Absent,
    SelfSigned,
    Trusted,
}

/// One name of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Covered {
    Domain(Name, u8),
    OneLabelBelow(Name),
    ServerService(Name),
    ClientService(Name),
    Address(Name),
}

impl Certificate {
    pub(crate) fn any(chance: &mut Chance, owner: Name, others: &[Name]) -> Self {
        let mut names = Vec::new();
        if chance.percent(80) {
            names.push(match chance.below(10) {
                0 => Covered::ServerService(owner),
                1 => Covered::Address(owner),
                2 => Covered::ClientService(owner),
                _ => Covered::Domain(owner, chance.below(4) as u8),
            });
        }
        for _ in 0..chance.weighed(&[(6, 0), (3, 1), (2, 2)]) {
            let name = chance.pick(others);
            names.push(match chance.below(8) {
                0 | 1 => Covered::OneLabelBelow(name),
                2 => Covered::ClientService(name),
                3 => Covered::Address(name),
                _ => Covered::Domain(name, chance.below(4) as u8),
            });
        }
        Self {
            chain: chance.weighed(&[
                (80, Trust::Trusted),
                (12, Trust::SelfSigned),
                (8, Trust::Absent),
            ]),
            names,
            expires: chance.weighed(&[(90, 1_000_000), (5, 20), (5, 0)]),
            own: chance.percent(90),
        }
    }

    /// A good one for exactly these.
    pub(crate) fn good(names: &[Name]) -> Self {
        Self {
            chain: Trust::Trusted,
            names: names.iter().map(|name| Covered::Domain(*name, 0)).collect(),
            expires: 1_000_000,
            own: true,
        }
    }

    pub(crate) fn covers(&self, name: Name, now: u64) -> bool {
        let names = self.names.iter().any(|covered| match covered {
            // The root's dot has no place in a certificate (RFC 5280 §4.2.1.6).
            Covered::Domain(own, spelling)
                if own.spelled(*spelling).is_ascii() && own.spelled(*spelling).ends_with('.') =>
            {
                false
            }
            Covered::Domain(own, _) | Covered::ServerService(own) | Covered::Address(own) => {
                *own == name
            }
            Covered::OneLabelBelow(parent) => name.parent() == Some(*parent),
            Covered::ClientService(_) => false,
        });
        self.chain == Trust::Trusted && now < self.expires && names
    }

    pub(crate) fn secured(&self, start: Instant) -> Secured {
        let name = |covered: &Covered| match covered {
            // Certificates have A-labels.
            Covered::Domain(name, spelling) => {
                let text = name.spelled(*spelling);
                CertificateName::Dns(match text.is_ascii() {
                    true => text.to_owned(),
                    false => name.domain().ascii().to_owned(),
                })
            }
            Covered::OneLabelBelow(name) => {
                CertificateName::Dns(format!("*.{}", name.domain().ascii()))
            }
            Covered::ServerService(name) => CertificateName::Srv {
                service: "_xmpp-server".to_owned(),
                domain: name.domain().ascii().to_owned(),
            },
            Covered::ClientService(name) => CertificateName::Srv {
                service: "_xmpp-client".to_owned(),
                domain: name.domain().ascii().to_owned(),
            },
            Covered::Address(name) => CertificateName::XmppAddr(name.text().to_owned()),
        };
        Secured {
            certificate: PeerCertificate {
                chain: match self.chain {
                    Trust::Absent => Chain::Absent,
                    Trust::SelfSigned => Chain::Invalid("self-signed".to_owned()),
                    Trust::Trusted => Chain::Valid,
                },
                names: self.names.iter().map(name).collect(),
                expires: (self.chain == Trust::Trusted)
                    .then(|| start + Duration::from_secs(self.expires)),
                ..PeerCertificate::absent()
            },
            own_certificate: self.own,
        }
    }
}
