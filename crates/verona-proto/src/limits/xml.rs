//! Which limit it was that XML broke.

use verona_xml::{Error, ErrorKind};

use super::Limit;

/// Whose limits the scanner had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Somebody who has nothing authorised yet ([`super::Limits::negotiation_xml`]).
    Stranger,
    /// Somebody who may send stanzas ([`super::Limits::xml`]).
    Authorized,
}

impl Limit {
    /// The limit that refused XML broke, if it broke one that can be set.
    #[must_use]
    pub fn of_xml(error: &Error, sender: Sender) -> Option<Self> {
        if error.kind() != ErrorKind::TooLarge {
            return None;
        }
        match (error.what(), sender) {
            ("stanza_bytes_max", Sender::Authorized) => Some(Limit::StanzaBytesMax),
            ("stanza_bytes_max", Sender::Stranger) | ("header_bytes_max", _) => {
                Some(Limit::NegotiationBytesMax)
            }
            ("element_depth_max", _) => Some(Limit::ElementDepthMax),
            ("elements_max", _) => Some(Limit::ElementsMax),
            ("attributes_max", _) => Some(Limit::AttributesMax),
            ("attribute_bytes_max", _) => Some(Limit::AttributeBytesMax),
            ("namespaces_max", _) => Some(Limit::NamespacesMax),
            // Lengths of names and of the XML declaration are nobody's to set.
            (_, _) => None,
        }
    }
}
