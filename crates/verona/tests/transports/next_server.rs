//! What DNS says of a server decides how a connection begins; where that fails the next server is tried, and never the
//! same port in the other way.

use std::sync::Mutex;

use tokio::net::TcpListener;
use verona::status::LinkTransport;
use verona_proto::addr::Jid;

use super::name_server::Zone;
use super::*;

/// A port, and how each connection to it began.
struct Port {
    address: SocketAddr,
    beginnings: Arc<Mutex<Vec<u8>>>,
}

impl Port {
    /// Reads the first bytes of each connection, says `answer`, and ends it.
    async fn saying(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let beginnings: Arc<Mutex<Vec<u8>>> = Arc::default();
        let noted = Arc::clone(&beginnings);
        tokio::spawn(async move {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let mut bytes = [0; 4096];
                let count = tcp.read(&mut bytes).await.unwrap_or(0);
                if count > 0 {
                    noted.lock().unwrap().push(bytes[0]);
                }
                let _ = tcp.write_all(answer.as_bytes()).await;
                let _ = tcp.shutdown().await;
                // What still comes is taken, so that the answer is not lost to a reset.
                let _ = timeout(WAIT, tcp.read_to_end(&mut Vec::new())).await;
            }
        });
        Self {
            address,
            beginnings,
        }
    }

    fn beginnings(&self) -> Vec<u8> {
        self.beginnings.lock().unwrap().clone()
    }
}

/// What a server that knows STARTTLS only says to a ClientHello.
const NOT_WELL_FORMED: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' id='1' version='1.0' \
    xmlns:stream='http://etherx.jabber.org/streams'><stream:error><not-well-formed \
    xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>";

async fn dialling(authority: &Authority, zone: Zone) -> Engine {
    let mut config = config(authority, &["capulet.lit"], &[]);
    config.dns_servers = vec![zone.serve().await];
    Engine::start(config).await.unwrap()
}

async fn ping(engine: &Engine) {
    let to = Jid::from(domain("montague.lit"));
    let handle = engine.handle();
    handle
        .ping(&domain("capulet.lit"), &to, WAIT)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_starttls_port_behind_a_record_for_direct_tls_is_passed_over() {
    //= DTLS-10
    //= DTLS-01
    //= DTLS-02
    //= DNS-08
    let authority = Authority::new();
    let montague = Engine::start(config(&authority, &["montague.lit"], &[]))
        .await
        .unwrap();
    for answer in [NOT_WELL_FORMED, ""] {
        let wrong = Port::saying(answer).await;
        let zone = Zone::default()
            .server("montague.lit", true, 5, wrong.address)
            .server("montague.lit", false, 10, ports(&montague)[0]);
        let capulet = dialling(&authority, zone).await;
        ping(&capulet).await;
        assert_eq!(wrong.beginnings(), [0x16], "TLS once, and then never again");
        let links = capulet.handle().links();
        assert_eq!(links.len(), 1, "{links:#?}");
        assert_eq!(links[0].peer_address, ports(&montague)[0]);
        assert_eq!(links[0].transport, LinkTransport::StartTls);
        let _ = tokio::join!(capulet.shutdown(), quiet(&montague));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_says_how_a_connection_begins() {
    //= DTLS-01
    //= DTLS-02
    let authority = Authority::new();
    let montague = Engine::start(config(&authority, &["montague.lit"], &[]))
        .await
        .unwrap();
    let (first, second) = (Port::saying("").await, Port::saying("").await);
    let zone = Zone::default()
        .server("montague.lit", false, 1, first.address)
        .server("montague.lit", true, 2, second.address)
        .server("montague.lit", true, 3, ports(&montague)[1]);
    let capulet = dialling(&authority, zone).await;
    ping(&capulet).await;
    assert_eq!(first.beginnings(), [b'<'], "a stream header, and no TLS");
    assert_eq!(second.beginnings(), [0x16], "a ClientHello");
    let links = capulet.handle().links();
    assert_eq!(links.len(), 1, "{links:#?}");
    assert_eq!(links[0].peer_address, ports(&montague)[1]);
    assert_eq!(links[0].transport, LinkTransport::Tls);
}
