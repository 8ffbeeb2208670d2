//! Networks in the operator's notation, and the addresses that no peer on the Internet can have.
//!
//! DNS is written by strangers: a record that points at our own loopback, router or cloud metadata service must not
//! make us connect there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

/// An IP network such as `127.0.0.0/8`; an address without a length is a network of one.
///
/// ```
/// # use verona::network::Network;
/// let loopback: Network = "127.0.0.0/8".parse()?;
/// assert!(loopback.contains("127.1.2.3".parse().unwrap()));
/// assert!(loopback.contains("::ffff:127.0.0.1".parse().unwrap()));
/// assert!(!loopback.contains("192.0.2.1".parse().unwrap()));
/// # Ok::<(), verona::network::BadNetwork>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    /// Whether `address` is in the network. An IPv4 address that came through an IPv6 socket (`::ffff:192.0.2.1`) is
    /// the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                v4_prefix(network, self.length) == v4_prefix(address, self.length)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                v6_prefix(network, self.length) == v6_prefix(address, self.length)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether it holds every address of its family.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.length == 0
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = |problem: String| BadNetwork {
            text: text.to_owned(),
            problem,
        };
        let (address_text, length_text) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let bare = address_text
            .strip_prefix('[')
            .and_then(|inner| inner.strip_suffix(']'))
            .unwrap_or(address_text);
        let address: IpAddr = bare
            .parse()
            .map_err(|_| bad(format!("\"{address_text}\" is no IP address")))?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = match length_text {
            None => bits,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|length| *length <= bits && digits.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| bad(format!("\"/{digits}\" is no number from 0 to {bits}")))?,
        };
        let first = match address {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from(v4_prefix(v4, length))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(v6_prefix(v6, length))),
        };
        if first != address {
            return Err(bad(format!(
                "it has bits after the first {length}; write {first}/{length}, or {address} for this address alone"
            )));
        }
        Ok(Self { address, length })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// Text that is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadNetwork {
    text: String,
    problem: String,
}

impl fmt::Display for BadNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is no network such as \"127.0.0.0/8\" or \"fd00::/8\": {}",
            self.text, self.problem
        )
    }
}

impl std::error::Error for BadNetwork {}

