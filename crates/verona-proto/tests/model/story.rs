//! One negotiation as a list of steps: made up, played, and, when it goes wrong, cut down to what is needed.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Instant;

use verona_proto::stanza::condition::StreamCondition;
use verona_proto::stream::{Command, Input, StreamError};

use crate::chance::Chance;
use crate::connection::{Connection, Verdicts};
use crate::names::{MONTAGUES, Pair, STRANGERS};
use crate::peer::{BidiPlan, Peer, Plan, Temper};
use crate::referee::Part;
use crate::rules::{Certificate, Rule, Rules, Whom};
use crate::tally::Tally;
use crate::wire::{Outcome, Sentence};

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The peer says this in one go, or cut in two.
    Says(Vec<Sentence>, Option<usize>),
    /// The authoritative server was asked, or was not, and answered.
    Verdict(Pair, Outcome),
    /// The federation wants a further pair.
    Request(Pair),
    /// A queue has a stanza.
    Send(Pair, u64),
    /// Seconds pass.
    Wait(u64),
    /// The federation ends the stream.
    Close,
    /// The connection is cut.
    Eof,
}

/// What a story begins with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    rules: Rc<Rules>,
    certificate: Rc<Certificate>,
    part: Part,
    plan: Plan,
}

/// Who opened the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opener {
    Peer,
    Verona,
}

/// A story that went wrong, as short as it gets.
pub(crate) struct Failure {
    pub(crate) text: String,
}

impl Setup {
    pub(crate) fn any(chance: &mut Chance, temper: Temper, who: Opener) -> Self {
        let plan = Plan::any(chance, temper);
        let is_plain = chance.percent(40);
        let defaults = if is_plain {
            Rule::PLAIN
        } else {
            Rule::any(chance)
        };
        let rules = Rules {
            ours: MONTAGUES,
            defaults,
            exception: chance.percent(25).then(|| {
                let whom = chance.pick(STRANGERS);
                let whom = match chance.percent(50) {
                    true => Whom::Exactly(whom),
                    false => Whom::Below(whom),
                };
                (whom, Rule::any(chance))
            }),
            tls_available: chance.percent(90),
            server: 0,
        };
        let certificate = match chance.percent(30) {
            true => Certificate::good(&[plan.remote]),
            false => Certificate::any(chance, plan.remote, STRANGERS),
        };
        let part = match who {
            Opener::Peer => Part::Receiving,
            Opener::Verona => Part::Initiating {
                pair: Pair::new(plan.local, plan.remote),
                external: chance.percent(90),
                bidi: chance.percent(90),
            },
        };
        Self {
            rules: Rc::new(rules),
            certificate: Rc::new(certificate),
            part,
            plan,
        }
    }

    /// Whether verona should come to terms with an honest peer.
    fn can_succeed(&self) -> bool {
        let rule = self.rules.for_peer(self.plan.remote);
        let tls = self.plan.tls && (self.rules.tls_available || self.part != Part::Receiving);
        let covered = tls && rule.certificate && self.certificate.covers(self.plan.remote, 60);
        // An initiator asks for TLS when its operator requires it, whatever is offered.
        let tls = tls || self.part != Part::Receiving && rule.tls_required;
        !rule.deny
            && (tls || !rule.tls_required)
            && (covered || rule.dialback)
            && self.certificate.expires > 60
    }

    fn begin(&self, start: Instant, tally: &mut Tally) -> Result<Connection, String> {
        let config = self.rules.config();
        let certificate = Rc::clone(&self.certificate);
        let mut connection = Connection::new(
            &self.rules,
            &config,
            self.part,
            Vec::new(),
            certificate,
            (start, 0),
            1,
        );
        connection.settle(tally)?;
        Ok(connection)
    }
}

/// Makes up one story and plays it.
pub(crate) fn tell(
    seed: u64,
    who: Opener,
    start: Instant,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let mut chance = Chance::new(seed);
    let temper = chance.pick(&[
        Temper::Honest,
        Temper::Confused,
        Temper::Lying,
        Temper::Lying,
    ]);
    let setup = Setup::any(&mut chance, temper, who);
    let steps_max = 8 + chance.below(14);
    let mut steps = Vec::new();
    let result = make_up(&setup, chance, steps_max, &mut steps, start, tally);
    result.map_err(|error| Failure {
        text: report(seed, &setup, steps, &error, start),
    })
}

fn make_up(
    setup: &Setup,
    chance: Chance,
    steps_max: usize,
    steps: &mut Vec<Step>,
    start: Instant,
    tally: &mut Tally,
) -> Verdicts {
    let mut connection = setup.begin(start, tally)?;
    let mut peer = Peer::new(chance, setup.plan);
    while steps.len() < steps_max && !connection.is_over {
        let step = peer.next(&connection);
        steps.push(step.clone());
        play(&mut connection, &step, tally)?;
    }
    finish(setup, &connection, steps.len() < steps_max, tally)
}

