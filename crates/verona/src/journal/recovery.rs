//! What an earlier run left: read at the start, and routed before anything new is taken.
//!
//! Order is kept: of a pair because everything is routed in the order of the numbers before listeners are bound, for a
//! component because what waits for it is in its queue before others can put something there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use time::OffsetDateTime;
use verona_proto::addr::{Domain, Hosts, LocalDomain};
use verona_proto::limits::{Limits, seconds, size};
use verona_proto::stanza::{Admitted, Destination, Reason, Stanza, Undelivered, readmit};

use super::book::{Book, Bounds, Record, length};
use super::store::{Entry, Failure, FailureKind, Store};
use super::writer::Writer;
use super::{Desk, Inner, Journal, JournalError};
use crate::config::JournalConfig;
use crate::shared::{Shared, lock};

/// What is to be routed before the engine serves, and the file that it came from.
pub(crate) struct Recovered {
    store: Store,
    /// Oldest first; those that ended processes are marked.
    messages: Vec<(u64, Admitted, bool)>,
}

/// Messages for components that are not there yet, in order.
#[derive(Debug, Default)]
pub(crate) struct Stranded(Mutex<BTreeMap<LocalDomain, Vec<Stanza>>>);

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
    let marked = stanza.delayed(&ours, &stamp(record.taken), REASON);
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
    let mut was_suspicious = false;
    for (number, admitted, is_suspicious) in messages {
        if is_suspicious {
            store.trying(Some(number)).map_err(error)?;
            was_suspicious = true;
        }
        match admitted.destination() {
            // Something served the domain when it was taken, or it would have been answered at once.
            Destination::Local(domain) => {
                let domain = domain.clone();
                shared.stranded.add(domain, admitted.into_parts().1);
            }
            Destination::Remote(_) => shared.restore(admitted),
        }
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
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        // As long as a stanza waits for a peer.
        tokio::time::sleep(seconds(shared.limits.outbox_age_seconds)).await;
        for stanza in shared.stranded.take_all() {
            //= ROUTE-19
            let why = Undelivered::new(Reason::ComponentAway, stanza.to(), "");
            shared.bounce(&stanza, &why).await;
        }
    });
    Ok(())
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

impl Stranded {
    fn add(&self, domain: LocalDomain, stanza: Stanza) {
        lock(&self.0).entry(domain).or_default().push(stanza);
    }

    /// What waits for the component of a domain.
    pub(crate) fn take(&self, domain: &LocalDomain) -> Vec<Stanza> {
        lock(&self.0).remove(domain).unwrap_or_default()
    }

    /// Puts back what was taken for a component that was not let in.
    pub(crate) fn put_back(&self, domain: LocalDomain, stanzas: Vec<Stanza>) {
        if !stanzas.is_empty() {
            lock(&self.0).insert(domain, stanzas);
        }
    }

    fn take_all(&self) -> Vec<Stanza> {
        std::mem::take(&mut *lock(&self.0))
            .into_values()
            .flatten()
            .collect()
    }
}

/// A moment as XEP-0082 has it.
fn stamp(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

/// What the mark says to a person who reads it.
const REASON: &str = "delivered after a restart; may have been delivered before";
/// A message that was left by so many runs that ended abruptly is tried with a note on disk.
const SUSPICIOUS: u8 = 2;