/// Why `address` is not one to dial because DNS says so: what IANA reserves it for. `None` for the addresses of the
/// Internet at large.
///
/// Follows the IPv4 and IPv6 special-purpose address registries (RFC 6890) and the multicast ranges. An IPv4 address
/// inside a NAT64 one (RFC 6052) is judged as itself.
#[must_use]
pub fn is_special_purpose(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

/// What counts as one address: an IPv4 address, or an IPv6 /64, of which anyone has plenty.
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(v6_prefix(v6, 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Whether the address is one of this machine's at this moment. The system is asked from where it would speak to it: to
/// itself it speaks from the address itself. Nothing is sent.
pub(crate) fn is_this_machine(address: IpAddr) -> bool {
    let address = address.to_canonical();
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = UdpSocket::bind(SocketAddr::new(any, 0)).and_then(|socket| {
        // Any port would do.
        socket.connect(SocketAddr::new(address, 9))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip().to_canonical() == address)
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    SPECIAL_V4
        .iter()
        .find(|(network, length, _)| {
            v4_prefix(Ipv4Addr::from(*network), *length) == v4_prefix(address, *length)
        })
        .map(|(_, _, reason)| *reason)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [.., a, b, c, d] = address.octets();
    let inner = Ipv4Addr::new(a, b, c, d);
    if v6_prefix(address, 96) == v6_prefix(NAT64, 96) {
        return special_v4(inner);
    }
    if address.to_ipv4_mapped().is_some() {
        // Nobody publishes such an address in good faith, whatever is inside.
        return special_v4(inner).or(Some("IPv4-mapped (RFC 4291)"));
    }
    SPECIAL_V6
        .iter()
        .find(|(network, length, _)| {
            v6_prefix(Ipv6Addr::from(*network), *length) == v6_prefix(address, *length)
        })
        .map(|(_, _, reason)| *reason)
        .or_else(|| {
            (v6_prefix(address, 3) != v6_prefix(GLOBAL_UNICAST, 3))
                .then_some("outside the global unicast space (RFC 4291)")
        })
}

/// The first `length` bits, the others cleared.
fn v4_prefix(address: Ipv4Addr, length: u8) -> u32 {
    let mask = u32::MAX
        .checked_shl(32_u32.saturating_sub(u32::from(length)))
        .unwrap_or(0);
    u32::from(address) & mask
}

/// The first `length` bits, the others cleared.
fn v6_prefix(address: Ipv6Addr, length: u8) -> u128 {
    let mask = u128::MAX
        .checked_shl(128_u32.saturating_sub(u32::from(length)))
        .unwrap_or(0);
    u128::from(address) & mask
}

/// The well-known prefix of NAT64, a /96 (RFC 6052 §2.1).
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);
/// All that IANA gives to the regional registries, a /3.
const GLOBAL_UNICAST: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0);

/// <https://www.iana.org/assignments/iana-ipv4-special-registry>, the narrower network before the wider.
const SPECIAL_V4: &[([u8; 4], u8, &str)] = &[
    ([0, 0, 0, 0], 32, "unspecified (RFC 1122)"),
    ([0, 0, 0, 0], 8, "this network (RFC 791)"),
    ([10, 0, 0, 0], 8, "private (RFC 1918)"),
    (
        [100, 64, 0, 0],
        10,
        "shared by a provider's customers (RFC 6598)",
    ),
    ([127, 0, 0, 0], 8, "loopback (RFC 1122)"),
    ([169, 254, 0, 0], 16, "link-local (RFC 3927)"),
    ([172, 16, 0, 0], 12, "private (RFC 1918)"),
    ([192, 0, 0, 0], 24, "for IETF protocols (RFC 6890)"),
    ([192, 0, 2, 0], 24, "for documentation (RFC 5737)"),
    ([192, 31, 196, 0], 24, "AS112 (RFC 7535)"),
    ([192, 52, 193, 0], 24, "AMT relays (RFC 7450)"),
    ([192, 88, 99, 0], 24, "6to4 relays (RFC 7526)"),
    ([192, 168, 0, 0], 16, "private (RFC 1918)"),
    ([192, 175, 48, 0], 24, "AS112 (RFC 7534)"),
    ([198, 18, 0, 0], 15, "for benchmarks (RFC 2544)"),
    ([198, 51, 100, 0], 24, "for documentation (RFC 5737)"),
    ([203, 0, 113, 0], 24, "for documentation (RFC 5737)"),
    ([224, 0, 0, 0], 4, "multicast (RFC 1112)"),
    ([255, 255, 255, 255], 32, "broadcast (RFC 919)"),
    ([240, 0, 0, 0], 4, "reserved (RFC 1112)"),
];

/// <https://www.iana.org/assignments/iana-ipv6-special-registry>, the narrower network before the wider; what lies
/// outside 2000::/3 and has no entry is refused all the same.
const SPECIAL_V6: &[([u16; 8], u8, &str)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified (RFC 4291)"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback (RFC 4291)"),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible (RFC 4291)"),
    (
        [0x64, 0xff9b, 1, 0, 0, 0, 0, 0],
        48,
        "a NAT64 of its own network (RFC 8215)",
    ),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discarded (RFC 6666)"),
    (
        [0x100, 0, 0, 1, 0, 0, 0, 0],
        64,
        "a dummy prefix (RFC 9780)",
    ),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo (RFC 4380)"),
    (
        [0x2001, 2, 0, 0, 0, 0, 0, 0],
        48,
        "for benchmarks (RFC 5180)",
    ),
    ([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "ORCHID (RFC 4843)"),
    ([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2 (RFC 7343)"),
    (
        [0x2001, 0x30, 0, 0, 0, 0, 0, 0],
        28,
        "drone identifiers (RFC 9374)",
    ),
    (
        [0x2001, 0, 0, 0, 0, 0, 0, 0],
        23,
        "for IETF protocols (RFC 2928)",
    ),
    (
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0],
        32,
        "for documentation (RFC 3849)",
    ),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4 (RFC 3056)"),
    (
        [0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0],
        48,
        "AS112 (RFC 7534)",
    ),
    (
        [0x3fff, 0, 0, 0, 0, 0, 0, 0],
        20,
        "for documentation (RFC 9637)",
    ),
    (
        [0x5f00, 0, 0, 0, 0, 0, 0, 0],
        16,
        "segment identifiers (RFC 9602)",
    ),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local (RFC 4193)"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local (RFC 4291)"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local (RFC 3879)"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast (RFC 4291)"),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn networks_are_read_and_written_alike() {
        for (text, written) in [
            ("127.0.0.0/8", "127.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("192.0.2.1/32", "192.0.2.1/32"),
            ("::/0", "::/0"),
            ("::1", "::1/128"),
            ("[fd00::]/8", "fd00::/8"),
            ("2001:DB8::/32", "2001:db8::/32"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_explained() {
        for (text, problem) in [
            ("", "no IP address"),
            ("[::1", "no IP address"),
            ("localhost", "\"localhost\" is no IP address"),
            ("127.0.0/8", "no IP address"),
            ("127.0.0.0/", "\"/\" is no number from 0 to 32"),
            ("127.0.0.0/33", "\"/33\" is no number from 0 to 32"),
            ("127.0.0.0/+8", "no number"),
            ("127.0.0.0/999", "no number"),
            ("::/129", "from 0 to 128"),
            ("127.0.0.0/8/8", "no number"),
            ("127.0.0.1/8", "write 127.0.0.0/8, or 127.0.0.1"),
            ("fd00::1/8", "write fd00::/8"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn a_network_contains_its_addresses() {
        for (network, address, inside) in [
            ("127.0.0.0/8", "127.255.255.255", true),
            ("127.0.0.0/8", "128.0.0.0", false),
            ("127.0.0.0/8", "::ffff:127.0.0.1", true),
            ("127.0.0.0/8", "::1", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("192.0.2.128/25", "192.0.2.127", false),
            ("::/0", "2001:db8::1", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fc00::1", false),
            ("::1", "::1", true),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(
                parsed.contains(address.parse().unwrap()),
                inside,
                "{address} in {network}"
            );
        }
    }

    #[test]
    fn this_machine_knows_its_addresses() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::ffff:127.0.0.1", true),
            ("::1", true),
            ("0.0.0.0", true),
            ("::", true),
            ("203.0.113.77", false),
            ("2001:db8::77", false),
            ("224.0.0.1", false),
        ] {
            let seen = is_this_machine(address.parse().unwrap());
            assert_eq!(seen, expected, "{address}");
        }
        // Where there is a way out, the address from which we would take it is ours.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("203.0.113.77:9").is_ok() {
            let own = socket.local_addr().unwrap().ip();
            assert!(is_this_machine(own), "{own}");
        }
    }

    #[test]
    fn special_purposes_are_known() {
        for (address, reason) in [
            // Each IPv4 network: first and last address, and the neighbours that are free.
            ("0.0.0.0", Some("unspecified")),
            ("0.0.0.1", Some("this network")),
            ("0.255.255.255", Some("this network")),
            ("1.0.0.0", None),
            ("9.255.255.255", None),
            ("10.0.0.0", Some("private")),
            ("10.255.255.255", Some("private")),
            ("11.0.0.0", None),
            ("100.63.255.255", None),
            ("100.64.0.0", Some("shared")),
            ("100.127.255.255", Some("shared")),
            ("100.128.0.0", None),
            ("126.255.255.255", None),
            ("127.0.0.1", Some("loopback")),
            ("127.255.255.255", Some("loopback")),
            ("128.0.0.0", None),
            ("169.253.255.255", None),
            ("169.254.169.254", Some("link-local")),
            ("169.255.0.0", None),
            ("172.15.255.255", None),
            ("172.16.0.0", Some("private")),
            ("172.31.255.255", Some("private")),
            ("172.32.0.0", None),
            ("191.255.255.255", None),
            ("192.0.0.0", Some("IETF")),
            ("192.0.0.9", Some("IETF")),
            ("192.0.0.170", Some("IETF")),
            ("192.0.1.0", None),
            ("192.0.2.255", Some("documentation")),
            ("192.0.3.0", None),
            ("192.31.196.1", Some("AS112")),
            ("192.52.193.1", Some("AMT")),
            ("192.88.99.1", Some("6to4")),
            ("192.88.100.0", None),
            ("192.167.255.255", None),
            ("192.168.0.1", Some("private")),
            ("192.168.255.255", Some("private")),
            ("192.169.0.0", None),
            ("192.175.48.6", Some("AS112")),
            ("198.17.255.255", None),
            ("198.18.0.0", Some("benchmarks")),
            ("198.19.255.255", Some("benchmarks")),
            ("198.20.0.0", None),
            ("198.51.100.1", Some("documentation")),
            ("203.0.113.9", Some("documentation")),
            ("203.0.114.0", None),
            ("223.255.255.255", None),
            ("224.0.0.1", Some("multicast")),
            ("239.255.255.255", Some("multicast")),
            ("240.0.0.0", Some("reserved")),
            ("255.255.255.254", Some("reserved")),
            ("255.255.255.255", Some("broadcast")),
            ("8.8.8.8", None),
            ("95.216.1.1", None),
            // IPv6.
            ("::", Some("unspecified")),
            ("::1", Some("loopback")),
            ("::2", Some("IPv4-compatible")),
            ("::8.8.8.8", Some("IPv4-compatible")),
            ("::ffff:127.0.0.1", Some("loopback")),
            ("::ffff:169.254.169.254", Some("link-local")),
            ("::ffff:8.8.8.8", Some("IPv4-mapped")),
            ("64:ff9b::8.8.8.8", None),
            ("64:ff9b::127.0.0.1", Some("loopback")),
            ("64:ff9b::10.1.2.3", Some("private")),
            ("64:ff9b:0:0:0:1:808:808", Some("outside")),
            ("64:ff9b:1::1", Some("NAT64")),
            ("64:ff9b:1:ffff::1", Some("NAT64")),
            ("64:ff9b:2::1", Some("outside")),
            ("100::1", Some("discarded")),
            ("100:0:0:1::1", Some("dummy")),
            ("100:0:0:2::1", Some("outside")),
            ("2001::1", Some("Teredo")),
            ("2001:1::1", Some("IETF")),
            ("2001:2::1", Some("benchmarks")),
            ("2001:3::1", Some("IETF")),
            ("2001:4:112::1", Some("IETF")),
            ("2001:10::1", Some("ORCHID")),
            ("2001:2f:ffff::1", Some("ORCHIDv2")),
            ("2001:30::1", Some("drone")),
            ("2001:1ff:ffff::1", Some("IETF")),
            ("2001:200::1", None),
            ("2001:db7:ffff::1", None),
            ("2001:db8::1", Some("documentation")),
            ("2001:db9::1", None),
            ("2002:7f00:1::1", Some("6to4")),
            ("2003::1", None),
            ("2620:4f:8000::1", Some("AS112")),
            ("2620:4f:8001::1", None),
            ("2a01:4f8::1", None),
            ("3ffe:ffff::1", None),
            ("3fff::1", Some("documentation")),
            ("3fff:1000::1", None),
            ("4000::1", Some("outside")),
            ("5f00::1", Some("segment")),
            ("fbff::1", Some("outside")),
            ("fc00::1", Some("unique local")),
            ("fdff:ffff::1", Some("unique local")),
            ("fe00::1", Some("outside")),
            ("fe80::1", Some("link-local")),
            ("febf::1", Some("link-local")),
            ("fec0::1", Some("site-local")),
            ("ff02::1", Some("multicast")),
            ("ffff::1", Some("multicast")),
        ] {
            let seen = is_special_purpose(address.parse().unwrap());
            match reason {
                Some(part) => assert!(
                    seen.is_some_and(|s| s.contains(part)),
                    "{address}: {seen:?}"
                ),
                None => assert_eq!(seen, None, "{address}"),
            }
        }
    }
}
