//! The commands that ask a running daemon (`ping`, `status`, `links`, `peers`, `queue`, `components`), and those that tell
//! it something (`forget`, `reload`, `drain`, `close`).
//!
//! What asks reads from the configuration only where it listens: nobody needs secrets to look. What tells reads the token.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use verona::config::ListenAddress;
use verona_proto::addr::{Domain, Jid};

use super::client::{self, Asked, NoAnswer};
use super::table;
use crate::json::{
    self, Closed, Components, Drained, Failure, Forgotten, Links, Peers, Pong, Queues, Reloaded,
    StatusDocument,
};
use crate::{config, output};

/// `verona ping FROM TO`.
pub(crate) fn ping(file: &Path, from: &Domain, to: &Jid, timeout: Duration) -> ExitCode {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("from", &from.to_string())
        .append_pair("to", &to.to_string())
        .append_pair("timeout", &timeout.as_secs().to_string())
        .finish();
    let path = format!("/api/v1/ping?{query}");
    // The daemon gives up first, and says why.
    let patience = timeout.saturating_add(Duration::from_secs(5));
    answer(ask::<Pong>(file, Method::POST, &path, patience), |pong| {
        format!(
            "pong from {} to {} in {:.1} ms\n",
            pong.to, pong.from, pong.rtt_ms
        )
    })
}

/// `verona status`.
pub(crate) fn status(file: &Path, json: bool) -> ExitCode {
    show(file, "/api/v1/status", json, |document: &StatusDocument| {
        table::status(&document.status)
    })
}

/// `verona links`.
pub(crate) fn links(file: &Path, json: bool) -> ExitCode {
    show(file, "/api/v1/links", json, |document: &Links| {
        table::links(&document.links)
    })
}

/// `verona peers`.
pub(crate) fn peers(file: &Path, json: bool) -> ExitCode {
    show(file, "/api/v1/peers", json, |document: &Peers| {
        table::peers(&document.peers)
    })
}

/// `verona forget PEER`, or all without one.
pub(crate) fn forget(file: &Path, peer: Option<&Domain>) -> ExitCode {
    let mut query = form_urlencoded::Serializer::new(String::new());
    match peer {
        Some(peer) => query.append_pair("peer", &peer.to_string()),
        None => query.append_pair("all", "true"),
    };
    let path = format!("/api/v1/forget?{}", query.finish());
    answer(
        tell::<Forgotten>(file, &path, PATIENCE),
        |document| match (document.forgotten, peer) {
            (0, Some(peer)) => format!("nothing was known about {peer}\n"),
            (_, Some(peer)) => format!("forgot what was known about {peer}\n"),
            (1, None) => "forgot what was known about 1 peer\n".to_owned(),
            (count, None) => format!("forgot what was known about {count} peers\n"),
        },
    )
}

/// `verona queue`.
pub(crate) fn queue(file: &Path, json: bool) -> ExitCode {
    show(file, "/api/v1/queue", json, |document: &Queues| {
        table::queue(&document.queue)
    })
}

/// `verona reload`.
pub(crate) fn reload(file: &Path) -> ExitCode {
    let told = tell::<Reloaded>(file, "/api/v1/reload", RELOAD_PATIENCE);
    answer(told, |document| {
        let mut said = format!("reloaded: {}\n", document.changed);
        for warning in &document.warnings {
            said.push_str(&format!("warning: {warning}\n"));
        }
        if !document.restart.is_empty() {
            let keys = document.restart.join(", ");
            said.push_str(&format!(
                "a restart is needed for what changed in: {keys}\n"
            ));
        }
        said
    })
}

/// `verona drain`.
pub(crate) fn drain(file: &Path) -> ExitCode {
    let told = tell::<Drained>(file, "/api/v1/drain", DRAIN_PATIENCE);
    answer(told, |document| {
        format!(
            "stopped; since the start {} stanzas were delivered, {} returned to their senders, {} dropped\n",
            document.delivered, document.bounced, document.dropped
        )
    })
}

