//! Plays a server badly or well against any XMPP server.
#![forbid(unsafe_code)]
