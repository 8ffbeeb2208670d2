//! The place that `<see-other-host/>` names (RFC 6120 §4.9.3.19): a host, and perhaps a port.
//!
//! Any server that answers can say anything here, before anybody knows who it is.

use std::fmt;
use std::net::IpAddr;

use crate::addr::Domain;

/// Where a server sends us instead of serving us.
///
/// ```
/// # use verona_proto::discovery::OtherHost;
/// let host: OtherHost = "[2001:db8::1]:9222".parse()?;
/// assert_eq!(host.port(), Some(9222));
/// assert_eq!(host.address(), Some("2001:db8::1".parse().unwrap()));
/// # Ok::<(), verona_proto::discovery::BadOtherHost>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherHost {
    host: Domain,
    port: Option<u16>,
}

impl OtherHost {
    /// The host: a name, or an address.
    #[must_use]
    pub fn host(&self) -> &Domain {
        &self.host
    }

    /// The port, where one is given: then SRV records are not asked for.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The address, where the host is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        let text = self.host.ascii();
        let bare = text
            .strip_prefix('[')
            .and_then(|inner| inner.strip_suffix(']'))
            .unwrap_or(text);
        bare.parse().ok()
    }
}

impl std::str::FromStr for OtherHost {
    type Err = BadOtherHost;

    fn from_str(text: &str) -> Result<Self, BadOtherHost> {
        //= STREAM-51
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        let (host, port) = match text.rfind(']') {
            Some(end) => {
                let (host, rest) = text.split_at(end + 1);
                match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if rest.is_empty() => (host, None),
                    None => return Err(BadOtherHost::Host),
                }
            }
            None => match text.split_once(':') {
                Some((_, rest)) if rest.contains(':') => return Err(BadOtherHost::Unbracketed),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        Ok(Self {
            host: Domain::parse(host).map_err(|_| BadOtherHost::Host)?,
            port: port.map(read_port).transpose()?,
        })
    }
}

impl fmt::Display for OtherHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host.ascii()),
            None => f.write_str(self.host.ascii()),
        }
    }
}

fn read_port(digits: &str) -> Result<u16, BadOtherHost> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .parse()
        .ok()
        .filter(|port| is_number && *port != 0)
        .ok_or(BadOtherHost::Port)
}

/// Text that names no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadOtherHost {
    /// No domain name and no address.
    Host,
    /// No number from 1 to 65535.
    Port,
    /// An IPv6 address without brackets: nobody knows where it ends.
    Unbracketed,
}

impl fmt::Display for BadOtherHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "that is no host",
            Self::Port => "its port is no number from 1 to 65535",
            Self::Unbracketed => "an IPv6 address must stand in brackets",
        })
    }
}

impl std::error::Error for BadOtherHost {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn places_are_read() {
        //= STREAM-51
        for (text, host, port, address) in [
            ("xmpp.capulet.lit", "xmpp.capulet.lit", None, None),
            (
                "XMPP.capulet.lit.:05269",
                "xmpp.capulet.lit",
                Some(5269),
                None,
            ),
            ("bücher.example:1", "xn--bcher-kva.example", Some(1), None),
            (
                " \n\tcapulet.lit:65535\r\n ",
                "capulet.lit",
                Some(65_535),
                None,
            ),
            ("192.0.2.1", "192.0.2.1", None, Some("192.0.2.1")),
            ("192.0.2.1:9222", "192.0.2.1", Some(9222), Some("192.0.2.1")),
            ("[2001:DB8::1]", "[2001:db8::1]", None, Some("2001:db8::1")),
            (
                "[2001:db8::1]:9222",
                "[2001:db8::1]",
                Some(9222),
                Some("2001:db8::1"),
            ),
            (
                "[::ffff:127.0.0.1]:25",
                "[::ffff:127.0.0.1]",
                Some(25),
                Some("::ffff:127.0.0.1"),
            ),
        ] {
            let read: OtherHost = text.parse().unwrap();
            assert_eq!((read.host().ascii(), read.port()), (host, port), "{text}");
            assert_eq!(
                read.address(),
                address.map(|text| text.parse().unwrap()),
                "{text}"
            );
            assert_eq!(read.to_string().parse(), Ok(read), "{text}");
        }
    }

    #[test]
    fn junk_is_told_from_places() {
        //= STREAM-51
        let long = "a".repeat(100_000);
        for (text, error) in [
            ("", BadOtherHost::Host),
            (" \n", BadOtherHost::Host),
            (":5269", BadOtherHost::Host),
            (".", BadOtherHost::Host),
            ("a b", BadOtherHost::Host),
            ("user@capulet.lit", BadOtherHost::Host),
            ("capulet.lit/balcony", BadOtherHost::Host),
            ("\u{0}", BadOtherHost::Host),
            ("[]:5269", BadOtherHost::Host),
            ("[capulet.lit]:5269", BadOtherHost::Host),
            ("[2001:db8::1]5269", BadOtherHost::Host),
            ("2001:db8::1]:5269", BadOtherHost::Host),
            ("[2001:db8::1]]", BadOtherHost::Host),
            ("[fe80::1%eth0]:5269", BadOtherHost::Host),
            (&long, BadOtherHost::Host),
            ("2001:db8::1", BadOtherHost::Unbracketed),
            ("[2001:db8::1:5269", BadOtherHost::Unbracketed),
            ("xmpp://capulet.lit:5269", BadOtherHost::Unbracketed),
            ("capulet.lit:", BadOtherHost::Port),
            ("capulet.lit:0", BadOtherHost::Port),
            ("capulet.lit:65536", BadOtherHost::Port),
            ("capulet.lit:+5269", BadOtherHost::Port),
            ("capulet.lit:-1", BadOtherHost::Port),
            ("capulet.lit: 5269", BadOtherHost::Port),
            ("capulet.lit:52a9", BadOtherHost::Port),
            ("capulet.lit:99999999999999999999", BadOtherHost::Port),
            ("[2001:db8::1]:", BadOtherHost::Port),
        ] {
            assert_eq!(text.parse::<OtherHost>(), Err(error), "{text}");
        }
    }
}
