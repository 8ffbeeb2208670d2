//! `<db:result/>` and `<db:verify/>`, read and written (XEP-0220 §2).
//!
//! A missing 'type' asks and a known one answers; nothing else may ever start a verification, so everything else has a
//! case of its own (DB-56).

use std::fmt;

use verona_xml::{Element, Tag, end};

use super::key::trim_xml;
use super::{Answer, Verdict};
use crate::addr::Domain;
use crate::stanza::condition::{ErrorType, StanzaCondition, read_stanza_error, stanza_error};

/// A dialback element. `from` and `to` are the attributes as they stand on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialback {
    /// `<db:result>KEY</db:result>`: `from` wants to be believed by `to`.
    Request {
        /// The sender domain.
        from: Domain,
        /// The target domain.
        to: Domain,
        /// The key, without white space around it.
        key: String,
    },
    /// `<db:result type='…'/>`: `from` answers a request of `to`.
    Answer {
        /// The target domain of the request.
        from: Domain,
        /// The sender domain of the request.
        to: Domain,
        /// The outcome.
        answer: Answer,
    },
    /// `<db:verify id='…'>KEY</db:verify>`: `from` asks whether `to` made the key.
    Verify {
        /// The target domain of the request.
        from: Domain,
        /// The sender domain of the request.
        to: Domain,
        /// The id of the stream on which the key was sent.
        id: String,
        /// The key, without white space around it.
        key: String,
    },
    /// `<db:verify id='…' type='…'/>`: `from` answers a question of `to`.
    Verdict {
        /// The sender domain of the request.
        from: Domain,
        /// The target domain of the request.
        to: Domain,
        /// The id that the question had.
        id: String,
        /// The outcome.
        verdict: Verdict,
    },
    /// Neither a question nor an answer: to be counted and otherwise ignored. Says why, for the operator.
    Irregular(&'static str),
}

impl Dialback {
    /// Reads an element of the namespace `jabber:server:dialback`.
    ///
    /// Attributes that are not known and text in an answer are ignored (DB-55).
    ///
    /// # Errors
    /// [`DialbackError`] when a question lacks what an answer would need. An answer that lacks it is
    /// [`Dialback::Irregular`]: it cannot be one that was asked for.
    pub fn read(element: &Element) -> Result<Self, DialbackError> {
        let from = domain(element, "from");
        let to = domain(element, "to");
        match (element.name(), element.attribute("type")) {
            ("result", None) => match (from, to) {
                (Some(from), Some(to)) => Ok(Self::Request {
                    from,
                    to,
                    key: key(element),
                }),
                //= DB-16
                (None, _) | (_, None) => Err(DialbackError::ImproperAddressing),
            },
            //= DB-55
            ("result", Some(outcome)) => Ok(match (from, to, answer(element, outcome)) {
                (Some(from), Some(to), Some(answer)) => Self::Answer { from, to, answer },
                //= DB-56
                (_, _, None) => Self::Irregular("a <db:result/> of an unknown type"),
                (None, _, _) | (_, None, _) => {
                    Self::Irregular("an answering <db:result/> without valid 'from' and 'to'")
                }
            }),
            ("verify", None) => match (from, to, id(element)) {
                (Some(from), Some(to), Some(id)) => Ok(Self::Verify {
                    from,
                    to,
                    id,
                    key: key(element),
                }),
                //= DB-51
                (from, to, id) => Err(DialbackError::BadVerify { from, to, id }),
            },
            ("verify", Some(outcome)) => {
                Ok(match (from, to, id(element), answer(element, outcome)) {
                    (Some(from), Some(to), Some(id), Some(answer)) => Self::Verdict {
                        from,
                        to,
                        id,
                        verdict: answer.into(),
                    },
                    //= DB-56
                    (_, _, _, None) => Self::Irregular("a <db:verify/> of an unknown type"),
                    (None, _, _, _) | (_, None, _, _) | (_, _, None, _) => Self::Irregular(
                        "an answering <db:verify/> without valid 'from', 'to' and 'id'",
                    ),
                })
            }
            (_, _) => Ok(Self::Irregular("an unknown dialback element")),
        }
    }
}

