//! Engines in a simulated network, each with its domains, certificates and a program behind every domain.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use verona::config::{HostedDomain, PeerAddress, S2s};
use verona::tls::{Certificates, TrustRoots};
use verona::{Attachment, Config, Drained, Engine, SendError};
use verona_proto::addr::Domain;
use verona_proto::policy::{DomainPattern, IdentityMethod, Policy};
use verona_proto::stanza::Stanza;

use crate::ledger::Ledger;
use crate::network::Network;

/// What all servers of a town have in common.
#[derive(Clone, Debug)]
pub(crate) struct Ways {
    /// For each server, the domains that it hosts.
    pub(crate) domains: Vec<Vec<String>>,
    pub(crate) identity: IdentityMethod,
    pub(crate) direct_tls: bool,
    pub(crate) limits: Vec<(&'static str, u64)>,
}

/// The engines, and what is written down of their stanzas.
pub(crate) struct Town {
    pub(crate) network: Network,
    pub(crate) ledger: Ledger,
    ways: Ways,
    servers: Vec<Option<Server>>,
    /// How often each server's certificates were replaced.
    generations: Vec<usize>,
    /// How many errors each server could bring to nobody, for want of room.
    dropped: Arc<Mutex<Vec<u64>>>,
}

struct Server {
    engine: Engine,
    bots: BTreeMap<String, Bot>,
}

struct Bot {
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

enum Order {
    Send(Vec<Stanza>),
    /// Take nothing until then.
    Sleep(Instant),
    Wake,
}

impl Town {
    pub(crate) fn new(network: Network, ways: Ways) -> Self {
        Self {
            network,
            ledger: Ledger::default(),
            servers: ways.domains.iter().map(|_| None).collect(),
            generations: vec![0; ways.domains.len()],
            dropped: Arc::new(Mutex::new(vec![0; ways.domains.len()])),
            ways,
        }
    }

    pub(crate) async fn start(&mut self, index: usize) {
        // The listeners of an engine that was just dropped end when they come to it.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let engine = Engine::start(self.config(index)).await.unwrap();
        let bots = self.ways.domains[index].iter().map(|name| {
            let attachment = engine.handle().attach(&domain(name)).unwrap();
            (name.clone(), Bot::new(attachment, self.ledger.clone()))
        });
        let bots = bots.collect();
        self.servers[index] = Some(Server { engine, bots });
    }

    pub(crate) async fn start_all(&mut self) {
        for index in 0..self.servers.len() {
            self.start(index).await;
        }
    }

    pub(crate) fn engine(&self, index: usize) -> Option<&Engine> {
        self.servers[index].as_ref().map(|server| &server.engine)
    }

    /// The server ends from one moment to the next.
    pub(crate) fn crash(&mut self, index: usize) {
        if let Some(server) = self.servers[index].take() {
            self.ledger.crashed(&self.ways.domains[index]);
            let Server { engine, bots } = server;
            self.dropped.lock().unwrap()[index] += engine.handle().stanza_counts().dropped;
            for bot in bots.values() {
                bot.task.abort();
            }
            drop(engine);
        }
    }

    /// Begins to end a server in good order: its bots listen until it has ended.
    pub(crate) fn begin_to_shut_down(&mut self, index: usize) -> Option<JoinHandle<Drained>> {
        let server = self.servers[index].take()?;
        let (ledger, domains) = (self.ledger.clone(), self.ways.domains[index].clone());
        let dropped = Arc::clone(&self.dropped);
        Some(tokio::spawn(async move {
            let drained = shut_down(server).await;
            dropped.lock().unwrap()[index] += drained.dropped;
            ledger.stopped(&domains);
            drained
        }))
    }

    /// New certificates for a server.
    pub(crate) fn renew(&mut self, index: usize) {
        self.generations[index] += 1;
        if let Some(engine) = self.engine(index) {
            let certificates = self.certificates(index);
            let trust = TrustRoots::from_pem(&AUTHORITY.pem()).unwrap();
            engine.handle().replace_tls(certificates, trust).unwrap();
        }
    }

    /// Has the bot of a domain send; what is told to nobody is not sent.
    pub(crate) fn send(&self, from: &str, stanzas: Vec<Stanza>) {
        if let Some(bot) = self.bot(from) {
            let _ = bot.orders.send(Order::Send(stanzas));
        }
    }

    /// Has the bot of a domain take nothing for a while.
    pub(crate) fn put_to_sleep(&self, name: &str, time: Duration) {
        if let Some(bot) = self.bot(name) {
            let _ = bot.orders.send(Order::Sleep(Instant::now() + time));
        }
    }

    /// How many errors a server has dropped because their recipient had no room for them (ROUTE-14).
    pub(crate) fn dropped(&self, index: usize) -> u64 {
        self.dropped.lock().unwrap()[index]
    }

