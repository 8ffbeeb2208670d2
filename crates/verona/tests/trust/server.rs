//! An engine with a bot on it, and what crossed its connections.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::timeout;
use verona::status::{Link, LinkRole, Peer};
use verona::trace::{Trace, TracedWhat};
use verona::{Attachment, Config, Engine, LearnedFailure};
use verona_proto::addr::Jid;
use verona_proto::grounds::Grounds;
use verona_proto::stanza::{Stanza, StanzaKind};

use crate::world::{CAPULET, MONTAGUE, domain};

/// Longer than anything here may take.
pub(crate) const WAIT: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) engine: Engine,
    bot: Attachment,
    me: &'static str,
    other: &'static str,
    crossed: Arc<Mutex<Crossed>>,
}

/// Everything that the engine wrote and read, each by itself.
#[derive(Default)]
struct Crossed {
    sent: String,
    received: String,
}

impl Server {
    pub(crate) async fn start(mut config: Config) -> Self {
        let name = config.domains[0].name.clone();
        let (me, other) = match name == domain(CAPULET) {
            true => (JULIET, ROMEO),
            false => (ROMEO, JULIET),
        };
        let crossed: Arc<Mutex<Crossed>> = Arc::default();
        let noted = Arc::clone(&crossed);
        config.trace = Some(Trace::new(move |traced| {
            let mut crossed = noted.lock().unwrap();
            match traced.what {
                TracedWhat::Sent(bytes) => crossed.sent += &String::from_utf8_lossy(bytes),
                TracedWhat::Received(bytes) => crossed.received += &String::from_utf8_lossy(bytes),
                TracedWhat::Secured | TracedWhat::Closed => {}
            }
        }));
        let engine = Engine::start(config).await.unwrap();
        let bot = engine.handle().attach(&name).unwrap();
        Self {
            engine,
            bot,
            me,
            other,
            crossed,
        }
    }

    pub(crate) async fn end(self) {
        drop(self.bot);
        self.engine.shutdown().await;
    }

    pub(crate) async fn say(&self, text: &str) {
        let jid = |text: &str| Jid::parse(text).unwrap();
        let payload = format!("<body>{text}</body>");
        let message = Stanza::build(
            StanzaKind::Message,
            &jid(self.me),
            &jid(self.other),
            Some("chat"),
            None,
            &payload,
        );
        self.bot.send(message).await.unwrap();
    }

    /// The body of the next message, or the text of the error that comes in its place.
    pub(crate) async fn hear(&mut self) -> Heard {
        let Ok(stanza) = timeout(WAIT, self.bot.receive()).await else {
            let handle = self.engine.handle();
            panic!(
                "nothing came to {}\n{:#?}\n{:#?}\n{:#?}",
                self.me,
                handle.links(),
                handle.queues().await,
                handle.peers()
            );
        };
        let bytes = String::from_utf8(stanza.bytes().to_vec()).unwrap();
        let inside = |tag: &str| {
            let (_, rest) = bytes.split_once(&format!("<{tag}"))?;
            let (_, rest) = rest.split_once('>')?;
            let (text, _) = rest.split_once(&format!("</{tag}>"))?;
            Some(unescape(text))
        };
        match stanza.type_attribute().as_deref() {
            Some("error") => Heard::Bounce(inside("text").unwrap_or(bytes)),
            _ => Heard::Body(inside("body").unwrap()),
        }
    }

    /// Why a message did not go out.
    pub(crate) async fn bounce(&mut self) -> String {
        self.say("It is the east").await;
        match self.hear().await {
            Heard::Bounce(text) => text,
            Heard::Body(body) => panic!("a message came: {body}"),
        }
    }

    /// The one link that carries anything; those on which keys were checked may not be gone yet.
    pub(crate) fn link(&self) -> Link {
        let mut links = self.engine.handle().links();
        links.retain(|link| !link.pairs.is_empty());
        assert_eq!(links.len(), 1, "{links:#?}");
        links.pop().unwrap()
    }

    /// Who opened that link, why the other side may send on it, and why this one may.
    pub(crate) fn grounds(&self) -> (LinkRole, Grounds, Grounds) {
        let link = self.link();
        assert_eq!(link.pairs.len(), 1, "{link:#?}");
        assert!(link.bidi, "{link:#?}");
        let pair = &link.pairs[0];
        (link.role, pair.receive.unwrap(), pair.send.unwrap())
    }

    /// What is known of the other side.
    pub(crate) fn peer(&self) -> Peer {
        let name = domain(match self.other {
            ROMEO => MONTAGUE,
            _ => CAPULET,
        });
        let peers = self.engine.handle().peers();
        let known = peers.into_iter().find(|peer| peer.learned.domain == name);
        known.expect("nothing is known of the peer")
    }

    pub(crate) fn failure(&self) -> LearnedFailure {
        let failure = self.peer().learned.failure;
        failure.expect("nothing failed")
    }

    /// How often `text` was sent, and how often received.
    pub(crate) fn crossed(&self, text: &str) -> (usize, usize) {
        let crossed = self.crossed.lock().unwrap();
        let count = |all: &str| all.matches(text).count();
        (count(&crossed.sent), count(&crossed.received))
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Body(String),
    Bounce(String),
}

/// One message to `to`, and one back.
pub(crate) async fn talk(from: &mut Server, to: &mut Server) {
    let lines = ["Wherefore art thou", "Shall I hear more"];
    from.say(lines[0]).await;
    assert_eq!(to.hear().await, Heard::Body(lines[0].into()));
    to.say(lines[1]).await;
    assert_eq!(from.hear().await, Heard::Body(lines[1].into()));
}

/// Both at once: each waits a moment for the other's closing tag.
pub(crate) async fn end(one: Server, other: Server) {
    tokio::join!(one.end(), other.end());
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&apos;", "'")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

const JULIET: &str = "juliet@capulet.lit";
const ROMEO: &str = "romeo@montague.lit";
