//! The link of a component: whoever has not shown the secret gets nothing, and whoever has speaks for one domain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use verona_proto::addr::{Domain, Hosts, LocalDomain};
use verona_proto::component::{ComponentDomains, ComponentInput, ComponentLink, ComponentOutput};
use verona_proto::limits::Limits;
use verona_proto::stanza::{Destination, Stanza, StanzaKind, StreamCondition};

use crate::choices::Choices;
use crate::wire::Wire;

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
     xmlns:stream='http://etherx.jabber.org/streams' to='rooms.capulet.lit' xml:lang='de'>";
/// The handshake for the id 3BF96D32 and the secret `secret`.
const DIGEST: &str = "b09ea9b3b7f586be8a08d0a3dd7466f110aeb136";
const EVENTS_MAX: usize = 48;

/// Two bytes of choices, then events.
pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let limits = match choices.flag() {
        false => Limits::default(),
        true => Limits {
            stanza_bytes_max: 10_000,
            negotiation_bytes_max: 300,
            ..Limits::default()
        },
    };
    let compares_cuts = choices.below(8) == 7;
    let whole = Play::new(limits.clone(), false).perform(choices);
    if compares_cuts {
        let single = Play::new(limits, true).perform(choices);
        assert_eq!(
            whole, single,
            "what happens depends on how the bytes are cut"
        );
    }
}

struct Play {
    link: ComponentLink,
    now: Instant,
    rooms: LocalDomain,
    is_byte_by_byte: bool,
    heard: Vec<u8>,
    is_claimed: bool,
    is_attached: bool,
    is_over: bool,
    wire: Wire,
    written: String,
    outputs: Vec<ComponentOutput>,
}

impl Play {
    fn new(limits: Limits, is_byte_by_byte: bool) -> Self {
        let domain = |name: &str| Domain::parse(name).expect("a domain");
        let hosts =
            Hosts::new(["capulet.lit", "rooms.capulet.lit", "files.capulet.lit"].map(domain));
        let rooms = hosts.local(&domain("rooms.capulet.lit")).expect("ours");
        let domains = ComponentDomains::new([(rooms.clone(), "secret".to_owned())]);
        let now = Instant::now();
        let link = ComponentLink::new(domains, Arc::new(hosts), limits, "3BF96D32".to_owned(), now);
        Self {
            link,
            now,
            rooms,
            is_byte_by_byte,
            heard: Vec::new(),
            is_claimed: false,
            is_attached: false,
            is_over: false,
            wire: Wire::default(),
            written: String::new(),
            outputs: Vec::new(),
        }
    }

    /// All that the input chooses, then the end.
    fn perform(mut self, mut choices: Choices<'_>) -> (String, Vec<ComponentOutput>) {
        for _ in 0..EVENTS_MAX {
            if choices.is_used_up() {
                break;
            }
            self.event(&mut choices);
        }
        if self.heard.len() > 4096 {
            let size = format!("{:?}", self.link).len();
            assert!(
                size < 60_000,
                "{size} characters describe a link that heard {}",
                self.heard.len()
            );
        }
        self.tell(ComponentInput::Close(StreamCondition::SystemShutdown));
        for _ in 0..3 {
            if let Some(deadline) = self.link.deadline() {
                self.now = self.now.max(deadline);
                self.tell(ComponentInput::Tick);
            }
        }
        assert!(self.is_over, "we closed it, and it does not end");
        (self.written, self.outputs)
    }

