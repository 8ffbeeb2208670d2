//! The peer of a single stream: honest, confused or lying. It sees what verona said and chooses the next step.

use crate::chance::Chance;
use crate::connection::Connection;
use crate::names::{Address, MONTAGUES, Name, Pair, STRANGERS};
use crate::referee::{Fate, Part, Stage};
use crate::story::Step;
use crate::wire::{Authzid, Bidi, Features, Outcome, Sentence};

/// What the peer is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// Keeps to the specifications.
    Honest,
    /// Means well and gets it wrong.
    Confused,
    /// Wants what is not its own.
    Lying,
}

/// What the peer has in mind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) temper: Temper,
    pub(crate) local: Name,
    pub(crate) remote: Name,
    pub(crate) tls: bool,
    pub(crate) external: bool,
    pub(crate) bidi: BidiPlan,
    pub(crate) multiplex: bool,
}

/// When the peer asks for bidi, or whether it offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BidiPlan {
    Never,
    Early,
    BehindAuth,
    Late,
    Twice,
}

/// The peer while a story is made up.
pub(crate) struct Peer {
    pub(crate) chance: Chance,
    pub(crate) plan: Plan,
    bidi_said: u32,
    number: u64,
    keys: u64,
    last: Option<Sentence>,
}

impl Plan {
    pub(crate) fn any(chance: &mut Chance, temper: Temper) -> Self {
        Self {
            temper,
            local: chance.pick(MONTAGUES),
            remote: chance.pick(STRANGERS),
            tls: chance.percent(85),
            external: chance.percent(60),
            bidi: chance.weighed(&[
                (15, BidiPlan::Never),
                (50, BidiPlan::Early),
                (10, BidiPlan::BehindAuth),
                (15, BidiPlan::Late),
                (10, BidiPlan::Twice),
            ]),
            multiplex: chance.percent(50),
        }
    }
}

impl Peer {
    pub(crate) fn new(chance: Chance, plan: Plan) -> Self {
        Self {
            chance,
            plan,
            bidi_said: 0,
            number: 0,
            keys: 0,
            last: None,
        }
    }

    pub(crate) fn next(&mut self, connection: &Connection) -> Step {
        let odd = match self.plan.temper {
            Temper::Honest => 0,
            Temper::Confused => 20,
            // Before the header nothing else is XML, and such a story ends at once.
            Temper::Lying if connection.referee.stage == Stage::Header => 8,
            Temper::Lying => 40,
        };
        match self.chance.percent(odd) {
            true if self.plan.temper == Temper::Confused => self.mistake(connection),
            true => self.lie(connection),
            false => self.fitting(connection),
        }
    }

    // What a good peer does.

    fn fitting(&mut self, connection: &Connection) -> Step {
        let referee = &connection.referee;
        let is_receiving = referee.part == Part::Receiving;
        if !connection.stream.is_open() && referee.stage == Stage::Open {
            return self.fitting_at_the_end(connection);
        }
        match referee.stage {
            Stage::Header | Stage::HeaderAfterSasl => {
                let behind_auth = referee.stage == Stage::HeaderAfterSasl
                    && self.plan.bidi == BidiPlan::BehindAuth
                    && is_receiving
                    && self.bidi_said == 0;
                match behind_auth {
                    true => self.bidi(),
                    false => self.header(connection),
                }
            }
            Stage::Features | Stage::FeaturesAfterSasl => {
                let secured = referee.certificate.is_some();
                let first = referee.stage == Stage::Features;
                let has_bidi = self.plan.bidi != BidiPlan::Never;
                let features = Features {
                    starttls: !secured && self.plan.tls,
                    external: secured && first && self.plan.external,
                    bidi: has_bidi && (secured || !self.plan.tls),
                    dialback: secured || !self.plan.tls,
                    multiplex: self.plan.multiplex && secured,
                };
                self.say(Sentence::Features(features))
            }
            Stage::Proceed => self.say(Sentence::Proceed),
            Stage::SaslOutcome => match self.chance.percent(80) {
                true => self.say(Sentence::Success),
                false => self.say(Sentence::SaslFailure),
            },
            Stage::Choice if is_receiving => self.choose(connection),
            Stage::Choice | Stage::Handshake | Stage::Over => self.idle(),
            Stage::Open => match referee.part {
                Part::Verifying(pair) => self.vouch(connection, pair),
                Part::Receiving | Part::Initiating { .. } => self.converse(connection),
            },
        }
    }

