//! TLS that is optional, and a peer that has none any more: somebody in the way may have taken it out (DB-41).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use verona::status::LinkTransport;
use verona::{Config, LearnedPeer};
use verona_proto::dialback::{IssuedKeys, Secret};
use verona_proto::policy::TlsPolicy;

use crate::certificate::Certificate;
use crate::server::{Server, WAIT, end, talk};
use crate::world::{CAPULET, MONTAGUE, World, domain};

fn optional(world: &World, name: &str, shown: Option<&Certificate>) -> Config {
    let mut config = world.config(name, shown);
    config.policy.defaults.tls = TlsPolicy::Optional;
    config
}

/// capulet.lit, which knows this.
async fn capulet(world: &World, learned: Vec<LearnedPeer>) -> Server {
    let mut config = optional(world, CAPULET, Some(&world.authority.issue(CAPULET)));
    config.learned = learned;
    Server::start(config).await
}

/// What capulet.lit knows of montague.lit, which met it with a good certificate.
async fn acquainted(world: &World) -> Vec<LearnedPeer> {
    let mut capulet = capulet(world, Vec::new()).await;
    let good = world.authority.issue(MONTAGUE);
    let mut montague = Server::start(optional(world, MONTAGUE, Some(&good))).await;
    talk(&mut capulet, &mut montague).await;
    let known = capulet.peer().learned;
    assert_eq!(known.proven.len(), 1);
    end(capulet, montague).await;
    vec![known]
}

#[tokio::test]
async fn a_server_without_tls_is_not_the_one_that_had_a_certificate() {
    //= TLS-34
    //= BIDI-23
    let world = World::new();
    let learned = acquainted(&world).await;
    let mut montague = Server::start(optional(&world, MONTAGUE, None)).await;
    let mut knowing = capulet(&world, learned).await;
    let bounce = knowing.bounce().await;
    for told in [&bounce, &knowing.failure().cause] {
        assert!(
            told.contains("proved itself by its certificate in the last 30 days and offers only dns (the connection is not encrypted)"),
            "{told}"
        );
        assert!(told.contains("`verona forget DOMAIN`"), "{told}");
    }
    knowing.end().await;
    // Whoever has not seen it before takes it as it is.
    let mut new = capulet(&world, Vec::new()).await;
    talk(&mut new, &mut montague).await;
    assert_eq!(new.link().transport, LinkTransport::Plain);
    end(new, montague).await;
}

#[tokio::test]
async fn a_peer_that_dials_without_tls_is_not_the_one_that_had_a_certificate() {
    //= TLS-34
    //= DB-41
    let world = World::new();
    let learned = acquainted(&world).await;
    // The real one is there, and vouches for the key, which is its own.
    let mut real = optional(&world, MONTAGUE, Some(&world.authority.issue(MONTAGUE)));
    real.dialback_secret = Some(Secret::new(SECRET));
    real.issued_keys = IssuedKeys::shared_secret();
    let montague = Server::start(real).await;
    for (learned, answer) in [
        (learned, "<policy-violation "),
        (Vec::new(), "type='valid'"),
    ] {
        let capulet = capulet(&world, learned).await;
        let told = ask_without_tls(&world).await;
        assert!(told.contains(answer), "{told}");
        capulet.end().await;
    }
    montague.end().await;
}

/// What capulet.lit answers to a key that comes without TLS.
async fn ask_without_tls(world: &World) -> String {
    let mut tcp = TcpStream::connect(world.place(CAPULET)).await.unwrap();
    let header = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
        xmlns:stream='http://etherx.jabber.org/streams' from='montague.lit' to='capulet.lit' version='1.0'>";
    tcp.write_all(header.as_bytes()).await.unwrap();
    let opened = until(&mut tcp, "</stream:features>").await;
    let (_, id) = opened.split_once(" id='").unwrap();
    let (id, _) = id.split_once('\'').unwrap();
    let key = Secret::new(SECRET).key(&domain(CAPULET), &domain(MONTAGUE), id);
    let request = format!("<db:result from='montague.lit' to='capulet.lit'>{key}</db:result>");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let answer = until(&mut tcp, ">").await;
    match answer.ends_with("/>") {
        true => answer,
        false => answer + &until(&mut tcp, "</db:result>").await,
    }
}

async fn until(tcp: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let byte = timeout(WAIT, tcp.read_u8()).await.expect(end);
        text.push(char::from(byte.unwrap()));
    }
    text
}

const SECRET: &str = "a rose by any other name";
