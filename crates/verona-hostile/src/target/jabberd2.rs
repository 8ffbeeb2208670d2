//! jabberd2, as Debian packages it.
//! Why not yet: written next.

use anyhow::{Result, bail};

use super::{Running, Settings};

/// Starts it.
///
/// # Errors
/// Always, so far.
pub fn start(_settings: &Settings<'_>) -> Result<Running> {
    bail!("not there yet")
}
