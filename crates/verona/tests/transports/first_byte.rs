//! Either port serves both kinds of TLS: the first byte decides, and is not lost.

use std::time::Instant;

use verona::status::LinkTransport;
use verona_proto::limits::Limit;

use super::*;

#[tokio::test]
async fn both_kinds_of_tls_work_on_both_ports() {
    //= DTLS-09
    //= DTLS-05
    let authority = Authority::new();
    let engine = Engine::start(config(&authority, &["montague.lit"], &[]))
        .await
        .unwrap();
    for port in ports(&engine) {
        let direct = connect("127.0.0.1", port).await;
        let mut direct = tls(direct, &authority, "montague.lit", &["xmpp-server"])
            .await
            .unwrap();
        say(&mut direct, HEADER).await;
        let first = until(&mut direct, "</stream:features>").await;
        assert_eq!(link(&engine).await.transport, LinkTransport::Tls);
        drop(direct);
        quiet(&engine).await;

        let mut tcp = connect("127.0.0.1", port).await;
        say(&mut tcp, HEADER).await;
        let clear = until(&mut tcp, "</stream:features>").await;
        assert!(clear.contains("<starttls "), "{clear}");
        assert_eq!(link(&engine).await.transport, LinkTransport::Plain);
        say(&mut tcp, STARTTLS).await;
        until(
            &mut tcp,
            "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        )
        .await;
        let mut protected = tls(tcp, &authority, "montague.lit", &[]).await.unwrap();
        say(&mut protected, HEADER).await;
        let second = until(&mut protected, "</stream:features>").await;
        assert_eq!(link(&engine).await.transport, LinkTransport::StartTls);
        drop(protected);
        quiet(&engine).await;

        // The first features of the one are the second ones of the other.
        let features = |text: &str| text.split_once("<stream:features>").unwrap().1.to_owned();
        assert_eq!(features(&first), features(&second));
        for feature in ["<bidi ", "<dialback ", "<limits "] {
            assert!(first.contains(feature), "{feature} in {first}");
        }
        assert!(!first.contains("<starttls"), "{first}");
    }
}

#[tokio::test]
async fn starttls_is_refused_inside_direct_tls() {
    //= DTLS-04
    let authority = Authority::new();
    let engine = Engine::start(config(&authority, &["montague.lit"], &[]))
        .await
        .unwrap();
    for port in ports(&engine) {
        let tcp = connect("127.0.0.1", port).await;
        let mut direct = tls(tcp, &authority, "montague.lit", &[]).await.unwrap();
        say(&mut direct, HEADER).await;
        until(&mut direct, "</stream:features>").await;
        say(&mut direct, STARTTLS).await;
        assert_eq!(
            until(&mut direct, "</stream:stream>").await,
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"
        );
    }
}

#[tokio::test]
async fn alpn_is_for_servers_on_both_ports() {
    //= DTLS-08
    let authority = Authority::new();
    let engine = Engine::start(config(&authority, &["montague.lit"], &[]))
        .await
        .unwrap();
    for port in ports(&engine) {
        for (offered, spoken) in [
            (&[][..], None),
            (&["xmpp-server"], Some(&b"xmpp-server"[..])),
            (&["h2", "xmpp-server"], Some(b"xmpp-server")),
        ] {
            let tcp = connect("127.0.0.1", port).await;
            let tls = tls(tcp, &authority, "montague.lit", offered).await.unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), spoken, "{offered:?}");
        }
        for offered in [&["xmpp-client"][..], &["h2", "http/1.1"]] {
            let tcp = connect("127.0.0.1", port).await;
            let refused = tls(tcp, &authority, "montague.lit", offered).await;
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("NoApplicationProtocol"), "{error}");
        }
    }
}

#[tokio::test]
async fn each_domain_shows_its_own_certificate() {
    //= DTLS-09
    //= TLS-14
    let authority = Authority::new();
    let names = ["montague.lit", "rooms.montague.lit", "bücher.lit"];
    let config = config(&authority, &names, &[]);
    let certificates = config.certificates.clone();
    let engine = Engine::start(config).await.unwrap();
    let leaf = |name: &str| certificates.get(&domain(name)).unwrap().key().cert[0].clone();
    for port in ports(&engine) {
        for name in names {
            let tcp = connect("127.0.0.1", port).await;
            let ascii = domain(name).ascii().to_owned();
            let tls = tls(tcp, &authority, &ascii, &["xmpp-server"])
                .await
                .unwrap();
            let shown = tls.get_ref().1.peer_certificates().unwrap()[0].clone();
            assert_eq!(shown, leaf(name), "{name}");
        }
        // An unknown name gets the first certificate, and no alert: the asking side judges it.
        let tcp = connect("127.0.0.1", port).await;
        let judged = tls(tcp, &authority, "unknown.lit", &["xmpp-server"]).await;
        let error = judged.unwrap_err().to_string();
        assert!(error.contains("not valid for name"), "{error}");
    }
}

