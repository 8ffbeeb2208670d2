//! Which certificate is shown to whom, which name is asked for, what is switched off, and how failures read.

use rustls::HandshakeKind;

use super::*;

/// The certificate that we showed.
fn shown<T>(stream: &T) -> CertificateDer<'static>
where
    T: AsRef<CommonState>,
{
    stream.as_ref().peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

struct Client(tokio_rustls::client::TlsStream<DuplexStream>);

impl AsRef<CommonState> for Client {
    fn as_ref(&self) -> &CommonState {
        self.0.get_ref().1
    }
}

struct Server(tokio_rustls::server::TlsStream<DuplexStream>);

impl AsRef<CommonState> for Server {
    fn as_ref(&self) -> &CommonState {
        self.0.get_ref().1
    }
}

#[tokio::test]
async fn the_name_asked_for_decides_then_the_streams_then_the_first() {
    //= TLS-14
    let authority = Authority::new("An Authority");
    let tls = ours(
        &authority,
        &["verona.lit", "bücher.lit", "rooms.verona.lit"],
    );
    for (sni, fallback, expected) in [
        (Some("rooms.verona.lit"), None, "rooms.verona.lit"),
        (Some("ROOMS.Verona.LIT"), None, "rooms.verona.lit"),
        (Some("xn--bcher-kva.lit"), None, "bücher.lit"),
        (
            Some("rooms.verona.lit"),
            Some("bücher.lit"),
            "rooms.verona.lit",
        ),
        (Some("unknown.lit"), Some("bücher.lit"), "bücher.lit"),
        (None, Some("rooms.verona.lit"), "rooms.verona.lit"),
        (None, None, "verona.lit"),
        (Some("unknown.lit"), None, "verona.lit"),
        (Some("unknown.lit"), Some("unknown.lit"), "verona.lit"),
    ] {
        for version in VERSIONS {
            let (ours, theirs) =
                accept(&tls, connecting(version, None), sni, fallback, false).await;
            let expected = tls.certificates().get(&domain(expected)).unwrap();
            assert_eq!(
                shown(&Client(theirs.unwrap())),
                expected.key().cert[0],
                "{sni:?} {fallback:?}"
            );
            let seen = ours.unwrap().1.sni;
            assert_eq!(seen, sni.map(str::to_ascii_lowercase), "{sni:?}");
        }
    }
}

#[tokio::test]
async fn we_show_the_certificate_of_our_domain_and_ask_for_theirs() {
    //= TLS-13
    //= TLS-15
    //= DTLS-06
    //= DNS-11
    let authority = Authority::new("An Authority");
    let tls = ours(&authority, &["verona.lit", "rooms.verona.lit"]);
    let peer = authority.issue(&["montague.lit"], |_| {});
    for (local, remote, sni) in [
        ("verona.lit", "montague.lit", Some("montague.lit")),
        ("rooms.verona.lit", "bücher.lit", Some("xn--bcher-kva.lit")),
        (
            "verona.lit",
            "_under_score.montague.lit",
            Some("_under_score.montague.lit"),
        ),
        ("verona.lit", "192.0.2.1", None),
        ("verona.lit", "[2001:db8::1]", None),
        ("verona.lit", "-.lit", None),
        ("nowhere.lit", "montague.lit", Some("montague.lit")),
    ] {
        for direct in [false, true] {
            for version in VERSIONS {
                let mut config = accepting(version, peer.certified());
                config.alpn_protocols = vec![b"xmpp-server".to_vec(), b"h2".to_vec()];
                let (ours, theirs) = connect(&tls, config, local, remote, direct).await;
                let facts = ours.unwrap().1;
                let theirs = theirs.unwrap();
                assert_eq!(theirs.get_ref().1.server_name(), sni, "{remote}");
                assert_eq!(facts.sni.as_deref(), sni);
                //= DTLS-07
                let spoken = direct.then_some(b"xmpp-server".as_slice());
                assert_eq!(theirs.get_ref().1.alpn_protocol(), spoken);
                match tls.certificates().get(&domain(local)) {
                    Some(own) => assert_eq!(shown(&Server(theirs)), own.key().cert[0], "{local}"),
                    None => assert!(theirs.get_ref().1.peer_certificates().is_none()),
                }
            }
        }
    }
}

#[tokio::test]
async fn direct_tls_is_for_servers() {
    //= DTLS-08
    let authority = Authority::new("An Authority");
    let tls = ours(&authority, &["verona.lit"]);
    for version in VERSIONS {
        for (offered, direct, accepted) in [
            (vec![], true, true),
            (vec!["xmpp-server"], true, true),
            (vec!["h2", "xmpp-server"], true, true),
            (vec!["xmpp-client"], true, false),
            (vec!["h2", "http/1.1"], true, false),
            (vec!["xmpp-client"], false, true),
        ] {
            let mut peer = connecting(version, None);
            peer.alpn_protocols = offered
                .iter()
                .map(|name| name.as_bytes().to_vec())
                .collect();
            let (ours, theirs) = accept(&tls, peer, Some("verona.lit"), None, direct).await;
            assert_eq!(theirs.is_ok(), accepted, "{offered:?} {direct}");
            match ours {
                Ok(_) => assert!(accepted, "{offered:?}"),
                Err(error) => {
                    assert!(!accepted, "{offered:?}: {error}");
                    assert!(
                        error
                            .to_string()
                            .contains("only servers (ALPN xmpp-server)"),
                        "{error}"
                    );
                    let theirs = TlsError::Handshake {
                        peer: Some(domain("verona.lit")),
                        direct,
                        cause: theirs.unwrap_err(),
                    };
                    assert!(
                        theirs
                            .to_string()
                            .contains("SRV record may name the wrong port"),
                        "{theirs}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_resumed() {
    //= TLS-29
    //= TLS-30
    let authority = Authority::new("An Authority");
    let tls = ours(&authority, &["verona.lit"]);
    let own = authority.issue(&["montague.lit"], |_| {});
    for version in VERSIONS {
        // One configuration, so that the peers would remember.
        let mut client = connecting(version, None);
        client.enable_early_data = true;
        let mut server = accepting(version, own.certified());
        server.max_early_data_size = 1024;
        for _ in 0..2 {
            let (_, theirs) = accept(&tls, client.clone(), Some("verona.lit"), None, false).await;
            let theirs = theirs.unwrap();
            let kind = theirs.get_ref().1.handshake_kind();
            assert!(
                matches!(
                    kind,
                    Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
                ),
                "{kind:?}"
            );
            assert!(!theirs.get_ref().1.is_early_data_accepted());

            let (ours, _) =
                connect(&tls, server.clone(), "verona.lit", "montague.lit", false).await;
            let kind = ours.unwrap().0.common().handshake_kind();
            assert!(
                matches!(
                    kind,
                    Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
                ),
                "{kind:?}"
            );
        }
    }
}

#[tokio::test]
async fn tls_1_1_is_refused() {
    //= TLS-26
    let authority = Authority::new("An Authority");
    let tls = ours(&authority, &["verona.lit"]);
    let (here, mut there) = tokio::io::duplex(4096);
    // A ClientHello with version 3.2, and but for that one of TLS 1.2: a suite, a signature algorithm, a group.
    let extensions = [0, 16, 0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 0x1d];
    let body = [
        &[3, 2][..],
        &[7; 32],
        &[0],
        &[0, 2, 0xc0, 0x2b],
        &[1, 0],
        &extensions,
    ]
    .concat();
    let hello = [&[1, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat();
    let record = [
        &[22, 3, 1, 0, u8::try_from(hello.len()).unwrap()][..],
        &hello,
    ]
    .concat();
    there.write_all(&record).await.unwrap();
    let error = tls.accept(here, None, false).await.unwrap_err();
    assert!(
        error.to_string().contains("it must speak TLS 1.2 or later"),
        "{error}"
    );
    //= TLS-09
    let mut answer = Vec::new();
    there.read_to_end(&mut answer).await.unwrap();
    // A fatal alert, protocol_version, and nothing else.
    assert_eq!(
        (answer[0], answer.len(), answer[5], answer[6]),
        (21, 7, 2, 70)
    );
}

#[tokio::test]
async fn failures_say_what_happened_and_what_to_do() {
    let authority = Authority::new("An Authority");
    let tls = ours(&authority, &["verona.lit"]);
    let (local, remote) = (domain("verona.lit"), domain("montague.lit"));
    for (answer, direct, what, advice) in [
        (
            &b"<?xml version='1.0'?><stream:stream>"[..],
            true,
            "not TLS",
            "_xmpps-server record",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            false,
            "not TLS",
            "breaks STARTTLS",
        ),
        (b"", false, "closed the connection", "log"),
        (
            &[21, 3, 3, 0, 2, 2, 40],
            false,
            "HandshakeFailure",
            "TLS 1.2 or later",
        ),
        (
            &[21, 3, 3, 0, 2, 2, 112],
            false,
            "UnrecognisedName",
            "may not host it",
        ),
        (
            &[21, 3, 3, 0, 2, 2, 48],
            false,
            "UnknownCA",
            "refuses our certificate",
        ),
        (
            &[21, 3, 3, 0, 2, 2, 120],
            true,
            "NoApplicationProtocol",
            "wrong port",
        ),
    ] {
        let (here, mut there) = tokio::io::duplex(4096);
        there.write_all(answer).await.unwrap();
        there.shutdown().await.unwrap();
        let error = tls
            .connect(here, &local, &remote, direct)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("TLS with montague.lit failed: "),
            "{error}"
        );
        assert!(error.contains(what) && error.contains(advice), "{error}");
    }
    let none = Tls::new(Certificates::default(), authority.trust()).unwrap();
    let (here, _there) = tokio::io::duplex(64);
    let error = none.accept(here, None, false).await.unwrap_err();
    assert!(matches!(error, TlsError::NoCertificate), "{error}");
}

#[test]
fn no_key_is_shown_by_accident() {
    let authority = Authority::new("An Authority");
    let tls = ours(&authority, &["verona.lit"]);
    let text = format!("{tls:?}");
    assert_eq!(
        text,
        "Tls { certificates: {verona.lit: \"verona.lit.pem\"}, trust: TrustRoots(1), .. }"
    );
}
