//! Two engines talk over connections that are cut at every place: nothing is lost, nothing comes twice, nothing out of
//! order. What was cut while nobody had been proven comes back with an error, and did not arrive.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic, and says what it saw"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use verona::config::{HostedDomain, PeerAddress, S2s};
use verona::tls::{Certificates, TrustRoots};
use verona::{Attachment, Config, Engine};
use verona_proto::addr::{Domain, Jid};
use verona_proto::dialback::IssuedKeys;
use verona_proto::policy::{DomainPattern, Policy};
use verona_proto::stanza::{Stanza, StanzaClass, StanzaKind};

/// How one connection ends.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// After so many bytes in one direction.
    bytes: u64,
    /// Counted are those of who was dialled.
    backwards: bool,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Both sides notice at once.
    Both,
    /// Who dialled notices; the other side holds the connection for alive.
    Dialler,
    /// Who was dialled notices.
    Dialled,
}

/// Between the two engines: relays, and cuts.
struct Proxy {
    cuts: Mutex<Vec<Cut>>,
    made: AtomicU64,
    /// Halves of connections that nobody told of their end.
    held: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    fn new(mut cuts: Vec<Cut>) -> Arc<Self> {
        cuts.reverse();
        Arc::new(Self {
            cuts: Mutex::new(cuts),
            made: AtomicU64::new(0),
            held: Mutex::default(),
        })
    }

    fn left(&self) -> usize {
        self.cuts.lock().unwrap().len()
    }

    /// A listener whose connections lead to `to`.
    async fn listen(self: &Arc<Self>, to: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((dialler, _)) = listener.accept().await {
                let Ok(dialled) = TcpStream::connect(to).await else {
                    continue;
                };
                proxy.made.fetch_add(1, Ordering::Relaxed);
                let cut = proxy.cuts.lock().unwrap().pop();
                let proxy = Arc::clone(&proxy);
                tokio::spawn(async move { proxy.relay(dialler, dialled, cut).await });
            }
        });
        address
    }

    async fn relay(&self, mut dialler: TcpStream, mut dialled: TcpStream, cut: Option<Cut>) {
        dialler.set_nodelay(true).unwrap();
        dialled.set_nodelay(true).unwrap();
        let (forth, back) = match cut {
            None => (u64::MAX, u64::MAX),
            Some(cut) if cut.backwards => (u64::MAX, cut.bytes),
            Some(cut) => (cut.bytes, u64::MAX),
        };
        {
            let (mut from_dialler, mut to_dialler) = dialler.split();
            let (mut from_dialled, mut to_dialled) = dialled.split();
            tokio::select! {
                () = pass(&mut from_dialler, &mut to_dialled, forth) => {}
                () = pass(&mut from_dialled, &mut to_dialler, back) => {}
            }
        }
        match cut.map(|cut| cut.how) {
            Some(How::Dialler) => self.held.lock().unwrap().push(dialled),
            Some(How::Dialled) => self.held.lock().unwrap().push(dialler),
            Some(How::Both) | None => {}
        }
    }
}

