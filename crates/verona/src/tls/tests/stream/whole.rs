//! What arrives is what was sent, whatever the pieces.

use tokio::io::{ReadHalf, WriteHalf};

use super::*;

const ROOM: usize = 256 * 1024;
/// The tickets of a server have to fit into the pipe, for nobody reads them before both have shaken hands.
const TICKETS: usize = 1000;

#[tokio::test]
async fn bytes_may_come_and_go_one_by_one() {
    for (we, version) in settings() {
        let (mut ours, mut peer) = meet(we, version, ROOM, Sizes::Exactly(1)).await;
        let sent = Random::new(1).bytes(20_000);
        let mut received = vec![0; sent.len()];
        peer.write_all(&sent).await.unwrap();
        peer.flush().await.unwrap();
        ours.read_exact(&mut received).await.unwrap();
        assert!(received == sent, "{we:?}");
        ours.write_all(&sent).await.unwrap();
        ours.flush().await.unwrap();
        received.fill(0);
        peer.read_exact(&mut received).await.unwrap();
        assert!(received == sent, "{we:?}");
        assert_eq!(ours.buffered(), 0, "an idle connection holds no buffer");
    }
}

#[tokio::test]
async fn a_record_may_be_cut_at_each_byte() {
    for (we, version) in settings() {
        let (mut ours, mut peer) = meet(we, version, ROOM, Sizes::Exactly(ROOM)).await;
        let mut cut = 0;
        loop {
            let mut bytes = ciphertext(&mut peer, b"Two households, ");
            bytes.extend(ciphertext(&mut peer, b"both alike in dignity"));
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            raw(&mut peer, first).await;
            let mut received = [0; 64];
            let early = once(ours.read(&mut received)).await;
            let early = early.map_or(0, Result::unwrap);
            raw(&mut peer, second).await;
            let whole = b"Two households, both alike in dignity";
            ours.read_exact(&mut received[early..whole.len()])
                .await
                .unwrap();
            assert_eq!(&received[..whole.len()], whole, "{we:?}, cut at {cut}");
            if second.is_empty() {
                break;
            }
            cut += 1;
        }
        assert_eq!(ours.buffered(), 0);
    }
}

#[tokio::test]
async fn a_read_gives_no_more_than_it_is_asked_for() {
    for (we, version) in settings() {
        let (mut ours, mut peer) = meet(we, version, ROOM, Sizes::Exactly(ROOM)).await;
        let sent = Random::new(2).bytes(100_000);
        peer.write_all(&sent).await.unwrap();
        peer.flush().await.unwrap();
        let mut received = Vec::new();
        for most in [1, 7, 1000, 16 * 1024].into_iter().cycle() {
            let mut piece = vec![0; most];
            let count = ours.read(&mut piece).await.unwrap();
            assert!((1..=most).contains(&count));
            received.extend_from_slice(&piece[..count]);
            // What one read takes, and the record that it completes.
            assert!(ours.buffered() <= 4 * 17 * 1024, "{}", ours.buffered());
            if received.len() == sent.len() {
                break;
            }
        }
        assert!(received == sent);
        assert_eq!(ours.buffered(), 0);
    }
}

#[tokio::test]
async fn much_may_go_both_ways_at_once_through_a_narrow_pipe() {
    for (we, version) in settings() {
        for (room, sizes) in [(TICKETS, Sizes::Exactly(13)), (5000, Sizes::Exactly(4999))] {
            let (ours, peer) = meet(we, version, room, sizes).await;
            let forth = Random::new(3).bytes(300_000);
            let back = Random::new(4).bytes(300_000);
            let (our_reader, our_writer) = tokio::io::split(ours);
            let (peer_reader, peer_writer) = tokio::io::split(peer);
            let (got_back, our_writer, got_forth, peer_writer) = tokio::join!(
                all(our_reader, back.len()),
                send(our_writer, &forth),
                all(peer_reader, forth.len()),
                send(peer_writer, &back),
            );
            assert!(got_forth.0 == forth && got_back.0 == back, "{we:?}");
            let ours = got_back.1.unsplit(our_writer);
            assert_eq!(ours.buffered(), 0);
            drop((got_forth.1, peer_writer));
        }
    }
}

async fn all<IO: AsyncRead + AsyncWrite>(
    mut reader: ReadHalf<IO>,
    count: usize,
) -> (Vec<u8>, ReadHalf<IO>) {
    let mut received = vec![0; count];
    reader.read_exact(&mut received).await.unwrap();
    (received, reader)
}

async fn send<IO: AsyncRead + AsyncWrite>(
    mut writer: WriteHalf<IO>,
    bytes: &[u8],
) -> WriteHalf<IO> {
    writer.write_all(bytes).await.unwrap();
    writer.flush().await.unwrap();
    writer
}

#[tokio::test]
async fn close_notify_ends_one_direction_at_a_time() {
    //= TLS-28
    for (we, version) in settings() {
        let (mut ours, mut peer) = meet(we, version, ROOM, Sizes::Exactly(ROOM)).await;
        peer.write_all(b"farewell").await.unwrap();
        peer.shutdown().await.unwrap();
        let mut received = Vec::new();
        ours.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"farewell");
        assert_eq!(ours.read(&mut [0; 1]).await.unwrap(), 0);
        ours.write_all(b"so long").await.unwrap();
        ours.shutdown().await.unwrap();
        ours.shutdown().await.unwrap();
        received.clear();
        peer.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"so long");
        let late = ours.write(b"late").await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn what_follows_close_notify_is_ignored() {
    for (we, version) in settings() {
        let (mut ours, mut peer) = meet(we, version, ROOM, Sizes::Exactly(ROOM)).await;
        let mut bytes = ciphertext(&mut peer, b"farewell");
        match &mut peer {
            Peer::Client(stream) => {
                stream.get_mut().1.send_close_notify();
                stream.get_mut().1.write_tls(&mut bytes).unwrap();
            }
            Peer::Server(stream) => {
                stream.get_mut().1.send_close_notify();
                stream.get_mut().1.write_tls(&mut bytes).unwrap();
            }
        }
        bytes.extend(b"\x16\x03\x03nonsense");
        raw(&mut peer, &bytes).await;
        let mut received = Vec::new();
        ours.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"farewell");
        assert_eq!(ours.buffered(), 0);
    }
}

