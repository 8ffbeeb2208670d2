//! What comes of bytes that are not TLS, not whole, or too many.

use rustls::{AlertDescription, Error, InvalidMessage};

use super::*;

const ROOM: usize = 256 * 1024;

#[tokio::test]
async fn an_end_without_close_notify_is_told_from_one_with() {
    for (we, version) in settings() {
        for cut in [false, true] {
            let (mut ours, mut peer) = meet(we, version, ROOM, Sizes::Exactly(ROOM)).await;
            let whole = ciphertext(&mut peer, b"farewell");
            raw(&mut peer, &whole).await;
            if cut {
                let part = ciphertext(&mut peer, b"and more");
                raw(&mut peer, &part[..10]).await;
            }
            drop(peer);
            let mut received = [0; 8];
            ours.read_exact(&mut received).await.unwrap();
            assert_eq!(&received, b"farewell");
            for _ in 0..2 {
                let error = ours.read(&mut received).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
        }
    }
}

#[tokio::test]
async fn a_corrupted_record_ends_it_and_the_peer_is_told() {
    for (we, version) in settings() {
        for index in [5, 20, 60] {
            let (mut ours, mut peer) = meet(we, version, ROOM, Sizes::Exactly(ROOM)).await;
            let mut bytes = ciphertext(&mut peer, b"true");
            let before = bytes.len();
            bytes.extend(ciphertext(&mut peer, &[b'x'; 100]));
            bytes[before + index] ^= 1;
            bytes.extend(ciphertext(&mut peer, b"never seen"));
            raw(&mut peer, &bytes).await;
            let mut received = [0; 100];
            assert_eq!(ours.read(&mut received).await.unwrap(), 4);
            assert_eq!(&received[..4], b"true");
            for _ in 0..2 {
                let error = ours.read(&mut received).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                assert_eq!(reason(&error), &Error::DecryptError, "{we:?}");
            }
            let error = ours.write(b"to nobody").await.unwrap_err();
            assert_eq!(reason(&error), &Error::DecryptError);
            ours.shutdown().await.unwrap();
            let error = peer.read(&mut received).await.unwrap_err();
            let alert = Error::AlertReceived(AlertDescription::BadRecordMac);
            assert_eq!(reason(&error), &alert);
            assert_eq!(ours.buffered(), 0);
        }
    }
}

#[tokio::test]
async fn a_record_that_claims_too_much_is_refused_by_its_header() {
    for (we, version) in settings() {
        let (mut ours, mut peer) = meet(we, version, ROOM, Sizes::Exactly(1)).await;
        raw(&mut peer, &[23, 3, 3, 0x48, 0x01]).await;
        let error = ours.read(&mut [0; 9]).await.unwrap_err();
        let too_large = Error::InvalidMessage(InvalidMessage::MessageTooLarge);
        assert_eq!(reason(&error), &too_large);
    }
}

/// How a handshake of ours fails with a peer that says `bytes` and ends; with what we answered.
async fn told(we: We, bytes: &[u8]) -> (String, io::Error, Vec<u8>) {
    let authority = Authority::new("An Authority");
    let tls = ours(&authority, &["verona.lit"]);
    let (here, mut there) = tokio::io::duplex(ROOM);
    there.write_all(bytes).await.unwrap();
    there.shutdown().await.unwrap();
    let outcome = match we {
        We::Accept => tls.accept(here, None, false).await,
        We::Connect => {
            let (local, remote) = (domain("verona.lit"), domain("montague.lit"));
            tls.connect(here, &local, &remote, false).await
        }
    };
    let error = outcome.unwrap_err();
    let text = error.to_string();
    let TlsError::Handshake { cause, .. } = error else {
        panic!("{text}");
    };
    let mut answered = Vec::new();
    there.read_to_end(&mut answered).await.unwrap();
    (text, cause, answered)
}

#[tokio::test]
async fn what_is_not_tls_is_told_so() {
    for we in [We::Accept, We::Connect] {
        let (text, cause, answered) = told(we, b"<?xml version='1.0'?>").await;
        assert!(text.contains("something that is not TLS"), "{text}");
        assert_eq!(cause.kind(), io::ErrorKind::InvalidData);
        let wrong = Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(reason(&cause), &wrong);
        // A fatal alert: decode_error.
        assert!(answered.ends_with(&[0, 2, 2, 50]), "{answered:?}");
        let (text, cause, _) = told(we, &[]).await;
        assert_eq!(cause.kind(), io::ErrorKind::UnexpectedEof);
        assert!(text.contains("it closed the connection"), "{text}");
        let (text, cause, _) = told(we, &[21, 3, 3, 0, 2, 2, 112]).await;
        let alert = Error::AlertReceived(AlertDescription::UnrecognisedName);
        assert_eq!(reason(&cause), &alert);
        assert!(text.contains("it has no certificate for"), "{text}");
    }
}

#[tokio::test]
async fn a_handshake_message_is_bounded() {
    for we in [We::Accept, We::Connect] {
        let kind = match we {
            We::Accept => 1,
            We::Connect => 2,
        };
        // One that says that it is too large, and one that is so by the records in which it comes.
        let announced = [22, 3, 3, 0, 4, kind, 1, 0, 0];
        let mut message = vec![kind, 0, 0xff, 0xff];
        message.resize(4 + 0xffff, 0);
        let mut in_pieces = Vec::new();
        for piece in message[..65_000].chunks(100) {
            in_pieces.extend([22, 3, 3, 0, 100]);
            in_pieces.extend(piece);
        }
        for bytes in [&announced[..], &in_pieces] {
            let (text, cause, _) = told(we, bytes).await;
            let too_large = Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge);
            assert_eq!(reason(&cause), &too_large);
            assert!(text.contains("more than 64 KiB"), "{text}");
        }
    }
}

