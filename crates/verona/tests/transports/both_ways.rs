//! Two engines federate by direct TLS as they do by STARTTLS: on the same grounds, with keys made alike.

use verona::config::PeerAddress;
use verona::status::{LinkPair, LinkTransport};
use verona_proto::addr::Jid;
use verona_proto::policy::DomainPattern;

use super::*;

/// capulet.lit dials montague.lit, which answers a ping and pings back; each one's account of the connections.
async fn federate(
    capulet: &Authority,
    montague: &Authority,
    transport: LinkTransport,
    port: usize,
) -> [Vec<LinkPair>; 2] {
    let mut theirs = config(montague, &["montague.lit"], &[]);
    let mut ours = config(capulet, &["capulet.lit"], &[]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let here = free.local_addr().unwrap();
    drop(free);
    ours.s2s.listen = vec![here];
    let at = |name: &str, address| {
        let direct_tls = transport == LinkTransport::Tls;
        let address = PeerAddress {
            address,
            direct_tls,
        };
        (DomainPattern::Exact(domain(name)), address)
    };
    theirs.addresses = vec![at("capulet.lit", here)];
    let theirs = Engine::start(theirs).await.unwrap();
    ours.addresses = vec![at("montague.lit", ports(&theirs)[port])];
    let ours = Engine::start(ours).await.unwrap();
    let ping = |engine: &Engine, from: &str, to: &str| {
        let (handle, from, to) = (engine.handle(), domain(from), Jid::from(domain(to)));
        async move { handle.ping(&from, &to, WAIT).await.unwrap() }
    };
    ping(&ours, "capulet.lit", "montague.lit").await;
    ping(&theirs, "montague.lit", "capulet.lit").await;
    [&ours, &theirs].map(|engine| {
        let links = engine.handle().links();
        for link in &links {
            assert_eq!(link.transport, transport, "{links:#?}");
            assert!(link.tls.is_some(), "{links:#?}");
        }
        let used = links.into_iter().filter(|link| link.stanzas_out > 0);
        used.flat_map(|link| link.pairs).collect()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_proves_as_much_in_either_way() {
    //= DTLS-03
    //= DTLS-05
    let authority = Authority::new();
    let starttls = federate(&authority, &authority, LinkTransport::StartTls, 0).await;
    // The port is one for direct TLS, and the other one serves it as well.
    for port in [1, 0] {
        //= DTLS-09
        let direct = federate(&authority, &authority, LinkTransport::Tls, port).await;
        assert_eq!(direct, starttls);
    }
    let shown = format!("{starttls:?}");
    assert!(shown.contains("by: \"sasl\""), "{shown}");
    assert!(!shown.contains("dialback"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_proves_as_much_in_either_way() {
    //= DTLS-03
    //= DTLS-11
    // Neither believes the other's authority.
    let (capulet, montague) = (Authority::new(), Authority::new());
    let starttls = federate(&capulet, &montague, LinkTransport::StartTls, 0).await;
    let direct = federate(&capulet, &montague, LinkTransport::Tls, 1).await;
    assert_eq!(direct, starttls);
    let shown = format!("{direct:?}");
    assert!(shown.contains("by: \"dialback\""), "{shown}");
    assert!(!shown.contains("sasl"), "{shown}");
}