#[tokio::test]
async fn who_says_nothing_meets_its_deadline() {
    //= DTLS-09
    //= LIM-14
    let authority = Authority::new();
    let limits = [("negotiation_seconds", 2), ("tls_handshake_seconds", 1)];
    let engine = Engine::start(config(&authority, &["montague.lit"], &limits))
        .await
        .unwrap();
    let [starttls, direct] = ports(&engine);
    let began = Instant::now();
    let mut silent = connect("127.0.0.1", starttls).await;
    let said = until(&mut silent, "</stream:stream>").await;
    assert!(said.contains("<connection-timeout "), "{said}");
    drop(silent);
    let waited = began.elapsed();
    assert!(
        (Duration::from_millis(1900)..Duration::from_secs(4)).contains(&waited),
        "{waited:?}"
    );
    // Where TLS is expected its deadline counts, and there is nobody to explain anything to.
    let began = Instant::now();
    let mut silent = connect("127.0.0.1", direct).await;
    assert_eq!(rest(&mut silent).await, "");
    let waited = began.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(2)).contains(&waited),
        "{waited:?}"
    );
    // The beginning of TLS and no more of it.
    for port in [starttls, direct] {
        let began = Instant::now();
        let mut slow = connect("127.0.0.1", port).await;
        slow.write_all(&[0x16]).await.unwrap();
        assert_eq!(rest(&mut slow).await, "");
        let waited = began.elapsed();
        assert!(
            (Duration::from_millis(900)..Duration::from_secs(2)).contains(&waited),
            "{waited:?}"
        );
    }
    quiet(&engine).await;
    let reached = |limit| engine.handle().limit_reached(limit);
    assert_eq!(reached(Limit::NegotiationSeconds), 1);
    assert_eq!(reached(Limit::TlsHandshakeSeconds), 3);
}

/// The time for a negotiation begins with the connection, whatever it is spent on.
#[tokio::test]
async fn a_late_beginning_gains_no_time() {
    //= DTLS-09
    //= STREAM-57
    let authority = Authority::new();
    let limits = [("negotiation_seconds", 3)];
    let engine = Engine::start(config(&authority, &["montague.lit"], &limits))
        .await
        .unwrap();
    let began = Instant::now();
    let tcp = connect("127.0.0.1", ports(&engine)[0]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut late = tls(tcp, &authority, "montague.lit", &[]).await.unwrap();
    say(&mut late, HEADER).await;
    let said = until(&mut late, "</stream:stream>").await;
    assert!(said.contains("<connection-timeout "), "{said}");
    let waited = began.elapsed();
    assert!(waited < Duration::from_millis(4500), "{waited:?}: {said}");
}

#[tokio::test]
async fn a_handshake_has_no_more_time_than_is_left() {
    //= STREAM-57
    //= LIM-14
    let authority = Authority::new();
    let limits = [("negotiation_seconds", 2), ("tls_handshake_seconds", 8)];
    let engine = Engine::start(config(&authority, &["montague.lit"], &limits))
        .await
        .unwrap();
    let [starttls, direct] = ports(&engine);
    let began = Instant::now();
    let stalled = async {
        let mut tcp = connect("127.0.0.1", starttls).await;
        say(&mut tcp, HEADER).await;
        until(&mut tcp, "</stream:features>").await;
        say(&mut tcp, STARTTLS).await;
        until(&mut tcp, "/>").await;
        assert_eq!(rest(&mut tcp).await, "");
    };
    let begun = async {
        let mut tcp = connect("127.0.0.1", direct).await;
        tcp.write_all(&[0x16]).await.unwrap();
        assert_eq!(rest(&mut tcp).await, "");
    };
    tokio::join!(stalled, begun);
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(4), "{waited:?}");
    quiet(&engine).await;
}

/// At the end of the engine nobody has to wait for a peer that has said nothing.
#[tokio::test]
async fn who_says_nothing_holds_up_no_shutdown() {
    //= DTLS-09
    let authority = Authority::new();
    let engine = Engine::start(config(&authority, &["montague.lit"], &[]))
        .await
        .unwrap();
    let mut silent = Vec::new();
    for port in ports(&engine) {
        silent.push(connect("127.0.0.1", port).await);
    }
    while engine.handle().links().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    let (_, starttls, direct) = {
        let [starttls, direct] = &mut silent[..] else {
            panic!("two")
        };
        tokio::join!(engine.shutdown(), rest(starttls), rest(direct))
    };
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "{:?}",
        began.elapsed()
    );
    // Who has not said a word is not waited for: it is told, if there is time for that.
    assert!(
        starttls.is_empty() || starttls.contains("<system-shutdown "),
        "{starttls}"
    );
    // Where TLS is expected XML says nothing to anybody.
    assert_eq!(direct, "");
}
