//! While time passes: a certificate that ends during the negotiation or on an open stream, and a peer that comes back.

use std::time::SystemTime;

use rustls::HandshakeKind;
use verona_proto::stanza::condition::StreamCondition;

use super::*;

/// The table; each row was judged.
pub(super) async fn table(tls: &Tls, nursery: &Nursery) -> page::Table {
    let rows = [
        before_auth(tls, nursery, Accepts::Default).await,
        before_auth(tls, nursery, Accepts::CertificateOnly).await,
        on_an_open_stream(tls, nursery, Accepts::Default, Role::Receiving).await,
        on_an_open_stream(tls, nursery, Accepts::Default, Role::Initiating).await,
        on_an_open_stream(tls, nursery, Accepts::DialbackOnly, Role::Receiving).await,
        on_an_open_stream(tls, nursery, Accepts::DialbackOnly, Role::Initiating).await,
    ];
    page::Table::of_cells(
        "While time passes",
        "A certificate is judged again when the peer authenticates. When it ends, the connection ends with it, in both \
         directions, if anything stands on it; both servers may connect again, with a new one.",
        &[
            "a certificate that ends",
            "accepted",
            "the peer",
            "what happens",
            "in the log",
        ],
        &rows.map(|row| row.map(str::to_owned).to_vec()),
    )
}

/// One that is good for an hour more, of which all but some seconds pass before the stream begins.
fn about_to_end(nursery: &Nursery) -> Specimen {
    let end = SystemTime::now() + HOUR;
    let issued = nursery.server(|params| params.not_after = end.into());
    specimen::shown("about to end", &issued).proves()
}

async fn before_auth(tls: &Tls, nursery: &Nursery, accepts: Accepts) -> [&'static str; 5] {
    //= SASL-11
    let specimen = about_to_end(nursery);
    let tried = (VERSIONS[1], Way::External);
    let seen = Meeting {
        later: HOUR - Duration::from_secs(10),
        pause: Duration::from_secs(15),
        ..meeting(tls, &specimen, Role::Receiving, tried, accepts.policy())
    }
    .play()
    .await;
    assert_eq!(
        seen.certificate,
        Some(Ok("certificate".into())),
        "{seen:#?}"
    );
    assert!(seen.external_offered, "{seen:#?}");
    assert!(seen.heard.contains("<not-authorized"), "{seen:#?}");
    assert_eq!(seen.sasl_failed, ["the peer's certificate has expired"]);
    let failed = seen.failed.as_ref().map(|error| error.text.as_str());
    let what = "between our offer and its `<auth/>`";
    match accepts {
        Accepts::Default | Accepts::DialbackOnly => {
            assert_eq!(failed, None, "{seen:#?}");
            assert_eq!(
                seen.grants,
                ["in by dialback", "out by inverse of dialback"],
                "{seen:#?}"
            );
            [what, "the default", "connects", "dialback", EXPIRED]
        }
        Accepts::CertificateOnly => {
            let text = "SASL EXTERNAL failed, and the policy for this peer forbids dialback";
            assert_eq!(failed, Some(text), "{seen:#?}");
            assert!(seen.grants.is_empty(), "{seen:#?}");
            [what, "certificate", "connects", "refused", EXPIRED]
        }
    }
}

async fn on_an_open_stream(
    tls: &Tls,
    nursery: &Nursery,
    accepts: Accepts,
    role: Role,
) -> [&'static str; 5] {
    //= BIDI-70
    //= TLS-25
    let specimen = about_to_end(nursery);
    let tried = (VERSIONS[1], Way::External);
    let seen = Meeting {
        later: HOUR - Duration::from_secs(10),
        stay: Stay::UntilTheEnd,
        ..meeting(tls, &specimen, role, tried, accepts.policy())
    }
    .play()
    .await;
    assert_eq!(seen.grants.len(), 2, "{seen:#?}");
    let peer = match role {
        Role::Receiving => "connects",
        Role::Initiating => "is dialled",
    };
    let what = "on an open stream";
    match accepts {
        Accepts::Default | Accepts::CertificateOnly => {
            let error = seen.failed.as_ref().unwrap();
            assert_eq!(error.condition, StreamCondition::Reset, "{seen:#?}");
            assert_eq!(error.text, RESET, "{seen:#?}");
            assert!(seen.heard.contains("<reset "), "{seen:#?}");
            [what, "the default", peer, "`reset`", RESET]
        }
        // Nothing stands on it: the stream lives until nobody uses it.
        Accepts::DialbackOnly => {
            assert!(seen.closed_in_good_order, "{seen:#?}");
            assert_eq!(seen.failed, None);
            assert!(!seen.heard.contains("<reset "), "{seen:#?}");
            [what, "dialback", peer, "nothing", ""]
        }
    }
}

