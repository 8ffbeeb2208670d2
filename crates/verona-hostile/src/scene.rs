//! What one case has to itself: domains, certificates, a name, a listener, and the steps of every negotiation.
//! Why the steps are here: a case says at which of them it misbehaves, and the ones before are the same for all.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::authority::{Authority, Credentials, Order};
use crate::dns::{Answer, Zone};
use crate::element::{Element, Heard, escape, ns};
use crate::key::{dialback_key, random_id};
use crate::neighbour::{Manner, Neighbour};
use crate::tls;
use crate::verdict::Verdict;
use crate::wire::{Trail, Wire};

/// The server under test, as far as a case has to know it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Where it accepts streams with STARTTLS.
    pub address: SocketAddr,
    /// A domain that it hosts and answers pings for.
    pub hosted: String,
    /// Another one.
    pub second: Option<String>,
    /// Its dialback secret.
    pub secret: Option<String>,
    /// Whether it offers EXTERNAL and trusts the kit's authority.
    pub trusts_us: bool,
    /// Whether it speaks XEP-0288. Said and not found out: a server that lost it shall fail and not be excused.
    pub bidi: bool,
    /// The longest time in which it gives up a negotiation or a wait.
    pub patience: Duration,
    /// How long the kit waits before it believes that nothing comes.
    pub settle: Duration,
}

/// One case's world.
pub struct Scene {
    /// The server under test.
    pub subject: Subject,
    /// The case's own domain; everything below it is the case's too.
    pub domain: String,
    /// Its listener.
    pub neighbour: Arc<Neighbour>,
    /// Certificates.
    pub authority: Authority,
    /// What was said.
    pub trail: Trail,
    zone: Zone,
    secret: String,
    source: IpAddr,
    dialled: AtomicUsize,
    /// Connections that have to stay open until the case has ended.
    kept: Mutex<Vec<Wire>>,
    /// Ids of stanzas that must not be delivered, however late.
    forbidden: Mutex<Vec<String>>,
    /// A world of another address, where there is one.
    elsewhere: Option<Arc<Scene>>,
}

/// What came of a stream header.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// The id of the stream.
    pub id: String,
    /// The response header.
    pub header: Element,
    /// The features.
    pub features: Element,
}

/// Whether a stream of ours asks for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directions {
    /// Ours only.
    One,
    /// Both (XEP-0288).
    Both,
}

impl Scene {
    /// The world of the case whose domain this is.
    ///
    /// # Errors
    /// The listener cannot listen at `own`.
    pub async fn new(
        subject: Subject,
        domain: String,
        own: IpAddr,
        authority: Authority,
        zone: Zone,
        elsewhere: Option<Arc<Scene>>,
    ) -> Result<Arc<Self>> {
        let trail = elsewhere
            .as_ref()
            .map_or_else(Trail::default, |other| other.trail.clone());
        let secret = random_id()?;
        let neighbour = Neighbour::start(
            SocketAddr::new(own, 0),
            authority.clone(),
            secret.clone(),
            trail.clone(),
        )
        .await?;
        zone.set(&domain, Answer::Server(neighbour.address));
        Ok(Arc::new(Self {
            subject,
            domain,
            neighbour,
            authority,
            trail,
            zone,
            secret,
            source: own,
            dialled: AtomicUsize::new(0),
            kept: Mutex::new(Vec::new()),
            forbidden: Mutex::new(Vec::new()),
            elsewhere,
        }))
    }

    /// A world of another address, where the run has more than one.
    #[must_use]
    pub fn from_elsewhere(&self) -> Option<Arc<Scene>> {
        self.elsewhere.clone()
    }

    /// A domain below the case's own.
    #[must_use]
    pub fn below(&self, name: &str) -> String {
        format!("{name}.{}", self.domain)
    }

    /// The target's domain.
    #[must_use]
    pub fn hosted(&self) -> &str {
        &self.subject.hosted
    }

    /// From here on a domain resolves so.
    pub fn resolve(&self, domain: &str, answer: Answer) {
        self.zone.set(domain, answer);
    }

