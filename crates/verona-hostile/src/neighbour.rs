//! The listener of a case: a well-behaved server for all its domains, or a door at which the case itself stands.
//! Why it serves by default: a stanza that the target was tricked into accepting is answered to its alleged sender, and
//! that answer arrives here.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::authority::{Authority, Order};
use crate::element::{Element, Heard, escape, ns};
use crate::key::{dialback_key, random_id};
use crate::tls;
use crate::wire::{Trail, Wire};

/// What a neighbour says to a dialback element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// These bytes.
    Say(String),
    /// Nothing, ever.
    Silence,
    /// It hangs up.
    HangUp,
}

/// Decides a reply: the element, and whether a key is genuine as far as that can be known.
pub type Decide = Arc<dyn Fn(&Element, bool) -> Reply + Send + Sync>;

/// How a neighbour behaves towards the target.
#[derive(Clone)]
pub struct Manner {
    /// Features that it offers once TLS is on and nobody has authenticated.
    pub features: String,
    /// Its answer to `<db:verify/>`.
    pub on_verify: Decide,
    /// Its answer to `<db:result/>`.
    pub on_result: Decide,
    /// Whether it closes a connection on which it answered a `<db:verify/>`.
    pub closes_after_verify: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            features: format!("{FEATURE_EXTERNAL}{FEATURE_DIALBACK}"),
            on_verify: Arc::new(|verify, is_genuine| {
                let verdict = if is_genuine { "valid" } else { "invalid" };
                Reply::Say(verify_answer(verify, verdict))
            }),
            on_result: Arc::new(|result, _| Reply::Say(result_answer(result, "valid"))),
            closes_after_verify: false,
        }
    }
}

/// The mechanisms feature with EXTERNAL.
pub const FEATURE_EXTERNAL: &str = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
    <mechanism>EXTERNAL</mechanism></mechanisms>";
/// The dialback feature with errors.
pub const FEATURE_DIALBACK: &str =
    "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>";
/// The offer of both directions.
pub const FEATURE_BIDI: &str = "<bidi xmlns='urn:xmpp:features:bidi'/>";
/// The offer of STARTTLS.
pub const FEATURE_TLS: &str =
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>";

/// A typed `<db:verify/>` that answers one.
#[must_use]
pub fn verify_answer(verify: &Element, kind: &str) -> String {
    format!(
        "<db:verify from='{}' to='{}' id='{}' type='{kind}'/>",
        escape(verify.attribute("to")),
        escape(verify.attribute("from")),
        escape(verify.attribute("id")),
    )
}

/// A typed `<db:result/>` that answers one.
#[must_use]
pub fn result_answer(result: &Element, kind: &str) -> String {
    format!(
        "<db:result from='{}' to='{}' type='{kind}'/>",
        escape(result.attribute("to")),
        escape(result.attribute("from")),
    )
}

/// The response header of a stream.
#[must_use]
pub fn response_header(from: &str, to: &str, id: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams' from='{}' to='{}' id='{id}' version='1.0' xml:lang='en'>",
        escape(from),
        escape(to)
    )
}

/// Something that the target said to a neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Which connection, by its number.
    pub connection: usize,
    /// What.
    pub element: Element,
}

/// Who meets the next connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Post {
    Served,
    HandedOver,
}

/// The listener.
pub struct Neighbour {
    /// Where it listens.
    pub address: SocketAddr,
    authority: Authority,
    secret: String,
    trail: Trail,
    post: Mutex<Post>,
    manner: Mutex<Manner>,
    journal: Mutex<Vec<Remark>>,
    connections: Mutex<usize>,
    news: Notify,
    handed: tokio::sync::Mutex<mpsc::UnboundedReceiver<TcpStream>>,
}

