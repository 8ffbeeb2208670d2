//! The configuration changes under a component: it stays, or it goes once it has heard what became of its stanzas.

use tokio::time::{Duration, Instant};
use verona_proto::addr::LocalDomain;
use verona_proto::component::ComponentInput;
use verona_proto::stanza::StreamCondition;

use super::ComponentTask;
use crate::current::Current;
use crate::shared::now;

/// A component that has no place any more.
#[derive(Debug)]
pub(super) struct Leaving {
    /// What it will be told.
    condition: StreamCondition,
    /// When it goes, whatever is still on its way.
    by: Instant,
    /// When to look again whether something is.
    next: Instant,
}

impl ComponentTask {
    /// Follows the configuration that is in force now.
    pub(super) fn reload(&mut self) {
        let current = self.shared.current();
        let settings = current.for_components();
        self.link.handle(ComponentInput::Reload(&settings), now());
        self.look_at_place();
    }

    /// Whether it may stay. A new secret is for those that attach from now on.
    pub(super) fn look_at_place(&mut self) {
        let Some(attached) = &self.attached else {
            return;
        };
        let why = reason(&self.shared.current(), &attached.domain);
        self.leaving = match (why, self.leaving.take()) {
            (None, _) => None,
            (Some(condition), Some(before)) => Some(Leaving {
                condition,
                ..before
            }),
            (Some(condition), None) => Some(Leaving {
                condition,
                by: Instant::now() + PATIENCE,
                next: Instant::now() + FIRST_LOOK,
            }),
        };
    }

    /// What it is told, if it is time to go: nothing that it sent is on its way any more, and nothing waits for it.
    pub(super) fn may_leave(&mut self) -> Option<StreamCondition> {
        let (leaving, attached) = (self.leaving.as_mut()?, self.attached.as_ref()?);
        let of_domain = self.shared.switchboard.pairs();
        let is_sent = of_domain
            .iter()
            .filter(|(pair, _)| pair.local() == &attached.domain)
            .all(|(_, feeder)| feeder.queued() == 0);
        let is_done = is_sent
            && self.returns.is_empty()
            && self.in_flight.is_empty()
            && attached.feeder.queued() == 0;
        if is_done || leaving.by <= Instant::now() {
            return self.leaving.take().map(|leaving| leaving.condition);
        }
        leaving.next = Instant::now() + LOOK;
        None
    }
}

/// Why a component of the domain may not be attached; `None` if it may.
pub(super) fn reason(current: &Current, domain: &LocalDomain) -> Option<StreamCondition> {
    if current.streams.hosts.local(domain.domain()).is_none() {
        return Some(StreamCondition::HostGone);
    }
    (!current.components.contains(domain)).then_some(StreamCondition::NotAuthorized)
}

/// When to look whether it may go; never while it may stay.
pub(super) async fn moment(leaving: Option<&Leaving>) {
    match leaving {
        Some(leaving) => tokio::time::sleep_until(leaving.next.min(leaving.by)).await,
        None => std::future::pending().await,
    }
}

/// How long a component that has to go is heard and written to, while what it sent is delivered or returned.
const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough for the federation to have returned what waits.
const FIRST_LOOK: Duration = Duration::from_millis(200);
/// How often it is looked again.
const LOOK: Duration = Duration::from_millis(20);