    /// A certificate.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn credentials(&self, order: &Order) -> Result<Credentials> {
        self.authority.issue(order)
    }

    /// The key of one of our domains for one stream.
    #[must_use]
    pub fn key(&self, target: &str, sender: &str, id: &str) -> String {
        dialback_key(&self.secret, target, sender, id)
    }

    /// Keeps a connection open until the case has ended.
    pub fn keep(&self, wire: Wire) {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(wire);
    }

    /// Hangs up on all that was kept.
    pub fn let_go(&self) {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// The stanza with this id must not be delivered, however late.
    pub fn forbid(&self, id: &str) {
        self.forbidden
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(id.to_owned());
    }

    /// The stanzas that were answered although they must not have been.
    #[must_use]
    pub fn delivered_nevertheless(&self) -> Vec<String> {
        let forbidden = self
            .forbidden
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        self.neighbour
            .journal()
            .iter()
            .filter(|remark| {
                remark.element.is_stanza()
                    && !is_refusal(&remark.element)
                    && forbidden
                        .iter()
                        .any(|id| id == remark.element.attribute("id"))
            })
            .map(|remark| remark.element.short())
            .collect()
    }

    /// A TCP connection to the target.
    ///
    /// # Errors
    /// It does not accept.
    pub async fn dial(&self) -> Result<Wire> {
        let number = self.dialled.fetch_add(1, Ordering::Relaxed) + 1;
        let stream = self.dial_bare().await?;
        Ok(Wire::new(stream, &format!("d{number}"), self.trail.clone()))
    }

    /// The same, without anything around it.
    ///
    /// # Errors
    /// It does not accept.
    pub async fn dial_bare(&self) -> Result<TcpStream> {
        let address = self.subject.address;
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        if self.source.is_ipv4() == address.is_ipv4() {
            socket.bind(SocketAddr::new(self.source, 0))?;
        }
        timeout(STEP_MAX, socket.connect(address))
            .await
            .context("the target does not accept")?
            .context("connecting to the target")
    }

    /// Sends a header and reads what answers it.
    ///
    /// # Errors
    /// No header or no features came.
    pub async fn greet(&self, wire: &mut Wire, from: &str, to: &str) -> Result<Greeting> {
        wire.send(initial_header(from, to)).await;
        self.greeting(wire).await
    }

    /// Reads a header and features.
    ///
    /// # Errors
    /// No header or no features came.
    pub async fn greeting(&self, wire: &mut Wire) -> Result<Greeting> {
        let header = wire.hear(STEP_MAX).await.into_header()?;
        let features = self.element(wire).await?;
        if !features.is(ns::STREAM, "features") {
            bail!("no features but {}", features.short());
        }
        Ok(Greeting {
            id: header.attribute("id").to_owned(),
            header,
            features,
        })
    }

    /// Reads one element.
    ///
    /// # Errors
    /// None came.
    pub async fn element(&self, wire: &mut Wire) -> Result<Element> {
        wire.hear(STEP_MAX).await.into_element()
    }

    /// A connection up to the `>` of `<proceed/>`.
    ///
    /// # Errors
    /// The target does not go along.
    pub async fn proceeded(&self, from: &str, to: &str) -> Result<Wire> {
        let mut wire = self.dial().await?;
        self.greet(&mut wire, from, to).await?;
        wire.send(STARTTLS).await;
        let answer = self.element(&mut wire).await?;
        if !answer.is(ns::TLS, "proceed") {
            bail!("no <proceed/> but {}", answer.short());
        }
        Ok(wire)
    }

    /// A connection with TLS on which this certificate was shown, or none; nothing was said on it yet.
    ///
    /// # Errors
    /// The target does not go along.
    pub async fn encrypted(
        &self,
        from: &str,
        to: &str,
        shown: Option<Credentials>,
    ) -> Result<Wire> {
        let mut wire = self.proceeded(from, to).await?;
        let config = tls::client(shown, rustls::ALL_VERSIONS)?;
        wire.secure_as_client(config, to).await?;
        Ok(wire)
    }

    /// A connection with TLS, our own good certificate, and the features that follow.
    ///
    /// # Errors
    /// The target does not go along.
    pub async fn protected(&self, from: &str, to: &str) -> Result<(Wire, Greeting)> {
        let shown = self.credentials(&Order::good(&[from]))?;
        let mut wire = self.encrypted(from, to, Some(shown)).await?;
        let greeting = self.greet(&mut wire, from, to).await?;
        Ok((wire, greeting))
    }

    /// The same with a certificate that nobody can believe, so that dialback has to follow.
    ///
    /// # Errors
    /// The target does not go along.
    pub async fn protected_unproven(&self, from: &str, to: &str) -> Result<(Wire, Greeting)> {
        let mut wire = self.encrypted(from, to, None).await?;
        let greeting = self.greet(&mut wire, from, to).await?;
        Ok((wire, greeting))
    }

    /// Authenticates by EXTERNAL and restarts.
    ///
    /// # Errors
    /// The target does not accept it.
    pub async fn external(&self, wire: &mut Wire, from: &str, to: &str) -> Result<Greeting> {
        wire.send(auth(from)).await;
        let answer = self.element(wire).await?;
        if !answer.is(ns::SASL, "success") {
            bail!("no <success/> but {}", answer.short());
        }
        wire.restart();
        self.greet(wire, from, to).await
    }

    /// Authenticates by dialback and reads the answer.
    ///
    /// # Errors
    /// None came.
    pub async fn dialback(
        &self,
        wire: &mut Wire,
        id: &str,
        from: &str,
        to: &str,
    ) -> Result<Element> {
        wire.send(db_result(from, to, &self.key(to, from, id)))
            .await;
        self.dialback_answer(wire).await
    }

    /// Reads the next dialback element, whatever else comes before it.
    ///
    /// # Errors
    /// None came.
    pub async fn dialback_answer(&self, wire: &mut Wire) -> Result<Element> {
        loop {
            match wire.hear(self.subject.patience + STEP_MAX).await {
                Heard::Element(element) if element.namespace == ns::DIALBACK => return Ok(element),
                Heard::Element(element) if element.namespace == ns::STREAM => {
                    bail!("no answer but {}", element.short())
                }
                Heard::Element(_) => {}
                other @ (Heard::Header(_)
                | Heard::End
                | Heard::Eof
                | Heard::Broken(_)
                | Heard::Garbled(_)
                | Heard::Silence) => bail!("no answer but {other:?}"),
            }
        }
    }

    /// A stream on which we have authenticated, by EXTERNAL where it is offered.
    ///
    /// # Errors
    /// The target does not go along.
    pub async fn established(
        &self,
        from: &str,
        to: &str,
        directions: Directions,
    ) -> Result<(Wire, Greeting)> {
        let (mut wire, greeting) = self.protected(from, to).await?;
        if directions == Directions::Both {
            wire.send(BIDI).await;
        }
        if greeting.features.offers_external() {
            let greeting = self.external(&mut wire, from, to).await?;
            return Ok((wire, greeting));
        }
        let answer = self.dialback(&mut wire, &greeting.id, from, to).await?;
        if answer.attribute("type") != "valid" {
            bail!("not valid: {}", answer.short());
        }
        Ok((wire, greeting))
    }

    /// A stream on which we have authenticated by dialback.
    ///
    /// # Errors
    /// The target does not go along.
    pub async fn dialled_back(
        &self,
        from: &str,
        to: &str,
        directions: Directions,
    ) -> Result<(Wire, Greeting)> {
        let (mut wire, greeting) = self.protected_unproven(from, to).await?;
        if directions == Directions::Both {
            wire.send(BIDI).await;
        }
        let answer = self.dialback(&mut wire, &greeting.id, from, to).await?;
        if answer.attribute("type") != "valid" {
            bail!("not valid: {}", answer.short());
        }
        Ok((wire, greeting))
    }

    /// Sends a ping and returns its id.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub async fn ping(&self, wire: &mut Wire, from: &str, to: &str) -> Result<String> {
        let id = random_id()?;
        wire.send(ping(from, to, &id)).await;
        Ok(id)
    }

    /// Waits for the answer to a ping at the listener.
    pub async fn answered_at_neighbour(&self, id: &str, wait: Duration) -> Option<Element> {
        self.neighbour
            .wait_for(wait, |element| {
                element.is_stanza() && element.attribute("id") == id
            })
            .await
            .map(|remark| remark.element)
    }

    /// Waits for the answer to a ping on this connection.
    ///
    /// # Errors
    /// Something ended the wait.
    pub async fn answered_here(&self, wire: &mut Wire, id: &str) -> Result<Element> {
        loop {
            match wire.hear(self.subject.patience).await {
                Heard::Element(element) if element.is_stanza() && element.attribute("id") == id => {
                    return Ok(element);
                }
                Heard::Element(element) if element.is(ns::STREAM, "error") => {
                    bail!("no answer but {}", element.short())
                }
                Heard::Element(_) | Heard::Header(_) => {}
                other @ (Heard::End
                | Heard::Eof
                | Heard::Broken(_)
                | Heard::Garbled(_)
                | Heard::Silence) => bail!("no answer on the same connection but {other:?}"),
            }
        }
    }

    /// The answer to a ping, wherever it comes: on this connection or at the listener.
    ///
    /// # Errors
    /// None came.
    pub async fn answered(&self, wire: &mut Wire, id: &str) -> Result<Element> {
        let elsewhere = self.answered_at_neighbour(id, self.subject.patience);
        tokio::pin!(elsewhere);
        loop {
            let here = tokio::select! {
                found = &mut elsewhere => return found.context("no answer to the ping"),
                here = wire.hear(self.subject.patience) => here,
            };
            match here {
                Heard::Element(element) if element.is_stanza() && element.attribute("id") == id => {
                    return Ok(element);
                }
                Heard::Element(_) | Heard::Header(_) => {}
                Heard::End | Heard::Eof | Heard::Broken(_) | Heard::Garbled(_) | Heard::Silence => {
                    return elsewhere.await.context("no answer to the ping");
                }
            }
        }
    }

    /// Pings and says [`Verdict::Served`] when a result comes.
    ///
    /// # Errors
    /// None came.
    pub async fn served(&self, wire: &mut Wire, from: &str, to: &str) -> Result<Verdict> {
        let id = self.ping(wire, from, to).await?;
        let answer = self.answered(wire, &id).await?;
        match answer.attribute("type") {
            "result" => Ok(Verdict::Served),
            _ => Ok(Verdict::StanzaError(answer.condition())),
        }
    }

    /// What the target does on this connection within the settling time, and whether a forbidden stanza was delivered
    /// anywhere.
    pub async fn judge(&self, wire: &mut Wire) -> Verdict {
        self.judge_within(wire, self.subject.settle).await
    }

    /// The same within a time of the case's choice.
    pub async fn judge_within(&self, wire: &mut Wire, wait: Duration) -> Verdict {
        let mut verdict = self.outcome(wire, wait).await;
        if verdict != Verdict::Ignored {
            // An answer elsewhere may be under way.
            tokio::time::sleep(self.subject.settle / 2).await;
        }
        if let Some(delivered) = self.delivered_nevertheless().first() {
            verdict = Verdict::Delivered(delivered.clone());
        }
        verdict
    }

    /// What the target does on this connection within that time.
    pub async fn outcome(&self, wire: &mut Wire, wait: Duration) -> Verdict {
        let until = tokio::time::Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            match wire.hear(left).await {
                Heard::Element(element) => {
                    if let Some(verdict) = self.meaning(&element) {
                        return verdict;
                    }
                }
                Heard::Header(_) => {}
                Heard::End | Heard::Eof => return Verdict::Closed,
                // A connection that is reset with data of ours unread is closed just so.
                Heard::Broken(_) => return Verdict::Closed,
                Heard::Garbled(error) => return Verdict::Other(format!("no XML: {error}")),
                Heard::Silence => return Verdict::Ignored,
            }
        }
    }

    /// What an element means as a verdict; nothing for those that mean none.
    fn meaning(&self, element: &Element) -> Option<Verdict> {
        if element.is(ns::STREAM, "error") {
            return Some(Verdict::StreamError(element.condition()));
        }
        if element.is(ns::TLS, "failure") {
            return Some(Verdict::TlsRefused);
        }
        if element.is(ns::SASL, "failure") {
            return Some(Verdict::SaslFailure(element.condition()));
        }
        if element.is(ns::SASL, "success") {
            return Some(Verdict::Other("SASL success".to_owned()));
        }
        if element.is(ns::TLS, "proceed") {
            return Some(Verdict::Other("STARTTLS proceeds".to_owned()));
        }
        if element.namespace == ns::DIALBACK {
            return Some(match element.has("type") {
                true => Verdict::Dialback(
                    element.attribute("type").to_owned(),
                    match element.attribute("type") {
                        "error" => element.condition(),
                        _ => String::new(),
                    },
                ),
                false => Verdict::Other(format!("it asks: {}", element.short())),
            });
        }
        if element.is_stanza() {
            let id = element.attribute("id");
            let forbidden = self
                .forbidden
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if forbidden.iter().any(|one| one == id) && !is_refusal(element) {
                return Some(Verdict::Delivered(element.short()));
            }
            return match element.attribute("type") {
                "error" => Some(Verdict::StanzaError(element.condition())),
                _ => None,
            };
        }
        None
    }

    /// Makes the target dial `domain`, one of ours, with the answer to a ping to carry: the next connection is the
    /// case's. Returns the ping's id.
    ///
    /// # Errors
    /// The target does not go along.
    pub async fn summon(&self, domain: &str) -> Result<String> {
        self.neighbour.serve_again();
        self.neighbour.behave(Manner {
            closes_after_verify: true,
            ..Manner::default()
        });
        let (mut wire, _) = self
            .established(domain, self.hosted(), Directions::One)
            .await?;
        self.neighbour.hand_over();
        let id = self.ping(&mut wire, domain, &self.subject.hosted).await?;
        self.keep(wire);
        Ok(id)
    }

    /// The connection that the target opens because of [`Scene::summon`], its header read and not answered.
    ///
    /// # Errors
    /// The target does not dial.
    pub async fn visitor(&self) -> Result<(Wire, Element)> {
        let mut wire = self
            .neighbour
            .next_connection(self.subject.patience + STEP_MAX)
            .await
            .context("the target did not dial")?;
        let header = wire.hear(STEP_MAX).await.into_header()?;
        Ok((wire, header))
    }

    /// The same for one of several domains; visitors for others are sent away.
    ///
    /// # Errors
    /// The target does not dial for that domain.
    pub async fn visitor_for(&self, domain: &str) -> Result<(Wire, Element)> {
        loop {
            let (wire, header) = self.visitor().await?;
            if header.attribute("to") == domain {
                return Ok((wire, header));
            }
        }
    }

    /// Answers a visitor's header.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub async fn welcome(
        &self,
        wire: &mut Wire,
        header: &Element,
        features: &str,
    ) -> Result<String> {
        let id = random_id()?;
        let text = format!(
            "{}<stream:features>{features}</stream:features>",
            crate::neighbour::response_header(
                header.attribute("to"),
                header.attribute("from"),
                &id
            )
        );
        wire.send(text).await;
        Ok(id)
    }

    /// A visitor up to its header under TLS, which is returned and not answered.
    ///
    /// # Errors
    /// The target does not go along.
    pub async fn protected_visitor(&self) -> Result<(Wire, Element)> {
        let (mut wire, header) = self.visitor().await?;
        self.welcome(&mut wire, &header, crate::neighbour::FEATURE_TLS)
            .await?;
        let asked = self.element(&mut wire).await?;
        if !asked.is(ns::TLS, "starttls") {
            bail!("no <starttls/> but {}", asked.short());
        }
        wire.send(PROCEED).await;
        self.secure_visitor(&mut wire, header.attribute("to"))
            .await?;
        let header = wire.hear(STEP_MAX).await.into_header()?;
        Ok((wire, header))
    }

    /// TLS with a good certificate for that domain, as the side that was connected to.
    ///
    /// # Errors
    /// The handshake fails.
    pub async fn secure_visitor(&self, wire: &mut Wire, domain: &str) -> Result<()> {
        let shown = self.credentials(&Order::good(&[domain]))?;
        wire.secure_as_server(tls::server(shown)?).await
    }

    /// A visitor that has authenticated by EXTERNAL, its header after that answered. With the offer of both
    /// directions, whether it asked for them is returned.
    ///
    /// # Errors
    /// The target does not go along.
    pub async fn external_visitor(&self, directions: Directions) -> Result<(Wire, bool, String)> {
        let (mut wire, header) = self.protected_visitor().await?;
        let offer = match directions {
            Directions::One => "",
            Directions::Both => crate::neighbour::FEATURE_BIDI,
        };
        let features = format!("{}{offer}", crate::neighbour::FEATURE_EXTERNAL);
        let id = self.welcome(&mut wire, &header, &features).await?;
        let mut asked_for_both = false;
        loop {
            let element = self.element(&mut wire).await?;
            if element.is(ns::BIDI, "bidi") {
                asked_for_both = true;
            } else if element.is(ns::SASL, "auth") {
                break;
            } else if element.is(ns::DIALBACK, "result") {
                // It knows nothing else; then this is how it has authenticated.
                wire.send(crate::neighbour::result_answer(&element, "valid"))
                    .await;
                return Ok((wire, asked_for_both, id));
            } else {
                bail!("no <auth/> but {}", element.short());
            }
        }
        wire.send(SUCCESS).await;
        wire.restart();
        let header = wire.hear(STEP_MAX).await.into_header()?;
        let id = self.welcome(&mut wire, &header, "").await?;
        Ok((wire, asked_for_both, id))
    }
}

