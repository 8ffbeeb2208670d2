//! The network itself: when what arrives where, and who notices what.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::*;

const ROAD: Road = Road {
    latency: Duration::from_millis(50),
    bytes_per_second: None,
    buffer: 1000,
    dark: false,
};

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, last], 5269))
}

/// Two hosts, and a connection from the first to the second.
async fn pair() -> (Network, Pipe, Pipe) {
    let network = Network::new(ROAD);
    let (_, mut accepted) = network.listen(address(2)).unwrap();
    let dialled = network
        .dial(Some(address(1).ip()), address(2))
        .await
        .unwrap();
    (network, dialled, accepted.recv().await.unwrap())
}

fn ends() -> (IpAddr, IpAddr) {
    (address(1).ip(), address(2).ip())
}

async fn read(pipe: &mut Pipe, bytes: usize) -> Vec<u8> {
    let mut seen = vec![0; bytes];
    pipe.read_exact(&mut seen).await.unwrap();
    seen
}

#[tokio::test(start_paused = true)]
async fn what_is_written_arrives_in_order_and_later() {
    let (network, mut here, mut there) = pair().await;
    let begun = Instant::now();
    here.write_all(b"one ").await.unwrap();
    here.write_all(b"two").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(read(&mut there, 7).await, b"one two");
    assert_eq!(begun.elapsed(), ROAD.latency);
    // A slow road takes its time for every byte.
    let (from, to) = ends();
    network.pave(from, to, |road| road.bytes_per_second = Some(100));
    here.write_all(&[0; 200]).await.unwrap();
    read(&mut there, 200).await;
    assert_eq!(begun.elapsed(), ROAD.latency * 2 + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_for_a_reader_when_the_buffers_are_full() {
    let (_network, mut here, mut there) = pair().await;
    here.write_all(&[0; 1000]).await.unwrap();
    let more = timeout(Duration::from_secs(600), here.write_all(b"x")).await;
    assert!(more.is_err());
    let (written, _) = tokio::join!(here.write_all(&[0; 500]), read(&mut there, 1500));
    written.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cut_lets_so_many_bytes_through_and_tells_whom_it_should() {
    for notices in [Notices::Both, Notices::Reader, Notices::Writer] {
        for after in [0, 1, 399, 400] {
            let (network, mut here, mut there) = pair().await;
            let (from, to) = ends();
            network.cut(from, to, Cut { after, notices });
            let begun = Instant::now();
            here.write_all(&[1; 400]).await.unwrap();
            let mut seen = Vec::new();
            let error = there.read_to_end(&mut seen).await.unwrap_err();
            assert_eq!(u64::try_from(seen.len()).unwrap(), after);
            assert_eq!(network.counts().cut, 1);
            let told = begun.elapsed() < Duration::from_secs(1);
            match notices {
                Notices::Both | Notices::Reader => assert!(told, "{error}"),
                Notices::Writer => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            }
            let begun = Instant::now();
            let error = here.read(&mut [0]).await.unwrap_err();
            match notices {
                Notices::Both | Notices::Writer => {
                    assert_eq!(begun.elapsed().as_secs(), 0, "{error}");
                }
                Notices::Reader => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_writes_on_a_connection_that_only_the_other_knows_to_be_broken_is_told() {
    let (network, mut here, mut there) = pair().await;
    let (from, to) = ends();
    let notices = Notices::Reader;
    network.cut(from, to, Cut { after: 3, notices });
    here.write_all(b"three").await.unwrap();
    assert_eq!(read(&mut there, 3).await, b"thr");
    here.write_all(b"more").await.unwrap();
    let error = here.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn a_dark_road_holds_what_is_sent_and_breaks_the_connection_in_the_end() {
    let (network, mut here, mut there) = pair().await;
    let (from, to) = ends();
    network.pave(from, to, |road| road.dark = true);
    here.write_all(b"held").await.unwrap();
    let mut seen = [0; 4];
    let early = timeout(Duration::from_secs(60), there.read_exact(&mut seen)).await;
    assert!(early.is_err());
    network.pave(from, to, |road| road.dark = false);
    assert_eq!(read(&mut there, 4).await, b"held");

    network.pave(from, to, |road| road.dark = true);
    let begun = Instant::now();
    let (a, b) = (here.read(&mut [0]).await, there.read(&mut [0]).await);
    assert_eq!(begun.elapsed(), SILENCE);
    for end in [a, b] {
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
    // Nobody gets through, until it is lit again.
    let dialling = network.dial(Some(from), address(2));
    assert!(timeout(Duration::from_secs(60), dialling).await.is_err());
    network.pave(from, to, |road| road.dark = false);
    let (_, mut accepted) = network.listen(SocketAddr::new(to, 1)).unwrap();
    network
        .dial(Some(from), SocketAddr::new(to, 1))
        .await
        .unwrap();
    accepted.recv().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_dropped_says_so_unless_it_has_no_power() {
    let (_network, here, mut there) = pair().await;
    drop(here);
    assert_eq!(there.read(&mut [0]).await.unwrap(), 0);
    // With something unread, by a reset.
    let (_network, here, mut there) = pair().await;
    there.write_all(b"unread").await.unwrap();
    drop(here);
    let error = there.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    let (network, here, mut there) = pair().await;
    network.power_off(address(1).ip());
    drop(here);
    assert!(
        timeout(Duration::from_secs(60), there.read(&mut [0]))
            .await
            .is_err()
    );
    there.write_all(b"anybody?").await.unwrap();
    assert!(
        timeout(Duration::from_secs(10), there.read(&mut [0]))
            .await
            .is_err()
    );
    network.power_on(address(1).ip());
    there.write_all(b"anybody?").await.unwrap();
    let error = there.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn nobody_who_does_not_listen_is_reached() {
    let network = Network::new(ROAD);
    let begun = Instant::now();
    let refused = network.dial(Some(address(1).ip()), address(2)).await;
    assert_eq!(
        refused.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
    assert_eq!(begun.elapsed(), ROAD.latency * 2);
    let (_, accepted) = network.listen(address(2)).unwrap();
    assert!(network.listen(address(2)).is_err());
    drop(accepted);
    assert!(
        network
            .dial(Some(address(1).ip()), address(2))
            .await
            .is_err()
    );
    assert_eq!(network.counts().refused, 2);
    assert_eq!(network.open(address(1).ip()), 0);
}