/// Liveness: with an honest peer, what should open has opened and stays open.
fn finish(setup: &Setup, connection: &Connection, ended: bool, tally: &mut Tally) -> Verdicts {
    let referee = &connection.referee;
    match setup.plan.temper {
        Temper::Honest if setup.can_succeed() => {
            if ended || !connection.stream.is_open() {
                let why = connection.failed.as_deref().unwrap_or("no reason");
                return Err(format!("an honest peer was refused: {why}"));
            }
            let pair = Pair::new(setup.plan.local, setup.plan.remote);
            let receives = referee.receivable().contains(pair);
            let sends = referee.sendable().contains(pair);
            let due = match setup.part {
                Part::Receiving => receives,
                Part::Initiating { .. } | Part::Verifying(_) => sends,
            };
            let is_pending = referee.asked.iter().any(|asked| asked.pair == pair)
                || referee
                    .asking
                    .iter()
                    .any(|asking| asking.fate == crate::referee::Fate::Pending);
            if !due && !is_pending {
                return Err(format!("{pair} did not open with an honest peer"));
            }
            tally.count(
                "honest",
                match (receives, sends) {
                    (true, true) => "both ways",
                    (true, false) | (false, true) => "one way",
                    (false, false) => "not yet",
                },
            );
        }
        Temper::Honest => tally.count("honest", "policy forbids"),
        Temper::Confused => tally.count(
            "confused",
            if connection.stream.is_open() {
                "open"
            } else {
                "ended"
            },
        ),
        Temper::Lying => tally.count(
            "lying",
            if connection.stream.is_open() {
                "open"
            } else {
                "ended"
            },
        ),
    }
    if referee.bidi && setup.plan.bidi == BidiPlan::Late {
        tally.count("bidi", "late");
    }
    Ok(())
}

fn play(connection: &mut Connection, step: &Step, tally: &mut Tally) -> Verdicts {
    match step {
        Step::Says(sentences, cut) => connection.hear(sentences, *cut, tally),
        Step::Verdict(pair, outcome) => connection.verdict(*pair, *outcome, tally),
        Step::Request(pair) => {
            let pair = connection.domains(*pair);
            connection.command(Command::Request { pair }, tally)
        }
        Step::Send(pair, number) => connection.send(*pair, *number, tally),
        Step::Wait(seconds) => {
            let now = connection.referee.now + seconds;
            connection.wait(now, tally)
        }
        Step::Close => {
            let error = StreamError::local(StreamCondition::UndefinedCondition, "enough").quietly();
            connection.command(Command::Close(error), tally)
        }
        Step::Eof => {
            connection.stream.handle(Input::Eof, connection.at());
            connection.settle(tally)
        }
    }
}

/// Drops steps as long as the story stays wrong, and tells what is left.
fn report(seed: u64, setup: &Setup, mut steps: Vec<Step>, error: &str, start: Instant) -> String {
    let mut error = error.to_owned();
    let is_live = error.contains("honest peer");
    let mut at = 0;
    // A story of too little cannot be cut down by leaving more out.
    while at < steps.len() && !is_live {
        let mut fewer = steps.clone();
        fewer.remove(at);
        match replay(setup, &fewer, start) {
            Err(other) => {
                steps = fewer;
                error = other;
                at = 0;
            }
            Ok(()) => at += 1,
        }
    }
    let mut text = format!(
        "seed {seed}: {error}\n{:?}\n{:?}\n{:?}\n{:?}\n",
        setup.part, setup.rules, setup.certificate, setup.plan
    );
    transcribe(setup, &steps, start, &mut text);
    text
}

fn replay(setup: &Setup, steps: &[Step], start: Instant) -> Verdicts {
    let mut tally = Tally::default();
    let mut connection = setup.begin(start, &mut tally)?;
    for step in steps {
        if connection.is_over {
            return Ok(());
        }
        play(&mut connection, step, &mut tally)?;
    }
    Ok(())
}

fn transcribe(setup: &Setup, steps: &[Step], start: Instant, text: &mut String) {
    let mut tally = Tally::default();
    let Ok(mut connection) = setup.begin(start, &mut tally) else {
        return;
    };
    tell_said(&mut connection, text);
    for step in steps {
        match step {
            Step::Says(sentences, _) => {
                for sentence in sentences {
                    let mut xml = String::new();
                    sentence.write(&mut xml);
                    _ = writeln!(text, "peer:   {xml}");
                }
            }
            other => _ = writeln!(text, "        {other:?}"),
        }
        let result = play(&mut connection, step, &mut tally);
        tell_said(&mut connection, text);
        if let Err(error) = result {
            _ = writeln!(text, "wrong:  {error}");
            return;
        }
    }
}

fn tell_said(connection: &mut Connection, text: &mut String) {
    for sentence in connection.said.drain(..) {
        let mut xml = String::new();
        sentence.write(&mut xml);
        _ = writeln!(text, "verona: {xml}");
    }
    for event in connection.events.drain(..) {
        _ = writeln!(text, "        ({event:?})");
    }
}
