//! The header that a proxy puts in front of a connection (the PROXY protocol, versions 1 and 2): whose connection it is.
//!
//! Exact where other readers are lenient, for whoever writes this header says who is counted, limited and logged.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reads the header at the beginning of `bytes`: all that has arrived so far, and possibly what follows the header.
///
/// ```
/// # use verona_proto::proxy_header::{Reading, read};
/// let arrived = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 5269\r\n<?xml version='1.0'?>";
/// let client = Some("192.0.2.7:40000".parse().unwrap());
/// assert_eq!(read(arrived), Ok(Reading::Whole { client, length: 43 }));
/// assert_eq!(read(b"PROXY TCP4 192."), Ok(Reading::Partial));
/// assert!(read(b"<?xml version='1.0'?>").is_err());
/// ```
///
/// # Errors
/// [`BadHeader`] as soon as no further byte could make it a header.
pub fn read(bytes: &[u8]) -> Result<Reading, BadHeader> {
    if bytes.is_empty() {
        return Ok(Reading::Partial);
    }
    if is_beginning(bytes, LINE_START) {
        return line(bytes);
    }
    if is_beginning(bytes, SIGNATURE) {
        return block(bytes);
    }
    Err(BadHeader::Absent)
}

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Every byte so far belongs to it, and it goes on.
    Partial,
    /// It is there.
    Whole {
        /// The client whose connection the proxy relays. `None` when the proxy speaks for itself (a health check), or for
        /// somebody without an Internet address: then the connection counts as the proxy's own.
        client: Option<SocketAddr>,
        /// The bytes of the header; the client's own follow.
        length: usize,
    },
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// The bytes are something else.
    Absent,
    /// The line of version 1 is not as it has to be.
    Line,
    /// It has too many bytes.
    TooLong,
    /// A version, command, family or transport that does not exist; the byte.
    Unknown(u8),
    /// There is no room in it for the addresses that it announces.
    TooShort,
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("what came is no PROXY header"),
            Self::Line => f.write_str("its PROXY line (version 1) is malformed"),
            Self::TooLong => f.write_str("its PROXY header is too long"),
            Self::Unknown(byte) => write!(
                f,
                "its PROXY header (version 2) has the unknown version, command or family {byte:#04x}"
            ),
            Self::TooShort => {
                f.write_str("its PROXY header (version 2) is too short for its addresses")
            }
        }
    }
}

impl std::error::Error for BadHeader {}

/// Version 1: `PROXY TCP4 192.0.2.7 192.0.2.1 40000 5269` and CRLF.
fn line(bytes: &[u8]) -> Result<Reading, BadHeader> {
    let Some(end) = bytes
        .iter()
        .take(LINE_BYTES_MAX)
        .position(|byte| *byte == b'\n')
    else {
        return match bytes.len() < LINE_BYTES_MAX {
            true => Ok(Reading::Partial),
            false => Err(BadHeader::TooLong),
        };
    };
    let text = bytes.get(LINE_START.len()..end).unwrap_or_default();
    let text = text.strip_suffix(b"\r").ok_or(BadHeader::Line)?;
    let text = std::str::from_utf8(text).map_err(|_| BadHeader::Line)?;
    let fields: Vec<&str> = text.split(' ').collect();
    let client = match fields.as_slice() {
        // Whatever follows is to be ignored.
        ["UNKNOWN", ..] => None,
        ["TCP4", source, destination, source_port, destination_port] => Some(client_of(
            source.parse::<Ipv4Addr>().ok(),
            destination.parse::<Ipv4Addr>().ok(),
            port(source_port),
            port(destination_port),
        )?),
        ["TCP6", source, destination, source_port, destination_port] => Some(client_of(
            source.parse::<Ipv6Addr>().ok(),
            destination.parse::<Ipv6Addr>().ok(),
            port(source_port),
            port(destination_port),
        )?),
        _ => return Err(BadHeader::Line),
    };
    Ok(Reading::Whole {
        client,
        length: end + 1,
    })
}

/// The client of a line whose every field is as it has to be.
fn client_of<A: Into<IpAddr>>(
    source: Option<A>,
    destination: Option<A>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
) -> Result<SocketAddr, BadHeader> {
    match (source, destination, source_port, destination_port) {
        (Some(address), Some(_), Some(port), Some(_)) => Ok(SocketAddr::new(address.into(), port)),
        _ => Err(BadHeader::Line),
    }
}

/// A decimal number without sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    text.parse().ok().filter(|_| digits && !padded)
}

/// Version 2: a signature, four bytes that say what follows, addresses, and what else the proxy tells (TLVs).
fn block(bytes: &[u8]) -> Result<Reading, BadHeader> {
    let command = bytes.get(VERSION_AND_COMMAND).copied();
    let relays = match command {
        None => return Ok(Reading::Partial),
        Some(0x20) => false,
        Some(0x21) => true,
        Some(other) => return Err(BadHeader::Unknown(other)),
    };
    let Some(family) = bytes.get(FAMILY_AND_TRANSPORT).copied() else {
        return Ok(Reading::Partial);
    };
    // The addresses of a proxy that speaks for itself are to be ignored, with their family.
    let family = if relays { family } else { 0 };
    if family >> 4 > 3 || family & 0x0f > 2 {
        return Err(BadHeader::Unknown(family));
    }
    let Some(length) = bytes.get(LENGTH..).and_then(<[u8]>::first_chunk) else {
        return Ok(Reading::Partial);
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if BLOCK_START_BYTES + length > BLOCK_BYTES_MAX {
        return Err(BadHeader::TooLong);
    }
    let needed = match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    if length < needed {
        return Err(BadHeader::TooShort);
    }
    let Some(addresses) = bytes.get(BLOCK_START_BYTES..BLOCK_START_BYTES + length) else {
        return Ok(Reading::Partial);
    };
    Ok(Reading::Whole {
        client: match family {
            TCP_OVER_IPV4 => source::<4>(addresses, 8),
            TCP_OVER_IPV6 => source::<16>(addresses, 32),
            // Others have no address that could be counted: the connection is the proxy's own.
            _ => None,
        },
        length: BLOCK_START_BYTES + length,
    })
}

/// The first address of a block, whose port is at `port`.
fn source<const N: usize>(addresses: &[u8], port: usize) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let address = addresses.first_chunk::<N>()?;
    let port = addresses.get(port..)?.first_chunk()?;
    Some(SocketAddr::new(
        IpAddr::from(*address),
        u16::from_be_bytes(*port),
    ))
}

/// Whether `bytes` begin with `start`, as far as they go.
fn is_beginning(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(have, want)| have == want)
}

/// A reader never has to keep more than this.
pub const HEADER_BYTES_MAX: usize = BLOCK_BYTES_MAX;
/// The longest line that there can be, its CRLF included.
const LINE_BYTES_MAX: usize = 107;
/// Proxies aim at one TCP segment; certificates that some pass on still fit.
const BLOCK_BYTES_MAX: usize = 4096;
const LINE_START: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_AND_COMMAND: usize = SIGNATURE.len();
const FAMILY_AND_TRANSPORT: usize = VERSION_AND_COMMAND + 1;
const LENGTH: usize = FAMILY_AND_TRANSPORT + 1;
const BLOCK_START_BYTES: usize = LENGTH + 2;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

#[cfg(test)]
mod tests;
