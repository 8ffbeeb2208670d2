//! One meeting with a peer: STARTTLS, the TLS handshake and the stream, over a pipe in memory.
//!
//! On our side are [`Tls`] and [`Stream`], driven as the engine drives them; on the other a peer that tries whatever may
//! help it. They speak in turns, so nothing waits but for what was said.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use verona_proto::addr::{Direction, Hosts};
use verona_proto::certificate::Attestation;
use verona_proto::dialback::{Secret, Secrets, Verdict};
use verona_proto::discovery::Target;
use verona_proto::grounds::{Assurance, Strength};
use verona_proto::policy::{PeerPolicy, Policy};
use verona_proto::stream::{
    Attestations, Check, Command, Event, Input, Memory, Output, Pace, Purpose, Role, Secured,
    Stream, StreamConfig, StreamError, StreamIds,
};

use super::super::*;
use super::evidence::Elsewhere;
use super::peer::{Peer, Say, Way};
use super::specimen::Specimen;

/// What is tried.
pub(super) struct Meeting<'a> {
    pub(super) tls: &'a Tls,
    pub(super) specimen: &'a Specimen,
    /// Our role: receiving if the peer connects.
    pub(super) role: Role,
    pub(super) version: Version,
    pub(super) way: Way,
    pub(super) policy: PeerPolicy,
    /// What DNS and the web say of the certificate; `None` where nobody asks them.
    pub(super) elsewhere: Option<Elsewhere>,
    /// What the peer proved lately.
    pub(super) before: Option<Strength>,
    pub(super) errand: Errand,
    /// How much later than the handshake the stream begins: nobody waits for a certificate to end.
    pub(super) later: Duration,
    /// How long the peer waits between our features and its `<auth/>`.
    pub(super) pause: Duration,
    pub(super) stay: Stay,
}

/// Whether the peer stays when it may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    No,
    /// Until we end it.
    UntilTheEnd,
}

/// Why we dial, if we do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    Carry,
    /// To have a dialback key checked by the server that is authoritative for it.
    Verify,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Why the handshake failed.
    pub(super) no_tls: Option<String>,
    /// What we offered the peer on the protected stream.
    pub(super) external_offered: bool,
    pub(super) dialback_offered: bool,
    /// What the certificate proved, or the sentence why not.
    pub(super) certificate: Option<Result<String, String>>,
    /// Each direction that was opened, and why: `in by sasl`.
    pub(super) grants: Vec<String>,
    /// Why SASL EXTERNAL was refused.
    pub(super) sasl_failed: Vec<String>,
    /// Why requests were refused.
    pub(super) denied: Vec<String>,
    /// Whether a dialback key had to be checked.
    pub(super) key_checked: bool,
    /// How sure it is that the authoritative server was asked, where one was.
    pub(super) asked: Option<&'static str>,
    pub(super) failed: Option<StreamError>,
    pub(super) closed: bool,
    pub(super) closed_in_good_order: bool,
    /// What the peer heard on the protected stream.
    pub(super) heard: String,
}