    fn header(&mut self, connection: &Connection) -> Step {
        let (from, to) = (
            self.spelled(self.plan.remote),
            self.spelled(self.plan.local),
        );
        let id = match connection.referee.part {
            Part::Receiving => None,
            Part::Initiating { .. } | Part::Verifying(_) => {
                // Ids of streams that we opened are the peer's to choose: some collide on purpose (BIDI-36).
                Some(
                    self.chance
                        .pick(&["peer1", "peer2", "id1-1", "id1-2", "id2-1"])
                        .to_owned(),
                )
            }
        };
        self.say(Sentence::Header {
            from,
            to,
            id,
            dialback: true,
        })
    }

    fn choose(&mut self, connection: &Connection) -> Step {
        let referee = &connection.referee;
        if referee.certificate.is_none() && self.plan.tls && referee.rules.tls_available {
            return self.say(Sentence::StartTls);
        }
        let early = match self.plan.bidi {
            BidiPlan::Early => self.bidi_said == 0,
            BidiPlan::Twice => self.bidi_said < 2,
            BidiPlan::Never | BidiPlan::BehindAuth | BidiPlan::Late => false,
        };
        if early {
            return self.bidi();
        }
        let offered = connection
            .said
            .iter()
            .rev()
            .find_map(|sentence| match sentence {
                Sentence::Features(features) => Some(features.external),
                _ => None,
            });
        if offered == Some(true) && self.plan.external {
            let authzid = self.chance.pick(&[
                Authzid::Nobody,
                Authzid::Empty,
                Authzid::Of(self.plan.remote),
            ]);
            return self.say(Sentence::Auth(authzid));
        }
        let (from, to) = (self.plan.remote, self.plan.local);
        self.request(from, to)
    }

    /// The answer to a question about a key: this peer says that all keys of its own are good.
    fn vouch(&mut self, connection: &Connection, pair: Pair) -> Step {
        let check = connection
            .referee
            .checks
            .iter()
            .find(|check| check.outcome.is_none());
        let Some(check) = check else {
            return self.idle();
        };
        let outcome = self.chance.pick(&[
            Outcome::Valid,
            Outcome::Valid,
            Outcome::Invalid,
            Outcome::Error,
        ]);
        self.say(Sentence::Verdict {
            from: Address::of(pair.remote),
            to: Address::of(pair.local),
            id: check.id.clone(),
            outcome,
        })
    }

    fn converse(&mut self, connection: &Connection) -> Step {
        let referee = &connection.referee;
        let is_receiving = referee.part == Part::Receiving;
        let pending = referee
            .asking
            .iter()
            .find(|asking| asking.fate == Fate::Pending);
        if let Some(asking) = pending.filter(|_| self.chance.percent(70)) {
            return self.answer(asking.pair, Outcome::Valid);
        }
        if let Some(asked) = referee.asked.first().filter(|_| self.chance.percent(70)) {
            return Step::Verdict(asked.pair, Outcome::Valid);
        }
        let late = is_receiving && self.bidi_said == 0 && self.plan.bidi != BidiPlan::Never;
        if late && self.chance.percent(50) {
            return self.bidi();
        }
        let (receivable, sendable) = (referee.receivable(), referee.sendable());
        match self.chance.below(8) {
            // A further pair of the peer's.
            0 | 1 if is_receiving => {
                let from = self.chance.pick(STRANGERS);
                let to = self.chance.pick(MONTAGUES);
                self.request(from, to)
            }
            0 | 1 if referee.bidi => match self.any_of(sendable.iter()) {
                Some(proven) => {
                    let from = self.chance.pick(STRANGERS);
                    self.request(from, proven.local)
                }
                None => self.idle(),
            },
            // A further pair of ours.
            2 | 3 => {
                let local = self.chance.pick(MONTAGUES);
                let remote = match self.any_of(receivable.iter()) {
                    Some(pair) if self.chance.percent(70) => pair.remote,
                    Some(_) | None => self.plan.remote,
                };
                Step::Request(Pair::new(local, remote))
            }
            4 | 5 => match self.any_of(receivable.iter()) {
                Some(pair) => self.stanza(pair.remote, pair.local),
                None => self.idle(),
            },
            _ => match self.any_of(sendable.iter()) {
                Some(pair) => self.send(pair),
                None => self.idle(),
            },
        }
    }

