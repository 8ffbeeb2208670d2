//! Names of DNS, those that look like one, and those that stand where none may be looked for.

use rcgen::DistinguishedName;

use super::super::super::{alternative_names, common_name, tlv};
use super::super::specimen::shown;
use super::{Family, Nursery};

const ROOMS: &str = "rooms.montague.lit";

pub(super) fn family(nursery: &mut Nursery) -> Family {
    let dns_name = |text: &str| nursery.named(&[dns(text)]);
    let many = |last: &str| {
        let others = (0..1000).map(|number| dns(&format!("{number}.lit")));
        nursery.named(&others.chain([dns(last)]).collect::<Vec<_>>())
    };
    let address = tlv(0x87, &[192, 0, 2, 1]);
    let common = |san: &[&str]| {
        nursery.authority.issue(san, |params| {
            params.distinguished_name = common_name("montague.lit");
        })
    };
    let mut second = alternative_names(&[dns("capulet.lit")]);
    second.set_criticality(false);
    let mut critical = alternative_names(&[dns("montague.lit")]);
    critical.set_criticality(true);
    let idn = "bücher.lit";
    let specimens = vec![
        shown("`montague.lit`", &dns_name("montague.lit")).proves(),
        shown("`MONTAGUE.LIT`", &dns_name("MONTAGUE.LIT")).proves(),
        shown("`capulet.lit`", &dns_name("capulet.lit")).names_others("capulet.lit"),
        shown("`a.lit`, `b.lit`, `montague.lit`", &{
            nursery.named(&["a.lit", "b.lit", "montague.lit"].map(dns))
        })
        .proves(),
        shown("1,000 others, then `montague.lit`", &many("montague.lit")).proves(),
        shown("1,001 others", &many("capulet.lit"))
            .names_others("0.lit, 1.lit, 2.lit, 3.lit, 4.lit, 996 more"),
        shown("that of the domain above", &dns_name("montague.lit"))
            .by(ROOMS)
            .names_others("montague.lit"),
        shown("that of a domain below", &dns_name(ROOMS)).names_others(ROOMS),
        shown(
            "that of the host that serves it",
            &dns_name("xmpp.montague.lit"),
        )
        .names_others("xmpp.montague.lit"),
        shown("one that ends alike", &dns_name("notmontague.lit")).names_others("notmontague.lit"),
        shown("one that begins alike", &dns_name("montague.lit.evil.lit"))
            .names_others("montague.lit.evil.lit"),
        // RFC 5280 §7.2: A-labels, and IA5String holds no others.
        shown(
            "an IDN in A-labels, `xn--bcher-kva.lit`",
            &dns_name("xn--bcher-kva.lit"),
        )
        .by(idn)
        .proves(),
        shown("the same in capitals", &dns_name("XN--BCHER-KVA.LIT"))
            .by(idn)
            .proves(),
        shown("an IDN in U-labels, `bücher.lit`", &dns_name(idn))
            .by(idn)
            .names_nobody(),
        shown(
            "an A-label of plain ASCII, `xn--montague-.lit`",
            &dns_name("xn--montague-.lit"),
        )
        .names_others("xn--montague-.lit"),
        // RFC 6125 §6.4.3, RFC 9525 §6.3.
        shown("`*.montague.lit`", &dns_name("*.montague.lit"))
            .by(ROOMS)
            .proves(),
        shown("`*.montague.lit`", &dns_name("*.montague.lit")).names_others("*.montague.lit"),
        shown("`*.montague.lit`", &dns_name("*.montague.lit"))
            .by("a.rooms.montague.lit")
            .names_others("*.montague.lit"),
        shown("`r*.montague.lit`", &dns_name("r*.montague.lit"))
            .by(ROOMS)
            .names_others("r*.montague.lit"),
        shown("`rooms.*.lit`", &dns_name("rooms.*.lit"))
            .by(ROOMS)
            .names_others("rooms.*.lit"),
        shown("`*.*.lit`", &dns_name("*.*.lit"))
            .by(ROOMS)
            .names_others("*.*.lit"),
        shown("`**.montague.lit`", &dns_name("**.montague.lit"))
            .by(ROOMS)
            .names_others("**.montague.lit"),
        shown("`*.lit`", &dns_name("*.lit")).names_others("*.lit"),
        shown("`*`", &dns_name("*")).names_others("*"),
        shown(
            "with a NUL, `montague.lit\\0.evil.lit`",
            &dns_name("montague.lit\0.evil.lit"),
        )
        .names_others("montague.lit\\0.evil.lit"),
        // RFC 5280 §4.2.1.6: the preferred name syntax has no dot at its ends, and no space.
        shown(
            "with a dot at the end, `montague.lit.`",
            &dns_name("montague.lit."),
        )
        .names_others("montague.lit."),
        shown(
            "with a dot at the beginning, `.montague.lit`",
            &dns_name(".montague.lit"),
        )
        .names_others(".montague.lit"),
        shown("with a space, ` montague.lit`", &dns_name(" montague.lit"))
            .names_others(" montague.lit"),
        shown("with a line break, `capulet.lit\\nmontague.lit`", &{
            dns_name("capulet.lit\nmontague.lit")
        })
        .names_others("capulet.lit\\nmontague.lit"),
        shown("the empty name", &dns_name("")).names_others("an empty name"),
        // RFC 9525 §2.
        shown("in the common name alone", &common(&[])).names_nobody(),
        shown(
            "in the common name, `capulet.lit` beside",
            &common(&["capulet.lit"]),
        )
        .names_others("capulet.lit"),
        shown("a subjectAltName without names", &nursery.named(&[])).names_nobody(),
        shown("no subject, a critical subjectAltName", &{
            nursery.authority.issue(&[], |params| {
                params.distinguished_name = DistinguishedName::new();
                params.custom_extensions = vec![critical];
            })
        })
        .proves(),
        shown("two subjectAltNames", &{
            nursery.server(|params| params.custom_extensions = vec![second])
        })
        .untrusted("it has an extension twice, or one that is damaged"),
        shown("as an e-mail address and as a URI", &{
            nursery.named(&[tlv(0x81, b"montague.lit"), tlv(0x86, b"montague.lit")])
        })
        .names_nobody(),
        shown("as a registered id and a directory name", &{
            let directory = tlv(0xa4, &common_name_der("montague.lit"));
            nursery.named(&[tlv(0x88, &[0x2b, 6, 1]), directory])
        })
        .names_nobody(),
        shown("an iPAddress", &nursery.named(&[address]))
            .by("192.0.2.1")
            .not(NO_ADDRESS),
        shown("an address as a DNS name", &dns_name("192.0.2.1"))
            .by("192.0.2.1")
            .not(NO_ADDRESS),
    ];
    Family {
        title: "Names of DNS",
        about: "A certificate has to bear the domain of the XMPP addresses as a DNS name in its subjectAltName. The \
                common name counts for nothing, nor does the host that an SRV record names, unless DNSSEC proves that \
                record. A wildcard stands for one whole label.",
        specimens,
    }
}

const NO_ADDRESS: &str =
    "the peer's domain is an address (192.0.2.1), which a certificate proves by an XmppAddr alone";

/// A dNSName (RFC 5280 §4.2.1.6).
pub(in super::super) fn dns(text: &str) -> Vec<u8> {
    tlv(0x82, text.as_bytes())
}

/// A Name of one common name.
fn common_name_der(text: &str) -> Vec<u8> {
    let value = [tlv(0x06, &[0x55, 4, 3]), tlv(0x0c, text.as_bytes())];
    tlv(0x30, &tlv(0x31, &tlv(0x30, &value.concat())))
}
