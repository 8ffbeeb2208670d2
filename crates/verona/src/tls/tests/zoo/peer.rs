//! The other side of a meeting: it tries whatever may help it, asked or not, and takes whatever we try.

use verona_proto::stream::Role;

use super::play::{KEY_ID, LOCAL, Seen};

/// How a peer that connects proves itself, or what one that is dialled offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// `<auth/>`, whether we offer EXTERNAL or not; after a failure dialback.
    External,
    /// Dialback at once.
    Dialback,
    /// Neither: it just stays.
    Silence,
}

/// What the peer says next.
pub(super) enum Say {
    Text(String),
    Nothing,
}

/// A server with a script.
pub(super) struct Peer {
    /// Ours.
    role: Role,
    way: Way,
    domain: &'static str,
    stage: Stage,
    heard: String,
    external_offered: bool,
    dialback_offered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Plain,
    Secured,
    Protected,
    Authenticated,
}

impl Peer {
    pub(super) fn new(role: Role, way: Way, domain: &'static str) -> Self {
        Self {
            role,
            way,
            domain,
            stage: Stage::New,
            heard: String::new(),
            external_offered: false,
            dialback_offered: false,
        }
    }

    /// The handshake is done.
    pub(super) fn secured(&mut self) {
        self.stage = Stage::Secured;
    }

    /// Whoever connects speaks first.
    pub(super) fn begin(&mut self) -> Say {
        let next = match (self.role, self.stage) {
            (Role::Receiving, Stage::New) => Stage::Plain,
            (Role::Receiving, Stage::Secured) => Stage::Protected,
            (Role::Receiving | Role::Initiating, _) => return Say::Nothing,
        };
        self.stage = next;
        Say::Text(self.header())
    }

    pub(super) fn hear(&mut self, text: &str) -> Say {
        match self.stage {
            Stage::New | Stage::Plain => {}
            Stage::Secured | Stage::Protected | Stage::Authenticated => self.heard.push_str(text),
        }
        if text.contains("</stream:stream>") {
            return Say::Nothing;
        }
        match self.role {
            Role::Receiving => self.as_initiating(text),
            Role::Initiating => self.as_receiving(text),
        }
    }

    pub(super) fn seen(self, seen: &mut Seen) {
        seen.heard = self.heard;
        seen.external_offered = self.external_offered;
        seen.dialback_offered = self.dialback_offered;
    }

    fn as_initiating(&mut self, text: &str) -> Say {
        let features = text.contains("<stream:features");
        match self.stage {
            Stage::Plain if features => Say::Text(STARTTLS.into()),
            Stage::Protected if features => {
                self.external_offered = text.contains("EXTERNAL");
                self.dialback_offered = text.contains("urn:xmpp:features:dialback");
                match self.way {
                    Way::External => Say::Text(format!("{BIDI}{AUTH}")),
                    Way::Dialback => Say::Text(format!("{BIDI}{}", self.request())),
                    Way::Silence => Say::Nothing,
                }
            }
            Stage::Protected if text.contains("<success") => {
                self.stage = Stage::Authenticated;
                Say::Text(self.header())
            }
            Stage::Protected if text.contains("<failure") => Say::Text(self.request()),
            Stage::New
            | Stage::Plain
            | Stage::Secured
            | Stage::Protected
            | Stage::Authenticated => Say::Nothing,
        }
    }

    fn as_receiving(&mut self, text: &str) -> Say {
        let header = text.contains("<stream:stream");
        match self.stage {
            Stage::New if header => {
                self.stage = Stage::Plain;
                Say::Text(format!(
                    "{}<stream:features>{STARTTLS}</stream:features>",
                    self.header()
                ))
            }
            Stage::Plain if text.contains("<starttls") => {
                Say::Text("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".into())
            }
            Stage::Secured if header => {
                self.stage = Stage::Protected;
                let external = match self.way {
                    Way::External => EXTERNAL,
                    Way::Dialback | Way::Silence => "",
                };
                Say::Text(format!(
                    "{}<stream:features>{external}{BIDI_OFFER}{DIALBACK}</stream:features>",
                    self.header()
                ))
            }
            Stage::Protected if text.contains("<auth ") => {
                self.stage = Stage::Authenticated;
                Say::Text(SUCCESS.into())
            }
            Stage::Authenticated if header => Say::Text(format!(
                "{}<stream:features>{DIALBACK}</stream:features>",
                self.header()
            )),
            Stage::Protected if text.contains("<db:result") => Say::Text(format!(
                "<db:result from='{}' to='{LOCAL}' type='valid'/>",
                self.domain
            )),
            Stage::Protected if text.contains("<db:verify") => Say::Text(format!(
                "<db:verify from='{}' to='{LOCAL}' id='{KEY_ID}' type='valid'/>",
                self.domain
            )),
            Stage::New
            | Stage::Plain
            | Stage::Secured
            | Stage::Protected
            | Stage::Authenticated => Say::Nothing,
        }
    }

    fn header(&self) -> String {
        let id = match self.role {
            Role::Receiving => String::new(),
            Role::Initiating => format!(" id='theirs-{:?}'", self.stage),
        };
        format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
             xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' from='{}' \
             to='{LOCAL}'{id} version='1.0'>",
            self.domain
        )
    }

    fn request(&self) -> String {
        format!(
            "<db:result from='{}' to='{LOCAL}'>0123456789abcdef</db:result>",
            self.domain
        )
    }
}

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const EXTERNAL: &str = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>";
const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const BIDI: &str = "<bidi xmlns='urn:xmpp:bidi'/>";
const BIDI_OFFER: &str = "<bidi xmlns='urn:xmpp:features:bidi'/>";
const DIALBACK: &str = "<dialback xmlns='urn:xmpp:features:dialback'/>";