#[tokio::test]
async fn keys_are_changed_when_the_peer_asks() {
    for we in [We::Accept, We::Connect] {
        let (mut ours, mut peer) = meet(we, VERSIONS[1], ROOM, Sizes::Exactly(ROOM)).await;
        for round in 0..100_u8 {
            refresh_keys(&mut peer);
            peer.write_all(&[round; 3]).await.unwrap();
            peer.flush().await.unwrap();
            let mut received = [0; 3];
            ours.read_exact(&mut received).await.unwrap();
            assert_eq!(received, [round; 3]);
            ours.write_all(&[round; 5]).await.unwrap();
            ours.flush().await.unwrap();
            let mut received = [0; 5];
            peer.read_exact(&mut received).await.unwrap();
            assert_eq!(received, [round; 5]);
        }
        assert_eq!(ours.buffered(), 0);
    }
}

#[tokio::test]
async fn whatever_the_pieces_and_whoever_gives_up_nothing_is_lost() {
    for seed in 0..60 {
        for (we, version) in settings() {
            let mut random = Random::new(seed);
            let room = TICKETS + random.below(40_000);
            let piece = 1 + random.below(20_000);
            let chop = Sizes::Random(Random::new(seed + 1000), piece);
            let (ours, mut peer) = meet(we, version, room, chop).await;
            let forth_size = random.below(100_000);
            let forth = random.bytes(forth_size);
            let back_size = random.below(100_000);
            let back = random.bytes(back_size);
            let (mut reader, mut writer) = tokio::io::split(ours);
            let mut chance = Random::new(seed + 2000);
            let reading = async {
                let mut received = Vec::new();
                while received.len() < back.len() {
                    let mut piece = vec![0; 1 + chance.below(30_000)];
                    match once(reader.read(&mut piece)).await {
                        Some(count) => {
                            let count = count.unwrap();
                            assert!(count > 0);
                            received.extend_from_slice(&piece[..count]);
                        }
                        None => tokio::task::yield_now().await,
                    }
                }
                received
            };
            let mut choice = Random::new(seed + 3000);
            let writing = async {
                let mut rest = &forth[..];
                let mut is_flushed = false;
                while !rest.is_empty() || !is_flushed {
                    if choice.below(3) == 0 || rest.is_empty() {
                        is_flushed = once(writer.flush()).await.map(Result::unwrap).is_some();
                    } else {
                        let piece = &rest[..1 + choice.below(rest.len())];
                        let taken = once(writer.write(piece)).await;
                        rest = &rest[taken.map_or(0, Result::unwrap)..];
                        is_flushed = false;
                    }
                    tokio::task::yield_now().await;
                }
            };
            let other = async {
                let mut received = vec![0; forth.len()];
                let (mut reader, mut writer) = tokio::io::split(&mut peer);
                tokio::join!(
                    async { reader.read_exact(&mut received).await.unwrap() },
                    async {
                        writer.write_all(&back).await.unwrap();
                        writer.flush().await.unwrap();
                    },
                );
                received
            };
            let (got_back, (), got_forth) = tokio::join!(reading, writing, other);
            assert!(got_back == back && got_forth == forth, "{seed} {we:?}");
            assert_eq!(reader.unsplit(writer).buffered(), 0, "{seed} {we:?}");
        }
    }
}

#[tokio::test]
async fn what_comes_with_the_last_of_the_handshake_is_read_behind_it() {
    for version in VERSIONS {
        for closes in [false, true] {
            let authority = Authority::new("An Authority");
            let tls = ours(&authority, &["verona.lit"]);
            let own = authority.issue(&["montague.lit"], |_| {}).certified();
            let (here, there) = tokio::io::duplex(ROOM);
            let here = Chopped::new(here, Sizes::Exactly(ROOM));
            let connector = TlsConnector::from(Arc::new(connecting(version, Some(own))));
            let name = ServerName::try_from("verona.lit").unwrap();
            let mut accepting = Box::pin(tls.accept(here, None, false));
            let mut connecting = Box::pin(connector.connect(name, there));
            let mut accepted = None;
            let mut peer = loop {
                if let Some(peer) = once(&mut connecting).await {
                    break peer.unwrap();
                }
                if accepted.is_none() {
                    accepted = once(&mut accepting).await;
                }
            };
            peer.write_all(b"at once").await.unwrap();
            peer.flush().await.unwrap();
            if closes {
                peer.shutdown().await.unwrap();
            }
            let accepted = match accepted {
                Some(accepted) => accepted,
                None => accepting.await,
            };
            let (mut ours, _) = accepted.unwrap();
            let mut received = [0; 7];
            ours.read_exact(&mut received).await.unwrap();
            assert_eq!(&received, b"at once", "{version:?}");
            if closes {
                assert_eq!(ours.read(&mut received).await.unwrap(), 0);
            }
            assert_eq!(ours.buffered(), 0);
        }
    }
}