    fn event(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0 => self.hear(HEADER.as_bytes()),
            1 => self.hear(format!("<handshake>{DIGEST}</handshake>").as_bytes()),
            2 => self.tell(ComponentInput::Accepted),
            3 => self.tell(match choices.below(4) {
                0 => ComponentInput::Conflict,
                1 => ComponentInput::Eof,
                2 => ComponentInput::Close(StreamCondition::Conflict),
                _ => ComponentInput::Tick,
            }),
            4..=7 => self.hear(stanza(choices).as_bytes()),
            8 => {
                let said = choices.one_of(&[
                    "<handshake/>", "</stream:stream>", " ", "<?xml version='1.0'?>", "<a>", "<!-- -->",
                    "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
                    "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='capulet.lit'>",
                    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='rooms.capulet.lit'>",
                ]);
                self.hear(said.as_bytes());
            }
            9..=11 => {
                let bytes = choices.bytes();
                self.hear(bytes);
            }
            12 => {
                self.now += Duration::from_secs(u64::from(choices.byte()));
                self.tell(ComponentInput::Tick);
            }
            13 => {
                let said = stanza(choices);
                for _ in 0..choices.below(100) {
                    self.hear(said.as_bytes());
                }
            }
            _ => {
                let domain = self.rooms.domain().clone();
                let stanza = Stanza::build(
                    StanzaKind::Message,
                    &domain.clone().into(),
                    &domain.into(),
                    None,
                    None,
                    "<body>&lt;</body>",
                );
                let is_written = self.link.send(&stanza);
                assert!(
                    !is_written || self.is_attached && !self.is_over,
                    "a stanza for nobody"
                );
                self.settle();
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.heard.extend_from_slice(bytes);
        match self.is_byte_by_byte {
            false => self.tell(ComponentInput::Bytes(bytes)),
            true => {
                for byte in bytes {
                    self.tell(ComponentInput::Bytes(&[*byte]));
                }
            }
        }
    }

    fn tell(&mut self, input: ComponentInput<'_>) {
        let accepts = matches!(input, ComponentInput::Accepted) && self.is_claimed && !self.is_over;
        self.is_attached |= accepts;
        self.link.handle(input, self.now);
        self.settle();
    }

    fn settle(&mut self) {
        let was_over = self.is_over;
        let written = self.link.transmit().split();
        self.wire.read(&written);
        assert!(self.wire.is_complete(), "half an element was written");
        self.written.push_str(&String::from_utf8_lossy(&written));
        let told = self.outputs.len();
        while let Some(output) = self.link.poll() {
            match &output {
                ComponentOutput::Claim(domain) => {
                    assert!(!self.is_claimed && *domain == self.rooms);
                    self.is_claimed = true;
                    assert!(self.knows_the_secret(), "claimed without the secret");
                }
                ComponentOutput::Deliver(admitted) => {
                    assert!(
                        self.is_attached,
                        "delivered for somebody who was not let in"
                    );
                    let stanza = admitted.stanza();
                    let is_own = stanza.from() == self.rooms.domain();
                    let is_bounce = stanza.to() == self.rooms.domain();
                    assert!(is_own || is_bounce, "{stanza:?} in another's name");
                    match admitted.destination() {
                        Destination::Local(local) => assert_eq!(local.domain(), stanza.to()),
                        Destination::Remote(pair) => {
                            assert_eq!(pair.local(), &self.rooms);
                            assert_eq!(pair.remote().domain(), stanza.to());
                        }
                    }
                    let elements = Wire::opened().read(stanza.bytes());
                    assert_eq!(elements.len(), 1, "{stanza:?} is not one element");
                }
                ComponentOutput::Event(_) => {}
                ComponentOutput::Close => self.is_over = true,
            }
            self.outputs.push(output);
        }
        let told = self.outputs.len() - told;
        assert!(
            !was_over || told == 0 && written.is_empty(),
            "something happened after the end"
        );
        assert!(
            self.outputs.len() <= 64 + self.heard.len() / 4,
            "{} outputs",
            self.outputs.len()
        );
        assert!(self.written.len() <= 100_000 + self.heard.len());
        assert!(!self.is_over || self.link.deadline().is_none());
        assert!(
            self.is_over || self.is_attached || self.link.deadline().is_some(),
            "a stranger is waited for without a deadline"
        );
    }

    /// The digest was said, in whatever letters; a reference could spell it too, so that is not looked into.
    fn knows_the_secret(&self) -> bool {
        let text = String::from_utf8_lossy(&self.heard).to_ascii_lowercase();
        text.contains(DIGEST) || text.contains("&#") || text.contains("cdata")
    }
}

/// A stanza of the component, or one that is wrong in some way.
fn stanza(choices: &mut Choices<'_>) -> String {
    let name = choices.one_of(&["message", "iq", "presence", "x:iq", "handshake", "other"]);
    let from = choices.one_of(&[
        "from='rooms.capulet.lit'",
        "from='a@rooms.capulet.lit/b'",
        "from='capulet.lit'",
        "",
        "from='a b@rooms.capulet.lit'",
    ]);
    let to = choices.one_of(&[
        "to='montague.lit'",
        "to='files.capulet.lit'",
        "to='a@rooms.capulet.lit'",
        "",
        "to='a b@c'",
        "to='@@'",
    ]);
    let kind = choices.one_of(&["", " type='error'", " type='get' id='1'", " type='result'"]);
    let space = choices.one_of(&[
        "",
        " xmlns='jabber:client'",
        " xmlns:x='jabber:server'",
        " xmlns=''",
        " xmlns='urn:x'",
    ]);
    let inner = choices.one_of(&["", "<body>x</body>", "<é/>", "<a><b/></a>", "]]>"]);
    format!("<{name} {from} {to}{kind}{space}>{inner}</{name}>")
}
