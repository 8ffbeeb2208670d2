//! The oracle's book: every stanza that was sent, and what became of it.
//! Why by flow: a flow is one sender and one target, and order is promised within it and nowhere else.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::process::lock;

/// Which servers a flow leads from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// From one verona to the other.
    Veronas,
    /// From verona to the Prosody that acknowledges.
    ToAcking,
    /// And back.
    FromAcking,
    /// From verona to the Prosody that does not.
    ToPlain,
    /// And back.
    FromPlain,
}

impl Way {
    pub(super) const ALL: [Self; 5] = [
        Self::Veronas,
        Self::ToAcking,
        Self::FromAcking,
        Self::ToPlain,
        Self::FromPlain,
    ];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Veronas => "verona ⇄ verona",
            Self::ToAcking => "verona → Prosody with XEP-0198",
            Self::FromAcking => "Prosody with XEP-0198 → verona",
            Self::ToPlain => "verona → Prosody without",
            Self::FromPlain => "Prosody without → verona",
        }
    }
}

/// One sender and one target.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) way: Way,
    pub(super) from: String,
    pub(super) to: String,
    stanzas: Vec<Fate>,
    /// The latest number that arrived.
    latest: Option<usize>,
    /// Of so many the sender's server has shown that it read them.
    accepted: usize,
    inversions: usize,
    duplicates: usize,
    changed: usize,
    answers: usize,
    requests_delivered: usize,
}

/// What is known of one stanza.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// Milliseconds since the book was opened.
    sent_at: u32,
    delivered: bool,
    bounced: bool,
    /// The peer's stream management acknowledged it.
    acknowledged: bool,
    /// When it came back; milliseconds as well.
    bounced_at: u32,
    /// When it arrived.
    delivered_at: u32,
    /// Its sender's connection ended before the server showed that it had read it.
    is_unaccepted: bool,
    /// It was on its way into a component's socket when the component was killed.
    is_in_killed_socket: bool,
}

/// A stanza's name: the flow's number and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) flow: usize,
    pub(super) number: usize,
}

impl Id {
    /// Reads `f12-345`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (flow, number) = text.strip_prefix('f')?.split_once('-')?;
        Some(Self {
            flow: flow.parse().ok()?,
            number: number.parse().ok()?,
        })
    }

    /// Every so many is an IQ, which is answered; the others are messages.
    pub(super) const fn is_request(self) -> bool {
        self.number % 5 == 4
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "f{}-{}", self.flow, self.number)
    }
}

/// The book.
#[derive(Debug)]
pub(super) struct Ledger {
    began: Instant,
    page: Mutex<Page>,
}

#[derive(Debug, Default)]
struct Page {
    flows: Vec<Flow>,
    conditions: BTreeMap<(Way, String), usize>,
    surprises: Vec<String>,
}

impl Ledger {
    pub(super) fn open() -> Self {
        Self {
            began: Instant::now(),
            page: Mutex::default(),
        }
    }

    /// Since it was opened.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Opens a flow and gives its number.
    pub(super) fn flow(&self, way: Way, from: &str, to: &str) -> usize {
        let mut page = lock(&self.page);
        page.flows.push(Flow {
            way,
            from: from.to_owned(),
            to: to.to_owned(),
            stanzas: Vec::new(),
            latest: None,
            accepted: 0,
            inversions: 0,
            duplicates: 0,
            changed: 0,
            answers: 0,
            requests_delivered: 0,
        });
        page.flows.len() - 1
    }

    /// The next stanza of a flow is about to be sent.
    pub(super) fn send(&self, flow: usize) -> Option<Id> {
        let sent_at = self.now();
        let mut page = lock(&self.page);
        let stanzas = &mut page.flows.get_mut(flow)?.stanzas;
        stanzas.push(Fate {
            sent_at,
            ..Fate::default()
        });
        Some(Id {
            flow,
            number: stanzas.len() - 1,
        })
    }