#[tokio::test]
async fn key_updates_without_end_are_refused() {
    for we in [We::Accept, We::Connect] {
        let (mut ours, mut peer) = meet(we, VERSIONS[1], ROOM, Sizes::Exactly(ROOM)).await;
        for _ in 0..1000 {
            refresh_keys(&mut peer);
        }
        let bytes = ciphertext(&mut peer, b"x");
        raw(&mut peer, &bytes).await;
        let error = ours.read(&mut [0; 9]).await.unwrap_err();
        assert!(
            matches!(reason(&error), Error::PeerMisbehaved(_)),
            "{error:?}"
        );
        assert_eq!(ours.buffered(), 0);
    }
}

#[tokio::test]
async fn no_garbled_hello_hangs_or_panics() {
    let hello = {
        let name = ServerName::try_from("verona.lit").unwrap();
        let config = Arc::new(connecting(VERSIONS[1], None));
        let mut protocol = rustls::ClientConnection::new(config, name).unwrap();
        let mut bytes = Vec::new();
        protocol.write_tls(&mut bytes).unwrap();
        bytes
    };
    let mut random = Random::new(5);
    for _ in 0..400 {
        let mut bytes = hello.clone();
        for _ in 0..=random.below(3) {
            let index = random.below(bytes.len());
            bytes[index] ^= u8::try_from(1 + random.below(255)).unwrap();
        }
        told(We::Accept, &bytes).await;
        told(We::Connect, &bytes).await;
    }
}

#[tokio::test]
async fn no_garbled_record_hangs_panics_or_is_believed() {
    for (we, version) in settings() {
        for seed in 0..60 {
            let mut random = Random::new(seed);
            let piece = 1 + random.below(300);
            let sizes = Sizes::Random(Random::new(seed + 1000), piece);
            let (mut ours, mut peer) = meet(we, version, ROOM, sizes).await;
            let mut bytes = Vec::new();
            let mut sent = Vec::new();
            for _ in 0..4 {
                let size = 1 + random.below(200);
                let plaintext = random.bytes(size);
                bytes.extend(ciphertext(&mut peer, &plaintext));
                sent.extend(plaintext);
            }
            let index = random.below(bytes.len());
            bytes[index] ^= u8::try_from(1 + random.below(255)).unwrap();
            raw(&mut peer, &bytes).await;
            drop(peer);
            let mut received = Vec::new();
            // An end, told or not, and nothing but what was sent before it.
            ours.read_to_end(&mut received).await.unwrap_err();
            assert!(sent.starts_with(&received), "{seed} {we:?}");
            let _ = ours.write(b"x").await;
            let _ = ours.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_within_a_write_takes_nothing_more() {
    for (we, version) in settings() {
        for takes in [0, 1, 40, 150] {
            let (mut ours, mut peer) = meet(we, version, ROOM, Sizes::Exactly(30)).await;
            ours.connection().takes = takes;
            let mut failed = false;
            for piece in [[b'a'; 100], [b'b'; 100], [b'c'; 100]] {
                let written = match ours.write_all(&piece).await {
                    Ok(()) => ours.flush().await,
                    Err(error) => Err(error),
                };
                assert!(written.is_err() || !failed, "it works again");
                failed |= written.is_err();
            }
            assert!(failed);
            // A record that was lost has nothing behind it.
            drop(ours);
            let mut received = Vec::new();
            let _ = peer.read_to_end(&mut received).await;
            let whole = [[b'a'; 100], [b'b'; 100], [b'c'; 100]].concat();
            assert!(whole.starts_with(&received) && received.len() <= takes);
        }
    }
}
