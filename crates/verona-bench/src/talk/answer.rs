//! The side that is called: it believes whoever comes, and vouches for every key.
//! Why it is there at all: servers without bidi need a connection of their own for what they send, and dialback asks back.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::conversation::{Conversation, attribute};
use super::{Standing, header};

/// Takes calls at every address of the namespace.
pub(crate) struct Answers {
    standing: Mutex<Receiver<Standing>>,
}

impl Answers {
    /// Listens from here on.
    pub(crate) fn start(tls: &Arc<rustls::ServerConfig>) -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))
            .context("listening as the peers")?;
        let (sender, standing) = channel();
        let tls = Arc::clone(tls);
        thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let (tls, sender) = (Arc::clone(&tls), sender.clone());
                // A call that fails is one that does not stand; whoever waits for it says so.
                thread::spawn(move || answer(tcp, &tls, &sender));
            }
        });
        Ok(Self {
            standing: Mutex::new(standing),
        })
    }

    /// The next connection that stands.
    pub(crate) fn next(&self, patience: Duration) -> Result<Standing> {
        let until = Instant::now() + patience;
        self.standing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(until.saturating_duration_since(Instant::now()))
            .context("the server does not call the peers")
    }
}

/// Hears until stanzas may come, or the end.
fn answer(
    tcp: TcpStream,
    tls: &Arc<rustls::ServerConfig>,
    standing: &Sender<Standing>,
) -> Result<()> {
    let mut talk = Conversation::over(tcp)?;
    let mut proven = None;
    // Whoever proves itself by a key asks about ours too, on the same connection.
    let (mut taken, mut vouched) = (None, false);
    loop {
        talk.hear(&["<stream:stream"])?;
        let opening = talk.hear(&[">"])?;
        let theirs = attribute(&opening, "from").unwrap_or_default();
        let ours = attribute(&opening, "to").unwrap_or_default();
        talk.say(&header(&ours, &theirs, Some("bench")))?;
        talk.say(match (talk.is_secured(), &proven) {
            (false, _) => FEATURES_CLEAR,
            (true, None) if talk.has_peer_certificate() => FEATURES_PROVABLE,
            (true, None) => FEATURES_DIALBACK,
            (true, Some(())) => "<stream:features/>",
        })?;
        if proven.is_some() {
            return stand(talk, ours, standing);
        }
        // An element or two, until the stream begins anew or is good for stanzas.
        loop {
            let begun = talk.hear(&["<starttls", "<auth", "<db:result", "<db:verify"])?;
            let rest = talk.hear(&[">"])?;
            if begun.ends_with("<starttls") {
                talk.say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")?;
                talk.secure(rustls::ServerConnection::new(Arc::clone(tls))?.into())?;
                break;
            }
            if begun.ends_with("<auth") {
                talk.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")?;
                talk.hear(&["</auth>"])?;
                talk.restart();
                proven = Some(());
                break;
            }
            let (Some(from), Some(to)) = (attribute(&rest, "from"), attribute(&rest, "to")) else {
                bail!("a dialback element without addresses: {rest}");
            };
            if begun.ends_with("<db:verify") {
                let id = attribute(&rest, "id").unwrap_or_default();
                talk.hear(&["</db:verify>"])?;
                talk.say(&format!(
                    "<db:verify from='{to}' to='{from}' id='{id}' type='valid'/>"
                ))?;
                vouched = true;
            } else {
                talk.hear(&["</db:result>"])?;
                talk.say(&format!(
                    "<db:result from='{to}' to='{from}' type='valid'/>"
                ))?;
                taken = Some(to);
            }
            if let (Some(ours), true) = (&taken, vouched) {
                let ours = ours.clone();
                return stand(talk, ours, standing);
            }
        }
    }
}

fn stand(talk: Conversation, ours: String, standing: &Sender<Standing>) -> Result<()> {
    let (tcp, tls, early) = talk.into_parts();
    standing
        .send(Standing {
            tcp,
            tls: tls.context("stanzas without TLS")?,
            early,
            ours,
            is_bidi: false,
            is_managed: false,
        })
        .context("nobody waits for calls")
}

/// Where DNS says that the peers listen.
pub(crate) const PORT: u16 = 6269;

const FEATURES_CLEAR: &str = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>\
     <required/></starttls></stream:features>";
const FEATURES_PROVABLE: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
     <mechanism>EXTERNAL</mechanism></mechanisms>\
     <dialback xmlns='urn:xmpp:features:dialback'/></stream:features>";
const FEATURES_DIALBACK: &str =
    "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>";