impl Meeting<'_> {
    pub(super) async fn play(self) -> Seen {
        let (mut here, mut there) = tokio::io::duplex(128 * 1024);
        let mut ours = Ours::new(&self);
        let mut peer = Peer::new(self.role, self.way, self.specimen.domain);
        ours.settle();
        converse(&mut ours, &mut here, &mut peer, &mut there, &self).await;
        assert!(ours.shakes_hands, "{:?}", ours.seen);
        let local = domain(LOCAL);
        let remote = domain(self.specimen.domain);
        let shaken = match self.role {
            Role::Receiving => {
                let connector = TlsConnector::from(Arc::new(connecting(
                    self.version,
                    self.specimen.shown.clone(),
                )));
                let name = ServerName::try_from(LOCAL).unwrap();
                tokio::join!(self.tls.accept(here, Some(&local), false), async {
                    connector
                        .connect(name, there)
                        .await
                        .map(tokio_rustls::TlsStream::from)
                })
            }
            Role::Initiating => {
                let own = self.specimen.shown.clone().unwrap();
                let acceptor = TlsAcceptor::from(Arc::new(accepting(self.version, own)));
                tokio::join!(self.tls.connect(here, &local, &remote, false), async {
                    acceptor
                        .accept(there)
                        .await
                        .map(tokio_rustls::TlsStream::from)
                })
            }
        };
        match shaken {
            (Ok((mut here, facts)), Ok(mut there)) => {
                ours.secured(facts, &self);
                peer.secured();
                converse(&mut ours, &mut here, &mut peer, &mut there, &self).await;
                ours.wait_for_the_end(self.stay);
                // The last words.
                converse(&mut ours, &mut here, &mut peer, &mut there, &self).await;
            }
            (Err(error), _) => {
                let error = StreamError::tls(error.to_string());
                ours.seen.no_tls = Some(error.text.clone());
                ours.handle(Input::Command(Command::Close(error)));
                assert!(ours.stream.transmit().is_empty(), "{:?}", ours.seen);
            }
            (Ok(_), Err(error)) => panic!("the peer gave up: {error}"),
        }
        peer.seen(&mut ours.seen);
        ours.seen
    }
}

/// Our stream, and what it told.
struct Ours {
    stream: Stream,
    now: Instant,
    shakes_hands: bool,
    /// What DNS and the web say, should the stream ask.
    attestation: Option<Attestation>,
    seen: Seen,
}

