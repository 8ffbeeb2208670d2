//! Where a document is: an HTTPS URI with a host name, and nothing else that a URI may be.
//!
//! It stands in a stranger's redirect or document, and decides whom we dial.

use std::fmt;

use hyper::Uri;
use verona_proto::addr::Domain;

/// An HTTPS URI whose host is a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) host: Domain,
    pub(super) port: u16,
    /// Path and query, from its `/`.
    pub(super) path: String,
    /// Where no port is named.
    default_port: u16,
}

impl Url {
    /// Where `domain` has its document (RFC 7712 §5.2).
    ///
    /// # Errors
    /// An address has no web server of its own name.
    pub(super) fn well_known(domain: &Domain, default_port: u16) -> Result<Self, String> {
        if domain.is_address() {
            return Err(format!(
                "{domain} is an address, and only names have POSH documents"
            ));
        }
        //= DNS-20
        Ok(Self {
            host: domain.clone(),
            port: default_port,
            path: "/.well-known/posh/xmpp-server.json".to_owned(),
            default_port,
        })
    }

    /// Where `text` leads, which is found in what is at `self`: a whole URI, or one that begins with its host or path.
    ///
    /// # Errors
    /// A sentence without a subject: "leads to …".
    pub(super) fn follow(&self, text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("leads to a URI of more than {BYTES_MAX} bytes"));
        }
        let whole = if text.starts_with("//") {
            format!("https:{text}")
        } else if text.starts_with('/') {
            format!("https://{}{text}", self.authority())
        } else {
            text.to_owned()
        };
        let refuse = |why: &str| format!("leads to {text}, {why}");
        let uri: Uri = whole
            .parse()
            .map_err(|_| refuse("which is no URI that can be followed"))?;
        //= DNS-21
        if uri.scheme_str() != Some("https") {
            return Err(refuse("which is no https URI"));
        }
        let authority = uri
            .authority()
            .ok_or_else(|| refuse("which names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("which has a user name in it"));
        }
        let host = Domain::parse(authority.host())
            .map_err(|_| refuse("whose host is no name of a host"))?;
        if host.is_address() {
            return Err(refuse("whose host is an address and no name"));
        }
        let port = match authority.as_str().rsplit_once(':') {
            None => self.default_port,
            Some((_, digits)) => digits
                .parse()
                .map_err(|_| refuse("whose port is no number"))?,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            host,
            port,
            path: path.to_owned(),
            default_port: self.default_port,
        })
    }

    /// Host and, unless it is that of HTTPS itself, port: as in the header field Host.
    pub(super) fn authority(&self) -> String {
        match self.port {
            HTTPS => self.host.ascii().to_owned(),
            port => format!("{}:{port}", self.host.ascii()),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority(), self.path)
    }
}

/// The port of HTTPS.
pub(super) const HTTPS: u16 = 443;
/// Of one URI; longer ones carry more than a place.
const BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn start() -> Url {
        let domain = Domain::parse("Montague.LIT.").unwrap();
        Url::well_known(&domain, HTTPS).unwrap()
    }

    #[test]
    fn the_document_of_a_domain_has_one_place() {
        //= DNS-20
        assert_eq!(
            start().to_string(),
            "https://montague.lit/.well-known/posh/xmpp-server.json"
        );
        let umlaut = Domain::parse("bücher.example").unwrap();
        assert_eq!(
            Url::well_known(&umlaut, HTTPS).unwrap().to_string(),
            "https://xn--bcher-kva.example/.well-known/posh/xmpp-server.json"
        );
        for address in ["192.0.2.1", "[2001:db8::1]"] {
            let address = Domain::parse(address).unwrap();
            assert!(Url::well_known(&address, HTTPS).is_err(), "{address}");
        }
    }

    #[test]
    fn what_is_followed() {
        //= DNS-21
        for (text, whole) in [
            ("https://hosting.lit/a?b=c", "https://hosting.lit/a?b=c"),
            ("HTTPS://Hosting.LIT./a", "https://hosting.lit/a"),
            ("https://hosting.lit", "https://hosting.lit/"),
            ("https://hosting.lit:443/a", "https://hosting.lit/a"),
            ("https://hosting.lit:8443/a", "https://hosting.lit:8443/a"),
            ("https://hosting.lit/a#part", "https://hosting.lit/a"),
            ("//hosting.lit/a", "https://hosting.lit/a"),
            ("/a", "https://montague.lit/a"),
        ] {
            assert_eq!(start().follow(text).unwrap().to_string(), whole, "{text}");
        }
        // A port that was named stays, as long as the host does.
        let elsewhere = start().follow("https://hosting.lit:8443/a").unwrap();
        assert_eq!(
            elsewhere.follow("/b").unwrap().to_string(),
            "https://hosting.lit:8443/b"
        );
        assert_eq!(
            elsewhere.follow("//montague.lit/b").unwrap().to_string(),
            "https://montague.lit/b"
        );
    }

    #[test]
    fn what_is_not_followed() {
        //= DNS-21
        let long = format!("https://hosting.lit/{}", "a".repeat(BYTES_MAX));
        for text in [
            "http://hosting.lit/a",
            "ftp://hosting.lit/a",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https:///a",
            "https://",
            "https://user@hosting.lit/a",
            "https://hosting.lit:443@192.0.2.1/a",
            "https://192.0.2.1/a",
            "https://127.0.0.1/a",
            "https://[::1]/a",
            "https://[::1]:443/a",
            "https://hosting.lit:/a",
            "https://hosting.lit:65536/a",
            "https://hosting.lit:x/a",
            "https://hosting.lit\\@montague.lit/a",
            "https://hosting..lit/a",
            "a",
            "",
            " ",
            "https://hosting.lit/a b",
            "https://hosting.lit/\r\nHost: montague.lit",
            &long,
        ] {
            assert!(start().follow(text).is_err(), "{text}");
        }
    }
}
