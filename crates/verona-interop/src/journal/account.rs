//! What became of every message of one direction, by its number.
//! Why by number: a count that is right can hide one that is lost behind one that came twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::elements::Element;

/// One direction; shared by who sends, who gets, and who judges.
#[derive(Debug, Default)]
pub(super) struct Account(Mutex<Entries>);

#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Numbers below this one were sent.
    pub(super) sent: usize,
    /// Those of which the sender knows that they are taken: a ping sent after each was answered on the same connection.
    pub(super) accepted: BTreeSet<usize>,
    pub(super) arrived: BTreeMap<usize, Arrivals>,
    /// Those that came back with an error.
    pub(super) returned: BTreeSet<usize>,
    /// The highest number that has come.
    highest: Option<usize>,
    /// Messages that came for the first time after one that was sent later.
    pub(super) inversions: Vec<usize>,
    pub(super) surprises: Vec<String>,
}

/// How often one message came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrivals {
    pub(super) times: usize,
    /// Of them, without a mark that it is late and may have come before.
    pub(super) unmarked: usize,
}

/// The end of it, in numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Result {
    pub(super) sent: usize,
    pub(super) accepted: usize,
    pub(super) arrived: usize,
    /// Accepted, and neither arrived nor returned.
    pub(super) missing: Vec<usize>,
    /// Sent, and nobody knows what became of them.
    pub(super) unknown: Vec<usize>,
    pub(super) returned: usize,
    /// Arrivals beyond the first.
    pub(super) repetitions: usize,
    /// Messages that came twice or more without a mark.
    pub(super) unmarked: Vec<usize>,
    pub(super) marked: usize,
    pub(super) inversions: usize,
}

/// Numbers as people tell them: `3-7 9`.
pub(super) fn told(numbers: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            Some(_) | None => ranges.push((*number, *number)),
        }
    }
    let words = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

impl Account {
    pub(super) fn entries(&self) -> MutexGuard<'_, Entries> {
        // A thread that panicked has left whole entries behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives out the next numbers.
    pub(super) fn next(&self, count: usize) -> std::ops::Range<usize> {
        let mut entries = self.entries();
        let first = entries.sent;
        entries.sent += count;
        first..entries.sent
    }

    /// How many are sent, and neither taken nor back.
    pub(super) fn is_ahead_by(&self, count: usize, since: usize) -> bool {
        let entries = self.entries();
        entries.sent.saturating_sub(since) > entries.accepted.range(since..).count() + count
    }

    pub(super) fn result(&self) -> Result {
        let entries = self.entries();
        let is_known = |number: &usize| {
            entries.arrived.contains_key(number) || entries.returned.contains(number)
        };
        let arrivals = || entries.arrived.iter();
        Result {
            sent: entries.sent,
            accepted: entries.accepted.len(),
            arrived: entries.arrived.len(),
            missing: entries
                .accepted
                .iter()
                .filter(|number| !is_known(number))
                .copied()
                .collect(),
            unknown: (0..entries.sent)
                .filter(|number| !is_known(number))
                .collect(),
            returned: entries.returned.len(),
            repetitions: arrivals().map(|(_, arrivals)| arrivals.times - 1).sum(),
            unmarked: arrivals()
                .filter(|(_, arrivals)| arrivals.unmarked > 1)
                .map(|(number, _)| *number)
                .collect(),
            marked: arrivals()
                .map(|(_, arrivals)| arrivals.times - arrivals.unmarked)
                .sum(),
            inversions: entries.inversions.len(),
        }
    }
}

impl Entries {
    /// A message of this direction has come to its recipient.
    pub(super) fn arrive(&mut self, element: &Element) {
        let Ok(number) = element.id.parse::<usize>() else {
            return self.surprises.push(format!("{element:?}"));
        };
        let is_marked = element.children.iter().any(|child| child == "delay");
        let arrivals = self.arrived.entry(number).or_default();
        arrivals.times += 1;
        arrivals.unmarked += usize::from(!is_marked);
        if arrivals.times == 1 {
            if self.highest.is_some_and(|highest| number < highest) {
                self.inversions.push(number);
            }
            self.highest = self.highest.max(Some(number));
        }
    }

    /// A message of this direction has come back to its sender.
    pub(super) fn come_back(&mut self, element: &Element) {
        match element.id.parse() {
            Ok(number) => {
                self.returned.insert(number);
            }
            Err(_) => self.surprises.push(format!("{element:?}")),
        }
    }

    /// A ping of the sender was answered: `FIRST-END` are the messages before it.
    pub(super) fn accept(&mut self, id: &str) {
        let range = id.split_once('-').and_then(|(first, end)| {
            Some(first.parse::<usize>().ok()?..end.parse::<usize>().ok()?)
        });
        match range {
            Some(range) => self.accepted.extend(range),
            None => self.surprises.push(format!("an answer to {id:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, is_marked: bool) -> Element {
        let children = if is_marked { "body delay" } else { "body" };
        Element {
            id: id.into(),
            children: children.split(' ').map(str::to_owned).collect(),
            ..Element::default()
        }
    }

    #[test]
    fn every_fate_is_told_apart() {
        let account = Account::default();
        assert_eq!(account.next(6), 0..6);
        assert!(account.is_ahead_by(5, 0));
        {
            let mut entries = account.entries();
            entries.accept("0-4");
            for id in ["0", "3"] {
                entries.arrive(&message(id, false));
            }
            entries.arrive(&message("1", true));
            entries.arrive(&message("0", true));
            entries.arrive(&message("3", false));
            entries.come_back(&message("4", false));
        }
        assert!(!account.is_ahead_by(5, 0));
        assert!(account.is_ahead_by(1, 4));
        let expected = Result {
            sent: 6,
            accepted: 4,
            arrived: 3,
            missing: vec![2],
            unknown: vec![2, 5],
            returned: 1,
            repetitions: 2,
            unmarked: vec![3],
            marked: 2,
            inversions: 1,
        };
        assert_eq!(account.result(), expected);
        assert!(account.entries().surprises.is_empty());
        assert_eq!(told(&[3, 4, 5, 9, 11, 12]), "3-5 9 11-12");
        account.entries().accept("no range");
        assert_eq!(account.entries().surprises.len(), 1);
    }
}
