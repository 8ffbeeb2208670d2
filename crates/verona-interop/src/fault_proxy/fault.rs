//! What a fault proxy can be told, as plain values.
//! Why apart: the schedule of a soak chooses among these, and the command line names them.

use std::time::Duration;

/// A direction of the connections through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From whoever dialled to the server behind the proxy.
    ToServer,
    /// From the server to whoever dialled.
    ToDialer,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ToServer, Self::ToDialer];
}

/// How bytes travel in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Each byte arrives so much later.
    pub latency: Duration,
    /// And by chance up to so much later still, in order all the same.
    pub jitter: Duration,
    /// At most so many a second.
    pub bytes_per_second: Option<u64>,
    /// Written in pieces of this size.
    pub slice_bytes: Option<usize>,
    /// Nothing passes.
    pub is_stalled: bool,
}

/// What happens to a connection at a byte, counted in one direction from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// After so many bytes both ends get an RST.
    pub cut_at: Option<u64>,
    /// After so many bytes the receiving end gets a FIN, and what comes after is thrown away.
    pub half_close_at: Option<u64>,
    /// The byte with this number, from 0, arrives with a bit changed.
    pub corrupt_at: Option<u64>,
}

impl Marks {
    /// How many of `length` bytes that begin with the one numbered `position` may pass before something happens.
    #[must_use]
    pub fn until(&self, position: u64, length: usize) -> usize {
        [self.cut_at, self.half_close_at, self.corrupt_at]
            .into_iter()
            .flatten()
            .filter(|mark| *mark > position)
            .map(|mark| usize::try_from(mark - position).unwrap_or(usize::MAX))
            .fold(length, usize::min)
    }
}

/// What becomes of those who want to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// They are connected with the server.
    #[default]
    Open,
    /// They are not answered: their SYN gets lost.
    Hangs,
    /// They are refused.
    Refuses,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_up_to_the_next_mark() {
        let marks = Marks {
            cut_at: Some(100),
            half_close_at: None,
            corrupt_at: Some(40),
        };
        assert_eq!(marks.until(0, 1_000), 40);
        assert_eq!(marks.until(0, 10), 10);
        assert_eq!(marks.until(40, 1_000), 60);
        assert_eq!(marks.until(100, 7), 7);
        assert_eq!(Marks::default().until(5, 9), 9);
    }
}