    /// Sender and target of a flow.
    pub(super) fn ends(&self, flow: usize) -> Option<(String, String)> {
        let page = lock(&self.page);
        let flow = page.flows.get(flow)?;
        Some((flow.from.clone(), flow.to.clone()))
    }

    /// How many each of these flows has sent.
    pub(super) fn sent(&self, flows: &[usize]) -> Vec<usize> {
        let page = lock(&self.page);
        let length = |flow: &usize| page.flows.get(*flow).map_or(0, |flow| flow.stanzas.len());
        flows.iter().map(length).collect()
    }

    /// The sender's server has read so much of these flows.
    pub(super) fn accept(&self, flows: &[usize], sent: &[usize]) {
        let mut page = lock(&self.page);
        for (flow, sent) in flows.iter().zip(sent) {
            if let Some(flow) = page.flows.get_mut(*flow) {
                flow.accepted = flow.accepted.max(*sent);
            }
        }
    }

    /// The sender of these flows has lost its connection: nobody knows whether its server read what it wrote last.
    pub(super) fn sender_died(&self, flows: &[usize]) {
        let mut page = lock(&self.page);
        for flow in flows {
            if let Some(flow) = page.flows.get_mut(*flow) {
                let accepted = flow.accepted;
                for fate in flow.stanzas.iter_mut().skip(accepted) {
                    fate.is_unaccepted = true;
                }
                flow.accepted = flow.stanzas.len();
            }
        }
    }

    /// The component of this domain was killed by an RST after it had read all that had come: what followed in the
    /// blink of an eye went with its socket.
    pub(super) fn target_killed(&self, domain: &str) {
        let now = self.now();
        let mut page = lock(&self.page);
        for flow in &mut page.flows {
            if domain_of(&flow.to) != domain {
                continue;
            }
            // In order: what was in the socket comes right after what was read.
            let next = flow.latest.map_or(0, |latest| latest + 1);
            for fate in flow.stanzas.iter_mut().skip(next).take(IN_SOCKET_MAX) {
                fate.is_in_killed_socket |= fate.sent_at + IN_SOCKET_MS >= now;
            }
        }
    }

    /// A stanza arrived, whole or changed.
    pub(super) fn arrive(&self, id: Id, is_whole: bool) {
        let now = self.now();
        let mut page = lock(&self.page);
        let Some(flow) = page.flows.get_mut(id.flow) else {
            return;
        };
        let Some(fate) = flow.stanzas.get_mut(id.number) else {
            return;
        };
        flow.changed += usize::from(!is_whole);
        if fate.delivered {
            flow.duplicates += 1;
            return;
        }
        let was_back = fate.bounced;
        fate.delivered = true;
        fate.delivered_at = now;
        flow.requests_delivered += usize::from(id.is_request());
        // One that its sender had back already is no longer in a row: it is counted as both.
        let is_late = flow.latest.is_some_and(|latest| latest > id.number);
        flow.inversions += usize::from(is_late && !was_back);
        flow.latest = flow.latest.max(Some(id.number));
    }

    /// A stanza came back to its sender.
    pub(super) fn bounce(&self, id: Id, condition: &str, text: &str) {
        let now = self.now();
        let mut page = lock(&self.page);
        let Some(flow) = page.flows.get_mut(id.flow) else {
            return;
        };
        let way = flow.way;
        if let Some(fate) = flow.stanzas.get_mut(id.number) {
            fate.bounced = true;
            fate.bounced_at = now;
        }
        let words = match text.is_empty() {
            true => condition.to_owned(),
            false => format!("{condition} ({text})"),
        };
        *page.conditions.entry((way, words)).or_default() += 1;
    }

    /// The answer to an IQ arrived.
    pub(super) fn answer(&self, id: Id) {
        if let Some(flow) = lock(&self.page).flows.get_mut(id.flow) {
            flow.answers += 1;
        }
    }

    /// The peer's server acknowledged a stanza.
    pub(super) fn acknowledge(&self, id: Id) {
        let mut page = lock(&self.page);
        if let Some(fate) = page
            .flows
            .get_mut(id.flow)
            .and_then(|flow| flow.stanzas.get_mut(id.number))
        {
            fate.acknowledged = true;
        }
    }

