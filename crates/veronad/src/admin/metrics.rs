//! `GET /metrics`: what the engine and the daemon counted, as OpenMetrics.
//!
//! The engine counts, this only writes down; every scrape makes the text anew, so that nothing is counted twice. No label
//! names a peer: strangers would decide how many series there are.

use std::fmt;
use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use verona::status::{LinkRole, LinkTransport};
use verona_proto::limits::Limit;

use super::routes::{Admin, Refusal};

/// The whole text.
pub(super) async fn show(State(admin): State<Admin>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &registry(&admin)) {
        Ok(()) => {
            let mut response = text.into_response();
            let kind = HeaderValue::from_static(OPEN_METRICS);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        // A String takes everything.
        Err(fmt::Error) => Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics cannot be written".into(),
        )
        .into_response(),
    }
}

fn registry(admin: &Admin) -> Registry {
    let mut registry = Registry::with_prefix("verona");
    registry.register(
        "build",
        "The version that runs",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    registry.register_with_unit(
        "start_timestamp",
        "When the daemon started, in seconds since 1970",
        Unit::Seconds,
        gauge(seconds(admin.since)),
    );
    streams(admin, &mut registry);
    stanzas(admin, &mut registry);
    components(admin, &mut registry);
    certificates(admin, &mut registry);
    journal(admin, &mut registry);
    reloads(admin, &mut registry);
    limits(admin, &mut registry);
    registry
}

fn journal(admin: &Admin, registry: &mut Registry) {
    let Some(journal) = admin.handle.journal() else {
        return;
    };
    registry.register(
        "journal_entries",
        "Messages in the journal: taken, and neither delivered nor returned",
        gauge(large(journal.entries)),
    );
    registry.register_with_unit(
        "journal",
        "The size of the messages in the journal",
        Unit::Bytes,
        gauge(large(journal.bytes)),
    );
    let family = Family::<OutcomeLabels, Counter>::default();
    for (outcome, count) in [
        ("written", journal.commits),
        ("failed", journal.failed_commits),
    ] {
        family
            .get_or_create(&OutcomeLabels { outcome })
            .inc_by(count);
    }
    registry.register(
        "journal_commits",
        "Groups of the journal, with one flush each, and attempts to write one that failed",
        family,
    );
    let seconds = Counter::<f64, AtomicU64>::default();
    seconds.inc_by(journal.commit_time.as_secs_f64());
    registry.register_with_unit(
        "journal_commit",
        "How long the writing of groups took, all together",
        Unit::Seconds,
        seconds,
    );
    let family = Family::<OutcomeLabels, Counter>::default();
    for (outcome, count) in [
        ("recovered", journal.recovered),
        ("refused", journal.refused),
    ] {
        family
            .get_or_create(&OutcomeLabels { outcome })
            .inc_by(count);
    }
    registry.register(
        "journal_messages",
        "Messages that an earlier run had left and this one took up (recovered), and messages that were returned because \
         none could be kept (refused)",
        family,
    );
    registry.register(
        "journal_set_aside",
        "Messages that are not delivered any more, because they ended the process, cannot be read, or belong to nobody here",
        gauge(large(journal.set_aside)),
    );
    registry.register(
        "journal_writable",
        "1 while the journal can be written, 0 while messages of its domains are refused",
        gauge(i64::from(journal.failure.is_none())),
    );
}

fn streams(admin: &Admin, registry: &mut Registry) {
    let counts = admin.handle.link_counts();
    let family = Family::<StreamLabels, Gauge>::default();
    // Every series is there from the start, so that a rule that looks for one finds it.
    for role in [LinkRole::Initiating, LinkRole::Receiving] {
        for transport in [
            LinkTransport::Plain,
            LinkTransport::StartTls,
            LinkTransport::Tls,
        ] {
            let count = counts.get(&(role, transport)).copied().unwrap_or(0);
            let labels = StreamLabels {
                role: role.word(),
                transport: transport.word(),
            };
            family.get_or_create(&labels).set(number(count));
        }
    }
    registry.register(
        "streams",
        "Live connections with other servers, by who opened them and how they are protected",
        family,
    );
}

fn stanzas(admin: &Admin, registry: &mut Registry) {
    let counts = admin.handle.stanza_counts();
    let family = Family::<OutcomeLabels, Counter>::default();
    for (outcome, count) in [
        ("delivered", counts.delivered),
        ("bounced", counts.bounced),
        ("dropped", counts.dropped),
    ] {
        family
            .get_or_create(&OutcomeLabels { outcome })
            .inc_by(count);
    }
    registry.register(
        "stanzas",
        "Stanzas written to a peer or a component (delivered), returned with an error (bounced), or neither (dropped)",
        family,
    );
    let family = Family::<ReasonLabels, Counter>::default();
    for (reason, count) in admin.handle.bounced() {
        let reason = reason.name();
        family.get_or_create(&ReasonLabels { reason }).inc_by(count);
    }
    registry.register(
        "bounces",
        "Stanzas returned with an error, by the reason (docs/errors.md)",
        family,
    );
    let blamed: Counter = Counter::default();
    blamed.inc_by(admin.handle.blamed());
    registry.register(
        "blamed",
        "Streams that a peer ended because what we had sent was wrong, as it says",
        blamed,
    );
    registry.register_with_unit(
        "outboxes",
        "What waits in all queues together, of outboxes_bytes_max",
        Unit::Bytes,
        gauge(number(admin.handle.outboxes_bytes())),
    );
    let acknowledged = Counter::<u64>::default();
    acknowledged.inc_by(admin.handle.acknowledged());
    registry.register(
        "stanzas_acknowledged",
        "Stanzas of which a peer said that it has them (XEP-0198)",
        acknowledged,
    );
    lost_streams(admin, registry);
}

fn lost_streams(admin: &Admin, registry: &mut Registry) {
    let counts = admin.handle.lost_stream_counts();
    registry.register(
        "streams_suspended",
        "Lost streams that wait to be taken up again",
        gauge(i64::try_from(counts.suspended).unwrap_or(i64::MAX)),
    );
    let family = Family::<OutcomeLabels, Counter>::default();
    for (outcome, count) in [
        ("lost", counts.lost),
        ("taken_up", counts.taken_up),
        ("let_go", counts.let_go),
    ] {
        family
            .get_or_create(&OutcomeLabels { outcome })
            .inc_by(count);
    }
    registry.register(
        "streams_lost",
        "Streams lost with stanzas on their way (lost), taken up again, so that what had arrived is known (taken_up), or \
         not (let_go)",
        family,
    );
}

fn limits(admin: &Admin, registry: &mut Registry) {
    let family = Family::<LimitLabels, Counter>::default();
    // All of them from the start, and never another one.
    for limit in Limit::ALL {
        let count = admin.handle.limit_reached(*limit);
        let limit = limit.name();
        family.get_or_create(&LimitLabels { limit }).inc_by(count);
    }
    registry.register(
        "limit_reached",
        "How often each limit took effect (docs/limits.md)",
        family,
    );
}

fn components(admin: &Admin, registry: &mut Registry) {
    let hosted = admin.handle.hosted();
    let served = hosted.iter().filter(|(_, has_component)| *has_component);
    let (all, attached) = (served.count(), admin.handle.components().len());
    let family = Family::<StateLabels, Gauge>::default();
    for (state, count) in [
        ("attached", attached),
        ("absent", all.saturating_sub(attached)),
    ] {
        family
            .get_or_create(&StateLabels { state })
            .set(number(count));
    }
    registry.register(
        "components",
        "Domains that a component serves, by whether one is connected",
        family,
    );
}

fn certificates(admin: &Admin, registry: &mut Registry) {
    let shown = admin.handle.certificates();
    let mut ends: Vec<(i64, String)> = shown
        .iter()
        .map(|(domain, own)| (seconds(own.not_after()), domain.ascii().to_owned()))
        .collect();
    ends.sort();
    let family = Family::<DomainLabels, Gauge>::default();
    // The domains are ours; of very many those are told that end first.
    for (end, domain) in ends.into_iter().take(DOMAINS_MAX) {
        family.get_or_create(&DomainLabels { domain }).set(end);
    }
    registry.register_with_unit(
        "certificate_expiry_timestamp",
        "When the certificate that is shown for a hosted domain ends, in seconds since 1970",
        Unit::Seconds,
        family,
    );
    let account = admin.renewal.read();
    registry.register(
        "certificate_problems",
        "What is wrong with files of certificates, trust and revocation lists at the moment",
        gauge(number(account.problems.len())),
    );
    let family = Family::<OutcomeLabels, Counter>::default();
    for (outcome, count) in [
        ("replaced", account.replaced),
        ("unchanged", account.unchanged),
        ("failed", account.failed),
    ] {
        family
            .get_or_create(&OutcomeLabels { outcome })
            .inc_by(count);
    }
    registry.register(
        "certificate_reloads",
        "Reloads of certificates, trust and revocation lists: something was replaced, nothing had changed, or something \
         could not be used and what was there before serves on",
        family,
    );
}

fn reloads(admin: &Admin, registry: &mut Registry) {
    let (taken, refused, is_last_good) = admin.reloads.read();
    let family = Family::<OutcomeLabels, Counter>::default();
    for (outcome, count) in [("taken", taken), ("refused", refused)] {
        family
            .get_or_create(&OutcomeLabels { outcome })
            .inc_by(count);
    }
    registry.register(
        "config_reloads",
        "Reloads of the configuration: taken over, or refused for a mistake in it",
        family,
    );
    registry.register(
        "config_last_reload_successful",
        "Whether the configuration that the daemon was told of last is the one in force",
        gauge(i64::from(is_last_good)),
    );
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamLabels {
    role: &'static str,
    transport: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DomainLabels {
    domain: String,
}

fn gauge(value: i64) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(value);
    gauge
}

fn large(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds(at: std::time::SystemTime) -> i64 {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A scrape of so many has a megabyte.
const DOMAINS_MAX: usize = 10_000;
