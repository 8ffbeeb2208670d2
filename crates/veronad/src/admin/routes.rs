//! What can be asked over HTTP (contract §3, §4).
//!
//! Every answer is a document with a version; every refusal is a sentence.

use std::time::{Duration, SystemTime};

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use verona::Handle;
use verona::status::Link;
use verona_proto::addr::{Domain, Jid};

use super::guard;
use super::metrics;
use super::orders::{self, Orders};
use super::token::{self, CurrentToken};
use crate::json::{
    self, Component, Components, Failure, Forgotten, Links, OwnCertificate, Peers, Pong, Queues,
    Status, StatusDocument, VERSION,
};
use crate::{reload, renewal};

/// What the answers are made from.
#[derive(Clone)]
pub(crate) struct Admin {
    /// The running engine.
    pub(crate) handle: Handle,
    /// What became of certificates that changed.
    pub(crate) renewal: renewal::Report,
    /// What became of reloads.
    pub(crate) reloads: reload::Count,
    /// What whoever changes something must show; without one nothing can be changed.
    pub(crate) token: CurrentToken,
    /// Where what the daemon is told goes.
    pub(crate) orders: Orders,
    /// When the daemon started.
    pub(crate) since: SystemTime,
}

impl Admin {
    /// All routes.
    pub(crate) fn router(self) -> Router {
        // What changes something stands here and nowhere else.
        let guarded = Router::new()
            .route("/api/v1/forget", post(forget))
            .route("/api/v1/reload", post(orders::reload))
            .route("/api/v1/drain", post(orders::drain))
            .route("/api/v1/close", post(orders::close))
            .route_layer(middleware::from_fn_with_state(
                self.token.clone(),
                token::require,
            ));
        Router::new()
            .merge(guarded)
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics::show))
            .route("/api/v1/status", get(status))
            .route("/api/v1/links", get(links))
            .route("/api/v1/peers", get(peers))
            .route("/api/v1/queue", get(queue))
            .route("/api/v1/components", get(components))
            .route("/api/v1/ping", post(ping))
            .fallback(nothing)
            .method_not_allowed_fallback(not_this_way)
            .layer(middleware::from_fn(guard::check))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self)
    }
}

/// The process serves.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Listeners are bound and certificates loaded: nothing is served before. On its way to the end the daemon still answers,
/// but whoever has the choice should go elsewhere.
///
/// A journal that cannot be written is said here and changes nothing else: whoever takes a server out of service for it
/// takes the domains without a journal along, and these are served.
async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    if admin.handle.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    let failure = admin.handle.journal().and_then(|journal| journal.failure);
    match failure {
        Some(failure) => (
            StatusCode::OK,
            format!("ok, but the journal cannot be written: {failure}\n"),
        ),
        None => (StatusCode::OK, "ok\n".to_owned()),
    }
}

async fn status(State(admin): State<Admin>) -> Json<StatusDocument> {
    let links = admin.handle.links();
    let sum = |of: fn(&Link) -> u64| links.iter().map(of).fold(0, u64::saturating_add);
    let status = Status {
        verona: env!("CARGO_PKG_VERSION").to_owned(),
        since: json::timestamp(admin.since),
        domains: admin
            .handle
            .hosted()
            .iter()
            .map(|(domain, _)| domain.to_string())
            .collect(),
        s2s: texts(admin.handle.s2s_addresses()),
        components: texts(admin.handle.component_addresses()),
        certificates: admin
            .handle
            .certificates()
            .iter()
            .map(|(domain, own)| OwnCertificate {
                domain: domain.to_string(),
                file: own.file().display().to_string(),
                expires: json::timestamp(own.not_after()),
            })
            .collect(),
        certificate_problems: admin.renewal.read().problems,
        journal: admin.handle.journal().map(json::Journal::new),
        stream_management: Some(json::StreamManagement::new(
            admin.handle.acknowledged(),
            sum(|link| link.unacknowledged),
            admin.handle.lost_stream_counts(),
        )),
        links: u64::try_from(links.len()).unwrap_or(u64::MAX),
        stanzas_in: sum(|link| link.stanzas_in),
        stanzas_out: sum(|link| link.stanzas_out),
    };
    Json(StatusDocument {
        version: VERSION,
        status,
    })
}

fn texts<T: ToString>(items: Vec<T>) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

async fn queue(State(admin): State<Admin>) -> Json<Queues> {
    Json(Queues::new(admin.handle.queues().await))
}

