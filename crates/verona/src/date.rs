//! Moments as XEP-0082 writes them.

use std::time::{Instant, SystemTime};

use time::OffsetDateTime;

/// A moment, in UTC.
pub(crate) fn stamp(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

/// The moment `then`, where it is `now` now.
pub(crate) fn of(then: Instant, now: Instant) -> String {
    let ago = now.saturating_duration_since(then);
    stamp(
        SystemTime::now()
            .checked_sub(ago)
            .unwrap_or(SystemTime::UNIX_EPOCH),
    )
}