    pub(crate) fn server_of(&self, name: &str) -> usize {
        let hosts = |names: &Vec<String>| names.iter().any(|own| own == name);
        self.ways.domains.iter().position(hosts).unwrap()
    }

    pub(crate) fn domains(&self) -> Vec<String> {
        self.ways.domains.iter().flatten().cloned().collect()
    }

    fn bot(&self, name: &str) -> Option<&Bot> {
        self.servers[self.server_of(name)].as_ref()?.bots.get(name)
    }

    fn config(&self, index: usize) -> Config {
        let mut policy = Policy::default();
        policy.defaults.identity = vec![self.ways.identity];
        for (name, value) in &self.ways.limits {
            policy.defaults.limits.set(name, *value).unwrap();
        }
        let own = vec![place(index)];
        let (listen, listen_tls) = match self.ways.direct_tls {
            true => (Vec::new(), own),
            false => (own, Vec::new()),
        };
        let others = self.ways.domains.iter().enumerate();
        let others = others.filter(|(other, _)| *other != index);
        let addresses = others.flat_map(|(other, names)| {
            names.iter().map(move |name| {
                let address = PeerAddress {
                    address: place(other),
                    direct_tls: self.ways.direct_tls,
                };
                (DomainPattern::Exact(domain(name)), address)
            })
        });
        Config {
            domains: self.ways.domains[index]
                .iter()
                .map(|name| HostedDomain {
                    name: domain(name),
                    component: None,
                })
                .collect(),
            s2s: S2s {
                listen,
                listen_tls,
                bind: vec![host(index)],
                ..S2s::default()
            },
            certificates: self.certificates(index),
            trust: TrustRoots::from_pem(&AUTHORITY.pem()).unwrap(),
            dns_servers: vec!["127.0.0.1:9".parse().unwrap()],
            policy,
            addresses: addresses.collect(),
            simulated: Some(Arc::new(self.network.clone())),
            ..Config::default()
        }
    }

    fn certificates(&self, index: usize) -> Certificates {
        let generation = self.generations[index];
        let own = self.ways.domains[index]
            .iter()
            .map(|name| (domain(name), certificate(name, generation)));
        Certificates::from_pem(own.collect()).unwrap()
    }
}

async fn shut_down(server: Server) -> Drained {
    let Server { engine, bots } = server;
    // Who sleeps through the end of the server hears nothing of what became of his stanzas.
    for bot in bots.values() {
        let _ = bot.orders.send(Order::Wake);
    }
    let drained = engine.shutdown().await;
    // What came back at the last moment is taken before the bots go.
    tokio::time::sleep(Duration::from_millis(50)).await;
    for bot in bots.values() {
        bot.task.abort();
    }
    drained
}

impl Bot {
    fn new(attachment: Attachment, ledger: Ledger) -> Self {
        let (orders, received) = mpsc::unbounded_channel();
        Self {
            orders,
            task: tokio::spawn(serve(attachment, received, ledger)),
        }
    }
}

async fn serve(
    mut attachment: Attachment,
    mut orders: mpsc::UnboundedReceiver<Order>,
    ledger: Ledger,
) {
    let mut asleep_until = Instant::now();
    loop {
        let awake = asleep_until <= Instant::now();
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Send(stanzas)) => {
                    for stanza in stanzas {
                        let id = stanza.id().unwrap();
                        ledger.sending(&id);
                        match attachment.send(stanza).await {
                            Ok(()) => ledger.accepted(&id),
                            Err(SendError::Full(_) | SendError::Stopping(_)) => {
                                ledger.refused(&id);
                            }
                            Err(error) => panic!("{id}: {error}"),
                        }
                    }
                }
                Some(Order::Sleep(until)) => asleep_until = asleep_until.max(until),
                Some(Order::Wake) => asleep_until = Instant::now(),
                None => return,
            },
            stanza = attachment.receive(), if awake => ledger.received(&stanza),
            () = tokio::time::sleep_until(asleep_until), if !awake => {}
        }
    }
}

/// The address of a server.
pub(crate) fn host(index: usize) -> IpAddr {
    let index = u16::try_from(index + 1).unwrap().to_be_bytes();
    Ipv4Addr::new(203, 0, index[0] + 113, index[1]).into()
}

/// Where it listens.
pub(crate) fn place(index: usize) -> SocketAddr {
    SocketAddr::new(host(index), 5269)
}

pub(crate) fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// A certificate of the authority that all believe; the same one for every test that asks.
fn certificate(name: &str, generation: usize) -> String {
    static MADE: Mutex<BTreeMap<(String, usize), String>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    let pem = made
        .entry((name.to_owned(), generation))
        .or_insert_with(|| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            let signed = params.signed_by(&key, &*AUTHORITY).unwrap();
            signed.pem() + &key.serialize_pem()
        });
    pem.clone()
}

static AUTHORITY: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
});
