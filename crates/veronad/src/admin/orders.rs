//! What whoever shows the token may have the daemon do: reload, drain, close links.
//!
//! The daemon itself carries out the first two, one after the other with what signals want; here it is told, and its
//! answer is waited for.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use verona_proto::addr::Domain;

use super::routes::{Admin, Refusal};
use crate::json::{Closed, Drained, Reloaded, VERSION};

/// What the daemon is to do, and where its answer goes.
#[derive(Debug)]
pub(crate) enum Order {
    /// What SIGHUP does. The answer is what changed, or why nothing did.
    Reload(oneshot::Sender<Result<Reloaded, String>>),
    /// What SIGTERM does.
    Drain(oneshot::Sender<Drained>),
}

/// Where orders go.
pub(crate) type Orders = mpsc::Sender<Order>;

pub(super) async fn reload(State(admin): State<Admin>) -> Result<Json<Reloaded>, Refusal> {
    match give(&admin, Order::Reload).await? {
        Ok(reloaded) => Ok(Json(reloaded)),
        Err(why) => Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, why)),
    }
}

pub(super) async fn drain(State(admin): State<Admin>) -> Result<Json<Drained>, Refusal> {
    give(&admin, Order::Drain).await.map(Json)
}

/// `?peer=DOMAIN`
#[derive(Deserialize)]
pub(super) struct CloseQuery {
    peer: String,
}

pub(super) async fn close(
    State(admin): State<Admin>,
    query: Result<Query<CloseQuery>, QueryRejection>,
) -> Result<Json<Closed>, Refusal> {
    let bad = |sentence: &str| Refusal(StatusCode::BAD_REQUEST, sentence.to_owned());
    let Query(query) = query.map_err(|_| bad("to close links needs ?peer=DOMAIN"))?;
    let peer = Domain::parse(&query.peer).map_err(|_| bad("`peer` is not a domain name"))?;
    let links = admin.handle.close(&peer);
    tracing::info!(remote = %peer, links, "the links with a peer are closed on request");
    Ok(Json(Closed {
        version: VERSION,
        closed: u64::try_from(links).unwrap_or(u64::MAX),
    }))
}

async fn give<T>(
    admin: &Admin,
    order: impl FnOnce(oneshot::Sender<T>) -> Order,
) -> Result<T, Refusal> {
    let stops = || {
        Refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "the server is stopping".to_owned(),
        )
    };
    let (answer, answered) = oneshot::channel();
    admin
        .orders
        .send(order(answer))
        .await
        .map_err(|_| stops())?;
    answered.await.map_err(|_| stops())
}
