//! Who said what when, and who waited for it, as text.
//! Why from the calling side: it is the one whose stanza waits.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use verona::status::LinkRole;
use verona::trace::{Trace, TracedWhat};

use super::elements::Elements;

/// What one engine has said and heard since the beginning, on all its connections.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<Moment>>>);

/// Something that happened.
struct Moment {
    at: Instant,
    link: u64,
    is_ours: bool,
    what: What,
}

enum What {
    Sent(Vec<u8>),
    Received(Vec<u8>),
    Secured,
    Closed,
}

impl Heard {
    /// For the engine's configuration.
    pub(super) fn trace(&self) -> Trace {
        let all = Arc::clone(&self.0);
        Trace::new(move |traced| {
            let moment = Moment {
                at: Instant::now(),
                link: traced.link,
                is_ours: matches!(traced.role, LinkRole::Initiating),
                what: match traced.what {
                    TracedWhat::Sent(bytes) => What::Sent(bytes.to_vec()),
                    TracedWhat::Received(bytes) => What::Received(bytes.to_vec()),
                    TracedWhat::Secured => What::Secured,
                    TracedWhat::Closed => What::Closed,
                },
            };
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(moment);
        })
    }

    /// Everything between two moments: a line for each flight, with the milliseconds since the first.
    pub(super) fn diagram(&self, since: Instant, until: Instant) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Lines::default();
        let mut directions: BTreeMap<(u64, bool), Elements> = BTreeMap::new();
        for moment in all.iter().filter(|it| it.at <= until) {
            let mut names = |is_sent: bool, bytes: &[u8]| {
                directions
                    .entry((moment.link, is_sent))
                    .or_default()
                    .take(bytes)
            };
            let (arrow, names) = match &moment.what {
                What::Sent(bytes) => ("→", names(true, bytes)),
                What::Received(bytes) => ("←", names(false, bytes)),
                What::Secured => ("=", vec!["TLS".to_owned()]),
                What::Closed => ("·", vec!["closed".to_owned()]),
            };
            if moment.at >= since && !names.is_empty() {
                lines.add(moment, moment.at - since, arrow, names);
            }
        }
        lines.text
    }
}

/// The text as it grows: what goes the same way at the same time stands in one line.
#[derive(Default)]
struct Lines {
    text: String,
    /// In the order in which they were met.
    links: Vec<u64>,
    last: Option<(u64, &'static str, Duration)>,
}

impl Lines {
    fn add(&mut self, moment: &Moment, at: Duration, arrow: &'static str, names: Vec<String>) {
        let names = names.join(" ");
        if let Some((link, last, before)) = self.last
            && (link, last) == (moment.link, arrow)
            && at.saturating_sub(before) < TOGETHER
        {
            // The line goes on.
            self.text.pop();
            let _ = writeln!(self.text, " {names}");
            return;
        }
        let number = match self.links.iter().position(|link| *link == moment.link) {
            Some(position) => position + 1,
            None => {
                self.links.push(moment.link);
                self.links.len()
            }
        };
        let whose = match moment.is_ours {
            true => "ours",
            false => "theirs",
        };
        let _ = writeln!(
            self.text,
            "{:6}  {number} ({whose:<6})  {arrow}  {names}",
            at.as_millis()
        );
        self.last = Some((moment.link, arrow, at));
    }
}

/// What a moment of this length is: far less than a way there.
const TOGETHER: Duration = Duration::from_millis(20);
