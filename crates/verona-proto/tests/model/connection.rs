//! One stream of verona's with its referee: what goes in is told to both, what comes out is judged.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use verona_proto::addr::{Direction, DomainPair, Hosts, Jid};
use verona_proto::dialback::{Answer, Verdict};
use verona_proto::learned::Learned;
use verona_proto::stanza::condition::StanzaCondition;
use verona_proto::stanza::{Destination, Stanza, StanzaKind};
use verona_proto::stream::{
    Check, Event, Granted, Input, Output, Pace, Purpose, Stream, StreamConfig, StreamIds,
};

use crate::names::{Name, Pair, Pairs};
use crate::referee::{Part, Referee};
use crate::rules::{Certificate, Rules};
use crate::tally::Tally;
use crate::wire::{Outcome, PING, Sentence, read};

pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) referee: Referee,
    hosts: Arc<Hosts>,
    start: Instant,
    now: u64,
    /// What the peer shows when TLS begins.
    certificate: Rc<Certificate>,
    /// The numbers of the stanzas that may be delivered, in order.
    admitted: Vec<u64>,
    /// The connection has ended.
    pub(crate) is_over: bool,
    /// The stream ended because of an error.
    pub(crate) failed: Option<String>,
    closed: bool,
    /// The numbers of the stanzas that were delivered, in order.
    pub(crate) delivered: Vec<u64>,
    /// The bytes of what is in `said`.
    pub(crate) written: Vec<u8>,
    /// What verona said and told since it was last asked.
    pub(crate) said: Vec<Sentence>,
    pub(crate) events: Vec<Event>,
}

/// Why a story is wrong.
pub(crate) type Verdicts = Result<(), String>;

impl Connection {
    /// `tag` makes the ids of this connection its own.
    pub(crate) fn new(
        rules: &Rc<Rules>,
        config: &Arc<StreamConfig>,
        part: Part,
        checks: Vec<Check>,
        certificate: Rc<Certificate>,
        (start, now): (Instant, u64),
        tag: u64,
    ) -> Self {
        let mut count = 0_u64;
        let ids = StreamIds::new(move || {
            count += 1;
            format!("id{tag}-{count}")
        });
        let hosts = rules.all_hosts();
        let at = start + Duration::from_secs(now);
        let stream = match part {
            Part::Receiving => Stream::receiving(Arc::clone(config), ids, None, at),
            Part::Initiating {
                pair,
                external,
                bidi,
            } => {
                let purpose = Purpose::Carry {
                    pair: domains(&hosts, pair),
                    external,
                    bidi,
                    pace: Pace::Stepwise,
                    resume: Vec::new(),
                };
                Stream::initiating(Arc::clone(config), purpose, ids, None, at)
            }
            Part::Verifying(pair) => {
                let purpose = Purpose::Verify {
                    pair: domains(&hosts, pair),
                    checks,
                };
                Stream::initiating(Arc::clone(config), purpose, ids, None, at)
            }
        };
        let learned = config.memory.learned.clone();
        Self::of(stream, learned, rules, part, certificate, start, now)
    }

