//! Through a proxy: from its networks a PROXY header is required, from others it is bytes like any other.

use std::time::Instant;

use verona::config::{Component, Conflict, ListenAddress};
use verona::status::LinkTransport;
use verona_proto::limits::Limit;

use super::*;

/// The proxy connects from here, everybody else from 127.0.0.1.
const PROXY: &str = "127.0.0.2";
const LINE: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 40000 5269\r\n";

fn behind_proxies(authority: &Authority, limits: &[(&str, u64)]) -> Config {
    let mut config = config(authority, &["montague.lit"], limits);
    config.s2s.proxies = vec![PROXY.parse().unwrap()];
    config
}

/// A header of version 2 with a checksum (wrong, and not looked at) and padding behind the addresses.
fn block(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let rest = [addresses, &[0x03, 0, 4, 1, 2, 3, 4, 0x04, 0, 2, 0, 0]].concat();
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [
        b"\r\n\r\n\0\r\nQUIT\n".as_slice(),
        &[command, family],
        &length,
        &rest,
    ]
    .concat()
}

fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let v4 = [192, 0, 2, 7, 192, 0, 2, 1, 0x9c, 0x40, 0x14, 0x95];
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    v6[15] = 7;
    v6[32..34].copy_from_slice(&[0x9c, 0x40]);
    vec![
        (LINE.into(), Some("192.0.2.7:40000")),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 5269\r\n".to_vec(),
            Some("[2001:db8::7]:40000"),
        ),
        (block(0x21, 0x11, &v4), Some("192.0.2.7:40000")),
        (block(0x21, 0x21, &v6), Some("[2001:db8::7]:40000")),
        // The proxy's own connections.
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (block(0x20, 0x00, &[]), None),
        (block(0x21, 0x31, &[0; 216]), None),
    ]
}

