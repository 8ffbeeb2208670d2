//! What goes on over another connection, in either direction, does not overtake what went over the one before.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use verona::config::{HostedDomain, PeerAddress, S2s};
use verona::tls::{Certificates, TrustRoots};
use verona::{Config, Engine};
use verona_proto::addr::{Domain, Jid};
use verona_proto::dialback::IssuedKeys;
use verona_proto::limits::Limit;
use verona_proto::policy::{DomainPattern, Policy, TlsPolicy};
use verona_proto::stanza::{Stanza, StanzaKind};

/// Far more than what is read at once, and than what may wait for its recipient.
const MESSAGES: usize = 1000;
const WAIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_on_the_old_connection_goes_before_what_comes_on_the_new_one() {
    //= ROUTE-09
    let engine = engine().await;
    let there = engine.s2s_addresses()[0];
    let mut old = connect(there).await;
    let mut new = connect(there).await;
    let mut romeo = engine.handle().attach(&domain("montague.lit")).unwrap();

    let all: String = (0..MESSAGES).map(message).collect();
    assert!(all.len() > 256 * 1024);
    // In the system's buffers: its reader stops as soon as eight wait.
    let written = timeout(WAIT, old.write_all(all.as_bytes())).await;
    written.unwrap().unwrap();
    let full = Limit::ComponentBacklogStanzasMax;
    until(|| engine.handle().limit_reached(full) > 0).await;
    new.write_all(message(MESSAGES).as_bytes()).await.unwrap();
    let mut last = None;
    loop {
        let got = timeout(WAIT, romeo.receive()).await.unwrap();
        let n = got.id().unwrap().parse::<usize>().unwrap();
        assert!(last < Some(n), "{n} behind {last:?}");
        last = Some(n);
        if n == MESSAGES {
            break;
        }
    }

    // And who was behind does not stay so: the new one is waited for as little as the old one.
    for (tcp, n) in [(&mut new, MESSAGES + 1), (&mut old, MESSAGES + 2)] {
        tcp.write_all(message(n).as_bytes()).await.unwrap();
        let got = timeout(WAIT, romeo.receive()).await.unwrap();
        assert_eq!(got.id(), Some(n.to_string()));
    }
}

/// Another pair of which the old connection brings something later, behind what it is stopped for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_read_yet_goes_first_whatever_it_stands_behind() {
    //= ROUTE-09
    let engine = engine().await;
    let there = engine.s2s_addresses()[0];
    let mut old = connect(there).await;
    authorise(&mut old, "verona.lit").await;
    let mut new = connect(there).await;
    authorise(&mut new, "verona.lit").await;
    let handle = engine.handle();
    let mut romeo = handle.attach(&domain("montague.lit")).unwrap();
    let mut valentine = handle.attach(&domain("verona.lit")).unwrap();

    let mut all: String = (0..MESSAGES).map(message).collect();
    all.push_str(&message(MESSAGES).replace("montague.lit", "verona.lit"));
    let written = timeout(WAIT, old.write_all(all.as_bytes())).await;
    written.unwrap().unwrap();
    let full = Limit::ComponentBacklogStanzasMax;
    until(|| engine.handle().limit_reached(full) > 0).await;
    let later = message(MESSAGES + 1).replace("montague.lit", "verona.lit");
    new.write_all(later.as_bytes()).await.unwrap();
    let slow = tokio::spawn(async move {
        loop {
            romeo.receive().await;
        }
    });
    for n in [MESSAGES, MESSAGES + 1] {
        let got = timeout(WAIT, valentine.receive()).await.unwrap();
        assert_eq!(got.id(), Some(n.to_string()));
    }
    slow.abort();
}

