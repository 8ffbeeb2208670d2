//! Headers made from the specification (haproxy's `proxy-protocol.txt`), whole, cut anywhere, and spoilt.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

fn whole(bytes: &[u8]) -> Result<Option<SocketAddr>, BadHeader> {
    match read(bytes)? {
        Reading::Whole { client, length } => {
            assert_eq!(length, bytes.len(), "{}", bytes.escape_ascii());
            Ok(client)
        }
        Reading::Partial => panic!("{} goes on", bytes.escape_ascii()),
    }
}

/// A header of version 2.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [
        b"\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A",
        &[command, family][..],
        &length,
        rest,
    ]
    .concat()
}

fn at(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

/// Addresses of a connection from 192.0.2.7:40000 to 192.0.2.1:5269.
const V4: &[u8] = &[192, 0, 2, 7, 192, 0, 2, 1, 0x9c, 0x40, 0x14, 0x95];
/// The same from 2001:db8::7.
const V6: &[u8] = &[
    0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 1, 0x9c, 0x40, 0x14, 0x95,
];

#[test]
fn lines_name_the_client() {
    for (line, client) in [
        // The example of §2.1 and the longest lines of each kind.
        (
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
            at("192.168.0.1:56324"),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            at("255.255.255.255:65535"),
        ),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            at("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        ),
        ("PROXY TCP6 2001:DB8::7 ::1 1 0\r\n", at("[2001:db8::7]:1")),
        ("PROXY UNKNOWN\r\n", None),
        (
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            None,
        ),
        ("PROXY UNKNOWN a b c d e f g h  \r\n", None),
    ] {
        assert_eq!(whole(line.as_bytes()), Ok(client), "{line}");
    }
}

#[test]
fn lines_that_are_not_exact_are_refused() {
    for line in [
        "PROXY  TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
        "PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 2 \r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 -1 2\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 00\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 \r\n",
        "PROXY TCP4 192.0.2.07 192.0.2.1 1 2\r\n",
        "PROXY TCP4 192.0.2 192.0.2.1 1 2\r\n",
        "PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
        "PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
        "PROXY TCP6 2001:db8::7 192.0.2.1 1 2\r\n",
        "PROXY TCP6 2001:db8::7%1 2001:db8::1 1 2\r\n",
        "PROXY TCP6 2001:db8:::7 2001:db8::1 1 2\r\n",
        "PROXY tcp4 192.0.2.7 192.0.2.1 1 2\r\n",
        "PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWN\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\u{e4}\r\n",
    ] {
        assert_eq!(whole(line.as_bytes()), Err(BadHeader::Line), "{line}");
    }
    assert_eq!(
        whole(b"PROXY UNKNOWN \xff\r\n"),
        Err(BadHeader::Line),
        "it is text"
    );
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert_eq!(whole(long.as_bytes()), Ok(None), "107 bytes");
    let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 15));
    assert_eq!(read(longer.as_bytes()), Err(BadHeader::TooLong));
    assert_eq!(
        read(&longer.as_bytes()[..106]),
        Ok(Reading::Partial),
        "a line feed may still come"
    );
}

#[test]
fn blocks_name_the_client() {
    let unix = [b'/'; 216];
    let with_tlvs =
        |addresses: &[u8]| [addresses, &[0x03, 0, 4, 1, 2, 3, 4, 0x04, 0, 1, 0]].concat();
    for (command, family, rest, client) in [
        (0x21, 0x11, V4.to_vec(), at("192.0.2.7:40000")),
        (0x21, 0x21, V6.to_vec(), at("[2001:db8::7]:40000")),
        (0x21, 0x11, with_tlvs(V4), at("192.0.2.7:40000")),
        (0x21, 0x21, with_tlvs(V6), at("[2001:db8::7]:40000")),
        // A health check says nothing of addresses, or says something that does not count.
        (0x20, 0x00, vec![], None),
        (0x20, 0x11, V4.to_vec(), None),
        (0x20, 0xff, vec![1, 2, 3], None),
        // No Internet address, or none of a TCP connection.
        (0x21, 0x00, vec![], None),
        (0x21, 0x00, with_tlvs(&[]), None),
        (0x21, 0x31, unix.to_vec(), None),
        (0x21, 0x32, with_tlvs(&unix), None),
        (0x21, 0x12, V4.to_vec(), None),
        (0x21, 0x22, V6.to_vec(), None),
        (0x21, 0x10, V4.to_vec(), None),
        (0x21, 0x01, V4.to_vec(), None),
    ] {
        let header = v2(command, family, &rest);
        assert_eq!(whole(&header), Ok(client), "{}", header.escape_ascii());
    }
}