#[tokio::test]
async fn the_client_of_the_header_is_the_peer() {
    let authority = Authority::new();
    let engine = Engine::start(behind_proxies(&authority, &[]))
        .await
        .unwrap();
    for (header, client) in headers() {
        for (port, whole) in [(0, true), (0, false), (1, true), (1, false)] {
            let mut tcp = connect(PROXY, ports(&engine)[port]).await;
            tcp.set_nodelay(true).unwrap();
            let own = tcp.local_addr().unwrap();
            if whole {
                // What follows in the same segment is the client's.
                let all = [&header, HEADER.as_bytes()].concat();
                tcp.write_all(&all).await.unwrap();
            } else {
                for byte in &header {
                    tcp.write_all(&[*byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
                say(&mut tcp, HEADER).await;
            }
            until(&mut tcp, "</stream:features>").await;
            let expected = client.map_or(own, |client| client.parse().unwrap());
            assert_eq!(link(&engine).await.peer_address, expected);
            drop(tcp);
            quiet(&engine).await;
        }
    }
}

#[tokio::test]
async fn tls_may_begin_behind_the_header() {
    let authority = Authority::new();
    let engine = Engine::start(behind_proxies(&authority, &[]))
        .await
        .unwrap();
    for port in ports(&engine) {
        let mut tcp = connect(PROXY, port).await;
        say(&mut tcp, LINE).await;
        let mut tls = tls(tcp, &authority, "montague.lit", &["xmpp-server"])
            .await
            .unwrap();
        say(&mut tls, HEADER).await;
        until(&mut tls, "</stream:features>").await;
        let seen = link(&engine).await;
        assert_eq!(seen.transport, LinkTransport::Tls);
        assert_eq!(seen.peer_address, "192.0.2.7:40000".parse().unwrap());
        drop(tls);
        quiet(&engine).await;
    }
}

#[tokio::test]
async fn without_a_header_nothing_is_served() {
    let authority = Authority::new();
    let engine = Engine::start(behind_proxies(&authority, &[]))
        .await
        .unwrap();
    for port in ports(&engine) {
        for bytes in [
            HEADER.as_bytes(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 5269\n",
            b"PROXY TCP4 192.0.2.256 192.0.2.1 40000 5269\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 040000 5269\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        ] {
            let mut tcp = connect(PROXY, port).await;
            tcp.write_all(bytes).await.unwrap();
            assert_eq!(rest(&mut tcp).await, "", "{}", bytes.escape_ascii());
        }
        // It ends within the header.
        let mut tcp = connect(PROXY, port).await;
        say(&mut tcp, "PROXY TCP4 192.").await;
        tcp.shutdown().await.unwrap();
        assert_eq!(rest(&mut tcp).await, "");
    }
    let began = Instant::now();
    let mut silent = connect(PROXY, ports(&engine)[0]).await;
    let mut slow = connect(PROXY, ports(&engine)[1]).await;
    say(&mut slow, "PROXY TCP4 ").await;
    for tcp in [&mut silent, &mut slow] {
        assert_eq!(rest(tcp).await, "");
    }
    let waited = began.elapsed();
    let patience = Duration::from_secs(3)..Duration::from_secs(9);
    assert!(patience.contains(&waited), "{waited:?}");
    assert!(engine.handle().links().is_empty());
}

#[tokio::test]
async fn a_header_from_elsewhere_is_not_read() {
    let authority = Authority::new();
    let engine = Engine::start(behind_proxies(&authority, &[]))
        .await
        .unwrap();
    for port in ports(&engine) {
        for (header, _) in headers() {
            let mut tcp = connect("127.0.0.1", port).await;
            tcp.write_all(&header).await.unwrap();
            let error = until(&mut tcp, "</stream:stream>").await;
            assert!(error.contains("<stream:error>"), "{error}");
            drop(tcp);
            quiet(&engine).await;
        }
        // Who sends none is served.
        let mut tcp = connect("127.0.0.1", port).await;
        say(&mut tcp, HEADER).await;
        until(&mut tcp, "</stream:features>").await;
        let own = tcp.local_addr().unwrap();
        assert_eq!(link(&engine).await.peer_address, own);
        drop(tcp);
        quiet(&engine).await;
    }
}

#[tokio::test]
async fn clients_are_counted_and_not_their_proxy() {
    //= LIM-08
    let authority = Authority::new();
    let limits = [("streams_per_address_max", 1)];
    let engine = Engine::start(behind_proxies(&authority, &limits))
        .await
        .unwrap();
    let port = ports(&engine)[0];
    let from = async |client: &str| {
        let mut tcp = connect(PROXY, port).await;
        let line = match client {
            "" => "PROXY UNKNOWN\r\n".to_owned(),
            client => format!("PROXY TCP4 {client} 192.0.2.1 40000 5269\r\n"),
        };
        say(&mut tcp, &line).await;
        let _ = tcp.write_all(HEADER.as_bytes()).await;
        tcp
    };
    let mut served = Vec::new();
    for client in ["192.0.2.7", "192.0.2.8", ""] {
        let mut tcp = from(client).await;
        until(&mut tcp, "</stream:features>").await;
        served.push(tcp);
    }
    for client in ["192.0.2.7", "192.0.2.8", ""] {
        let mut tcp = from(client).await;
        assert_eq!(rest(&mut tcp).await, "", "{client} has one already");
    }
    assert_eq!(engine.handle().links().len(), 3);
    let refused = engine.handle().limit_reached(Limit::StreamsPerAddressMax);
    assert_eq!(refused, 3);
}

#[tokio::test]
async fn connections_that_wait_for_a_header_are_bounded_and_stop_nobody() {
    //= LIM-08
    let authority = Authority::new();
    let limits = [("negotiations_max", 2)];
    let engine = Engine::start(behind_proxies(&authority, &limits))
        .await
        .unwrap();
    let port = ports(&engine)[0];
    let mut waiting = Vec::new();
    for _ in 0..256 {
        waiting.push(connect(PROXY, port).await);
    }
    let mut closed = 0;
    for _ in 0..4 {
        let mut tcp = connect(PROXY, port).await;
        let _ = tcp.write_all(LINE.as_bytes()).await;
        assert_eq!(rest(&mut tcp).await, "");
        closed += 1;
    }
    assert_eq!(closed, 4);
    // They count for no negotiation, and hold up no accept.
    let mut direct = connect("127.0.0.1", port).await;
    say(&mut direct, HEADER).await;
    until(&mut direct, "</stream:features>").await;
    // One that waits is served when its header comes.
    say(&mut waiting[0], LINE).await;
    say(&mut waiting[0], HEADER).await;
    until(&mut waiting[0], "</stream:features>").await;
}

#[tokio::test]
async fn components_have_proxies_of_their_own() {
    let authority = Authority::new();
    let mut config = behind_proxies(&authority, &[]);
    config.domains[0].component = Some(Component {
        secret: "secret".into(),
        conflict: Conflict::RejectNew,
    });
    config.components = vec![ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())];
    config.component_proxies = vec!["127.0.0.3".parse().unwrap()];
    let engine = Engine::start(config).await.unwrap();
    let ListenAddress::Tcp(port) = engine.component_addresses()[0] else {
        panic!("no address")
    };
    let header = "<stream:stream xmlns='jabber:component:accept' \
        xmlns:stream='http://etherx.jabber.org/streams' to='montague.lit'>";
    // Directly, and from a proxy of servers, which is none here.
    for from in ["127.0.0.1", PROXY] {
        let mut tcp = connect(from, port).await;
        say(&mut tcp, header).await;
        until(&mut tcp, " id='").await;
    }
    let mut tcp = connect("127.0.0.3", port).await;
    say(&mut tcp, LINE).await;
    say(&mut tcp, header).await;
    until(&mut tcp, " id='").await;
    let mut tcp = connect("127.0.0.3", port).await;
    say(&mut tcp, header).await;
    assert_eq!(rest(&mut tcp).await, "");
}
