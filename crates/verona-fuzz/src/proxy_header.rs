//! The PROXY header: what it says must not depend on how it arrives, and nothing that is not exact is one. Whoever gets
//! a wrong one past the reader chooses whose connections are counted, limited and logged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use verona_proto::proxy_header::{BadHeader, HEADER_BYTES_MAX, Reading, read};

use crate::choices::Choices;

/// A choice of the beginning, then bytes.
pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let start: &[u8] = choices.one_of(&[b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", SIGNATURE]);
    let bytes = [start, choices.rest()].concat();
    let all = read(&bytes);
    is_decided_once(&bytes, all);
    match all {
        Ok(Reading::Whole { client, length }) => {
            let header = bytes.get(..length).expect("a header within what arrived");
            assert!(length <= HEADER_BYTES_MAX);
            match header.strip_prefix(SIGNATURE) {
                Some(rest) => block(rest, client),
                None => line(header, client),
            }
            if let Some(client) = client {
                written_again(client);
            }
        }
        Ok(Reading::Partial) => assert!(bytes.len() < HEADER_BYTES_MAX, "it never ends"),
        Err(_) => {}
    }
}

/// Byte after byte it goes on until it is whole or refused, and what comes then changes nothing.
fn is_decided_once(bytes: &[u8], all: Result<Reading, BadHeader>) {
    let mut decided = None;
    for end in 0..=bytes.len() {
        let now = read(bytes.get(..end).expect("a beginning"));
        match decided {
            None if now != Ok(Reading::Partial) => {
                if let Ok(Reading::Whole { length, .. }) = now {
                    assert_eq!(length, end, "it was whole before");
                }
                decided = Some(now);
            }
            None => {}
            Some(before) => assert_eq!(now, before, "after {end} bytes"),
        }
    }
    assert_eq!(decided.unwrap_or(Ok(Reading::Partial)), all);
}

/// The line is the one that a proxy writes for that client, letter by letter; IPv6 has several spellings.
fn line(header: &[u8], client: Option<SocketAddr>) {
    let text = std::str::from_utf8(header).expect("a line of text");
    let fields: Vec<&str> = text
        .strip_suffix("\r\n")
        .expect("CRLF")
        .split(' ')
        .collect();
    assert!(
        text.len() <= 107 && !text.trim_end().contains('\n'),
        "{text:?}"
    );
    let Some(client) = client else {
        assert_eq!(fields.get(..2), Some(["PROXY", "UNKNOWN"].as_slice()));
        return;
    };
    let [_, kind, source, destination, from, to] = fields[..] else {
        panic!("{text:?} has not six fields");
    };
    assert_eq!(from, client.port().to_string());
    assert_eq!(to, to.parse::<u16>().expect("a port").to_string());
    match client.ip() {
        IpAddr::V4(v4) => {
            assert_eq!((kind, source), ("TCP4", v4.to_string().as_str()));
            let destination_read: Ipv4Addr = destination.parse().expect("an address");
            assert_eq!(destination, destination_read.to_string());
        }
        IpAddr::V6(v6) => {
            assert_eq!(kind, "TCP6");
            assert_eq!(source.parse(), Ok(v6));
            destination.parse::<Ipv6Addr>().expect("an address");
        }
    }
}

/// The block has the version, and the client only where it relays TCP over the Internet.
fn block(rest: &[u8], client: Option<SocketAddr>) {
    let [command, family, high, low, addresses @ ..] = rest else {
        panic!("a block of {} bytes", rest.len());
    };
    assert_eq!(usize::from(*high) << 8 | usize::from(*low), addresses.len());
    let expected = match (command, family) {
        (0x21, 0x11) => {
            let [a, b, c, d, _, _, _, _, high, low, ..] = addresses else {
                panic!("no room for the addresses");
            };
            let port = u16::from(*high) << 8 | u16::from(*low);
            Some(SocketAddr::new(Ipv4Addr::new(*a, *b, *c, *d).into(), port))
        }
        (0x21, 0x21) => {
            let address = addresses.first_chunk::<16>().expect("room for the address");
            let (high, low) = (addresses[32], addresses[33]);
            let port = u16::from(high) << 8 | u16::from(low);
            Some(SocketAddr::new(Ipv6Addr::from(*address).into(), port))
        }
        (0x20 | 0x21, _) => None,
        (other, _) => panic!("{other:#04x} is no command"),
    };
    assert_eq!(client, expected);
}

/// What was read can be written, and is read as the same.
fn written_again(client: SocketAddr) {
    let kind = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (address, port) = (client.ip(), client.port());
    let line = format!("PROXY {kind} {address} {address} {port} 5269\r\n");
    let whole = Reading::Whole {
        client: Some(client),
        length: line.len(),
    };
    assert_eq!(read(line.as_bytes()), Ok(whole), "{line:?}");
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
