//! What came of a case, and what may come of it.
//! Why a closed list: a case names its acceptable verdicts beforehand, so that nobody explains a surprise away afterwards.

use std::fmt;

/// What the target did in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A stream error with this condition.
    StreamError(String),
    /// It closed the stream or the connection without an error.
    Closed,
    /// It refused a TLS negotiation, by `<failure/>` or by an alert.
    TlsRefused,
    /// A dialback answer: its type, and the condition of an error.
    Dialback(String, String),
    /// A SASL failure with this condition.
    SaslFailure(String),
    /// A stanza error with this condition.
    StanzaError(String),
    /// Everything that a well-behaved peer may ask for was given.
    Served,
    /// Nothing came back, nothing was delivered, the stream lives.
    Ignored,
    /// A stanza was delivered that must not be, or must not be there.
    Delivered(String),
    /// Something else, in words.
    Other(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StreamError(condition) => write!(f, "stream error {condition}"),
            Self::Closed => f.write_str("closed"),
            Self::TlsRefused => f.write_str("TLS refused"),
            Self::Dialback(kind, condition) if condition.is_empty() => {
                write!(f, "dialback {kind}")
            }
            Self::Dialback(kind, condition) => write!(f, "dialback {kind} {condition}"),
            Self::SaslFailure(condition) => write!(f, "SASL failure {condition}"),
            Self::StanzaError(condition) => write!(f, "stanza error {condition}"),
            Self::Served => f.write_str("served"),
            Self::Ignored => f.write_str("ignored"),
            Self::Delivered(what) => write!(f, "DELIVERED {what}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// One acceptable verdict. An empty list of conditions stands for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A stream error with one of these conditions.
    StreamError(&'static [&'static str]),
    /// [`Verdict::Closed`].
    Closed,
    /// [`Verdict::TlsRefused`].
    TlsRefused,
    /// A dialback answer of this type, an error with one of these conditions.
    Dialback(&'static str, &'static [&'static str]),
    /// A SASL failure with one of these conditions.
    SaslFailure(&'static [&'static str]),
    /// A stanza error with one of these conditions.
    StanzaError(&'static [&'static str]),
    /// [`Verdict::Served`].
    Served,
    /// [`Verdict::Ignored`].
    Ignored,
}

impl Expect {
    /// Whether the verdict is this one.
    #[must_use]
    pub fn accepts(&self, verdict: &Verdict) -> bool {
        let among = |conditions: &[&str], condition: &str| {
            // RFC 3920's name of the same condition (RFC 6120 §4.9.3.13).
            let condition = match condition {
                "xml-not-well-formed" => "not-well-formed",
                condition => condition,
            };
            conditions.is_empty() || conditions.contains(&condition)
        };
        match (self, verdict) {
            (Self::StreamError(conditions), Verdict::StreamError(condition))
            | (Self::SaslFailure(conditions), Verdict::SaslFailure(condition))
            | (Self::StanzaError(conditions), Verdict::StanzaError(condition)) => {
                among(conditions, condition)
            }
            (Self::Dialback(kind, conditions), Verdict::Dialback(found, condition)) => {
                kind == found && among(conditions, condition)
            }
            (Self::Closed, Verdict::Closed)
            | (Self::TlsRefused, Verdict::TlsRefused)
            | (Self::Served, Verdict::Served)
            | (Self::Ignored, Verdict::Ignored) => true,
            (
                Self::StreamError(_)
                | Self::Closed
                | Self::TlsRefused
                | Self::Dialback(..)
                | Self::SaslFailure(_)
                | Self::StanzaError(_)
                | Self::Served
                | Self::Ignored,
                _,
            ) => false,
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, conditions) = match self {
            Self::StreamError(conditions) => ("stream error", *conditions),
            Self::Closed => ("closed", [].as_slice()),
            Self::TlsRefused => ("TLS refused", [].as_slice()),
            Self::Dialback(kind, conditions) => {
                write!(f, "dialback {kind}")?;
                ("", *conditions)
            }
            Self::SaslFailure(conditions) => ("SASL failure", *conditions),
            Self::StanzaError(conditions) => ("stanza error", *conditions),
            Self::Served => ("served", [].as_slice()),
            Self::Ignored => ("ignored", [].as_slice()),
        };
        f.write_str(what)?;
        match conditions.is_empty() {
            true => Ok(()),
            false => write!(f, " {}", conditions.join("|")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_must_be_in_the_list() {
        let expect = Expect::StreamError(&["restricted-xml", "bad-format"]);
        assert!(expect.accepts(&Verdict::StreamError("bad-format".to_owned())));
        assert!(!expect.accepts(&Verdict::StreamError("not-authorized".to_owned())));
        assert!(!expect.accepts(&Verdict::Closed));
        assert!(Expect::StreamError(&[]).accepts(&Verdict::StreamError("any".to_owned())));
    }

    #[test]
    fn a_delivery_is_never_acceptable() {
        let delivered = Verdict::Delivered("a ping".to_owned());
        for expect in [
            Expect::StreamError(&[]),
            Expect::Closed,
            Expect::TlsRefused,
            Expect::Dialback("valid", &[]),
            Expect::SaslFailure(&[]),
            Expect::StanzaError(&[]),
            Expect::Served,
            Expect::Ignored,
        ] {
            assert!(!expect.accepts(&delivered), "{expect}");
        }
    }
}