/// `verona close PEER`.
pub(crate) fn close(file: &Path, peer: &Domain) -> ExitCode {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("peer", &peer.to_string())
        .finish();
    let told = tell::<Closed>(file, &format!("/api/v1/close?{query}"), PATIENCE);
    answer(told, |document| match document.closed {
        0 => format!("there is no link with {peer}\n"),
        1 => format!("closing 1 link with {peer}\n"),
        count => format!("closing {count} links with {peer}\n"),
    })
}

/// `verona components`.
pub(crate) fn components(file: &Path, json: bool) -> ExitCode {
    show(file, "/api/v1/components", json, |document: &Components| {
        table::components(&document.components)
    })
}

fn show<T: DeserializeOwned + Serialize>(
    file: &Path,
    path: &str,
    json: bool,
    people: impl FnOnce(&T) -> String,
) -> ExitCode {
    answer(ask::<T>(file, Method::GET, path, PATIENCE), |document| {
        if json {
            json::document(&document)
        } else {
            people(&document)
        }
    })
}

fn answer<T>(asked: Result<T, String>, shown: impl FnOnce(T) -> String) -> ExitCode {
    match asked {
        Ok(document) => {
            output::result(&shown(document));
            ExitCode::SUCCESS
        }
        Err(complaint) => {
            output::complaint(&complaint);
            ExitCode::FAILURE
        }
    }
}

/// The document, or the complaint to print.
fn ask<T: DeserializeOwned>(
    file: &Path,
    method: Method,
    path: &str,
    patience: Duration,
) -> Result<T, String> {
    let admin =
        config::load_admin(file).map_err(|report| report.render(output::stderr_colours()))?;
    let asked = Asked {
        method: &method,
        path,
        token: None,
    };
    request(file, &admin.listen, asked, patience)
}

/// Has the daemon change something; the token is read from the file that the configuration names.
fn tell<T: DeserializeOwned>(file: &Path, path: &str, patience: Duration) -> Result<T, String> {
    let admin = config::load_admin_and_token(file)
        .map_err(|report| report.render(output::stderr_colours()))?;
    let Some(token) = &admin.token else {
        return Err(no_token(file));
    };
    let asked = Asked {
        method: &Method::POST,
        path,
        token: Some(token),
    };
    request(file, &admin.listen, asked, patience)
}

fn request<T: DeserializeOwned>(
    file: &Path,
    address: &ListenAddress,
    asked: Asked<'_>,
    patience: Duration,
) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("error: cannot start: {error}\n"))?;
    let (status, body) = runtime
        .block_on(client::request(address, asked, patience))
        .map_err(|error| no_answer(&error, address, file))?;
    read(status, &body).map_err(|sentence| format!("error: {sentence}\n"))
}

fn read<T: DeserializeOwned>(status: StatusCode, body: &Bytes) -> Result<T, String> {
    if status.is_success() {
        return serde_json::from_slice(body)
            .map_err(|error| format!("the answer cannot be read: {error}"));
    }
    match serde_json::from_slice::<Failure>(body) {
        Ok(failure) => Err(failure.error),
        Err(_) => Err(format!("what answered is not verona: it said {status}")),
    }
}

fn no_answer(error: &NoAnswer, address: &ListenAddress, file: &Path) -> String {
    let file = file.display();
    match error {
        NoAnswer::NotRunning(cause) => format!(
            "error: verona is not running (tried {address}: {cause})\n\
             help: start it with `verona run -c {file}`, or name the configuration that it runs with by `-c FILE`\n"
        ),
        NoAnswer::Strange(cause) => format!(
            "error: what listens on {address} does not answer as verona would: {cause}\n\
             help: look at `[admin] listen` in {file}\n"
        ),
    }
}

fn no_token(file: &Path) -> String {
    let file = file.display();
    format!(
        "error: this changes something, and {file} names no token for it\n\
         help: `(umask 077; openssl rand -hex 32 > admin.token)` beside it, add `token_file = \"admin.token\"` to [admin], \
         and restart verona\n"
    )
}

/// For an answer that needs no network.
const PATIENCE: Duration = Duration::from_secs(10);
/// Certificates of ten thousand domains are read meanwhile.
const RELOAD_PATIENCE: Duration = Duration::from_secs(70);
/// Longer than a daemon that keeps to its time takes (`drain_seconds`, 10 by default).
const DRAIN_PATIENCE: Duration = Duration::from_secs(70);