impl Ours {
    fn new(meeting: &Meeting<'_>) -> Self {
        let now = Instant::now() + meeting.later;
        let remote = domain(meeting.specimen.domain);
        let memory = Memory::default();
        if let Some(strength) = meeting.before {
            memory.learned.note_proven(&remote, strength, now);
        }
        let config = Arc::new(StreamConfig {
            hosts: Arc::new(Hosts::new([domain(LOCAL)])),
            policy: Arc::new(Policy {
                defaults: meeting.policy.clone(),
                peers: Vec::new(),
            }),
            secrets: Secrets::from(Secret::new("not shown to anybody")),
            tls_available: true,
            attestations: match meeting.elsewhere {
                Some(_) => Attestations::Available,
                None => Attestations::Unavailable,
            },
            memory,
        });
        let mut count = 0;
        let ids = StreamIds::new(move || {
            count += 1;
            format!("id-{count}")
        });
        let stream = match meeting.role {
            Role::Receiving => Stream::receiving(config, ids, None, now),
            Role::Initiating => {
                let pair = config
                    .hosts
                    .pair(Direction::Outbound, &domain(LOCAL), &remote)
                    .unwrap();
                let purpose = match meeting.errand {
                    Errand::Carry => Purpose::Carry {
                        pair,
                        external: true,
                        bidi: true,
                        pace: Pace::Stepwise,
                        resume: Vec::new(),
                    },
                    Errand::Verify => Purpose::Verify {
                        pair,
                        checks: vec![Check {
                            id: KEY_ID.into(),
                            key: "0123456789abcdef".into(),
                        }],
                    },
                };
                let target = Target::new("192.0.2.7:5269".parse().unwrap(), false, "a.host");
                Stream::initiating_by_way_of(&target, config, purpose, ids, None, now)
            }
        };
        Self {
            stream,
            now,
            shakes_hands: false,
            attestation: None,
            seen: Seen::default(),
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.stream.handle(input, self.now);
        self.settle();
    }

    fn secured(&mut self, facts: TlsFacts, meeting: &Meeting<'_>) {
        let shown = meeting.specimen.shown.as_ref();
        let shown = shown.map(|key| key.cert.clone()).unwrap_or_default();
        assert_eq!(facts.chain, shown, "{}", meeting.specimen.what);
        // The certificate's end was told on this clock.
        self.now = Instant::now() + meeting.later;
        let remote = domain(meeting.specimen.domain);
        self.attestation = meeting
            .elsewhere
            .as_ref()
            .map(|elsewhere| elsewhere.attestation(&facts, &remote, &meeting.policy, self.now));
        let mut certificate = facts.evidence;
        if meeting.role == Role::Initiating {
            certificate.attestations.extend(self.attestation.clone());
        }
        let secured = Secured {
            certificate,
            own_certificate: true,
        };
        self.handle(Input::Secured(secured));
    }

    /// Takes what the stream says, and does what it wants done.
    fn settle(&mut self) {
        while let Some(output) = self.stream.poll() {
            match output {
                Output::StartTls { .. } => self.shakes_hands = true,
                Output::Attest(_) => {
                    let found = self.attestation.clone().unwrap();
                    self.stream.handle(Input::Attested(found), self.now);
                }
                Output::Event(event) => self.on_event(event),
                Output::Acknowledged(_) | Output::Answered | Output::Unmanaged => {}
                Output::Close | Output::CloseLast => self.seen.closed = true,
                Output::Deliver(_) => panic!("nobody sent a stanza"),
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what else happens does not matter here"
    )]
    fn on_event(&mut self, event: Event) {
        match event {
            Event::Identified(peer) => {
                let certificate = match peer.certificate {
                    Ok(identity) => Ok(identity.to_string()),
                    Err(not) => Err(not.to_string()),
                };
                self.seen.certificate = Some(certificate);
            }
            Event::Granted(granted) => {
                let direction = match granted.direction {
                    Direction::Inbound => "in",
                    Direction::Outbound => "out",
                };
                let grant = format!("{direction} by {}", granted.grounds);
                self.seen.grants.push(grant);
            }
            Event::KeyReceived(check) => {
                self.seen.key_checked = true;
                let verdict = Command::Verdict {
                    pair: check.pair,
                    verdict: Verdict::Valid,
                    assurance: Assurance::Dns,
                };
                self.stream.handle(Input::Command(verdict), self.now);
            }
            Event::Verified {
                verdict, assurance, ..
            } => {
                assert_eq!(verdict, Verdict::Valid);
                self.seen.asked = Some(assurance.name());
            }
            Event::SaslFailed { text } => self.seen.sasl_failed.push(text),
            Event::Denied { text, .. } => self.seen.denied.push(text),
            Event::Failed(error) => self.seen.failed = Some(error),
            Event::Closed { .. } => self.seen.closed_in_good_order = true,
            _ => {}
        }
    }

    /// Lets time pass until the stream is over, if it serves nobody or the peer stays.
    fn wait_for_the_end(&mut self, stay: Stay) {
        while (self.seen.grants.is_empty() || stay == Stay::UntilTheEnd)
            && let Some(at) = self.stream.deadline()
        {
            self.now = self.now.max(at);
            self.handle(Input::Tick);
        }
    }
}

/// Both speak, in turns, until neither has anything to say in this transport.
async fn converse<HERE, THERE>(
    ours: &mut Ours,
    here: &mut HERE,
    peer: &mut Peer,
    there: &mut THERE,
    meeting: &Meeting<'_>,
) where
    HERE: AsyncRead + AsyncWrite + Unpin,
    THERE: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let written = ours.stream.transmit().split();
        let said = match written.is_empty() {
            true => peer.begin(),
            false => {
                let heard = carry(&written, here, there).await;
                peer.hear(std::str::from_utf8(&heard).unwrap())
            }
        };
        let text = match said {
            Say::Nothing => return,
            Say::Text(text) => text,
        };
        if text.contains("<auth ") {
            ours.now += meeting.pause;
        }
        let read = carry(text.as_bytes(), there, here).await;
        ours.handle(Input::Bytes(&read));
    }
}

/// Moves bytes through the pipe.
async fn carry<FROM, TO>(bytes: &[u8], from: &mut FROM, to: &mut TO) -> Vec<u8>
where
    FROM: AsyncWrite + Unpin,
    TO: AsyncRead + Unpin,
{
    from.write_all(bytes).await.unwrap();
    from.flush().await.unwrap();
    let mut read = vec![0; bytes.len()];
    to.read_exact(&mut read).await.unwrap();
    read
}

/// The domain that we host.
pub(super) const LOCAL: &str = "verona.lit";
/// The stream on which we received a key.
pub(super) const KEY_ID: &str = "a-stream-of-ours";
