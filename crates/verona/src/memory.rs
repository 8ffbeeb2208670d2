//! Memory that the connections of one thread share, each for the length of one call.
//!
//! A buffer for each would be most of what an idle connection holds, and nearly all of them are idle. What one connection
//! had stands there until another writes over it: whoever borrows reads only what it wrote itself.

use std::cell::RefCell;

thread_local! {
    /// What is not in use.
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Lends [`BYTES`] of memory, in which anything may stand. Who borrows while it borrows gets another piece.
pub(crate) fn borrow<R>(user: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut memory = FREE
        .with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| vec![0; BYTES].into_boxed_slice());
    let result = user(&mut memory);
    FREE.with_borrow_mut(|free| free.push(memory));
    result
}

/// Room for 64 KiB of plaintext as TLS has it, four full records.
pub(crate) const BYTES: usize = 65 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_as_many_pieces_as_it_used_at_once() {
        for _ in 0..3 {
            borrow(|outer| {
                outer.fill(1);
                borrow(|inner| {
                    inner.fill(2);
                    borrow(|innermost| assert_eq!(innermost.len(), BYTES));
                });
                assert!(outer.iter().all(|byte| *byte == 1));
            });
        }
        assert_eq!(FREE.with_borrow(Vec::len), 3);
    }
}