#[tokio::test]
async fn nothing_is_resumed_under_another_name_or_for_other_authorities() {
    //= TLS-29
    // Each time the certificate is shown and judged anew (reliability I10).
    let nursery = Nursery::new();
    let before = trusting(&nursery);
    let own = Authority::new("Ours").issue(&[play::LOCAL], |_| {});
    let certificates = || Certificates::from_pem(vec![(domain(play::LOCAL), own.pem())]).unwrap();
    let afterwards = Tls::new(certificates(), TrustRoots::default()).unwrap();
    let issued = nursery.server(|_| {});
    for version in VERSIONS {
        // What connects remembers, as it would for itself.
        let peer = connecting(version, Some(issued.certified()));
        let mut worth = Vec::new();
        for (tls, sni) in [
            (&before, "verona.lit"),
            (&before, "rooms.verona.lit"),
            (&before, "verona.lit"),
            (&afterwards, "verona.lit"),
        ] {
            let (ours, theirs) = accept(tls, peer.clone(), Some(sni), None, false).await;
            let theirs = theirs.unwrap();
            let kind = theirs.get_ref().1.handshake_kind();
            assert!(!matches!(kind, Some(HandshakeKind::Resumed)), "{kind:?}");
            let facts = ours.unwrap().1;
            assert_eq!(facts.chain, issued.chain);
            let now = std::time::Instant::now();
            worth.push(facts.evidence.covers(&domain("montague.lit"), now).is_ok());
        }
        assert_eq!(worth, [true, true, true, false]);

        let peer = accepting(version, issued.certified());
        for (tls, good) in [(&before, true), (&before, true), (&afterwards, false)] {
            let (ours, _) = connect(tls, peer.clone(), play::LOCAL, "montague.lit", false).await;
            let (stream, facts) = ours.unwrap();
            let kind = stream.common().handshake_kind();
            assert!(!matches!(kind, Some(HandshakeKind::Resumed)), "{kind:?}");
            let now = std::time::Instant::now();
            let covered = facts.evidence.covers(&domain("montague.lit"), now);
            assert_eq!(covered.is_ok(), good);
        }
    }
}

#[tokio::test]
async fn authorities_that_the_operator_did_not_name_are_nobodys() {
    //= TLS-33
    // The system's own authorities are trusted where they are asked for, and nowhere else.
    let nursery = Nursery::new();
    let tls = trusting(&nursery);
    let public = Authority::new("A Public Authority");
    let issued = public.issue(&["montague.lit"], |_| {});
    let specimen = specimen::shown("by a public authority", &issued).untrusted(
        "issued by an unknown authority (CN=A Public Authority); its server sent no intermediate certificate",
    );
    assert!(judge(&tls, &specimen).await.is_ok());
    let own = nursery.authority.issue(&[play::LOCAL], |_| {});
    let certificates = Certificates::from_pem(vec![(domain(play::LOCAL), own.pem())]).unwrap();
    let public = Tls::new(certificates, public.trust()).unwrap();
    let specimen = specimen::shown("by a public authority", &issued).proves();
    assert!(judge(&public, &specimen).await.is_ok());
    let specimen = specimen::shown("by ours", &nursery.server(|_| {})).untrusted(
        "issued by an unknown authority (CN=An Authority); its server sent no intermediate certificate",
    );
    assert!(judge(&public, &specimen).await.is_ok());
}

const HOUR: Duration = Duration::from_secs(3600);
const EXPIRED: &str = "SASL EXTERNAL failed: the peer's certificate has expired";
const RESET: &str = "the certificate that proved the peer has expired";