    /// Something that should not have come at all.
    pub(super) fn surprise(&self, what: String) {
        let mut page = lock(&self.page);
        if page.surprises.len() < SURPRISES_MAX {
            page.surprises.push(what);
        }
    }

    pub(super) fn surprises(&self) -> Vec<String> {
        lock(&self.page).surprises.clone()
    }

    /// How many stanzas of these ways have neither arrived nor come back.
    pub(super) fn open_stanzas(&self, ways: &[Way]) -> usize {
        let page = lock(&self.page);
        let stanzas = page
            .flows
            .iter()
            .filter(|flow| ways.contains(&flow.way))
            .flat_map(|flow| &flow.stanzas);
        stanzas
            .filter(|fate| fate.is_unknown() && !fate.is_unaccepted)
            .count()
    }

    /// What became of all stanzas of one way.
    pub(super) fn account(&self, way: Way) -> Account {
        let page = lock(&self.page);
        let mut account = Account::default();
        for (index, flow) in page
            .flows
            .iter()
            .enumerate()
            .filter(|(_, flow)| flow.way == way)
        {
            account.duplicates += flow.duplicates;
            account.inversions += flow.inversions;
            account.changed += flow.changed;
            account.unanswered += flow.requests_delivered.saturating_sub(flow.answers);
            for (number, fate) in flow.stanzas.iter().enumerate() {
                account.sent += 1;
                match (fate.delivered, fate.bounced) {
                    (true, false) => account.delivered += 1,
                    (false, true) => account.bounced += 1,
                    (true, true) => account.both.push(named(index, number, flow, *fate)),
                    (false, false) if fate.acknowledged => account.acknowledged += 1,
                    (false, false) if fate.is_unaccepted => account.unaccepted += 1,
                    (false, false) if fate.is_in_killed_socket => account.in_killed_sockets += 1,
                    (false, false) => account.unknown.push(named(index, number, flow, *fate)),
                }
            }
        }
        account.conditions = page
            .conditions
            .iter()
            .filter(|((of, _), _)| *of == way)
            .map(|((_, condition), count)| (condition.clone(), *count))
            .collect();
        account
    }

    fn now(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_millis()).unwrap_or(u32::MAX)
    }
}

fn named(index: usize, number: usize, flow: &Flow, fate: Fate) -> Named {
    let seconds = |millis: u32| f64::from(millis) / 1_000.0;
    let mut name = format!(
        "f{index}-{number} from {} to {}, sent at {:.2} s",
        flow.from,
        flow.to,
        seconds(fate.sent_at)
    );
    for (is_so, what, at) in [
        (fate.delivered, "arrived", fate.delivered_at),
        (fate.bounced, "came back", fate.bounced_at),
    ] {
        if is_so {
            name.push_str(&format!(", {what} at {:.2} s", seconds(at)));
        }
    }
    Named {
        sent_at: Duration::from_millis(u64::from(fate.sent_at)),
        name,
    }
}

impl Fate {
    const fn is_unknown(self) -> bool {
        !self.delivered && !self.bounced && !self.acknowledged
    }
}

/// What became of the stanzas of one way; each is in one of the first seven counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) sent: usize,
    /// They arrived.
    pub(super) delivered: usize,
    /// They came back.
    pub(super) bounced: usize,
    /// They arrived and came back as well.
    pub(super) both: Vec<Named>,
    /// They did not arrive, and the peer's server had acknowledged them: it lost them.
    pub(super) acknowledged: usize,
    /// The sender's connection ended before its server had read them, as far as one can know.
    pub(super) unaccepted: usize,
    /// They went with the socket of a component that was killed.
    pub(super) in_killed_sockets: usize,
    /// Nobody knows.
    pub(super) unknown: Vec<Named>,
    pub(super) duplicates: usize,
    pub(super) inversions: usize,
    /// They arrived with another content.
    pub(super) changed: usize,
    /// IQs that arrived and whose answer did not.
    pub(super) unanswered: usize,
    pub(super) conditions: Vec<(String, usize)>,
}

