//! The side that connects: STARTTLS or direct TLS, a proof, bidi, acknowledgements.
//! Why every step is asked for: what a server does not offer is not measured with it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::ServerName;

use super::conversation::Conversation;
use super::{Standing, header};

/// A connection to be opened.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) server: SocketAddr,
    pub(crate) direct_tls: bool,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) tls: &'a Arc<rustls::ClientConfig>,
    pub(crate) proof: Proof,
    /// Whether bidi is asked for where it is offered.
    pub(crate) bidi: bool,
    /// Whether acknowledgements are asked for where they are offered.
    pub(crate) management: bool,
}

/// What proves the calling domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Its certificate (SASL EXTERNAL).
    Certificate,
    /// A key that it is asked about (XEP-0220).
    Dialback,
}

impl Call<'_> {
    /// Negotiates up to where stanzas may go.
    pub(crate) fn make(&self) -> Result<Standing> {
        let mut talk = Conversation::connect(self.server)?;
        self.negotiate(&mut talk)
            .with_context(|| format!("{} calls {}", self.from, self.to))
            .and_then(|(is_bidi, is_managed)| self.standing(talk, is_bidi, is_managed))
    }

    fn standing(&self, talk: Conversation, is_bidi: bool, is_managed: bool) -> Result<Standing> {
        let (tcp, tls, early) = talk.into_parts();
        Ok(Standing {
            tcp,
            tls: tls.context("there is no TLS")?,
            early,
            ours: self.from.to_owned(),
            is_bidi,
            is_managed,
        })
    }

    /// The same, and then proves further domains on the same connection, each by the certificate (XEP-0344).
    pub(crate) fn make_for(&self, more: &[String]) -> Result<Standing> {
        let mut talk = Conversation::connect(self.server)?;
        let (is_bidi, is_managed) = self.negotiate(&mut talk)?;
        for from in more {
            self.prove(&mut talk, from)
                .with_context(|| format!("proving {from} after {}", self.from))?;
        }
        self.standing(talk, is_bidi, is_managed)
    }

    /// A stream that comes as far as the features, in the clear.
    pub(crate) fn begun(server: SocketAddr, to: &str) -> Result<Conversation> {
        let mut talk = Conversation::connect(server)?;
        open(&mut talk, "nobody.montague.lit", to)?;
        Ok(talk)
    }

    /// A stream that comes as far as the features within TLS, and proves nothing.
    pub(crate) fn secured(
        server: SocketAddr,
        to: &str,
        tls: &Arc<rustls::ClientConfig>,
    ) -> Result<Conversation> {
        let call = Call {
            server,
            direct_tls: false,
            from: "nobody.montague.lit",
            to,
            tls,
            proof: Proof::Dialback,
            bidi: false,
            management: false,
        };
        let mut talk = Conversation::connect(server)?;
        call.encrypt(&mut talk)?;
        call.open(&mut talk)?;
        Ok(talk)
    }

    /// TLS alone.
    pub(crate) fn bare(server: SocketAddr, config: &Arc<rustls::ClientConfig>) -> Result<Standing> {
        let mut talk = Conversation::connect(server)?;
        let name = ServerName::try_from("relay.lit")?;
        talk.secure(rustls::ClientConnection::new(Arc::clone(config), name)?.into())?;
        let (tcp, tls, early) = talk.into_parts();
        Ok(Standing {
            tcp,
            tls: tls.context("there is no TLS")?,
            early,
            ours: "the peer".to_owned(),
            is_bidi: true,
            is_managed: false,
        })
    }

    /// Goes over to TLS.
    fn encrypt(&self, talk: &mut Conversation) -> Result<()> {
        if !self.direct_tls {
            let features = self.open(talk)?;
            ensure!(features.contains("<starttls"), "no STARTTLS: {features}");
            talk.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")?;
            talk.hear(&["<proceed"])?;
            talk.hear(&[">"])?;
        }
        let name = ServerName::try_from(self.to.to_owned())?;
        let tls = rustls::ClientConnection::new(Arc::clone(self.tls), name)?;
        talk.secure(tls.into())
    }

    fn negotiate(&self, talk: &mut Conversation) -> Result<(bool, bool)> {
        self.encrypt(talk)?;
        let features = self.open(talk)?;
        let is_bidi = self.bidi && features.contains("urn:xmpp:features:bidi");
        if is_bidi {
            talk.say("<bidi xmlns='urn:xmpp:bidi'/>")?;
        }
        match self.proof {
            Proof::Certificate => {
                ensure!(features.contains(">EXTERNAL<"), "no EXTERNAL: {features}");
                talk.say(&format!(
                    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>{}</auth>",
                    BASE64_STANDARD.encode(self.from)
                ))?;
                talk.hear(&["<success"])?;
                talk.hear(&[">"])?;
                talk.restart();
                let features = self.open(talk)?;
                let is_managed = self.management && features.contains("urn:xmpp:sm:3");
                if is_managed {
                    talk.say("<enable xmlns='urn:xmpp:sm:3'/>")?;
                    talk.hear(&["<enabled"])?;
                    talk.hear(&[">"])?;
                }
                Ok((is_bidi, is_managed))
            }
            Proof::Dialback => {
                self.prove(talk, self.from)?;
                Ok((is_bidi, false))
            }
        }
    }

    /// Shows a key for a domain, and hears that it is good.
    fn prove(&self, talk: &mut Conversation, from: &str) -> Result<()> {
        talk.say(&format!(
            "<db:result from='{from}' to='{}'>a key that is good</db:result>",
            self.to
        ))?;
        talk.hear(&["<db:result"])?;
        let verdict = talk.hear(&[">"])?;
        if !verdict.contains("'valid'") && !verdict.contains("\"valid\"") {
            bail!("the key was not taken: {verdict}");
        }
        Ok(())
    }

    fn open(&self, talk: &mut Conversation) -> Result<String> {
        open(talk, self.from, self.to)
    }
}

/// Begins a stream, and hears what the other side offers.
fn open(talk: &mut Conversation, from: &str, to: &str) -> Result<String> {
    talk.say(&header(from, to, None))?;
    talk.hear(&["</stream:features>", "<stream:features/>"])
}