async fn links(State(admin): State<Admin>) -> Json<Links> {
    Json(Links::new(admin.handle.links()))
}

async fn peers(State(admin): State<Admin>) -> Json<Peers> {
    Json(Peers::new(admin.handle.peers()))
}

/// `?peer=DOMAIN`, or `?all=true`.
#[derive(Deserialize)]
struct ForgetQuery {
    peer: Option<String>,
    all: Option<bool>,
}

async fn forget(
    State(admin): State<Admin>,
    query: Result<Query<ForgetQuery>, QueryRejection>,
) -> Result<Json<Forgotten>, Refusal> {
    let bad = |sentence: &str| Refusal(StatusCode::BAD_REQUEST, sentence.to_owned());
    let wanted = "to forget needs ?peer=DOMAIN or ?all=true";
    let Query(query) = query.map_err(|_| bad(wanted))?;
    let forgotten = match (query.peer, query.all) {
        (Some(peer), None | Some(false)) => {
            let peer = Domain::parse(&peer).map_err(|_| bad("`peer` is not a domain name"))?;
            let known = admin.handle.forget(&peer);
            tracing::info!(remote = %peer, known, "what was learned about a peer was forgotten on request");
            usize::from(known)
        }
        (None, Some(true)) => {
            let peers = admin.handle.forget_all();
            tracing::info!(
                peers,
                "what was learned about all peers was forgotten on request"
            );
            peers
        }
        (Some(_), Some(true)) | (None, None | Some(false)) => return Err(bad(wanted)),
    };
    Ok(Json(Forgotten {
        version: VERSION,
        forgotten: u64::try_from(forgotten).unwrap_or(u64::MAX),
    }))
}

async fn components(State(admin): State<Admin>) -> Json<Components> {
    let attached = admin.handle.components();
    let components = admin
        .handle
        .hosted()
        .into_iter()
        .filter(|(_, has_component)| *has_component)
        .map(|(domain, _)| Component {
            attached: attached.contains(&domain),
            domain: domain.to_string(),
        })
        .collect();
    Json(Components {
        version: VERSION,
        components,
    })
}

/// `?from=DOMAIN&to=ADDRESS&timeout=SECONDS`
#[derive(Deserialize)]
struct PingQuery {
    from: String,
    to: String,
    timeout: Option<u64>,
}

async fn ping(
    State(admin): State<Admin>,
    query: Result<Query<PingQuery>, QueryRejection>,
) -> Result<Json<Pong>, Refusal> {
    let bad = |sentence: String| Refusal(StatusCode::BAD_REQUEST, sentence);
    let Query(query) = query.map_err(|_| {
        bad("a ping needs ?from=DOMAIN&to=ADDRESS, and may have &timeout=SECONDS".into())
    })?;
    let from = Domain::parse(&query.from).map_err(|_| bad("`from` is not a domain name".into()))?;
    let to = Jid::parse(&query.to).map_err(|error| bad(format!("`to` is no address: {error}")))?;
    if !admin
        .handle
        .hosted()
        .iter()
        .any(|(domain, _)| *domain == from)
    {
        return Err(bad(format!("{from} is not hosted here")));
    }
    let timeout = query.timeout.unwrap_or(TIMEOUT_SECONDS);
    if !(1..=TIMEOUT_SECONDS_MAX).contains(&timeout) {
        return Err(bad(format!(
            "`timeout` is from 1 to {TIMEOUT_SECONDS_MAX} seconds"
        )));
    }
    match admin
        .handle
        .ping(&from, &to, Duration::from_secs(timeout))
        .await
    {
        Ok(round_trip) => Ok(Json(Pong {
            version: VERSION,
            from: from.to_string(),
            to: to.to_string(),
            rtt_ms: round_trip.as_secs_f64() * 1000.0,
        })),
        Err(error) => Err(Refusal(StatusCode::BAD_GATEWAY, error.to_string())),
    }
}

async fn nothing() -> Refusal {
    Refusal(
        StatusCode::NOT_FOUND,
        "there is nothing at this path".into(),
    )
}

async fn not_this_way() -> Refusal {
    Refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path wants another method".into(),
    )
}

/// A status and a sentence.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let failure = Failure {
            version: VERSION,
            error: self.1,
        };
        let mut response = (self.0, Json(failure)).into_response();
        if self.0 == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// Nothing here reads a body.
const BODY_BYTES_MAX: usize = 1024;

const TIMEOUT_SECONDS: u64 = 30;
const TIMEOUT_SECONDS_MAX: u64 = 60;