impl Neighbour {
    /// Starts to listen; it ends with the runtime.
    ///
    /// # Errors
    /// The address is not to be had.
    pub async fn start(
        address: SocketAddr,
        authority: Authority,
        secret: String,
        trail: Trail,
    ) -> Result<Arc<Self>> {
        let listener = TcpListener::bind(address).await?;
        let (hand, handed) = mpsc::unbounded_channel();
        let own = Arc::new(Self {
            address: listener.local_addr()?,
            authority,
            secret,
            trail,
            post: Mutex::new(Post::Served),
            manner: Mutex::new(Manner::default()),
            journal: Mutex::new(Vec::new()),
            connections: Mutex::new(0),
            news: Notify::new(),
            handed: tokio::sync::Mutex::new(handed),
        });
        let neighbour = Arc::clone(&own);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut number = lock(&neighbour.connections);
                    *number += 1;
                    *number
                };
                let post = *lock(&neighbour.post);
                match post {
                    Post::HandedOver => {
                        // The case has ended when nobody takes it.
                        let _ = hand.send(stream);
                    }
                    Post::Served => {
                        let neighbour = Arc::clone(&neighbour);
                        tokio::spawn(async move {
                            if let Err(error) = neighbour.serve(stream, number).await {
                                neighbour.trail.note(format!("n{number} ! {error:#}"));
                            }
                        });
                    }
                }
            }
        });
        Ok(own)
    }

    /// From here on it behaves so, on connections that begin now.
    pub fn behave(&self, manner: Manner) {
        *lock(&self.manner) = manner;
    }

    /// From here on the case itself meets who connects.
    pub fn hand_over(&self) {
        *lock(&self.post) = Post::HandedOver;
    }

    /// From here on connections are served again.
    pub fn serve_again(&self) {
        *lock(&self.post) = Post::Served;
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        *lock(&self.connections)
    }

    /// The next connection that was handed over.
    pub async fn next_connection(&self, wait: Duration) -> Option<Wire> {
        let stream = timeout(wait, async { self.handed.lock().await.recv().await })
            .await
            .ok()??;
        Some(Wire::new(stream, "in", self.trail.clone()))
    }

    /// Everything that was said to it.
    #[must_use]
    pub fn journal(&self) -> Vec<Remark> {
        lock(&self.journal).clone()
    }

    /// Writes down what was said to the case at the door, so that it is found where everything is.
    pub fn record(&self, connection: usize, element: Element) {
        lock(&self.journal).push(Remark {
            connection,
            element,
        });
        self.news.notify_waiters();
    }

    /// Waits until something was said that fits.
    pub async fn wait_for(
        &self,
        wait: Duration,
        fits: impl Fn(&Element) -> bool + Send,
    ) -> Option<Remark> {
        let search = async {
            loop {
                let news = self.news.notified();
                tokio::pin!(news);
                // Registered before the look, so that nothing falls between.
                news.as_mut().enable();
                let found = lock(&self.journal)
                    .iter()
                    .find(|remark| fits(&remark.element))
                    .cloned();
                if let Some(found) = found {
                    return found;
                }
                news.await;
            }
        };
        timeout(wait, search).await.ok()
    }

    /// Whether `secret` made this key.
    fn is_genuine(&self, verify: &Element) -> bool {
        let expected = dialback_key(
            &self.secret,
            verify.attribute("from"),
            verify.attribute("to"),
            verify.attribute("id"),
        );
        verify.text.trim() == expected
    }

    async fn serve(&self, stream: TcpStream, number: usize) -> Result<()> {
        let mut wire = Wire::new(stream, &format!("n{number}"), self.trail.clone());
        let manner = lock(&self.manner).clone();
        let mut own = String::new();
        let mut has_authenticated = false;
        loop {
            match wire.hear(SERVED_MAX).await {
                Heard::Header(header) => {
                    own = header.attribute("to").to_owned();
                    let features = match (wire.is_secured(), has_authenticated) {
                        (false, _) => FEATURE_TLS,
                        (true, false) => manner.features.as_str(),
                        (true, true) => FEATURE_DIALBACK,
                    };
                    let text = format!(
                        "{}<stream:features>{features}</stream:features>",
                        response_header(&own, header.attribute("from"), &random_id()?)
                    );
                    wire.send(text).await;
                }
                Heard::Element(element) if element.is(ns::TLS, "starttls") => {
                    wire.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
                        .await;
                    let shown = self.authority.issue(&Order::good(&[&own]))?;
                    wire.secure_as_server(tls::server(shown)?).await?;
                }
                Heard::Element(element) if element.is(ns::SASL, "auth") => {
                    self.record(number, element);
                    has_authenticated = true;
                    wire.send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
                        .await;
                    wire.restart();
                }
                Heard::Element(element) if element.namespace == ns::DIALBACK => {
                    self.record(number, element.clone());
                    if element.has("type") {
                        continue;
                    }
                    let is_verify = element.name == "verify";
                    let decide = match is_verify {
                        true => &manner.on_verify,
                        false => &manner.on_result,
                    };
                    let is_genuine = is_verify && self.is_genuine(&element);
                    match decide(&element, is_genuine) {
                        Reply::Say(text) => wire.send(text).await,
                        Reply::Silence => {}
                        Reply::HangUp => return Ok(()),
                    }
                    if is_verify && manner.closes_after_verify {
                        wire.send("</stream:stream>").await;
                        return Ok(());
                    }
                }
                Heard::Element(element) => self.record(number, element),
                Heard::End => {
                    wire.send("</stream:stream>").await;
                    return Ok(());
                }
                Heard::Eof | Heard::Broken(_) | Heard::Garbled(_) | Heard::Silence => {
                    return Ok(());
                }
            }
        }
    }
}

/// No case lasts so long.
const SERVED_MAX: Duration = Duration::from_secs(300);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
