//! What the engine tells its operator.

pub(crate) mod log;
