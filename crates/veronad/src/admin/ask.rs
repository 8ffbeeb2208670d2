//! The commands that ask a running daemon: `ping`, `status`, `links`.
//!
//! They read from the configuration only where it listens; nobody needs its secrets to look at it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use verona::config::ListenAddress;
use verona_proto::addr::{Domain, Jid};

use super::client::{self, NoAnswer};
use super::table;
use crate::json::{self, Components, Failure, Links, Pong, StatusDocument};
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("error: cannot start: {error}\n"))?;
    let address = admin.listen;
    let (status, body) = runtime
        .block_on(client::request(&address, method, path, patience))
        .map_err(|error| no_answer(&error, &address, file))?;
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

/// For an answer that needs no network.
const PATIENCE: Duration = Duration::from_secs(10);