    /// A connection whose stream is there already.
    pub(crate) fn of(
        stream: Stream,
        learned: Learned,
        rules: &Rc<Rules>,
        part: Part,
        certificate: Rc<Certificate>,
        start: Instant,
        now: u64,
    ) -> Self {
        Self {
            stream,
            referee: Referee::new(Rc::clone(rules), part, learned, now),
            hosts: rules.all_hosts(),
            start,
            now,
            certificate,
            admitted: Vec::new(),
            is_over: false,
            failed: None,
            closed: false,
            delivered: Vec::new(),
            written: Vec::new(),
            said: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn at(&self) -> Instant {
        self.start + Duration::from_secs(self.now)
    }

    /// The peer says all this in one go, or in two pieces.
    pub(crate) fn hear(
        &mut self,
        sentences: &[Sentence],
        cut: Option<usize>,
        tally: &mut Tally,
    ) -> Verdicts {
        let mut text = String::new();
        for sentence in sentences {
            sentence.write(&mut text);
        }
        self.hear_bytes(text.as_bytes(), sentences, cut, tally)
    }

    /// The same, in the peer's own spelling.
    pub(crate) fn hear_bytes(
        &mut self,
        bytes: &[u8],
        sentences: &[Sentence],
        cut: Option<usize>,
        tally: &mut Tally,
    ) -> Verdicts {
        for sentence in sentences {
            if let (Some(true), Sentence::Stanza { number, .. }) =
                (self.referee.heard(sentence), sentence)
            {
                self.admitted.push(*number);
            }
        }
        let due = self.admitted.clone();
        let was_open = self.stream.is_open();
        let at = self.at();
        match cut {
            Some(cut) => {
                let (first, second) = bytes.split_at(cut % bytes.len().max(1));
                self.stream.handle(Input::Bytes(first), at);
                self.stream.handle(Input::Bytes(second), at);
            }
            None => self.stream.handle(Input::Bytes(bytes), at),
        }
        self.settle(tally)?;
        // What may be delivered must be, as long as nothing else is wrong.
        if was_open && self.stream.is_open() && !self.admitted.is_empty() {
            return Err(format!(
                "stanzas {due:?} were not delivered: only {:?} is left",
                self.admitted
            ));
        }
        self.admitted.clear();
        Ok(())
    }

    /// Time passes, and verona is told.
    pub(crate) fn wait(&mut self, now: u64, tally: &mut Tally) -> Verdicts {
        self.now = now;
        self.referee.tick(now);
        self.stream.handle(Input::Tick, self.at());
        self.settle(tally)
    }

    pub(crate) fn command(
        &mut self,
        command: verona_proto::stream::Command,
        tally: &mut Tally,
    ) -> Verdicts {
        self.stream.handle(Input::Command(command), self.at());
        self.settle(tally)
    }

    pub(crate) fn verdict(&mut self, pair: Pair, outcome: Outcome, tally: &mut Tally) -> Verdicts {
        self.referee.verdict(pair, outcome);
        let command = verona_proto::stream::Command::Verdict {
            pair: self.domains(pair),
            verdict: verdict(outcome),
            assurance: verona_proto::grounds::Assurance::Dns,
        };
        self.command(command, tally)
    }

    /// A queue of the pair's has a stanza: verona sends it just when there are grounds.
    pub(crate) fn send(&mut self, pair: Pair, number: u64, tally: &mut Tally) -> Verdicts {
        self.send_stanza(pair, &stanza(pair, number), tally)
            .map(|_| ())
    }

    /// Says whether it was sent.
    pub(crate) fn send_stanza(
        &mut self,
        pair: Pair,
        stanza: &Stanza,
        tally: &mut Tally,
    ) -> Result<bool, String> {
        let domains = self.domains(pair);
        let at = self.at();
        let due = self.stream.is_open() && self.referee.sendable().contains(pair);
        let sent = self.stream.send(&domains, stanza, at).is_ok();
        tally.count("send", if sent { "permitted" } else { "refused" });
        if sent != due {
            return Err(format!(
                "verona {} a stanza for {pair}, which the model {}",
                if sent { "sent" } else { "refused to send" },
                if due { "allows" } else { "forbids" }
            ));
        }
        self.settle(tally).map(|()| sent)
    }

    pub(crate) fn domains(&self, pair: Pair) -> DomainPair {
        domains(&self.hosts, pair)
    }

    /// Takes what verona says, wants and tells, and judges it.
    pub(crate) fn settle(&mut self, tally: &mut Tally) -> Verdicts {
        loop {
            let was_over = self.is_over;
            self.take_said(was_over)?;
            let mut handshake = false;
            while let Some(output) = self.stream.poll() {
                if was_over {
                    return Err("something came out after the end".into());
                }
                match output {
                    Output::StartTls { .. } => handshake = true,
                    Output::Close | Output::CloseLast => self.is_over = true,
                    Output::Attest(domain) => panic!("nobody can be asked about {domain}"),
                    Output::Acknowledged(_) | Output::Answered | Output::Unmanaged => {}
                    Output::Deliver(admitted) => {
                        self.delivered(admitted.destination(), admitted.stanza(), tally)?
                    }
                    Output::Event(event) => self.event(event, tally)?,
                }
            }
            if !handshake {
                break;
            }
            tally.count("TLS", "handshake");
            self.referee.secured(Rc::clone(&self.certificate));
            self.stream.handle(
                Input::Secured(self.certificate.secured(self.start)),
                self.at(),
            );
        }
        self.compare()
    }

    fn take_said(&mut self, was_over: bool) -> Verdicts {
        let written = self.stream.transmit().split();
        if written.is_empty() {
            return Ok(());
        }
        if was_over {
            return Err("something was written after the end".into());
        }
        self.written.extend_from_slice(&written);
        let text = std::str::from_utf8(&written).map_err(|error| error.to_string())?;
        for sentence in read(text)? {
            if self.closed {
                return Err(format!("verona said {sentence:?} behind its closing tag"));
            }
            self.closed = sentence == Sentence::Close;
            self.referee.said(&sentence)?;
            self.said.push(sentence);
        }
        Ok(())
    }

    fn delivered(
        &mut self,
        destination: &Destination,
        stanza: &Stanza,
        tally: &mut Tally,
    ) -> Verdicts {
        let number = match stanza.kind() {
            // A ping of the other's stream, which has a name and no number.
            StanzaKind::Iq => Some(PING),
            StanzaKind::Message | StanzaKind::Presence => {
                stanza.id().and_then(|id| id.parse::<u64>().ok())
            }
        };
        let at = self.admitted.iter().position(|due| Some(*due) == number);
        match (destination, at) {
            // In the order in which they came: nothing before it is due any more.
            (Destination::Local(local), Some(0)) if local.domain() == stanza.to() => {
                let number = self.admitted.remove(0);
                if number != PING {
                    self.delivered.push(number);
                }
                tally.count("stanza", "delivered");
                Ok(())
            }
            (Destination::Local(_) | Destination::Remote(_), _) => Err(format!(
                "delivered without grounds, or out of order: {stanza:?}"
            )),
        }
    }

    fn event(&mut self, event: Event, tally: &mut Tally) -> Verdicts {
        match &event {
            Event::Granted(granted) => self.granted(granted, tally)?,
            Event::KeyReceived(check) => {
                tally.count("key", "to be checked");
                let pair = named(&check.pair)?;
                self.referee.told_of_key(pair, &check.id, &check.key)?;
            }
            Event::Bidirectional => {
                tally.count("bidi", "on");
                if !self.referee.bidi {
                    return Err("verona takes the stream for bidirectional, and it is not".into());
                }
            }
            Event::Denied { answer, .. } => tally.count("denied", answer_name(*answer)),
            Event::Refused { answer, .. } => tally.count("refused", answer_name(*answer)),
            Event::Unanswered { .. } => tally.count("refused", "no answer in time"),
            Event::SaslFailed { .. } => tally.count("SASL", "failed"),
            Event::Irregular { what } => tally.count("irregular", what),
            Event::Revoked { .. } | Event::Departed { .. } => {
                return Err("a pair is gone, and nobody changed the configuration".into());
            }
            Event::Failed(error) => {
                tally.count("stream error", error.condition.name());
                self.failed = Some(format!("{}: {}", error.condition.name(), error.text));
            }
            Event::Closed { .. } => tally.count("stream", "closed"),
            Event::Vouched { valid, .. } => {
                tally.count("vouched", if *valid { "valid" } else { "not valid" })
            }
            Event::Verified { verdict, .. } => tally.count(
                "verified",
                match verdict {
                    Verdict::Valid => "valid",
                    Verdict::Invalid => "invalid",
                    Verdict::Error(_) => "error",
                },
            ),
            // What tells nothing of grounds.
            _ => {}
        }
        self.events.push(event);
        Ok(())
    }

    /// A grant must have its grounds, and the ones that it names.
    fn granted(&mut self, granted: &Granted, tally: &mut Tally) -> Verdicts {
        let pair = named(&granted.pair)?;
        let referee = &self.referee;
        let (flows, direction) = match granted.direction {
            Direction::Inbound => (referee.receivable(), "inbound"),
            Direction::Outbound => (referee.sendable(), "outbound"),
        };
        let grounds = granted.grounds;
        let is_right = match (granted.direction, grounds.by, grounds.inverse) {
            (Direction::Inbound, "sasl", false) => referee.by_sasl.contains(pair),
            (Direction::Inbound, "certificate", false) => referee.by_certificate.contains(pair),
            (Direction::Inbound, "dialback", false) => referee.by_dialback.contains(pair),
            (Direction::Outbound, "sasl", false) => referee.agreed_by_sasl.contains(pair),
            (Direction::Outbound, "dialback", false) => referee.agreed_by_dialback.contains(pair),
            (Direction::Inbound, _, true) => referee
                .agreed_by_sasl
                .union(&referee.agreed_by_dialback)
                .contains(pair),
            (Direction::Outbound, _, true) => referee
                .by_sasl
                .union(&referee.by_certificate)
                .union(&referee.by_dialback)
                .contains(pair),
            (Direction::Inbound | Direction::Outbound, _, false) => false,
        };
        if !flows.contains(pair) || !is_right {
            return Err(format!(
                "granted {direction} {pair} by {grounds} without these grounds"
            ));
        }
        tally.count(
            match granted.direction {
                Direction::Inbound => "granted inbound",
                Direction::Outbound => "granted outbound",
            },
            match (grounds.by, grounds.inverse) {
                ("sasl", false) => "SASL",
                ("certificate", false) => "certificate",
                ("dialback", false) => "dialback",
                ("certificate", true) => "inverse, by certificate",
                ("dialback", true) => "inverse, by dialback",
                ("dns", true) => "inverse, by DNS",
                (_, _) => "?",
            },
        );
        Ok(())
    }

    /// While the stream is open it grants just what the model says; otherwise nothing beyond it.
    fn compare(&mut self) -> Verdicts {
        if !self.stream.is_open() {
            return Ok(());
        }
        self.referee.settled()?;
        let (mut inbound, mut outbound) = (Pairs::default(), Pairs::default());
        for granted in self.stream.grants() {
            match granted.direction {
                Direction::Inbound => inbound.insert(named(&granted.pair)?),
                Direction::Outbound => outbound.insert(named(&granted.pair)?),
            }
        }
        for (direction, verona, model) in [
            ("inbound", inbound, self.referee.receivable()),
            ("outbound", outbound, self.referee.sendable()),
        ] {
            if verona != model {
                return Err(format!(
                    "{direction}: verona grants [{}], the model [{}]",
                    list(&verona),
                    list(&model)
                ));
            }
        }
        Ok(())
    }
}

/// A message that bears its number as its id.
pub(crate) fn stanza(pair: Pair, number: u64) -> Stanza {
    let jid = |name: Name| Jid::parse(name.text()).expect("an address");
    let (from, to) = (jid(pair.local), jid(pair.remote));
    let id = number.to_string();
    Stanza::build(StanzaKind::Message, &from, &to, None, Some(&id), "")
}

pub(crate) fn list(pairs: &Pairs) -> String {
    let pairs: Vec<String> = pairs.iter().map(|pair| pair.to_string()).collect();
    pairs.join(" ")
}

pub(crate) fn domains(hosts: &Hosts, pair: Pair) -> DomainPair {
    hosts
        .pair(
            Direction::Outbound,
            &pair.local.domain(),
            &pair.remote.domain(),
        )
        .expect("a pair")
}

pub(crate) fn named(pair: &DomainPair) -> Result<Pair, String> {
    let local = Name::read(pair.local().domain().as_str());
    let remote = Name::read(pair.remote().domain().as_str());
    match (local, remote) {
        (Some(local), Some(remote)) => Ok(Pair::new(local, remote)),
        (_, _) => Err(format!("{pair} is made of domains that nobody named")),
    }
}

pub(crate) fn verdict(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Valid => Verdict::Valid,
        Outcome::Invalid => Verdict::Invalid,
        Outcome::Error | Outcome::Odd => Verdict::Error(StanzaCondition::RemoteServerTimeout),
    }
}

fn answer_name(answer: Answer) -> &'static str {
    match answer {
        Answer::Valid => "valid",
        Answer::Invalid => "invalid",
        Answer::Error(condition) => condition.name(),
    }
}