    /// We have closed and the peer has not: it finishes what it was saying (BIDI-57).
    fn fitting_at_the_end(&mut self, connection: &Connection) -> Step {
        let receivable = connection.referee.receivable();
        match self.any_of(receivable.iter()) {
            Some(pair) if self.chance.percent(60) => self.stanza(pair.remote, pair.local),
            Some(_) | None => self.say(Sentence::Close),
        }
    }

    // What others do.

    /// The right thing at the wrong time, twice, halfway or to somebody else.
    fn mistake(&mut self, connection: &Connection) -> Step {
        match self.chance.below(10) {
            0 | 1 => match self.last.clone() {
                Some(last) => self.say(last),
                None => self.bidi(),
            },
            2 => Step::Wait(self.chance.pick(&[1, 10, 29, 31, 46])),
            3 => {
                let pair = self.any_pair();
                Step::Request(pair)
            }
            4 => self.bidi(),
            5 => {
                let referee = &connection.referee;
                let asked = referee.asked.first().map(|asked| asked.pair);
                let outcome = self.chance.pick(&[Outcome::Invalid, Outcome::Error]);
                let pair = asked.unwrap_or_else(|| self.any_pair());
                Step::Verdict(pair, outcome)
            }
            6 => {
                let asking = connection.referee.asking.last().map(|asking| asking.pair);
                let pair = asking.unwrap_or_else(|| self.any_pair());
                let outcome = self.chance.pick(&[
                    Outcome::Valid,
                    Outcome::Invalid,
                    Outcome::Error,
                    Outcome::Odd,
                ]);
                self.answer(pair, outcome)
            }
            7 => {
                let pair = self.any_pair();
                self.send(pair)
            }
            8 => self.say(Sentence::Space),
            _ => self.changed(connection),
        }
    }

    /// The fitting sentence with something in it changed.
    fn changed(&mut self, connection: &Connection) -> Step {
        let Step::Says(mut sentences, cut) = self.fitting(connection) else {
            return self.idle();
        };
        let other = self.address();
        let at = self.chance.below(3);
        for sentence in &mut sentences {
            match sentence {
                Sentence::Header {
                    from,
                    to,
                    id,
                    dialback,
                } => match at {
                    0 => *from = other,
                    1 => *to = other,
                    _ => (*id, *dialback) = (None, false),
                },
                Sentence::Request { from, to, .. }
                | Sentence::Answer { from, to, .. }
                | Sentence::Verify { from, to, .. }
                | Sentence::Verdict { from, to, .. }
                | Sentence::Stanza { from, to, .. } => match at {
                    0 => *from = other,
                    1 => *to = other,
                    _ => std::mem::swap(from, to),
                },
                Sentence::Bidi(bidi) => *bidi = Bidi::WrongNamespace,
                Sentence::Auth(authzid) => {
                    *authzid = match at {
                        0 => Authzid::Garbage,
                        1 => Authzid::Plain,
                        _ => other.name().map_or(Authzid::Nobody, Authzid::Of),
                    };
                }
                Sentence::Features(features) => match at {
                    0 => features.bidi = !features.bidi,
                    1 => features.external = !features.external,
                    _ => (features.dialback, features.starttls) = (false, false),
                },
                Sentence::StartTls
                | Sentence::Proceed
                | Sentence::TlsFailure
                | Sentence::Success
                | Sentence::SaslFailure
                | Sentence::StreamError(_)
                | Sentence::Unknown
                | Sentence::Close
                | Sentence::Space => {}
            }
        }
        Step::Says(sentences, cut)
    }