/// One stanza.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) sent_at: Duration,
    pub(super) name: String,
}

fn domain_of(address: &str) -> &str {
    address
        .split_once('@')
        .map_or(address, |(_, domain)| domain)
}

/// A component that had read everything a moment before loses no more than this of a flow.
const IN_SOCKET_MAX: usize = 3;
const IN_SOCKET_MS: u32 = 250;
const SURPRISES_MAX: usize = 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail loudly.
    use super::*;

    fn book(stanzas: usize) -> (Ledger, Vec<Id>) {
        let ledger = Ledger::open();
        let flow = ledger.flow(Way::Veronas, "u@a.lit", "u@b.lit");
        let ids = (0..stanzas).map(|_| ledger.send(flow).unwrap()).collect();
        (ledger, ids)
    }

    #[test]
    fn every_stanza_is_in_one_count() {
        let (ledger, ids) = book(6);
        ledger.arrive(ids[0], true);
        ledger.bounce(ids[1], "remote-server-timeout", "");
        ledger.arrive(ids[2], true);
        ledger.bounce(ids[2], "remote-server-timeout", "");
        ledger.acknowledge(ids[3]);
        ledger.accept(&[0], &[5]);
        ledger.sender_died(&[0]);
        let account = ledger.account(Way::Veronas);
        assert_eq!(
            (
                account.sent,
                account.delivered,
                account.bounced,
                account.both.len()
            ),
            (6, 1, 1, 1)
        );
        assert_eq!((account.acknowledged, account.unaccepted), (1, 1));
        assert_eq!(account.unknown.len(), 1);
        assert!(account.unknown[0].name.starts_with("f0-4 "));
        assert_eq!(
            account.conditions,
            [("remote-server-timeout".to_owned(), 2)]
        );
        assert_eq!(ledger.open_stanzas(&Way::ALL), 1);
        assert_eq!(ledger.open_stanzas(&[Way::ToPlain]), 0);
        assert_eq!(ledger.account(Way::ToPlain).sent, 0);
    }

    #[test]
    fn a_second_arrival_and_an_overtaking_one_are_told_apart() {
        let (ledger, ids) = book(4);
        for number in [0, 2, 1, 2, 3] {
            ledger.arrive(ids[number], number != 3);
        }
        let account = ledger.account(Way::Veronas);
        assert_eq!(
            (account.duplicates, account.inversions, account.changed),
            (1, 1, 1)
        );
        assert_eq!(account.delivered, 4);
    }

    #[test]
    fn one_that_came_back_and_arrives_late_is_both_and_overtakes_nothing() {
        let (ledger, ids) = book(3);
        ledger.bounce(ids[0], "remote-server-timeout", "");
        ledger.arrive(ids[1], true);
        ledger.arrive(ids[0], true);
        let account = ledger.account(Way::Veronas);
        assert_eq!((account.inversions, account.both.len()), (0, 1));
        assert!(account.both[0].name.contains("came back at"));
    }

    #[test]
    fn only_what_followed_at_once_goes_with_a_killed_socket() {
        let (ledger, ids) = book(10);
        for id in &ids[..4] {
            ledger.arrive(*id, true);
        }
        ledger.target_killed("elsewhere.lit");
        assert_eq!(ledger.account(Way::Veronas).in_killed_sockets, 0);
        ledger.target_killed("b.lit");
        let account = ledger.account(Way::Veronas);
        assert_eq!(account.in_killed_sockets, IN_SOCKET_MAX);
        assert_eq!(account.unknown.len(), 6 - IN_SOCKET_MAX);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let id = Id {
            flow: 12,
            number: 345,
        };
        assert_eq!(Id::parse(&id.to_string()), Some(id));
        for wrong in ["", "f", "f1", "f-1", "1-2", "fx-1", "p3"] {
            assert_eq!(Id::parse(wrong), None, "{wrong}");
        }
    }
}
