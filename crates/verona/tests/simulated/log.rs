//! Shows what engines log, with the simulated time.

use std::fmt::Debug;
use std::sync::OnceLock;

use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, Subscriber, set_default};
use tracing::{Event, Metadata};

/// Prints lines for as long as it lives.
pub(crate) struct Log(#[expect(dead_code, reason = "it ends when it is dropped")] DefaultGuard);

impl Log {
    pub(crate) fn new() -> Self {
        Self(set_default(Lines(OnceLock::new())))
    }
}

struct Lines(OnceLock<Instant>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("verona")
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        let begun = self.0.get_or_init(Instant::now);
        eprintln!("{:>8.3} s  {}", begun.elapsed().as_secs_f64(), line.0);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.0 += &format!(" {value:?}"),
            name => self.0 += &format!(" {name}={value:?}"),
        }
    }
}
