//! What an earlier run left: read at the start, and routed before anything new is taken.
//!
//! Order is kept: everything is routed in the order of the numbers before listeners are bound, and a component finds its
//! queue as if it had been away for a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use verona_proto::addr::{Domain, Hosts, LocalDomain};
use verona_proto::limits::{Limits, seconds, size};
use verona_proto::outbox::{Drain, OutboxLimit};
use verona_proto::stanza::{Admitted, Stanza, readmit};

use super::book::{Book, Bounds, Record, length};
use super::store::{Entry, Failure, FailureKind, Store};
use super::writer::Writer;
use super::{Desk, Inner, Journal, JournalError};
use crate::config::JournalConfig;
use crate::date;
use crate::shared::{Shared, lock};
use crate::waiting;

/// What is to be routed before the engine serves, and the file that it came from.
pub(crate) struct Recovered {
    store: Store,
    /// Oldest first; those that ended processes are marked.
    messages: Vec<(u64, Admitted, bool)>,
}

/// Opens the journal, and reads what is in it.
pub(crate) async fn open(
    config: &JournalConfig,
    hosts: &Arc<Hosts>,
    limits: &Limits,
) -> Result<(Journal, Recovered), JournalError> {
    let (file, hosts) = (config.file.clone(), Arc::clone(hosts));
    let bytes_max = limits.stanza_bytes_max;
    let store = Store::at(&file);
    let bounds = Bounds {
        entries: limits.journal_entries_max,
        bytes: limits.journal_bytes_max,
    };
    let domains: BTreeSet<Domain> = config.domains.iter().cloned().collect();
    // Opening may mean mending, and that takes its time.
    let opened = tokio::task::spawn_blocking(move || {
        read(store, file, domains, bounds, &hosts, size(bytes_max))
    })
    .await;
    match opened {
        Ok(opened) => opened,
        Err(error) => Err(JournalError {
            file: config.file.clone(),
            failure: Failure {
                kind: FailureKind::System,
                what: error.to_string(),
            },
        }),
    }
}

pub(super) fn read(
    mut store: Store,
    file: PathBuf,
    domains: BTreeSet<Domain>,
    bounds: Bounds,
    hosts: &Hosts,
    bytes_max: usize,
) -> Result<(Journal, Recovered), JournalError> {
    let left = store
        .load(|record| again(hosts, record, bytes_max).map(|_| ()))
        .map_err(|failure| JournalError {
            file: file.clone(),
            failure,
        })?;
    for (number, why) in &left.put_aside {
        tracing::error!(file = %file.display(), number, "a message of the journal was put aside and is not delivered: {why}");
    }
    let mut book = Book::new(bounds, left.next);
    let mut messages = Vec::new();
    for Entry {
        number,
        record,
        abrupt_ends,
    } in left.entries
    {
        // `load` gave back only what can be admitted.
        let Ok(admitted) = again(hosts, &record, bytes_max) else {
            continue;
        };
        let stanza = admitted.stanza();
        let owner = [stanza.from(), stanza.to()]
            .into_iter()
            .find(|domain| domains.contains(*domain))
            .unwrap_or(stanza.from());
        book.own(number, owner, length(&record.stanza));
        messages.push((number, admitted, abrupt_ends >= SUSPICIOUS));
    }
    if !messages.is_empty() {
        tracing::warn!(
            file = %file.display(),
            messages = messages.len(),
            "an earlier run ended with messages under way: they are delivered now, marked as delayed, perhaps for the second time"
        );
    }
    let recovered = u64::try_from(messages.len()).unwrap_or(u64::MAX);
    let journal = Journal(Arc::new_cyclic(|inner: &std::sync::Weak<Inner>| {
        let inner = std::sync::Weak::clone(inner);
        Inner {
            file,
            domains,
            desk: Desk::new(book),
            release: Arc::new(move |number| {
                // Without a journal there is nothing to remove from.
                if let Some(inner) = inner.upgrade() {
                    inner.desk.release(number);
                }
            }),
            aside: left.aside,
            recovered,
            writer: Mutex::new(None),
        }
    }));
    let messages = messages
        .into_iter()
        .map(|(number, admitted, is_suspicious)| {
            let safekeeping = journal.safekeeping(number);
            (number, admitted.in_safekeeping(safekeeping), is_suspicious)
        })
        .collect();
    Ok((journal, Recovered { store, messages }))
}

