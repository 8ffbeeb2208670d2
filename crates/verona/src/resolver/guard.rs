//! Stands between the validator and the name servers, and passes on only what belongs to each question.
//!
//! It sees every message, so it also knows whether a server passes on signatures at all.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle};
use hickory_resolver::proto::op::{DnsRequest, DnsResponse, Query};
use hickory_resolver::{ConnectionProvider, PoolContext};

use super::relevant::{keep_relevant, signature};
use super::unusable::check;

/// Makes connections that pass on only what belongs to the question.
#[derive(Clone, Default)]
pub(super) struct Guard {
    runtime: TokioRuntimeProvider,
    /// Whether answers are validated; without that they pass with all that is in them.
    validates: bool,
    seen: Arc<Seen>,
}

/// What was learned about the name servers.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// One of them sent a signature.
    signature: AtomicBool,
    /// The operator was told that none does.
    told: AtomicBool,
}

impl Guard {
    pub(super) fn new(validates: bool) -> Self {
        Self {
            validates,
            ..Self::default()
        }
    }

    pub(super) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }
}

impl Seen {
    /// Whether any name server has ever sent a signature, which is what DNSSEC is made of.
    pub(super) fn passes_on_dnssec(&self) -> bool {
        self.signature.load(Ordering::Relaxed)
    }

    /// Whether it is time to tell that none did: true once.
    pub(super) fn tell(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }
}

impl ConnectionProvider for Guard {
    type Conn = Guarded;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Guarded, NetError>> + Send>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        cx: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let connecting = self.runtime.new_connection(ip, config, cx)?;
        let (validates, seen) = (self.validates, Arc::clone(&self.seen));
        Ok(Box::pin(async move {
            Ok(Guarded {
                connection: connecting.await?,
                validates,
                seen,
            })
        }))
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.runtime
    }
}

/// A connection to a name server.
#[derive(Clone)]
pub(super) struct Guarded {
    connection: DnsExchange<TokioRuntimeProvider>,
    validates: bool,
    seen: Arc<Seen>,
}

impl DnsHandle for Guarded {
    type Response = Answers;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Answers {
        let question = request.queries.first().cloned();
        Answers {
            question,
            validates: self.validates,
            seen: Arc::clone(&self.seen),
            answers: Box::pin(self.connection.send(request)),
        }
    }
}

/// The answers to one question.
pub(super) struct Answers {
    question: Option<Query>,
    /// Whether the validator will see what comes.
    validates: bool,
    seen: Arc<Seen>,
    answers: Pin<Box<dyn Stream<Item = Result<DnsResponse, NetError>> + Send>>,
}

impl Stream for Answers {
    type Item = Result<DnsResponse, NetError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let answer = ready!(self.answers.as_mut().poll_next(cx));
        let (Some(question), Some(Ok(response))) = (&self.question, &answer) else {
            return Poll::Ready(answer);
        };
        // What is silence to the library makes it ask the next server.
        if check(question, response).is_err() {
            return Poll::Ready(Some(Err(NetError::Timeout)));
        }
        if !self.validates {
            return Poll::Ready(answer);
        }
        let mut message = response.clone().into_message();
        if message
            .all_sections()
            .any(|record| signature(record).is_some())
        {
            self.seen.signature.store(true, Ordering::Relaxed);
        }
        keep_relevant(question, &mut message);
        Poll::Ready(Some(
            DnsResponse::from_message(message).map_err(NetError::from),
        ))
    }
}