/// A peer that uses two connections at once, and more than their recipient takes: neither is kept waiting for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waited_long_enough_goes_on_beside_the_older_one() {
    //= ROUTE-09
    let engine = engine().await;
    let there = engine.s2s_addresses()[0];
    let old = connect(there).await;
    let mut new = connect(there).await;
    let mut romeo = engine.handle().attach(&domain("montague.lit")).unwrap();
    let (mut errors, mut old) = old.into_split();
    let flood = tokio::spawn(async move {
        loop {
            old.write_all(message(0).as_bytes()).await.unwrap();
        }
    });
    // What finds no room is returned, and a peer that does not take that is not read from.
    let read = tokio::spawn(async move {
        let mut scratch = vec![0; 64 * 1024];
        while errors.read(&mut scratch).await.unwrap() > 0 {}
    });
    let full = Limit::ComponentBacklogStanzasMax;
    until(|| engine.handle().limit_reached(full) > 0).await;
    let began = Instant::now();
    let mut next = began;
    let mut sent = 0;
    let arrived = timeout(WAIT, async {
        loop {
            // One that found no room for too long is returned as well.
            if next <= Instant::now() {
                sent += 1;
                new.write_all(message(sent).as_bytes()).await.unwrap();
                next += Duration::from_secs(1);
            }
            let got = romeo.receive().await.id();
            if got != Some("0".to_owned()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    arrived.await.unwrap();
    assert!(began.elapsed() > Duration::from_secs(2), "it did not wait");
    flood.abort();
    read.abort();
}

/// The other direction: the peer closes its stream, and may not have read what we sent on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_goes_out_elsewhere_before_the_peer_has_read_to_the_end() {
    //= ROUTE-09
    //= STREAM-47
    let capulet = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let engine = Engine::start(config(capulet.local_addr().unwrap()))
        .await
        .unwrap();
    let romeo = engine.handle().attach(&domain("montague.lit")).unwrap();
    romeo.send(greeting_of(1)).await.unwrap();
    let mut old = serve(&capulet).await;
    hear(&mut old, "<body>1</body></message>").await;
    say(&mut old, "</stream:stream>").await;
    hear(&mut old, "</stream:stream>").await;
    romeo.send(greeting_of(2)).await.unwrap();
    let early = timeout(Duration::from_millis(500), capulet.accept()).await;
    assert!(early.is_err(), "we may be reading still");
    drop(old);
    let mut new = timeout(WAIT, serve(&capulet)).await.unwrap();
    hear(&mut new, "<body>2</body></message>").await;
    // Who never ends the connection is not waited for for ever.
    say(&mut new, "</stream:stream>").await;
    hear(&mut new, "</stream:stream>").await;
    romeo.send(greeting_of(3)).await.unwrap();
    let mut last = timeout(WAIT, serve(&capulet)).await.unwrap();
    hear(&mut last, "<body>3</body></message>").await;
}

/// A peer that lingers keeps nobody from leaving, and what is queued for it is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_end_its_connection_delays_no_shutdown() {
    //= ROUTE-09
    let capulet = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(capulet.local_addr().unwrap());
    let limits = &mut config.policy.defaults.limits;
    limits.set("close_seconds", 60).unwrap();
    limits.set("drain_seconds", 2).unwrap();
    let engine = Engine::start(config).await.unwrap();
    let mut romeo = engine.handle().attach(&domain("montague.lit")).unwrap();
    romeo.send(greeting_of(1)).await.unwrap();
    let mut lingering = serve(&capulet).await;
    hear(&mut lingering, "<body>1</body></message>").await;
    say(&mut lingering, "</stream:stream>").await;
    hear(&mut lingering, "</stream:stream>").await;
    romeo.send(greeting_of(2)).await.unwrap();
    let leaving = tokio::spawn(engine.shutdown());
    let returned = timeout(WAIT, romeo.receive()).await.unwrap();
    let text = String::from_utf8_lossy(returned.bytes()).into_owned();
    assert!(text.contains("type='error'"), "{text}");
    timeout(WAIT, leaving).await.unwrap().unwrap();
    drop(lingering);
}

/// A server that takes every key for a good one, up to where stanzas come.
async fn serve(listener: &TcpListener) -> TcpStream {
    let (mut tcp, _) = listener.accept().await.unwrap();
    greeting(&mut tcp).await;
    hear(&mut tcp, "</db:result>").await;
    say(
        &mut tcp,
        "<db:result from='capulet.lit' to='montague.lit' type='valid'/>",
    )
    .await;
    tcp
}

fn greeting_of(n: usize) -> Stanza {
    let text = format!("<body>{n}</body>");
    let [from, to] = ["montague.lit", "capulet.lit"].map(|name| Jid::parse(name).unwrap());
    Stanza::build(StanzaKind::Message, &from, &to, None, None, &text)
}

/// Takes a stream and offers dialback.
async fn greeting(tcp: &mut TcpStream) {
    hear(tcp, "xml:lang='en'>").await;
    let features =
        "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>";
    let header = header("id='authority' from='capulet.lit' to='montague.lit'");
    say(tcp, &format!("{header}{features}")).await;
}

/// montague.lit, which hears from whoever vouches for capulet.lit that all its keys are good.
async fn engine() -> Engine {
    let authority = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let engine = Engine::start(config(authority.local_addr().unwrap())).await;
    tokio::spawn(vouch(authority));
    engine.unwrap()
}

async fn until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WAIT);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn message(n: usize) -> String {
    let mut text = String::new();
    let body = "x".repeat(200);
    write!(
        text,
        "<message from='capulet.lit' to='montague.lit' id='{n}'><body>{body}</body></message>"
    )
    .unwrap();
    text
}

