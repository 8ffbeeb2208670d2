//! Keeps web pages of others from asking on behalf of the operator's browser.
//!
//! A page anywhere can make a browser on this machine send requests to loopback. It cannot choose `Host` (DNS
//! rebinding leaves its own name there) and cannot hide `Origin`; both are looked at.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::routes::Refusal;

/// Lets through what names this machine by address.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let mut response = match refusal(request.headers()) {
        Some(sentence) => Refusal(StatusCode::FORBIDDEN, sentence.to_owned()).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (
        hosts.next().and_then(|host| host.to_str().ok()),
        hosts.next(),
    ) {
        (Some(host), None) => host,
        (None | Some(_), _) => return Some("the request must have one Host header"),
    };
    if !is_address(host) {
        return Some(
            "the Host header must be an IP address or localhost: a name could be anybody's",
        );
    }
    match headers.get(ORIGIN).map(|origin| origin.to_str()) {
        None => None,
        Some(Ok(origin)) if origin.strip_prefix("http://") == Some(host) => None,
        Some(Ok(_) | Err(_)) => Some("requests from pages of other origins are refused"),
    }
}

/// Whether `host`, with or without a port, is an address or `localhost`.
fn is_address(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((inner, port)) = rest.split_once(']') else {
                return false;
            };
            return inner.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port));
        }
        None => match host.split_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':')
        .is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_address;

    #[test]
    fn only_addresses_are_hosts() {
        for good in [
            "127.0.0.1",
            "127.0.0.1:5280",
            "localhost",
            "LOCALHOST:1",
            "[::1]",
            "[::1]:5280",
            "192.0.2.7:80",
        ] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            ":",
            "evil.example",
            "evil.example:5280",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "[::1",
            "[::1]x",
            "[evil]",
            "127.0.0.1:http",
            "::1",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
