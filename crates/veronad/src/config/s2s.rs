//! `[s2s]`: where servers reach us, and from where we reach them.
//!
//! The standard ports are listened on unless the file names others, so that a short file federates.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use verona::config::{ListenAddress, S2s};

use super::address;
use super::listeners::Listeners;
use super::problem::Report;
use super::section::Section;

pub(super) fn read(
    section: &mut Section<'_>,
    listeners: &mut Listeners,
    report: &mut Report,
) -> S2s {
    let listen = section.get("listen");
    let listen_tls = section.get("listen_tls");
    // Who names one listener names them all.
    let named = listen.is_some() || listen_tls.is_some();
    let mut s2s = S2s::default();
    if !named {
        s2s.listen = vec![any(PORT)];
        s2s.listen_tls = vec![any(PORT_TLS)];
        for at in [any(PORT), any(PORT_TLS)] {
            listeners.add(
                ListenAddress::Tcp(at),
                section.place(),
                "s2s.listen",
                report,
            );
        }
    }
    for (node, port, into) in [
        (listen, PORT, &mut s2s.listen),
        (listen_tls, PORT_TLS, &mut s2s.listen_tls),
    ] {
        let Some(node) = node else { continue };
        for (item, text) in node.texts(report) {
            if let Some(at) = address::socket(&item, text, port, report) {
                listeners.add(ListenAddress::Tcp(at), &item.place(), node.name, report);
                into.push(at);
            }
        }
    }
    if let Some(node) = section.get("bind") {
        for (item, text) in node.texts(report) {
            let Some(at) = address::ip(&item, text, report) else {
                continue;
            };
            if s2s.bind.iter().any(|other| other.is_ipv4() == at.is_ipv4()) {
                report.error(
                    &item.place(),
                    format!(
                        "`bind` has two {} addresses, and one connection has only one",
                        family(at)
                    ),
                );
            }
            s2s.bind.push(at);
        }
    }
    if let Some(node) = section.get("allow_networks") {
        let networks = address::networks(&node, report);
        s2s.allow_networks = networks.into_iter().map(|(_, network)| network).collect();
    }
    s2s.proxies = address::proxies(section, report);
    s2s
}

/// All addresses of this machine: those of IPv6 include IPv4, where there is IPv6 at all.
fn any(port: u16) -> SocketAddr {
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
        Err(_) => ([0, 0, 0, 0], port).into(),
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

const PORT: u16 = 5269;
const PORT_TLS: u16 = 5270;
