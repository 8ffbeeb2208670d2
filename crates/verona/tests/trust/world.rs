//! The world of one test: addresses, a name server that knows them, an authority.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

use verona::Config;
use verona::config::{HostedDomain, S2s};
use verona::tls::{Certificates, TrustRoots};
use verona_proto::addr::Domain;
use verona_proto::policy::{IdentityMethod, Policy};
use verona_sim::name_server::message::{A, Message, NX_DOMAIN, Question, SRV, a, soa, srv};
use verona_sim::name_server::{Act, NameServer};

use crate::certificate::{Authority, Certificate};
use crate::web::Web;

pub(crate) const CAPULET: &str = "capulet.lit";
pub(crate) const MONTAGUE: &str = "montague.lit";

pub(crate) struct World {
    pub(crate) authority: Authority,
    /// 127.x.y: addresses that no other test has.
    block: [u8; 2],
    dns: NameServer,
}

impl World {
    pub(crate) fn new() -> Self {
        static WORLDS: AtomicU8 = AtomicU8::new(0);
        // Two runs on one machine do not want the same addresses.
        let run = u8::try_from(std::process::id() % 200).unwrap() + 20;
        let block = [run, WORLDS.fetch_add(1, Ordering::Relaxed)];
        Self {
            authority: Authority::new(),
            block,
            dns: NameServer::start(move |question| vec![Act::Say(answer(block, question))])
                .unwrap(),
        }
    }

    /// Where the server of `name` listens.
    pub(crate) fn place(&self, name: &str) -> SocketAddr {
        SocketAddr::from((host(self.block, name).unwrap(), XMPP_PORT))
    }

    /// The web server of `name`, without a document yet.
    pub(crate) async fn web(&self, name: &str, certificate: &Certificate) -> Web {
        let address = SocketAddr::from((host(self.block, name).unwrap(), WEB_PORT));
        Web::start(address, certificate).await
    }

    /// Hosts `name` where DNS says that it is, with everything by default.
    pub(crate) fn config(&self, name: &str, certificate: Option<&Certificate>) -> Config {
        let mut policy = Policy::default();
        let limits = &mut policy.defaults.limits;
        // A second message is to be tried like the first.
        limits.retry_seconds_min = 0;
        limits.retry_seconds_max = 0;
        limits.verification_retry_seconds = 0;
        // A server that said that it goes down is left alone for up to half of this (ERR-08), and is back at once here.
        limits.outbox_age_seconds = 12;
        let certificates = certificate.map(|certificate| (domain(name), certificate.pem()));
        Config {
            domains: vec![HostedDomain {
                name: domain(name),
                component: None,
            }],
            s2s: S2s {
                listen: vec![self.place(name)],
                allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
                https_port: Some(WEB_PORT),
                ..S2s::default()
            },
            certificates: Certificates::from_pem(certificates.into_iter().collect()).unwrap(),
            trust: TrustRoots::from_pem(&self.authority.pem()).unwrap(),
            dns_servers: vec![self.dns.address()],
            policy,
            ..Config::default()
        }
    }

    /// The same, and nothing but `methods` proves a peer.
    pub(crate) fn strict(
        &self,
        name: &str,
        certificate: &Certificate,
        methods: &[IdentityMethod],
    ) -> Config {
        let mut config = self.config(name, Some(certificate));
        config.policy.defaults.identity = methods.to_vec();
        config
    }
}

/// Both domains have an address and one server by SRV, and nothing else is.
fn answer(block: [u8; 2], question: &Question) -> Vec<u8> {
    let mut message = Message::reply(question);
    let service = question.name.strip_prefix("_xmpp-server._tcp.");
    let name = service.unwrap_or(&question.name);
    match (host(block, name), question.kind, service) {
        (Some(_), SRV, Some(name)) => {
            let record = srv(&question.name, 0, 0, XMPP_PORT, name);
            message.answers.push(record);
        }
        (Some(address), A, None) => message.answers.push(a(name, address)),
        (Some(_), _, None) => message.authorities.push(soa("lit", 60)),
        (Some(_) | None, _, _) => {
            message.flags |= NX_DOMAIN;
            message.authorities.push(soa("lit", 60));
        }
    }
    message.to_bytes_for(question)
}

fn host([run, world]: [u8; 2], name: &str) -> Option<Ipv4Addr> {
    let last = match name {
        CAPULET => 1,
        MONTAGUE => 2,
        _ => return None,
    };
    Some(Ipv4Addr::new(127, run, world, last))
}

pub(crate) fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// Below the ports that systems give out.
const XMPP_PORT: u16 = 25269;
const WEB_PORT: u16 = 24443;
