//! Addresses in the file: sockets, networks, patterns, and what to write when one does not parse.
//!
//! Nearly every wrong address is one of a handful of slips, and each can be told what it lacks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use verona::config::{ListenAddress, PeerAddress};
use verona::network::Network;
use verona_proto::addr::Domain;
use verona_proto::policy::DomainPattern;

use super::Base;
use super::problem::Report;
use super::section::{Node, Section};
use crate::output::printable;

/// An address to listen on or to dial: `IP:port`.
pub(super) fn socket(
    node: &Node<'_>,
    text: &str,
    port: u16,
    report: &mut Report,
) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    report
        .error(
            &node.place(),
            format!("`{}` is not an IP address with a port", printable(text)),
        )
        .suggest(hint(text, port));
    None
}

/// An address for a local listener: `IP:port` or `unix:PATH`.
pub(super) fn local(
    node: &Node<'_>,
    text: &str,
    port: u16,
    base: &Base,
    report: &mut Report,
) -> Option<ListenAddress> {
    match text.strip_prefix("unix:") {
        Some("") => {
            report
                .error(&node.place(), "`unix:` lacks the path of the socket")
                .suggest("such as `unix:/run/verona/verona.sock`");
            None
        }
        Some(path) => {
            let path = base.path(path);
            if path.as_os_str().len() > UNIX_PATH_BYTES_MAX {
                report.error(
                    &node.place(),
                    format!("the path of a socket has at most {UNIX_PATH_BYTES_MAX} bytes, and `{}` is longer", path.display()),
                );
                return None;
            }
            Some(ListenAddress::Unix(path))
        }
        None => socket(node, text, port, report).map(ListenAddress::Tcp),
    }
}

/// The address of a peer: `IP:port`, or `tls://IP:port` for direct TLS.
pub(super) fn peer(node: &Node<'_>, text: &str, report: &mut Report) -> Option<PeerAddress> {
    let (rest, direct_tls) = match text.strip_prefix("tls://") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let address = socket(node, rest, if direct_tls { 5270 } else { 5269 }, report)?;
    if address.ip().is_unspecified() || address.port() == 0 {
        report.error(
            &node.place(),
            format!("`{address}` cannot be dialled: it names no machine or no port"),
        );
        return None;
    }
    Some(PeerAddress {
        address,
        direct_tls,
    })
}

/// A bare IP address.
pub(super) fn ip(node: &Node<'_>, text: &str, report: &mut Report) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let problem = report.error(
        &node.place(),
        format!("`{}` is not an IP address", printable(text)),
    );
    if let Ok(address) = text.parse::<SocketAddr>() {
        problem.suggest(format!("without the port: `{}`", address.ip()));
    }
    None
}

/// Networks, such as `10.0.0.0/8`.
pub(super) fn networks<'a>(node: &Node<'a>, report: &mut Report) -> Vec<(Node<'a>, Network)> {
    let mut networks = Vec::new();
    for (item, text) in node.texts(report) {
        match text.parse::<Network>() {
            Ok(network) => networks.push((item, network)),
            Err(error) => {
                report.error(&item.place(), error.to_string());
            }
        }
    }
    networks
}

/// Networks of proxies, which say on whose behalf they connect.
pub(super) fn proxies(section: &mut Section<'_>, report: &mut Report) -> Vec<Network> {
    let Some(node) = section.get("proxy_protocol") else {
        return Vec::new();
    };
    let mut proxies = Vec::new();
    for (item, network) in networks(&node, report) {
        if network.is_everywhere() {
            report
                .warning(
                    &item.place(),
                    format!("whoever connects from `{network}` may claim any address, and who sends no PROXY header is cut off"),
                )
                .suggest("name the networks of the proxies alone");
        }
        proxies.push(network);
    }
    proxies
}

/// A domain of ours.
pub(super) fn domain(node: &Node<'_>, text: &str, report: &mut Report) -> Option<Domain> {
    match Domain::parse(text) {
        Ok(domain) => Some(domain),
        Err(_) => {
            let problem = report.error(
                &node.place(),
                format!("`{}` is not a domain name", printable(text)),
            );
            if text.contains('@') {
                problem.suggest("only the part after the `@`");
            } else if text.contains("://") {
                problem.suggest("a name such as `capulet.lit`, not a URL");
            } else if text.contains('*') {
                problem.suggest("name every domain that is hosted: there are no patterns here");
            }
            None
        }
    }
}

/// A peer, or all below a domain: `montague.lit` or `*.example.net`.
pub(super) fn pattern(node: &Node<'_>, text: &str, report: &mut Report) -> Option<DomainPattern> {
    let (name, below) = match text.strip_prefix("*.") {
        Some(parent) => (parent, true),
        None => (text, false),
    };
    if name.contains('*') {
        report
            .error(&node.place(), format!("`{}` is not a pattern", printable(text)))
            .suggest("a star stands only at the beginning: `*.example.net` is everything below `example.net`");
        return None;
    }
    let domain = domain(node, name, report)?;
    Some(if below {
        DomainPattern::Below(domain)
    } else {
        DomainPattern::Exact(domain)
    })
}

/// What to write when `text` is no `IP:port`.
fn hint(text: &str, port: u16) -> String {
    if let Ok(address) = text.parse::<IpAddr>() {
        return format!("add the port: `{}`", SocketAddr::new(address, port));
    }
    if let Some(address) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        && address.parse::<Ipv6Addr>().is_ok()
    {
        return format!("add the port: `{text}:{port}`");
    }
    let any = text
        .strip_prefix("*:")
        .or_else(|| text.strip_prefix(':'))
        .unwrap_or(text);
    if any.parse::<u16>().is_ok() {
        return format!("on all addresses: `[::]:{any}`");
    }
    if let Some((host, port)) = text.rsplit_once(':') {
        if host.eq_ignore_ascii_case("localhost") {
            return format!("names are not looked up here: `127.0.0.1:{port}`");
        }
        let is_address = host.parse::<Ipv4Addr>().is_ok() || host.starts_with('[');
        if is_address && port.parse::<u16>().is_err() {
            return "a port is a number from 0 to 65535".to_owned();
        }
        if Domain::parse(host).is_ok() && !host.is_empty() && !is_address {
            return format!(
                "names are not looked up here: write the IP address of `{}`",
                printable(host)
            );
        }
    }
    format!("such as `127.0.0.1:{port}` or `[::1]:{port}`")
}

/// `sun_path` has 108 bytes on Linux, the closing NUL included.
const UNIX_PATH_BYTES_MAX: usize = 107;