/// Whether a stanza says that an address was none: then nothing was delivered to it.
fn is_refusal(stanza: &Element) -> bool {
    stanza.attribute("type") == "error" && stanza.condition() == "jid-malformed"
}

/// One step of a negotiation by a target that is not slow on purpose.
pub const STEP_MAX: Duration = Duration::from_secs(10);
/// The request for TLS.
pub const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
/// The consent to TLS.
pub const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
/// The end of a SASL exchange that went well.
pub const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
/// The request for both directions.
pub const BIDI: &str = "<bidi xmlns='urn:xmpp:bidi'/>";

/// The header of a stream that we open.
#[must_use]
pub fn initial_header(from: &str, to: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams' from='{}' to='{}' version='1.0' xml:lang='en'>",
        escape(from),
        escape(to)
    )
}

/// `<auth/>` for EXTERNAL with an authorisation identity.
#[must_use]
pub fn auth(identity: &str) -> String {
    auth_raw("EXTERNAL", &STANDARD.encode(identity))
}

/// `<auth/>` with anything in it.
#[must_use]
pub fn auth_raw(mechanism: &str, content: &str) -> String {
    format!(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{content}</auth>"
    )
}

/// A dialback request.
#[must_use]
pub fn db_result(from: &str, to: &str, key: &str) -> String {
    format!("<db:result from='{from}' to='{to}'>{key}</db:result>")
}

/// A verification request.
#[must_use]
pub fn db_verify(from: &str, to: &str, id: &str, key: &str) -> String {
    format!("<db:verify from='{from}' to='{to}' id='{id}'>{key}</db:verify>")
}

/// A ping (XEP-0199).
#[must_use]
pub fn ping(from: &str, to: &str, id: &str) -> String {
    format!("<iq from='{from}' to='{to}' id='{id}' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
}
