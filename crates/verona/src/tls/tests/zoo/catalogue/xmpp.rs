//! Names of services and of XMPP addresses (RFC 4985, RFC 6120 §13.7.1.4).

use super::super::super::{other_name, tlv};
use super::super::specimen::shown;
use super::{Family, Nursery, dns};

pub(super) fn family(nursery: &mut Nursery) -> Family {
    let srv_name = |text: &str| nursery.named(&[srv(text)]);
    let address = |text: &str| nursery.named(&[xmpp_addr(text)]);
    let specimens = vec![
        shown("SRVName `_xmpp-server.montague.lit`", &{
            srv_name("_xmpp-server.montague.lit")
        })
        .proves(),
        shown("SRVName `_XMPP-Server.Montague.LIT`", &{
            srv_name("_XMPP-Server.Montague.LIT")
        })
        .proves(),
        shown("SRVName as a UTF8String", &{
            nursery.named(&[other_name(7, UTF8, "_xmpp-server.montague.lit")])
        })
        .proves(),
        shown("SRVName `_xmpp-client.montague.lit`", &{
            srv_name("_xmpp-client.montague.lit")
        })
        .names_others("_xmpp-client.montague.lit (SRVName)"),
        shown(
            "SRVName `_imaps.montague.lit`",
            &srv_name("_imaps.montague.lit"),
        )
        .names_others("_imaps.montague.lit (SRVName)"),
        shown(
            "SRVName without a service, `montague.lit`",
            &srv_name("montague.lit"),
        )
        .names_others("montague.lit (SRVName)"),
        shown("SRVName `_xmpp-server.capulet.lit`", &{
            srv_name("_xmpp-server.capulet.lit")
        })
        .names_others("_xmpp-server.capulet.lit (SRVName)"),
        // RFC 6125 §6.5: service and domain of one and the same name.
        shown("SRVNames of the right service and of the right domain", &{
            nursery.named(&[
                srv("_xmpp-server.capulet.lit"),
                srv("_xmpp-client.montague.lit"),
            ])
        })
        .names_others("_xmpp-server.capulet.lit (SRVName), _xmpp-client.montague.lit (SRVName)"),
        shown("SRVName `_xmpp-server.*.montague.lit`", &{
            srv_name("_xmpp-server.*.montague.lit")
        })
        .by("rooms.montague.lit")
        .proves(),
        shown(
            "SRVName `_xmpp-server.*.lit`",
            &srv_name("_xmpp-server.*.lit"),
        )
        .names_others("_xmpp-server.*.lit (SRVName)"),
        shown("SRVName `*.montague.lit`", &srv_name("*.montague.lit"))
            .names_others("*.montague.lit (SRVName)"),
        shown("XmppAddr `montague.lit`", &address("montague.lit")).proves(),
        shown("XmppAddr as an IA5String", &{
            nursery.named(&[other_name(5, IA5, "montague.lit")])
        })
        .proves(),
        shown("XmppAddr as an OCTET STRING", &{
            nursery.named(&[other_name(5, 0x04, "montague.lit")])
        })
        .names_nobody(),
        shown("XmppAddr in U-labels, `bücher.lit`", &address("bücher.lit"))
            .by("bücher.lit")
            .proves(),
        shown("XmppAddr in A-labels, `xn--bcher-kva.lit`", &{
            address("xn--bcher-kva.lit")
        })
        .by("bücher.lit")
        .proves(),
        shown("XmppAddr of an address, `192.0.2.1`", &address("192.0.2.1"))
            .by("192.0.2.1")
            .proves(),
        shown("XmppAddr of a person, `romeo@montague.lit`", &{
            address("romeo@montague.lit")
        })
        .names_others("romeo@montague.lit (XmppAddr)"),
        shown("XmppAddr with a resource, `montague.lit/orchard`", &{
            address("montague.lit/orchard")
        })
        .names_others("montague.lit/orchard (XmppAddr)"),
        shown("XmppAddr `*.montague.lit`", &address("*.montague.lit"))
            .by("rooms.montague.lit")
            .names_others("*.montague.lit (XmppAddr)"),
        shown(
            "XmppAddr with a NUL, `montague.lit\\0`",
            &address("montague.lit\0"),
        )
        .names_others("montague.lit\\0 (XmppAddr)"),
        shown("XmppAddr inside another name's value", &{
            let inner = tlv(0xa0, &xmpp_addr("montague.lit"));
            let unknown = [tlv(0x06, &[0x2b, 6, 1]), inner].concat();
            nursery.named(&[tlv(0xa0, &unknown)])
        })
        .names_nobody(),
        shown("a name of an unknown kind", &{
            nursery.named(&[other_name(9, UTF8, "montague.lit")])
        })
        .names_nobody(),
        shown(
            "XmppAddr `montague.lit` beside the DNS name `capulet.lit`",
            &{ nursery.named(&[dns("capulet.lit"), xmpp_addr("montague.lit")]) },
        )
        .proves(),
    ];
    Family {
        title: "Names of XMPP",
        about: "An SRVName for the service `_xmpp-server`, or an XmppAddr that is a domain and no more, serves as well as \
                a DNS name. Public authorities issue neither.",
        specimens,
    }
}

/// An SRVName.
pub(super) fn srv(text: &str) -> Vec<u8> {
    other_name(7, IA5, text)
}

/// An id-on-xmppAddr.
pub(in super::super) fn xmpp_addr(text: &str) -> Vec<u8> {
    other_name(5, UTF8, text)
}

const UTF8: u8 = 0x0c;
const IA5: u8 = 0x16;
