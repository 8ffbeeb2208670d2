//! The token without which nothing changes: whoever reaches the address may look, and no more.
//!
//! It travels as `Authorization: Bearer TOKEN` (RFC 6750 §2.1), which no page of another origin can add to a request.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use subtle::ConstantTimeEq as _;

use super::routes::Refusal;

/// The token of `[admin] token_file`.
#[derive(Clone)]
pub(crate) struct Token(Arc<str>);

impl Token {
    /// `None` when it could not stand in a header.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// The value of the header that shows it.
    pub(super) fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Compares in a time that does not tell how much of it is right.
    fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The token as the configuration has it at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct CurrentToken(Arc<RwLock<Option<Token>>>);

impl CurrentToken {
    pub(crate) fn new(token: Option<Token>) -> Self {
        Self(Arc::new(RwLock::new(token)))
    }

    /// Another one counts from now on.
    pub(crate) fn replace(&self, token: Option<Token>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    fn get(&self) -> Option<Token> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Lets through what shows the token.
pub(super) async fn require(
    State(token): State<CurrentToken>,
    request: Request,
    next: Next,
) -> Response {
    match refusal(token.get().as_ref(), request.headers()) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    }
}

fn refusal(token: Option<&Token>, headers: &HeaderMap) -> Option<Refusal> {
    let Some(token) = token else {
        return Some(Refusal(
            StatusCode::FORBIDDEN,
            "nothing can be changed here: the server runs without `[admin] token_file`".into(),
        ));
    };
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (shown.next(), shown.next()) else {
        return Some(Refusal(
            StatusCode::UNAUTHORIZED,
            "this changes something, and needs one header `Authorization: Bearer TOKEN`".into(),
        ));
    };
    let is_right = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .is_some_and(|(scheme, shown)| {
            scheme.eq_ignore_ascii_case("bearer") && token.is(shown.trim_start_matches(' '))
        });
    (!is_right).then(|| {
        Refusal(
            StatusCode::UNAUTHORIZED,
            "that is not the token in `[admin] token_file` with which the server runs".into(),
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn status(token: Option<&str>, shown: &[&str]) -> Option<u16> {
        let mut headers = HeaderMap::new();
        for value in shown {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        let token = token.map(|text| Token::new(text).unwrap());
        refusal(token.as_ref(), &headers).map(|refusal| refusal.0.as_u16())
    }

    #[test]
    fn only_the_token_lets_through() {
        for right in ["Bearer s3cr3t", "bearer s3cr3t", "BEARER  s3cr3t"] {
            assert_eq!(status(Some("s3cr3t"), &[right]), None, "{right}");
        }
        for wrong in [
            "Bearer s3cr3",
            "Bearer s3cr3tt",
            "Bearer S3cr3t",
            "Bearer ",
            "Bearer",
            "s3cr3t",
            "Basic s3cr3t",
            "Bearer s3cr3t ",
        ] {
            assert_eq!(status(Some("s3cr3t"), &[wrong]), Some(401), "{wrong}");
        }
        assert_eq!(status(Some("s3cr3t"), &[]), Some(401));
        let twice = ["Bearer s3cr3t", "Bearer s3cr3t"];
        assert_eq!(status(Some("s3cr3t"), &twice), Some(401));
    }

    #[test]
    fn without_a_token_nothing_lets_through() {
        for shown in [&[][..], &["Bearer "], &["Bearer x"]] {
            assert_eq!(status(None, shown), Some(403));
        }
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_no_token() {
        for bad in ["", "a b", "a\nb", "ä", "\u{7f}"] {
            assert!(Token::new(bad).is_none(), "{bad:?}");
        }
        assert_eq!(format!("{:?}", Token::new("s3cr3t").unwrap()), "Token(..)");
    }
}