    fn lie(&mut self, connection: &Connection) -> Step {
        let referee = &connection.referee;
        let (from, to) = (self.address(), self.address());
        if let (Part::Verifying(_), Some(check)) = (referee.part, referee.checks.first()) {
            // About somebody else's key, or another of its own.
            if self.chance.percent(70) {
                let id = match self.chance.percent(70) {
                    true => check.id.clone(),
                    false => "other".to_owned(),
                };
                let outcome = Outcome::Valid;
                return self.say(Sentence::Verdict {
                    from,
                    to,
                    id,
                    outcome,
                });
            }
        }
        match self.chance.below(26) {
            // Unsolicited answers, some of them to what was asked of somebody else or is answered already.
            0..=3 => {
                let asking = referee.asking.last().map(|asking| asking.pair);
                let outcome = self.chance.pick(&[
                    Outcome::Valid,
                    Outcome::Valid,
                    Outcome::Odd,
                    Outcome::Error,
                ]);
                match asking.filter(|_| self.chance.percent(40)) {
                    Some(pair) => {
                        let other = self.chance.pick(STRANGERS);
                        match self.chance.below(3) {
                            0 => self.answer(Pair::new(pair.local, other), outcome),
                            1 => {
                                let local = self.any_pair().local;
                                self.answer(Pair::new(local, pair.remote), outcome)
                            }
                            _ => self.answer(pair, outcome),
                        }
                    }
                    None => self.say(Sentence::Answer { from, to, outcome }),
                }
            }
            4 => {
                let outcome = Outcome::Valid;
                let id = referee.id.clone().unwrap_or_default();
                self.say(Sentence::Verdict {
                    from,
                    to,
                    id,
                    outcome,
                })
            }
            5 => {
                // About a key that verona gave this very peer, or one that it never made.
                let issued = referee.issued.last().cloned();
                match issued {
                    Some(issued) => {
                        let id = match self.chance.percent(50) {
                            true => issued.id,
                            false => "other".to_owned(),
                        };
                        self.say(Sentence::Verify {
                            from: Address::of(issued.receiving),
                            to: Address::of(issued.originating),
                            id,
                            key: issued.key,
                        })
                    }
                    None => self.say(Sentence::Verify {
                        from,
                        to,
                        id: "x".into(),
                        key: "guess".into(),
                    }),
                }
            }
            6 | 7 => {
                let key = self.key();
                self.say(Sentence::Request { from, to, key })
            }
            // More keys at once than anybody checks.
            8 => {
                let to = Address::of(self.plan.local);
                let requests = STRANGERS.iter().take(6).map(|from| Sentence::Request {
                    from: Address::of(*from),
                    to,
                    key: self.key(),
                });
                Step::Says(requests.collect(), None)
            }
            9 => {
                let (from, to) = (self.chance.pick(STRANGERS), self.chance.pick(MONTAGUES));
                let key = self.key();
                let number = self.number();
                Step::Says(
                    vec![
                        Sentence::Request {
                            from: Address::of(from),
                            to: Address::of(to),
                            key,
                        },
                        Sentence::Stanza {
                            from: Address::of(from),
                            to: Address::of(to),
                            number,
                        },
                    ],
                    None,
                )
            }
            10 => {
                let number = self.number();
                self.say(Sentence::Stanza { from, to, number })
            }
            11 => self.bidi(),
            12 => {
                let header = self.header(connection);
                match header {
                    Step::Says(mut sentences, cut) => {
                        if let Some(Sentence::Header { from: address, .. }) = sentences.first_mut()
                        {
                            *address = from;
                        }
                        Step::Says(sentences, cut)
                    }
                    other => other,
                }
            }
            13 => {
                let authzid = match from.name() {
                    Some(name) if self.chance.percent(60) => Authzid::Of(name),
                    Some(_) | None => Authzid::Empty,
                };
                match self.chance.percent(30) {
                    true => Step::Says(
                        vec![Sentence::Auth(authzid), Sentence::Bidi(Bidi::Request)],
                        None,
                    ),
                    false => self.say(Sentence::Auth(authzid)),
                }
            }
            14 => self.say(Sentence::Success),
            15 => self.say(Sentence::SaslFailure),
            16 => {
                let features = Features {
                    starttls: self.chance.percent(20),
                    external: self.chance.percent(50),
                    bidi: self.chance.percent(70),
                    dialback: self.chance.percent(70),
                    multiplex: self.chance.percent(50),
                };
                self.say(Sentence::Features(features))
            }
            // What is said in the clear behind <starttls/> must not be heard as if it were protected.
            17 if referee.stage == Stage::Choice || referee.stage == Stage::Proceed => {
                let key = self.key();
                let inject = Sentence::Request { from, to, key };
                match referee.part {
                    Part::Receiving => Step::Says(vec![Sentence::StartTls, inject], None),
                    Part::Initiating { .. } | Part::Verifying(_) => {
                        Step::Says(vec![Sentence::Proceed, inject], None)
                    }
                }
            }
            17 | 18 => Step::Wait(self.chance.pick(&[1, 15, 31, 46])),
            19 => {
                let pair = self.any_pair();
                Step::Request(pair)
            }
            20 => {
                let pair = self.any_pair();
                self.send(pair)
            }
            21 => {
                // Nobody asked the federation about this one.
                let pair = self.any_pair();
                let outcome = self
                    .chance
                    .pick(&[Outcome::Valid, Outcome::Invalid, Outcome::Error]);
                match referee.asked.iter().any(|asked| asked.pair == pair) {
                    true => self.idle(),
                    false => Step::Verdict(pair, outcome),
                }
            }
            22 => self.say(Sentence::Unknown),
            23 => match referee.asked.first().map(|asked| asked.pair) {
                Some(pair) => {
                    let outcome = self.chance.pick(&[Outcome::Invalid, Outcome::Error]);
                    Step::Verdict(pair, outcome)
                }
                None => self.idle(),
            },
            24 => match self.chance.below(4) {
                0 => self.say(Sentence::Close),
                1 => self.say(Sentence::StreamError("conflict".into())),
                2 => Step::Eof,
                _ => Step::Close,
            },
            _ => self.changed(connection),
        }
    }

