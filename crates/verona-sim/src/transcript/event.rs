//! What a stream wants done and tells, as lines of a transcript. Sentences for people are left out, so that a better
//! wording changes no test.
//!
//! | line | output |
//! |---|---|
//! | `starttls DOMAIN` | the handshake shall begin, with our certificate for that domain |
//! | `deliver STANZA` | a stanza is routed to one of our domains |
//! | `reply STANZA` | a stanza is routed to the world |
//! | `disconnect`, `disconnect last` | the connection shall end, or when the peer has ended it |
//! | `attest DOMAIN` | what DNS and the web say of the peer's certificate shall be found out |
//! | `identified LOCAL~REMOTE certified` or `… uncertified` | who is there, and whether its certificate says so |
//! | `bidirectional`, `multiplexes`, `pipelines`, `sasl failed`, `irregular` | |
//! | `verify SENDER → TARGET id=ID key=KEY` | a key must be checked elsewhere |
//! | `vouched ORIGINATING → RECEIVING valid` or `… invalid` | we answered for a key |
//! | `granted inbound SENDER → TARGET GROUNDS` or `granted outbound …` | |
//! | `refused SENDER → TARGET ANSWER`, `unanswered SENDER → TARGET` | of a request of ours |
//! | `denied SENDER → TARGET ANSWER` | of a request of the peer's |
//! | `verified SENDER → TARGET id=ID key=KEY VERDICT` | the authoritative server said so; behind it `by ASSURANCE`, if DNS
//! alone is not all that led to it |
//! | `acknowledged COUNT` | the peer has handled so many more of what was sent |
//! | `unmanaged` | it acknowledges nothing after all |
//! | `managed ID` or `managed without a name` | both sides acknowledge; the stream can be taken up again, or not |
//! | `wants ID h=H` | the peer takes up a lost stream |
//! | `resumed ID h=H` or `resumed ID unknown` | its answer when we did |
//! | `failed CONDITION FAULT CAUSE` | the stream is over because of an error |
//! | `closed CAUSE` | the stream is over in good order |
//!
//! `ANSWER` and `VERDICT` are `valid`, `invalid` or `error CONDITION`.

use std::fmt;

use verona_proto::addr::{Direction, DomainPair};
use verona_proto::dialback::{Answer, Verdict};
use verona_proto::grounds::Assurance;
use verona_proto::stanza::{Destination, Stanza};
use verona_proto::stream::{Cause, Event, Fault, Output};
use verona_xml::{Element, Scope};

use super::text::Names;
use super::wire;

/// One output, in words.
#[derive(Debug)]
pub(super) enum Observed {
    Words(String),
    Stanza(&'static str, Box<Element>),
}

impl Observed {
    pub(super) fn new(output: &Output) -> Result<Self, String> {
        Ok(Self::Words(match output {
            Output::StartTls { local, .. } => format!(
                "starttls {}",
                local.as_ref().map_or("?".to_owned(), ToString::to_string)
            ),
            Output::Close => "disconnect".into(),
            Output::CloseLast => "disconnect last".into(),
            Output::Acknowledged(count) => format!("acknowledged {count}"),
            Output::Answered => "answered".into(),
            Output::Unmanaged => "unmanaged".into(),
            Output::Attest(domain) => format!("attest {domain}"),
            Output::Event(event) => words(event),
            Output::Deliver(admitted) => {
                let verb = match admitted.destination() {
                    Destination::Local(_) => "deliver",
                    Destination::Remote(_) => "reply",
                };
                return Ok(Self::Stanza(verb, Box::new(read(admitted.stanza())?)));
            }
        }))
    }