/// Passes up to `bytes` on.
async fn pass<R, W>(from: &mut R, to: &mut W, mut bytes: u64)
where
    R: AsyncReadExt + Unpin,
    W: AsyncWriteExt + Unpin,
{
    let mut buffer = vec![0; 4096];
    while bytes > 0 {
        let room = buffer
            .len()
            .min(usize::try_from(bytes).unwrap_or(usize::MAX));
        let count = match from.read(&mut buffer[..room]).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        bytes = bytes.saturating_sub(u64::try_from(count).unwrap());
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn config(name: &str, ca: &CertifiedIssuer<'static, KeyPair>) -> Config {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
    let mut policy = Policy::default();
    for (limit, value) in [
        ("retry_seconds_min", 1),
        ("retry_seconds_max", 1),
        ("dials_per_address_max", 1000),
        ("acknowledgement_seconds", 2),
    ] {
        policy.defaults.limits.set(limit, value).unwrap();
    }
    Config {
        domains: vec![HostedDomain {
            name: domain(name),
            component: None,
        }],
        s2s: S2s {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..S2s::default()
        },
        certificates: Certificates::from_pem(vec![(domain(name), pem)]).unwrap(),
        trust: TrustRoots::from_pem(&ca.pem()).unwrap(),
        dns_servers: vec!["127.0.0.1:9".parse().unwrap()],
        dnssec: verona::config::Dnssec::Off,
        dialback_secret: None,
        dialback_previous_secret: None,
        issued_keys: IssuedKeys::default(),
        components: Vec::new(),
        component_proxies: Vec::new(),
        policy,
        addresses: Vec::new(),
        version: None,
        learned: Vec::new(),
        journal: None,
        trace: None,
        simulated: None,
    }
}

fn at(name: &str, address: SocketAddr) -> (DomainPattern, PeerAddress) {
    let address = PeerAddress {
        address,
        direct_tls: false,
    };
    (DomainPattern::Exact(domain(name)), address)
}

/// capulet.lit and montague.lit, each behind the proxy.
async fn start(proxy: &Arc<Proxy>) -> (Engine, Engine) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut capulet = config("capulet.lit", &ca);
    let mut montague = config("montague.lit", &ca);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let here = free.local_addr().unwrap();
    drop(free);
    capulet.s2s.listen = vec![here];
    montague.addresses = vec![at("capulet.lit", proxy.listen(here).await)];
    let montague = Engine::start(montague).await.unwrap();
    let there = proxy.listen(montague.s2s_addresses()[0]).await;
    capulet.addresses = vec![at("montague.lit", there)];
    (Engine::start(capulet).await.unwrap(), montague)
}

/// What one side has seen.
#[derive(Default)]
struct Seen {
    sent: u64,
    /// From the other side, in the order of arrival.
    received: Vec<u64>,
    /// What came back.
    bounced: BTreeSet<u64>,
}

fn number(stanza: &Stanza) -> u64 {
    stanza.id().unwrap().parse().unwrap()
}

fn note(seen: &mut Seen, stanza: &Stanza) {
    match stanza.class() {
        StanzaClass::Error => assert!(seen.bounced.insert(number(stanza)), "bounced twice"),
        StanzaClass::Request | StanzaClass::Answer | StanzaClass::Other => {
            seen.received.push(number(stanza));
        }
    }
}

/// Sends until `stop`, then waits until everything is accounted for by `is_over`.
async fn talk(
    mut ours: Attachment,
    to: &str,
    seen: Arc<Mutex<Seen>>,
    stop: impl Fn() -> bool,
    is_over: impl Fn() -> bool,
) {
    let from = Jid::from(ours.domain().clone());
    let to = Jid::parse(to).unwrap();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    while !is_over() {
        tokio::select! {
            stanza = ours.receive() => note(&mut seen.lock().unwrap(), &stanza),
            _ = tick.tick() => {
                if stop() {
                    continue;
                }
                let number = seen.lock().unwrap().sent;
                let id = number.to_string();
                let stanza = Stanza::build(StanzaKind::Message, &from, &to, None, Some(&id), "<body>x</body>");
                if ours.send(stanza).await.is_ok() {
                    seen.lock().unwrap().sent += 1;
                }
            }
        }
    }
}

/// Lets both talk until all cuts are made, and then until all is quiet; judges each direction.
async fn judge(cuts: Vec<Cut>) -> BTreeMap<&'static str, usize> {
    let proxy = Proxy::new(cuts);
    let (capulet, montague) = start(&proxy).await;
    let juliet = capulet.handle().attach(&domain("capulet.lit")).unwrap();
    let romeo = montague.handle().attach(&domain("montague.lit")).unwrap();
    let (there, here): (Arc<Mutex<Seen>>, Arc<Mutex<Seen>>) = Default::default();
    let accounted = |sender: &Seen, receiver: &Seen| {
        u64::try_from(sender.bounced.len() + receiver.received.len()).unwrap() >= sender.sent
    };
    let stop = || proxy.left() == 0;
    let is_over = || {
        let (here, there) = (here.lock().unwrap(), there.lock().unwrap());
        proxy.left() == 0 && accounted(&here, &there) && accounted(&there, &here)
    };
    let all = async {
        tokio::join!(
            talk(juliet, "montague.lit", Arc::clone(&here), &stop, &is_over),
            talk(romeo, "capulet.lit", Arc::clone(&there), &stop, &is_over),
        )
    };
    let in_time = tokio::time::timeout(Duration::from_secs(90), all).await;
    let (here, there) = (here.lock().unwrap(), there.lock().unwrap());
    let mut tally = BTreeMap::new();
    for (sender, receiver, name) in [
        (&*here, &*there, "to montague"),
        (&*there, &*here, "to capulet"),
    ] {
        let received: BTreeSet<u64> = receiver.received.iter().copied().collect();
        assert_eq!(
            received.len(),
            receiver.received.len(),
            "{name}: something came twice"
        );
        assert!(
            receiver.received.is_sorted(),
            "{name}: something came out of order"
        );
        let both: Vec<&u64> = received.intersection(&sender.bounced).collect();
        assert!(both.is_empty(), "{name}: {both:?} arrived and bounced");
        let lost: Vec<u64> = (0..sender.sent)
            .filter(|number| !received.contains(number) && !sender.bounced.contains(number))
            .collect();
        assert!(lost.is_empty(), "{name}: lost {lost:?} of {}", sender.sent);
        *tally.entry("arrived").or_default() += received.len();
        *tally.entry("bounced").or_default() += sender.bounced.len();
    }
    assert!(in_time.is_ok(), "it took too long");
    let counts = capulet.handle().lost_stream_counts();
    let others = montague.handle().lost_stream_counts();
    let sum = |a: u64, b: u64| usize::try_from(a + b).unwrap();
    tally.insert("lost streams", sum(counts.lost, others.lost));
    tally.insert("taken up", sum(counts.taken_up, others.taken_up));
    tally.insert("let go", sum(counts.let_go, others.let_go));
    tally.insert(
        "connections",
        usize::try_from(proxy.made.load(Ordering::Relaxed)).unwrap(),
    );
    println!("{tally:?}");
    tally
}

fn cuts(from: u64, step: usize, count: usize, how: How) -> Vec<Cut> {
    (from..)
        .step_by(step)
        .take(count)
        .enumerate()
        .map(|(index, bytes)| Cut {
            bytes,
            backwards: index % 2 == 1,
            how,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_anywhere_loses_and_repeats_nothing() {
    //= SM-14
    let mut all = cuts(1, 701, 6, How::Both);
    all.extend(cuts(5000, 61, 100, How::Both));
    let tally = judge(all).await;
    assert!(tally["taken up"] > 20, "{tally:?}");
    assert_eq!(tally["let go"], 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_one_side_holds_for_alive_is_taken_up_all_the_same() {
    //= SM-14
    let tally = judge(cuts(9000, 211, 20, How::Dialler)).await;
    assert!(tally["taken up"] > 5, "{tally:?}");
    assert_eq!(tally["let go"], 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_accepted_takes_up_what_who_dialled_holds_for_alive() {
    //= SM-14
    let tally = judge(cuts(9000, 507, 4, How::Dialled)).await;
    assert!(tally["taken up"] > 1, "{tally:?}");
    assert_eq!(tally["let go"], 0, "{tally:?}");
}