    // Words.

    fn say(&mut self, sentence: Sentence) -> Step {
        self.last = Some(sentence.clone());
        let cut = self.chance.percent(10).then(|| self.chance.below(400));
        Step::Says(vec![sentence], cut)
    }

    fn bidi(&mut self) -> Step {
        self.bidi_said += 1;
        self.say(Sentence::Bidi(match self.plan.multiplex {
            true => Bidi::Multiplexing,
            false => Bidi::Request,
        }))
    }

    fn request(&mut self, from: Name, to: Name) -> Step {
        let (from, to, key) = (self.spelled(from), self.spelled(to), self.key());
        self.say(Sentence::Request { from, to, key })
    }

    fn answer(&mut self, pair: Pair, outcome: Outcome) -> Step {
        let (from, to) = (self.spelled(pair.remote), self.spelled(pair.local));
        self.say(Sentence::Answer { from, to, outcome })
    }

    fn stanza(&mut self, from: Name, to: Name) -> Step {
        let (from, to, number) = (self.spelled(from), self.spelled(to), self.number());
        let first = Sentence::Stanza { from, to, number };
        match self.chance.percent(15) {
            true => {
                let number = self.number();
                Step::Says(vec![first, Sentence::Stanza { from, to, number }], None)
            }
            false => self.say(first),
        }
    }

    fn send(&mut self, pair: Pair) -> Step {
        Step::Send(pair, self.number())
    }

    fn idle(&mut self) -> Step {
        Step::Wait(1)
    }

    fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn key(&mut self) -> String {
        self.keys += 1;
        format!("key{}", self.keys)
    }

    fn spelled(&mut self, name: Name) -> Address {
        let spelling = match self.chance.percent(12) {
            true => self.chance.below(4) as u8,
            false => 0,
        };
        Address::Of(name, spelling)
    }

    fn any_pair(&mut self) -> Pair {
        let (local, remote) = (self.plan.local, self.plan.remote);
        let other = Pair::new(self.chance.pick(MONTAGUES), self.chance.pick(STRANGERS));
        match self.chance.below(4) {
            0 => Pair::new(local, remote),
            1 => Pair::new(local, other.remote),
            2 => Pair::new(other.local, remote),
            _ => other,
        }
    }

    fn address(&mut self) -> Address {
        let pair = self.any_pair();
        match self.chance.below(20) {
            0 => Address::Absent,
            1 => Address::Nonsense,
            2..=9 => self.spelled(pair.local),
            _ => self.spelled(pair.remote),
        }
    }

    fn any_of(&mut self, pairs: impl Iterator<Item = Pair>) -> Option<Pair> {
        let all: Vec<Pair> = pairs.collect();
        (!all.is_empty()).then(|| self.chance.pick(&all))
    }
}