#[test]
fn blocks_that_are_not_exact_are_refused() {
    for (command, family, rest, error) in [
        (0x11, 0x11, V4, BadHeader::Unknown(0x11)),
        (0x31, 0x11, V4, BadHeader::Unknown(0x31)),
        (0x22, 0x11, V4, BadHeader::Unknown(0x22)),
        (0x2f, 0x00, &[], BadHeader::Unknown(0x2f)),
        (0x21, 0x41, V6, BadHeader::Unknown(0x41)),
        (0x21, 0x13, V4, BadHeader::Unknown(0x13)),
        (0x21, 0x11, &V4[..11], BadHeader::TooShort),
        (0x21, 0x21, &V6[..35], BadHeader::TooShort),
        (0x21, 0x21, V4, BadHeader::TooShort),
        (0x21, 0x31, V6, BadHeader::TooShort),
        (0x21, 0x12, &[], BadHeader::TooShort),
    ] {
        let header = v2(command, family, rest);
        assert_eq!(whole(&header), Err(error), "{}", header.escape_ascii());
    }
    let longest = v2(0x21, 0x11, &[V4, &[0; 4096 - 16 - 12]].concat());
    assert_eq!(whole(&longest), Ok(at("192.0.2.7:40000")));
    let longer = v2(0x21, 0x11, &[V4, &[0; 4096 - 16 - 11]].concat());
    assert_eq!(
        read(&longer[..16]),
        Err(BadHeader::TooLong),
        "nobody has to wait for the end of it"
    );
}

#[test]
fn other_beginnings_are_no_header() {
    for bytes in [
        &b"<?xml version='1.0'?>"[..],
        b" ",
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        b"proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXYTCP4",
        b"PROXY\r\n",
        b"\r\n\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\r\n",
        b"\0",
    ] {
        assert_eq!(
            read(bytes),
            Err(BadHeader::Absent),
            "{}",
            bytes.escape_ascii()
        );
    }
}

fn any_header() -> impl Strategy<Value = Vec<u8>> {
    let client = (any::<IpAddr>(), any::<u16>(), any::<u16>());
    let line = client.prop_map(|(address, from, to)| {
        let kind = if address.is_ipv4() { "TCP4" } else { "TCP6" };
        format!("PROXY {kind} {address} {address} {from} {to}\r\n").into_bytes()
    });
    let block = (
        0x20..=0x21_u8,
        0..4_u8,
        0..3_u8,
        prop::collection::vec(any::<u8>(), 216..400),
    )
        .prop_map(|(command, family, transport, rest)| v2(command, family << 4 | transport, &rest));
    prop_oneof![line, block]
}

proptest! {
    #[test]
    fn a_client_that_is_written_is_read(address: IpAddr, port: u16, to: u16) {
        let client = Some(SocketAddr::new(address, port));
        let (kind, family, octets) = match address {
            IpAddr::V4(v4) => ("TCP4", 0x11, v4.octets().to_vec()),
            IpAddr::V6(v6) => ("TCP6", 0x21, v6.octets().to_vec()),
        };
        let line = format!("PROXY {kind} {address} {address} {port} {to}\r\n");
        prop_assert_eq!(whole(line.as_bytes()), Ok(client));
        let ports = [port.to_be_bytes(), to.to_be_bytes()].concat();
        let block = v2(0x21, family, &[octets.clone(), octets, ports].concat());
        prop_assert_eq!(whole(&block), Ok(client));
    }

    /// Every beginning goes on, and what follows the header changes nothing.
    #[test]
    fn it_is_read_alike_however_it_arrives(header in any_header(), more: Vec<u8>) {
        let all = read(&header).unwrap();
        for cut in 0..header.len() {
            prop_assert_eq!(read(&header[..cut]), Ok(Reading::Partial));
        }
        prop_assert_eq!(read(&[header, more].concat()), Ok(all));
    }

    /// Once refused is refused for good, and nobody has to keep more than the bound.
    #[test]
    fn what_is_refused_stays_refused(bytes in spoilt(), more: Vec<u8>) {
        let longer = [bytes.clone(), more].concat();
        match read(&bytes) {
            Err(error) => prop_assert_eq!(read(&longer), Err(error)),
            Ok(Reading::Whole { length, .. }) => prop_assert!(length <= bytes.len()),
            Ok(Reading::Partial) => prop_assert!(bytes.len() < HEADER_BYTES_MAX),
        }
    }
}

/// A header with one byte changed, or any bytes behind a good beginning.
fn spoilt() -> impl Strategy<Value = Vec<u8>> {
    let changed = (any_header(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(mut header, index, byte)| {
            let at = index.index(header.len());
            header[at] = byte;
            header
        },
    );
    let behind = (
        prop_oneof![Just(LINE_START), Just(SIGNATURE)],
        prop::collection::vec(any::<u8>(), 0..300),
    )
        .prop_map(|(start, rest)| [start, &rest].concat());
    prop_oneof![changed, behind]
}
