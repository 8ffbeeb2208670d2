//! How long our own certificates and the lists of revoked ones still hold, and what is said of those that end.
//!
//! A renewal that fails is silent; what is said early enough leaves a working day to look at it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use verona::tls::OwnCertificate;
use verona_proto::addr::Domain;

use crate::json;

/// How near the end of a certificate is; the later, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nobody need think of it.
    Fine,
    /// Two weeks are left: whatever renews it should have done so.
    Soon,
    /// Three days are left.
    VerySoon,
    /// It is over.
    Expired,
}

impl Stage {
    /// The stage of a certificate. One that lives for a few days only is renewed at half of that: a third and a sixth of
    /// its life count then.
    pub(crate) fn of(own: &OwnCertificate, now: SystemTime) -> Self {
        Self::between(own.not_before(), own.not_after(), now)
    }

    fn between(not_before: SystemTime, not_after: SystemTime, now: SystemTime) -> Self {
        let Ok(left) = not_after.duration_since(now) else {
            return Self::Expired;
        };
        let life = not_after.duration_since(not_before).unwrap_or_default();
        if left <= VERY_SOON.min(life / 6) {
            Self::VerySoon
        } else if left <= SOON.min(life / 3) {
            Self::Soon
        } else {
            Self::Fine
        }
    }
}

/// Says when a certificate ends, or that it has, and what to do.
pub(crate) fn ends(own: &OwnCertificate, domain: &Domain, now: SystemTime) -> String {
    let day = day(own.not_after());
    let Ok(left) = own.not_after().duration_since(now) else {
        return format!(
            "the certificate for {domain} expired on {day} and peers refuse it; renew it, it is taken from its file at once"
        );
    };
    format!(
        "the certificate for {domain} expires in {}, on {day}; look at what should have renewed it",
        span(left)
    )
}

/// Says that a list of revoked certificates is out of date.
pub(crate) fn overdue(file: &Path, day: &str) -> String {
    format!(
        "the list of revoked certificates in {} should have been replaced by {day}: whoever was revoked since is believed; \
         fetch the next one, it is taken from its file at once",
        file.display()
    )
}

/// The day of a moment, in UTC.
pub(crate) fn day(at: SystemTime) -> String {
    json::timestamp(at).chars().take(10).collect()
}

/// Whole days, or whole hours where it is less than two days.
pub(crate) fn span(left: Duration) -> String {
    let (number, unit) = match left.as_secs() / HOUR {
        hours @ 0..48 => (hours, "hour"),
        hours => (hours / 24, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

const HOUR: u64 = 60 * 60;
const SOON: Duration = Duration::from_secs(14 * 24 * HOUR);
const VERY_SOON: Duration = Duration::from_secs(3 * 24 * HOUR);

#[cfg(test)]
mod tests {
    use super::*;

    fn days(number: u64) -> Duration {
        Duration::from_secs(number * 24 * HOUR)
    }

    #[test]
    fn the_stages_follow_the_days_that_are_left() {
        let begin = SystemTime::UNIX_EPOCH + days(20_000);
        let minute = Duration::from_secs(60);
        for life in [45, 90, 398] {
            let end = begin + days(life);
            let stage = |left: Duration| Stage::between(begin, end, end - left);
            assert_eq!(stage(days(14) + minute), Stage::Fine);
            assert_eq!(stage(days(14)), Stage::Soon);
            assert_eq!(stage(days(3) + minute), Stage::Soon);
            assert_eq!(stage(days(3)), Stage::VerySoon);
            assert_eq!(stage(Duration::ZERO), Stage::VerySoon);
            assert_eq!(Stage::between(begin, end, end + minute), Stage::Expired);
        }
        // One of six days is renewed after three.
        let end = begin + days(6);
        let stage = |left: Duration| Stage::between(begin, end, end - left);
        assert_eq!(stage(days(6)), Stage::Fine);
        assert_eq!(stage(days(3)), Stage::Fine);
        assert_eq!(stage(days(2)), Stage::Soon);
        assert_eq!(stage(days(1)), Stage::VerySoon);
    }

    #[test]
    fn spans_are_whole_days_or_hours() {
        for (hours, text) in [
            (0, "0 hours"),
            (1, "1 hour"),
            (47, "47 hours"),
            (48, "2 days"),
            (24 * 14 + 23, "14 days"),
        ] {
            assert_eq!(span(Duration::from_secs(hours * HOUR + 59)), text);
        }
    }
}