/// A connection of capulet.lit over which it may send to montague.lit.
async fn connect(there: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(1024 * 1024).unwrap();
    let mut tcp = socket.connect(there).await.unwrap();
    say(&mut tcp, &header("from='capulet.lit' to='montague.lit'")).await;
    hear(&mut tcp, "</stream:features>").await;
    authorise(&mut tcp, "montague.lit").await;
    tcp
}

async fn authorise(tcp: &mut TcpStream, to: &str) {
    let asks = format!("<db:result from='capulet.lit' to='{to}'>a key</db:result>");
    say(tcp, &asks).await;
    hear(tcp, "type='valid'/>").await;
}

/// The server that DNS names for capulet.lit. It says that every key is its own.
async fn vouch(authority: TcpListener) {
    loop {
        let (mut tcp, _) = authority.accept().await.unwrap();
        tokio::spawn(async move {
            greeting(&mut tcp).await;
            loop {
                let asked = hear(&mut tcp, "</db:verify>").await;
                let (_, id) = asked.split_once(" id='").unwrap();
                let (id, _) = id.split_once('\'').unwrap();
                let (_, to) = asked.split_once(" from='").unwrap();
                let (to, _) = to.split_once('\'').unwrap();
                say(
                    &mut tcp,
                    &format!("<db:verify from='capulet.lit' to='{to}' id='{id}' type='valid'/>"),
                )
                .await;
            }
        });
    }
}

fn header(addresses: &str) -> String {
    format!(
        "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams' {addresses} version='1.0'>"
    )
}

async fn say(tcp: &mut TcpStream, text: &str) {
    tcp.write_all(text.as_bytes()).await.unwrap();
}

/// Everything up to `end`.
async fn hear(tcp: &mut TcpStream, end: &str) -> String {
    let mut heard = Vec::new();
    timeout(WAIT, async {
        while !heard.ends_with(end.as_bytes()) {
            heard.push(tcp.read_u8().await.unwrap());
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&heard)));
    String::from_utf8(heard).unwrap()
}

fn config(authority: SocketAddr) -> Config {
    let mut policy = Policy::default();
    policy.defaults.tls = TlsPolicy::Optional;
    policy
        .defaults
        .limits
        .set("component_backlog_stanzas_max", 8)
        .unwrap();
    policy.defaults.limits.set("close_seconds", 2).unwrap();
    let address = PeerAddress {
        address: authority,
        direct_tls: false,
    };
    Config {
        domains: ["montague.lit", "verona.lit"]
            .map(|name| HostedDomain {
                name: domain(name),
                component: None,
            })
            .into(),
        s2s: S2s {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..S2s::default()
        },
        certificates: Certificates::from_pem(Vec::new()).unwrap(),
        trust: TrustRoots::default(),
        dns_servers: vec!["127.0.0.1:9".parse().unwrap()],
        dnssec: verona::config::Dnssec::Off,
        dialback_secret: None,
        dialback_previous_secret: None,
        issued_keys: IssuedKeys::default(),
        components: Vec::new(),
        component_proxies: Vec::new(),
        policy,
        addresses: vec![(DomainPattern::Exact(domain("capulet.lit")), address)],
        version: None,
        learned: Vec::new(),
        trace: None,
        journal: None,
        simulated: None,
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}