/// Why a question cannot be taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialbackError {
    /// A `<db:result/>` without valid 'from' and 'to': there is nobody to answer, which is a stream error (DB-16).
    ImproperAddressing,
    /// A `<db:verify/>` without valid 'from', 'to' and 'id': `bad-request` if both domains are there, nothing
    /// otherwise (DB-51).
    BadVerify {
        /// Who asked, if that is readable.
        from: Option<Domain>,
        /// Who was asked, if that is readable.
        to: Option<Domain>,
        /// The id, if there was one.
        id: Option<String>,
    },
}

impl fmt::Display for DialbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ImproperAddressing => "a <db:result/> without valid 'from' and 'to'",
            Self::BadVerify { .. } => "a <db:verify/> without valid 'from', 'to' and 'id'",
        })
    }
}

impl std::error::Error for DialbackError {}

impl From<Answer> for Verdict {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Valid => Self::Valid,
            Answer::Invalid => Self::Invalid,
            Answer::Error(condition) => Self::Error(condition),
        }
    }
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Valid => Self::Valid,
            Verdict::Invalid => Self::Invalid,
            Verdict::Error(condition) => Self::Error(condition),
        }
    }
}

/// Writes the request of `from` to be believed by `to` (DB-01).
pub fn write_request(out: &mut String, from: &Domain, to: &Domain, key: &str) {
    //= DB-01
    //= DB-29
    Tag::new(out, "db:result")
        .attribute("from", from.as_str())
        .attribute("to", to.as_str())
        .text(key);
}

/// Writes the answer of `from` to the request of `to` (DB-20).
pub fn write_answer(out: &mut String, from: &Domain, to: &Domain, answer: Answer) {
    //= DB-20
    write_outcome(out, "db:result", from, to, None, answer);
}

/// Writes the question of `from` whether `to` made the key for the stream with that id (DB-22).
pub fn write_verify(out: &mut String, from: &Domain, to: &Domain, id: &str, key: &str) {
    //= DB-22
    Tag::new(out, "db:verify")
        .attribute("from", from.as_str())
        .attribute("to", to.as_str())
        .attribute("id", id)
        .text(trim_xml(key));
}

/// Writes what `from` says to the question of `to` about the stream with that id (DB-32).
pub fn write_verdict(out: &mut String, from: &Domain, to: &Domain, id: &str, verdict: Verdict) {
    //= DB-32
    write_outcome(out, "db:verify", from, to, Some(id), verdict.into());
}

fn write_outcome(
    out: &mut String,
    name: &str,
    from: &Domain,
    to: &Domain,
    id: Option<&str>,
    answer: Answer,
) {
    let (kind, condition) = match answer {
        Answer::Valid => ("valid", None),
        Answer::Invalid => ("invalid", None),
        Answer::Error(condition) => ("error", Some(condition)),
    };
    let tag = Tag::new(out, name)
        .attribute("from", from.as_str())
        .attribute("to", to.as_str())
        .attribute_if("id", id)
        .attribute("type", kind);
    match condition {
        None => tag.empty(),
        Some(condition) => {
            //= DB-39
            tag.open();
            stanza_error(out, condition, error_type(condition), None);
            end(out, name);
        }
    }
}

/// As for a stanza, but a domain whose request breaks a policy cannot mend it by changing the request (ERR-10).
fn error_type(condition: StanzaCondition) -> ErrorType {
    if condition == StanzaCondition::PolicyViolation {
        ErrorType::Cancel
    } else {
        condition.error_type()
    }
}

fn answer(element: &Element, outcome: &str) -> Option<Answer> {
    match outcome {
        "valid" => Some(Answer::Valid),
        "invalid" => Some(Answer::Invalid),
        "error" => Some(Answer::Error(read_stanza_error(element))),
        //= DB-56
        _ => None,
    }
}

