//! Stream limits that the two ends tell each other (XEP-0478): what is larger than the peer takes is not sent, and what
//! keeps its timer alive is.
//!
//! The receiving entity announces them in its features, the initiating entity inside `<bidi/>`.

use std::time::Duration;

use verona_xml::{Element, Tag, end};

use crate::limits::{STANZA_BYTES_FLOOR, seconds};
use crate::ns;

/// Limits, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Announced {
    /// Bytes of any first-level element.
    pub(super) max_bytes: Option<u64>,
    /// Seconds without traffic from the other side after which the stream may be closed.
    pub(super) idle_seconds: Option<u64>,
}

impl Announced {
    /// Reads the `<limits/>` inside features or `<bidi/>`; what is missing or no number is unknown.
    pub(super) fn read(parent: &Element) -> Self {
        //= LIM-06
        let Some(limits) = parent.child("limits", ns::LIMITS) else {
            return Self::default();
        };
        let number = |name| {
            limits
                .child(name, ns::LIMITS)
                .and_then(|child| child.text().trim().parse().ok())
                .filter(|number| *number > 0)
        };
        Self {
            max_bytes: number("max-bytes"),
            idle_seconds: number("idle-seconds"),
        }
    }

    /// What of it still holds once the peer is proven. The number that a peer names to strangers may be that for strangers
    /// (Prosody 13 names 10000 there, and takes 512 KiB later): the floor below which no server may go says nothing.
    pub(super) fn of_stranger(self) -> Self {
        //= LIM-05
        //= LIM-03
        Self {
            max_bytes: self.max_bytes.filter(|bytes| *bytes > STANZA_BYTES_FLOOR),
            ..self
        }
    }

    /// What was announced last counts; what it leaves out stays as it was.
    pub(super) fn update(&mut self, later: Self) {
        //= BIDI-12
        self.max_bytes = later.max_bytes.or(self.max_bytes);
        self.idle_seconds = later.idle_seconds.or(self.idle_seconds);
    }

    pub(super) fn write(self, out: &mut String) {
        let numbers = [
            ("max-bytes", self.max_bytes),
            ("idle-seconds", self.idle_seconds),
        ];
        if numbers.iter().all(|(_, number)| number.is_none()) {
            return;
        }
        //= LIM-03
        Tag::new(out, "limits")
            .attribute("xmlns", ns::LIMITS)
            .open();
        for (name, number) in numbers {
            if let Some(number) = number {
                Tag::new(out, name).text(&number.to_string());
            }
        }
        end(out, "limits");
    }

    /// After how long without our writing anything the peer's timer should be fed: three quarters of its time.
    pub(super) fn keepalive(self) -> Option<Duration> {
        //= LIM-07
        self.idle_seconds
            .map(|idle| (seconds(idle) * 3 / 4).max(KEEPALIVE_MIN))
    }
}

/// A peer that wants to be written to more often than this may close.
const KEEPALIVE_MIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn read(limits: &str) -> Announced {
        let text = format!("<bidi xmlns='urn:xmpp:bidi'>{limits}</bidi>");
        let element = Element::parse(text.as_bytes(), &verona_xml::Scope::default()).unwrap();
        Announced::read(&element)
    }

    #[test]
    fn limits_are_read_leniently() {
        //= LIM-06
        let limits =
            |inner: &str| read(&format!("<limits xmlns='{}'>{inner}</limits>", ns::LIMITS));
        assert_eq!(read(""), Announced::default());
        assert_eq!(
            limits("<max-bytes> 9000\n</max-bytes><idle-seconds>60</idle-seconds>"),
            Announced {
                max_bytes: Some(9000),
                idle_seconds: Some(60)
            }
        );
        for garbage in ["-1", "0", "1.5", "", "much", "99999999999999999999999"] {
            let found = limits(&format!("<max-bytes>{garbage}</max-bytes>"));
            assert_eq!(found, Announced::default(), "{garbage}");
        }
        assert_eq!(
            read("<limits xmlns='urn:other'><max-bytes>1</max-bytes></limits>"),
            Announced::default()
        );
    }

    #[test]
    fn a_number_for_strangers_does_not_bind_later() {
        //= LIM-05
        let announced = |max_bytes| Announced {
            max_bytes,
            idle_seconds: Some(60),
        };
        assert_eq!(announced(Some(10_000)).of_stranger(), announced(None));
        assert_eq!(
            announced(Some(10_001)).of_stranger(),
            announced(Some(10_001))
        );
    }

    #[test]
    fn the_peers_timer_is_fed_in_time() {
        //= LIM-07
        let idle = |idle_seconds| Announced {
            max_bytes: None,
            idle_seconds,
        };
        assert_eq!(idle(None).keepalive(), None);
        assert_eq!(idle(Some(60)).keepalive(), Some(Duration::from_secs(45)));
        assert_eq!(idle(Some(1)).keepalive(), Some(KEEPALIVE_MIN));
        assert!(idle(Some(u64::MAX)).keepalive().is_some());
    }
}
