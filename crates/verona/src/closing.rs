//! An operator ends the links with a peer (`verona close`).

use verona_proto::addr::Domain;
use verona_proto::stanza::StreamCondition;
use verona_proto::stream::StreamError;

use crate::connection::ConnectionCommand;
use crate::engine::Handle;
use crate::shared::lock;

impl Handle {
    /// Closes every link that carries a pair with `peer`, or was opened to it or by it, in good order: what is ready is
    /// written before, and what the peer still says is heard. Says how many there are.
    ///
    /// Nothing is forbidden by it: what waits, or comes, has a new link opened.
    pub fn close(&self, peer: &Domain) -> usize {
        let name = peer.to_string();
        let mut closed = 0;
        for handle in self.shared.connections().values() {
            let concerns = {
                let link = lock(&handle.link);
                link.remote.as_ref() == Some(&name)
                    || link.pairs.iter().any(|pair| pair.remote == name)
            };
            if !concerns {
                continue;
            }
            let error = StreamError::local(
                StreamCondition::UndefinedCondition,
                "the operator closes the link",
            );
            closed += 1;
            // One that has ended needs no telling; one that is busy is told when it is not.
            let _ = handle
                .commands
                .insist(ConnectionCommand::Close(error.quietly()));
        }
        closed
    }
}