fn domain(element: &Element, attribute: &str) -> Option<Domain> {
    Domain::parse(element.attribute(attribute)?).ok()
}

fn id(element: &Element) -> Option<String> {
    element
        .attribute("id")
        // What is echoed must not be large: an id is a few dozen characters.
        .filter(|id| !id.is_empty() && id.len() <= ID_BYTES_MAX)
        .map(str::to_owned)
}

/// The longest stream id that is taken up; real ones have 8 to 64 characters.
const ID_BYTES_MAX: usize = 256;

fn key(element: &Element) -> String {
    //= DB-36
    trim_xml(&element.text()).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::stanza::fixtures::element;

    fn capulet() -> Domain {
        Domain::parse("capulet.lit").unwrap()
    }

    fn montague() -> Domain {
        Domain::parse("montague.lit").unwrap()
    }

    fn read(text: &str) -> Result<Dialback, DialbackError> {
        Dialback::read(&element(text))
    }

    #[test]
    fn questions_are_read_with_their_keys_trimmed() {
        //= DB-36
        assert_eq!(
            read("<db:result from='Capulet.LIT' to='montague.lit.'>\n  3f2a \n</db:result>"),
            Ok(Dialback::Request {
                from: capulet(),
                to: montague(),
                key: "3f2a".into(),
            })
        );
        assert_eq!(
            read("<db:verify from='montague.lit' to='capulet.lit' id='M2'>3f2a</db:verify>"),
            Ok(Dialback::Verify {
                from: montague(),
                to: capulet(),
                id: "M2".into(),
                key: "3f2a".into(),
            })
        );
    }

    #[test]
    fn answers_are_read_whatever_else_they_carry() {
        //= DB-55
        //= DB-39
        for (text, answer) in [
            ("type='valid' id='x' other='y'>key<", Answer::Valid),
            ("type='invalid'><", Answer::Invalid),
            (
                "type='error'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error><",
                Answer::Error(StanzaCondition::ItemNotFound),
            ),
            (
                "type='error'><db:error><remote-connection-failed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></db:error><",
                Answer::Error(StanzaCondition::RemoteConnectionFailed),
            ),
            (
                "type='error'><",
                Answer::Error(StanzaCondition::UndefinedCondition),
            ),
        ] {
            assert_eq!(
                read(&format!(
                    "<db:result from='montague.lit' to='capulet.lit' {text}/db:result>"
                )),
                Ok(Dialback::Answer {
                    from: montague(),
                    to: capulet(),
                    answer,
                }),
                "{text}"
            );
            assert_eq!(
                read(&format!(
                    "<db:verify from='capulet.lit' to='montague.lit' {}/db:verify>",
                    text.replace("id='x' ", "").replacen('>', " id='M2'>", 1)
                )),
                Ok(Dialback::Verdict {
                    from: capulet(),
                    to: montague(),
                    id: "M2".into(),
                    verdict: answer.into(),
                }),
                "{text}"
            );
        }
    }

    #[test]
    fn an_element_with_its_own_declaration_is_the_same() {
        //= DB-29
        assert_eq!(
            read(
                "<result xmlns='jabber:server:dialback' from='capulet.lit' to='montague.lit'>k</result>"
            ),
            Ok(Dialback::Request {
                from: capulet(),
                to: montague(),
                key: "k".into(),
            })
        );
    }

    #[test]
    fn a_question_without_addresses_is_an_error() {
        //= DB-16
        for text in [
            "<db:result to='montague.lit'>k</db:result>",
            "<db:result from='capulet.lit'>k</db:result>",
            "<db:result from='' to='montague.lit'>k</db:result>",
            "<db:result from='a b' to='montague.lit'>k</db:result>",
            "<db:result from='romeo@capulet.lit' to='montague.lit'>k</db:result>",
        ] {
            assert_eq!(read(text), Err(DialbackError::ImproperAddressing), "{text}");
        }
        //= DB-51
        assert_eq!(
            read("<db:verify from='montague.lit' to='capulet.lit'>k</db:verify>"),
            Err(DialbackError::BadVerify {
                from: Some(montague()),
                to: Some(capulet()),
                id: None,
            })
        );
        assert_eq!(
            read("<db:verify id='M2' to='capulet.lit'>k</db:verify>"),
            Err(DialbackError::BadVerify {
                from: None,
                to: Some(capulet()),
                id: Some("M2".into()),
            })
        );
    }

    #[test]
    fn what_neither_asks_nor_answers_is_irregular() {
        //= DB-56
        for text in [
            "<db:result from='montague.lit' to='capulet.lit' type='maybe'>k</db:result>",
            "<db:result from='montague.lit' to='capulet.lit' type=''>k</db:result>",
            "<db:result from='montague.lit' to='capulet.lit' type='VALID'/>",
            "<db:verify from='montague.lit' to='capulet.lit' id='M2' type='maybe'>k</db:verify>",
            "<db:result to='capulet.lit' type='valid'/>",
            "<db:verify from='montague.lit' to='capulet.lit' type='valid'/>",
            "<db:verify from='montague.lit' to='' id='M2' type='valid'/>",
            "<db:other from='montague.lit' to='capulet.lit'/>",
        ] {
            assert!(matches!(read(text), Ok(Dialback::Irregular(_))), "{text}");
        }
    }

    #[test]
    fn the_elements_look_as_the_specification_shows_them() {
        //= DB-01
        //= DB-20
        //= DB-22
        //= DB-32
        //= DB-39
        let mut out = String::new();
        write_request(&mut out, &capulet(), &montague(), "3f2a");
        assert_eq!(
            out,
            "<db:result from='capulet.lit' to='montague.lit'>3f2a</db:result>"
        );
        out.clear();
        write_verify(&mut out, &montague(), &capulet(), "M2", " 3f2a\n");
        assert_eq!(
            out,
            "<db:verify from='montague.lit' to='capulet.lit' id='M2'>3f2a</db:verify>"
        );
        for (verdict, kind) in [(Verdict::Valid, "valid"), (Verdict::Invalid, "invalid")] {
            out.clear();
            write_answer(&mut out, &montague(), &capulet(), verdict.into());
            assert_eq!(
                out,
                format!("<db:result from='montague.lit' to='capulet.lit' type='{kind}'/>")
            );
            out.clear();
            write_verdict(&mut out, &capulet(), &montague(), "M2", verdict);
            assert_eq!(
                out,
                format!("<db:verify from='capulet.lit' to='montague.lit' id='M2' type='{kind}'/>")
            );
        }
        out.clear();
        let nobody = Domain::parse("nobody.lit").unwrap();
        write_answer(
            &mut out,
            &nobody,
            &capulet(),
            Answer::Error(StanzaCondition::ItemNotFound),
        );
        assert_eq!(
            out,
            "<db:result from='nobody.lit' to='capulet.lit' type='error'><error type='cancel'>\
             <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>"
        );
    }

    #[test]
    fn dialback_errors_have_their_own_types() {
        //= ERR-10
        for (condition, kind) in [
            (StanzaCondition::PolicyViolation, "cancel"),
            (StanzaCondition::Forbidden, "auth"),
            (StanzaCondition::RemoteServerTimeout, "wait"),
        ] {
            let mut out = String::new();
            write_answer(&mut out, &montague(), &capulet(), Answer::Error(condition));
            assert!(
                out.contains(&format!("<error type='{kind}'><{condition} ")),
                "{out}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = String::new();
        for condition in StanzaCondition::ALL {
            out.clear();
            write_verdict(
                &mut out,
                &capulet(),
                &montague(),
                "a'<&b",
                Verdict::Error(*condition),
            );
            assert_eq!(
                read(&out),
                Ok(Dialback::Verdict {
                    from: capulet(),
                    to: montague(),
                    id: "a'<&b".into(),
                    verdict: Verdict::Error(*condition),
                })
            );
        }
    }
}
