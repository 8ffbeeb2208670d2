//! Counts stanzas by their end tags, wherever the reads cut them.
//! Why not parsed: the receiving side must cost less than the server between.

use memchr::memmem::Finder;

/// Counts one word in a stream of bytes.
pub(super) struct Count {
    word: Finder<'static>,
    /// The last bytes, which may begin the word.
    tail: Vec<u8>,
    found: u64,
}

impl Count {
    /// The word has no beginning that is also its end.
    pub(super) fn of(word: &'static str) -> Self {
        Self {
            word: Finder::new(word.as_bytes()),
            tail: Vec::new(),
            found: 0,
        }
    }

    pub(super) fn found(&self) -> u64 {
        self.found
    }

    /// Takes the next bytes, and says how often the word came to its end in them.
    pub(super) fn take(&mut self, bytes: &[u8]) -> u64 {
        let cut = self.word.needle().len().saturating_sub(1);
        let mut found = 0;
        if !self.tail.is_empty() {
            let mut seam = self.tail.clone();
            seam.extend_from_slice(bytes.get(..cut.min(bytes.len())).unwrap_or_default());
            found += self.word.find_iter(&seam).count() as u64;
        }
        found += self.word.find_iter(bytes).count() as u64;
        if bytes.len() >= cut {
            self.tail.clear();
            self.tail
                .extend_from_slice(bytes.get(bytes.len() - cut..).unwrap_or_default());
        } else {
            self.tail.extend_from_slice(bytes);
            self.tail.drain(..self.tail.len().saturating_sub(cut));
        }
        self.found += found;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_counts_the_same() {
        let text = b"<message><body>a</body></message> <iq/></message></message></mess";
        for first in 0..text.len() {
            for second in first..text.len() {
                let mut count = Count::of("</message>");
                let parts = [&text[..first], &text[first..second], &text[second..]];
                let total: u64 = parts.iter().map(|part| count.take(part)).sum();
                assert_eq!(
                    (total, count.found()),
                    (3, 3),
                    "cut at {first} and {second}"
                );
            }
        }
    }

    #[test]
    fn single_bytes_count() {
        let mut count = Count::of("</message>");
        for byte in b"</message></message>" {
            count.take(&[*byte]);
        }
        assert_eq!(count.found(), 2);
    }
}