/// A message as it is to be delivered now: with the mark that it is late, and may be a repetition (XEP-0203).
fn again(hosts: &Hosts, record: &Record, bytes_max: usize) -> Result<Admitted, String> {
    let stanza = Stanza::restore(record.stanza.clone()).map_err(|error| error.to_string())?;
    let ours = [stanza.from(), stanza.to()]
        .into_iter()
        .find(|domain| hosts.local(domain).is_some())
        .cloned();
    let Some(ours) = ours else {
        return Err(format!(
            "neither {} nor {} is hosted here any more",
            stanza.from(),
            stanza.to()
        ));
    };
    //= SM-12
    let marked = stanza.delayed(&ours, &date::stamp(record.taken), REASON);
    // One that no peer takes any more because of the mark is better delivered without.
    let stanza = match marked.bytes().len() <= bytes_max {
        true => marked,
        false => stanza,
    };
    readmit(hosts, stanza).ok_or_else(|| "its addresses make no pair of domains".to_owned())
}

/// Routes what was left, then lets the journal be written.
pub(crate) async fn recover(
    shared: &Arc<Shared>,
    journal: &Journal,
    recovered: Recovered,
) -> Result<(), JournalError> {
    let Recovered {
        mut store,
        messages,
    } = recovered;
    let error = |failure| JournalError {
        file: journal.0.file.clone(),
        failure,
    };
    let hosts = shared.hosts();
    let mut was_suspicious = false;
    let mut queues: BTreeMap<LocalDomain, Drain> = BTreeMap::new();
    for (number, admitted, is_suspicious) in messages {
        if is_suspicious {
            store.trying(Some(number)).map_err(error)?;
            was_suspicious = true;
        }
        // Something served the domain when it was taken, or it would have been answered at once. It will be back: the
        // recipient's for the message, the sender's for an error, which may be known before any component can be here.
        let stanza = admitted.stanza();
        for domain in [stanza.from(), stanza.to()] {
            if let Some(domain) = hosts.local(domain)
                && !queues.contains_key(&domain)
            {
                let drain = queue_of(shared, &domain);
                queues.insert(domain, drain);
            }
        }
        shared.restore(admitted);
    }
    if was_suspicious {
        store.trying(None).map_err(error)?;
    }
    let writer = Writer::start(journal, store).map_err(|cause| {
        error(Failure {
            kind: FailureKind::System,
            what: cause.to_string(),
        })
    })?;
    *lock(&journal.0.writer) = Some(writer);
    for (domain, drain) in queues {
        let patience = patience(shared, &domain);
        waiting::await_component(shared, domain, drain, patience).await;
    }
    Ok(())
}

/// A queue for whoever serves the domain next, in the place of the one that the former process had.
fn queue_of(shared: &Shared, domain: &LocalDomain) -> Drain {
    let limits = &shared.limits();
    let (feeder, drain) = shared.switchboard.outbox(OutboxLimit {
        stanzas: size(limits.component_backlog_stanzas_max),
        bytes: size(limits.component_backlog_bytes_max),
    });
    // Nothing serves it yet, for nobody can have connected.
    let _ = shared.switchboard.attach(domain.clone(), feeder);
    drain
}

/// How long a component may take to come back: as long as a stanza waits for a peer. Where none is configured, whoever
/// embeds the engine serves the domain at once, or nobody does.
fn patience(shared: &Shared, domain: &LocalDomain) -> Duration {
    let limits = &shared.limits();
    let usual = limits.component_reconnect_seconds.max(1);
    match shared.current().components.contains(domain) {
        true => seconds(limits.outbox_age_seconds.max(usual)),
        false => seconds(usual),
    }
}

#[cfg(test)]
impl Recovered {
    pub(super) fn into_store(self) -> Store {
        self.store
    }

    pub(super) fn stanzas(&self) -> impl Iterator<Item = &Stanza> {
        self.messages
            .iter()
            .map(|(_, admitted, _)| admitted.stanza())
    }
}

/// What the mark says to a person who reads it.
const REASON: &str = "delivered after a restart; may have been delivered before";
/// A message that was left by so many runs that ended abruptly is tried with a note on disk.
const SUSPICIOUS: u8 = 2;
