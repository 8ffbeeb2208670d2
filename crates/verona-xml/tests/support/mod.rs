//! What the tests of this crate share, in one place because each test file is a program of its own.
#![allow(dead_code, unused_imports, unreachable_pub)] // each test program uses a part of it

mod feeding;
pub mod stanzas;

pub use feeding::*;
