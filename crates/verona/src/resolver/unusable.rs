//! Messages of name servers that say nothing about the question: another server may, and whoever waits is told why not.
//!
//! The first name server that says anything is not always the one that knows, and a message counts only for the question
//! that it answers, over TCP as over UDP.

use std::cell::Cell;

use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::Name;

/// Why a message is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It answers another question.
    OtherQuestion,
    /// The server does not know, or does not want to tell.
    Code(ResponseCode),
}

impl Unusable {
    /// The reason, as a sentence about the question.
    pub(super) fn about(self, question: &Name, is_validated: bool) -> String {
        match self {
            Self::OtherQuestion => format!("DNS answered another question than {question}"),
            Self::Code(code) if is_validated && code == ResponseCode::ServFail => format!(
                "DNS answered for {question}: {code} (so does a server that validates, when a zone is badly signed)"
            ),
            Self::Code(code) => format!("DNS answered for {question}: {code}"),
        }
    }
}

/// Whether a message says anything about the question: that there is something, or that there is nothing.
///
/// # Errors
/// [`Unusable`] says why not; [`told`] will tell whoever waits.
pub(super) fn check(question: &Query, message: &Message) -> Result<(), Unusable> {
    let unusable = if message.queries != [question.clone()] {
        Unusable::OtherQuestion
    } else if matches!(
        message.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    ) {
        return Ok(());
    } else {
        Unusable::Code(message.response_code)
    };
    // Outside of `told` nobody wants to know.
    let _ = WHY.try_with(|why| why.set(Some(unusable)));
    Err(unusable)
}

/// Waits for an answer, and tells of the last message that was unusable: the library, which must take it for silence to
/// ask another server, forgets it.
pub(super) async fn told<T>(answer: impl Future<Output = T>) -> (T, Option<Unusable>) {
    let asking = async {
        let answer = answer.await;
        (answer, WHY.with(Cell::take))
    };
    WHY.scope(Cell::new(None), asking).await
}

tokio::task_local! {
    static WHY: Cell<Option<Unusable>>;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use hickory_resolver::proto::op::{MessageType, OpCode};
    use hickory_resolver::proto::rr::RecordType;

    use super::*;

    fn question(name: &str) -> Query {
        Query::query(Name::from_ascii(name).unwrap(), RecordType::SRV)
    }

    fn message(questions: &[&str], code: ResponseCode) -> Message {
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.metadata.response_code = code;
        for name in questions {
            message.add_query(question(name));
        }
        message
    }

    #[tokio::test]
    async fn what_says_nothing_about_the_question_is_told() {
        use ResponseCode::{NXDomain, NoError, Refused};
        let other = Some(Unusable::OtherQuestion);
        for (questions, code, unusable) in [
            (vec!["a.lit."], NoError, None),
            (vec!["A.LIT."], NXDomain, None),
            (vec!["b.lit."], NoError, other),
            (vec!["b.lit."], NXDomain, other),
            (vec![], NXDomain, other),
            (vec!["a.lit.", "b.lit."], NoError, other),
            (vec!["a.lit."], Refused, Some(Unusable::Code(Refused))),
        ] {
            let message = message(&questions, code);
            let checked = told(async { check(&question("a.lit."), &message).err() }).await;
            assert_eq!(checked, (unusable, unusable), "{questions:?} {code}");
        }
    }
}
