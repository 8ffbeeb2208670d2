//! The TLS stream of ours against that of another library's making, over pipes that cut, stall and break.

mod broken;
mod chopped;
mod whole;

use chopped::{Chopped, Peer, Random, Sizes, ciphertext, raw, refresh_keys};

use super::*;

/// Who makes the first step.
#[derive(Clone, Copy, Debug)]
enum We {
    Accept,
    Connect,
}

/// Both roles under both versions.
fn settings() -> impl Iterator<Item = (We, Version)> {
    [We::Accept, We::Connect]
        .into_iter()
        .flat_map(|we| VERSIONS.map(|version| (we, version)))
}

/// Shakes hands over a pipe that holds `room` bytes, of which our end is `chopped`.
async fn meet(we: We, version: Version, room: usize, sizes: Sizes) -> (TlsStream<Chopped>, Peer) {
    let authority = Authority::new("An Authority");
    let tls = ours(&authority, &["verona.lit"]);
    let own = authority.issue(&["montague.lit"], |_| {}).certified();
    let (here, there) = tokio::io::duplex(room);
    let here = Chopped::new(here, sizes);
    match we {
        We::Accept => {
            let connector = TlsConnector::from(Arc::new(connecting(version, Some(own))));
            let name = ServerName::try_from("verona.lit").unwrap();
            let (ours, theirs) = tokio::join!(
                tls.accept(here, None, false),
                connector.connect(name, there)
            );
            (ours.unwrap().0, theirs.unwrap().into())
        }
        We::Connect => {
            let acceptor = TlsAcceptor::from(Arc::new(accepting(version, own)));
            let (local, remote) = (domain("verona.lit"), domain("montague.lit"));
            let (ours, theirs) = tokio::join!(
                tls.connect(here, &local, &remote, false),
                acceptor.accept(there)
            );
            (ours.unwrap().0, theirs.unwrap().into())
        }
    }
}

/// Polls once, and gives the future up if it is not done.
async fn once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// The error that TLS gave.
fn reason(error: &io::Error) -> &rustls::Error {
    error.get_ref().unwrap().downcast_ref().unwrap()
}
