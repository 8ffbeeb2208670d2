//! The commented starting point that `gen-config` prints.
//!
//! It is a file of its own, so that it can be read as what it becomes; tests hold it against the code.

/// The starting point: everything that is not commented out has to be looked at.
pub(crate) const TEMPLATE: &str = include_str!("template.toml");
