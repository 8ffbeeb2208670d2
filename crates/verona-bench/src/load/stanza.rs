//! The stanzas of the load, written once.
//! Why all of one size: a figure for each stanza has to say which.

/// Stanzas that are sent together.
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    pub(crate) stanzas: u64,
}

/// Blocks of so many messages that have so many bytes each: the messages go through `pairs` by turns, and the blocks
/// end where a turn does.
pub(crate) fn blocks(pairs: &[(String, String)], bytes: usize, stanzas: usize) -> Vec<Block> {
    let number = pairs.len().max(1);
    let mut blocks = Vec::new();
    let mut next = pairs.iter().cycle();
    loop {
        let mut block = Block {
            bytes: Vec::with_capacity(bytes * stanzas),
            stanzas: stanzas as u64,
        };
        for (_, (from, to)) in (0..stanzas).zip(next.by_ref()) {
            block
                .bytes
                .extend_from_slice(message(from, to, bytes).as_bytes());
        }
        blocks.push(block);
        if (blocks.len() * stanzas).is_multiple_of(number) {
            return blocks;
        }
    }
}

/// A chat message of exactly so many bytes, unless the addresses alone take more.
fn message(from: &str, to: &str, bytes: usize) -> String {
    let start = format!(
        "<message from='juliet@{from}/balcony' to='romeo@{to}/orchard' type='chat' id='b1594'><body>"
    );
    let end = "</body></message>";
    let room = bytes.saturating_sub(start.len() + end.len());
    let text: String = TEXT.chars().cycle().take(room).collect();
    format!("{start}{text}{end}")
}

const TEXT: &str = "Wilt thou be gone? it is not yet near day: it was the nightingale, and not the lark, \
    that pierced the fearful hollow of thine ear; nightly she sings on yon pomegranate-tree. ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_size() {
        assert_eq!(
            message("rooms.capulet.lit", "p7.montague.lit", 200).len(),
            200
        );
        assert_eq!(
            message("rooms.capulet.lit", "p7.montague.lit", 2048).len(),
            2048
        );
    }

    #[test]
    fn the_turns_are_even() {
        let pairs: Vec<(String, String)> = (0..6)
            .map(|number| ("a.lit".to_owned(), format!("p{number}.lit")))
            .collect();
        let blocks = blocks(&pairs, 200, 4);
        assert_eq!(blocks.len(), 3);
        let all: Vec<u8> = blocks
            .iter()
            .flat_map(|block| block.bytes.clone())
            .collect();
        for number in 0..6 {
            let name = format!("@p{number}.lit");
            assert_eq!(memchr::memmem::find_iter(&all, name.as_bytes()).count(), 2);
        }
    }
}
