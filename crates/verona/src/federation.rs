//! The federation task: one machine, one loop, one match. It waits for nobody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use verona_proto::addr::DomainPair;
use verona_proto::federation::{Command, Federation, Signal, StreamKey};
use verona_proto::outbox::Drain;
use verona_proto::stanza::Undelivered;

use crate::component::{ComponentCommand, bounce_all};
use crate::connection::{ConnectionCommand, ConnectionHandle};
use crate::date;
use crate::dialer;
use crate::mailbox::Refused;
use crate::observe::log;
use crate::queues::{self, Waits};
use crate::shared::{Shared, lock, now};

/// Runs until all senders of signals are gone.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut signals: mpsc::Receiver<Signal>,
    mut questions: mpsc::Receiver<Question>,
) {
    let random = Arc::clone(&shared.random);
    let mut federation = Federation::new(shared.policy(), move |bound| random.below(bound))
        .remembering(shared.memory.learned.clone())
        .counting(shared.memory.reached.clone())
        .dating(date::of);
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let deadline = federation.deadline().map_or_else(
            || tokio::time::Instant::now() + SWEEP,
            tokio::time::Instant::from_std,
        );
        let signal = tokio::select! {
            _ = sweep.tick() => {
                // Queues that ended leave their places to new pairs.
                shared.switchboard.remove_closed();
                continue;
            }
            Some(question) = questions.recv() => {
                match question {
                    // Who asked may have gone.
                    Question::Routes(answer) => drop(answer.send(queues::routes(&federation, now()))),
                }
                continue;
            }
            signal = signals.recv() => match signal {
                Some(signal) => signal,
                None => return,
            },
            () = tokio::time::sleep_until(deadline) => Signal::Tick,
        };
        federation.handle(signal, now());
        while let Some(command) = federation.poll() {
            if let Some(undone) = execute(&shared, command) {
                // The stream is gone or deaf; its queue goes another way. Commands made so far stay in line.
                federation.handle(undone, now());
            }
        }
        shared.counters.note_suspended(federation.suspended());
    }
}

/// What people want to know.
#[derive(Debug)]
pub(crate) enum Question {
    /// How every pair is served.
    Routes(oneshot::Sender<BTreeMap<DomainPair, Waits>>),
}

/// Carries out one command; what could not be done comes back as a signal.
fn execute(shared: &Arc<Shared>, command: Command) -> Option<Signal> {
    match command {
        Command::Discover {
            attempt,
            remote,
            direct_tls,
        } => {
            tokio::spawn(dialer::discover(
                Arc::clone(shared),
                attempt,
                remote,
                direct_tls,
            ));
            None
        }
        Command::Resolve {
            attempt,
            host,
            direct_tls,
        } => {
            tokio::spawn(dialer::resolve(
                Arc::clone(shared),
                attempt,
                host,
                direct_tls,
            ));
            None
        }
        Command::Connect {
            attempt,
            targets,
            until,
            purpose,
        } => {
            tokio::spawn(dialer::connect(
                Arc::clone(shared),
                attempt,
                targets,
                until.into(),
                purpose,
            ));
            None
        }
        Command::Request { stream, pair } => {
            send(shared, stream, ConnectionCommand::Request { pair })
        }
        Command::Verdict {
            stream,
            pair,
            verdict,
            assurance,
        } => {
            let command = ConnectionCommand::Verdict {
                pair,
                verdict,
                assurance,
            };
            send(shared, stream, command)
        }
        Command::Carry {
            stream,
            pair,
            drain,
        } => send(shared, stream, ConnectionCommand::Carry { pair, drain }),
        Command::Resume { stream, found } => send(shared, stream, ConnectionCommand::Resume(found)),
        Command::Abandon { stream } => send(shared, stream, ConnectionCommand::Abandon),
        Command::Settled(settled) => {
            let shared = Arc::clone(shared);
            tokio::spawn(async move { shared.settled(settled) });
            None
        }
        Command::Converge { stream } => send(shared, stream, ConnectionCommand::Converge),
        Command::Close { stream, error } => send(shared, stream, ConnectionCommand::Close(error)),
        Command::Return { pair, drain, why } => {
            give_back(shared, &pair, drain, why);
            None
        }
        Command::Bounce { stanzas, why } => {
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                for stanza in stanzas {
                    shared.bounce(&stanza, &why);
                }
            });
            None
        }
        Command::Report(report) => {
            log::report(&report);
            shared.counters.note(&report);
            None
        }
    }
}

/// Hands a command to a connection, or back.
fn give(
    handle: &ConnectionHandle,
    stream: StreamKey,
    command: ConnectionCommand,
) -> Result<(), ConnectionCommand> {
    let noted = match &command {
        ConnectionCommand::Carry { pair, drain } => Some((pair.clone(), drain.feeder())),
        ConnectionCommand::Request { .. }
        | ConnectionCommand::Verdict { .. }
        | ConnectionCommand::Attested(_)
        | ConnectionCommand::Resume(_)
        | ConnectionCommand::Abandon
        | ConnectionCommand::Converge
        | ConnectionCommand::Close(_) => None,
    };
    match handle.commands.give(command) {
        Ok(()) => {
            let mut feeders = lock(&handle.feeders);
            // Nearly all have one, and a list would make room for four.
            if feeders.is_empty() {
                feeders.reserve_exact(1);
            }
            feeders.extend(noted);
            Ok(())
        }
        Err(Refused::Closed(command)) => Err(command),
        Err(Refused::Full(command)) => {
            // It does not read its commands any more: it is ended, and what it carried is given back.
            tracing::error!(
                stream = stream.0,
                "a connection does not follow; it is ended"
            );
            handle.abort.abort();
            Err(command)
        }
    }
}

fn send(shared: &Shared, stream: StreamKey, command: ConnectionCommand) -> Option<Signal> {
    let sent = match shared.connections().get(&stream) {
        Some(handle) => give(handle, stream, command),
        None => Err(command),
    };
    match sent {
        Ok(()) => None,
        Err(ConnectionCommand::Carry { pair, drain }) => {
            Some(Signal::Undone(stream, pair, Some(drain)))
        }
        Err(ConnectionCommand::Request { pair }) => Some(Signal::Undone(stream, pair, None)),
        Err(
            ConnectionCommand::Verdict { .. }
            | ConnectionCommand::Attested(_)
            | ConnectionCommand::Resume(_)
            | ConnectionCommand::Abandon
            | ConnectionCommand::Converge
            | ConnectionCommand::Close(_),
        ) => None,
    }
}

/// The queue of a pair that cannot be served goes to the component that filled it.
fn give_back(shared: &Arc<Shared>, pair: &DomainPair, drain: Drain, why: Undelivered) {
    let handle = shared.attached().get(pair.local()).cloned();
    let command = ComponentCommand::Return { drain, why };
    let undone = match handle {
        Some(handle) => handle.commands.send(command).err().map(|error| error.0),
        None => Some(command),
    };
    match undone {
        Some(ComponentCommand::Return { drain, why }) => {
            let shared = Arc::clone(shared);
            tokio::spawn(async move { bounce_all(&shared, drain, &why) });
        }
        Some(ComponentCommand::Replace(_) | ComponentCommand::Close(_)) | None => {}
    }
}

/// How often the places of ended queues are looked for.
const SWEEP: Duration = Duration::from_secs(60);