    /// Whether the line of a transcript wants this.
    pub(super) fn is(&self, wanted: &str, names: &mut Names) -> Result<bool, String> {
        let wanted = wanted.trim();
        match self {
            Self::Words(found) => {
                let wanted: Vec<&str> = wanted.split_whitespace().collect();
                let found: Vec<&str> = found.split_whitespace().collect();
                let mut words = wanted.iter().zip(&found);
                Ok(wanted.len() == found.len()
                    && words.all(|(wanted, found)| names.matches(wanted, found)))
            }
            Self::Stanza(verb, found) => match wanted.strip_prefix(verb) {
                Some(text) => Ok(wire::matches(&stanza(text.trim())?, found, names)),
                None => Ok(false),
            },
        }
    }
}

fn words(event: &Event) -> String {
    match event {
        Event::Identified(peer) => format!(
            "identified {}~{} {}",
            peer.local,
            peer.remote
                .as_ref()
                .map_or("?".to_owned(), ToString::to_string),
            match &peer.certificate {
                Ok(_) => "certified",
                Err(_) => "uncertified",
            },
        ),
        Event::Bidirectional => "bidirectional".into(),
        Event::Multiplexes => "multiplexes".into(),
        Event::Pipelines => "pipelines".into(),
        Event::Managed { id, .. } => {
            format!("managed {}", id.as_deref().unwrap_or("without a name"))
        }
        Event::ResumeRequested { id, h } => format!("wants {id} h={h}"),
        Event::Resumed { id, h } => match h {
            Some(h) => format!("resumed {id} h={h}"),
            None => format!("resumed {id} unknown"),
        },
        Event::OldBidiNamespace => "old bidi namespace".into(),
        Event::SaslFailed { .. } => "sasl failed".into(),
        Event::Irregular { .. } => "irregular".into(),
        Event::KeyReceived(check) => format!(
            "verify {} id={} key={}",
            arrow(&check.pair, Direction::Inbound),
            check.id,
            check.key
        ),
        Event::Vouched {
            receiving,
            originating,
            valid,
        } => {
            let verdict = if *valid { "valid" } else { "invalid" };
            format!("vouched {originating} → {receiving} {verdict}")
        }
        Event::Granted(granted) => {
            let direction = match granted.direction {
                Direction::Inbound => "inbound",
                Direction::Outbound => "outbound",
            };
            let arrow = arrow(&granted.pair, granted.direction);
            format!("granted {direction} {arrow} {}", granted.grounds)
        }
        Event::Revoked { pair, direction } => {
            let word = match direction {
                Direction::Inbound => "inbound",
                Direction::Outbound => "outbound",
            };
            format!("revoked {word} {}", arrow(pair, *direction))
        }
        Event::Departed { pair } => format!("departed {}", arrow(pair, Direction::Outbound)),
        Event::Refused { pair, answer } => {
            format!(
                "refused {} {}",
                arrow(pair, Direction::Outbound),
                self::answer(*answer)
            )
        }
        Event::Unanswered { pair } => {
            format!("unanswered {}", arrow(pair, Direction::Outbound))
        }
        Event::Denied {
            from, to, answer, ..
        } => format!("denied {from} → {to} {}", self::answer(*answer)),
        Event::Verified {
            check,
            verdict,
            assurance,
        } => format!(
            "verified {} id={} key={} {}{}",
            arrow(&check.pair, Direction::Inbound),
            check.id,
            check.key,
            answer((*verdict).into()),
            match *assurance == Assurance::Dns {
                true => String::new(),
                false => format!(" by {}", assurance.name()),
            },
        ),
        Event::Failed(error) => {
            let fault = match error.fault {
                Fault::Peer => "peer",
                Fault::Policy => "policy",
                Fault::Local => "local",
            };
            let mut text = format!(
                "failed {} {fault} {}",
                error.condition.name(),
                cause(error.cause)
            );
            if let Some(host) = &error.other_host {
                text.push_str(&format!(" to={host}"));
            }
            text
        }
        Event::Closed { cause } => format!("closed {}", self::cause(*cause)),
    }
}

/// `SENDER → TARGET`, for a direction of a pair.
pub(super) fn arrow(pair: &DomainPair, direction: Direction) -> String {
    match direction {
        Direction::Inbound => format!("{} → {}", pair.remote(), pair.local()),
        Direction::Outbound => format!("{} → {}", pair.local(), pair.remote()),
    }
}

/// The verdict that a transcript names.
pub(super) fn verdict(text: &str) -> Result<Verdict, String> {
    use verona_proto::stanza::StanzaCondition;
    match text.split_once(' ') {
        None if text == "valid" => Ok(Verdict::Valid),
        None if text == "invalid" => Ok(Verdict::Invalid),
        Some(("error", condition)) => {
            let read = StanzaCondition::from_name(condition.trim());
            match read.name() == condition.trim() {
                true => Ok(Verdict::Error(read)),
                false => Err(format!("there is no condition `{condition}`")),
            }
        }
        None | Some(_) => Err(format!("`{text}` is no verdict")),
    }
}

/// The stanza of a transcript, as if it stood on a stream between servers.
fn stanza(text: &str) -> Result<Element, String> {
    let scope: Scope = [("", "jabber:server")].into_iter().collect();
    Element::parse(text.as_bytes(), &scope).map_err(|error| format!("{error}: {text}"))
}

fn read(found: &Stanza) -> Result<Element, String> {
    stanza(&String::from_utf8_lossy(found.bytes()))
}

fn answer(answer: Answer) -> String {
    match answer {
        Answer::Valid => "valid".into(),
        Answer::Invalid => "invalid".into(),
        Answer::Error(condition) => format!("error {}", condition.name()),
    }
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Stream => "stream",
        Cause::Tls => "tls",
        Cause::Restart => "restart",
        Cause::Sasl => "sasl",
        Cause::Dialback => "dialback",
        Cause::Identity => "identity",
        Cause::Established => "established",
        Cause::Idle => "idle",
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(words) => f.write_str(words),
            Self::Stanza(verb, element) => {
                let mut text = String::new();
                element.write("jabber:server", &mut text);
                write!(f, "{verb} {text}")
            }
        }
    }
}
