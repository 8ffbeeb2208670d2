//! Authorities that may certify some names only (RFC 5280 §4.2.1.10), as BetterTLS tries them.

use rcgen::{CidrSubnet, CustomExtension, DnType, GeneralSubtree, NameConstraints};

use super::super::super::{Authority, common_name, tlv};
use super::super::specimen::shown;
use super::xmpp::srv;
use super::{Family, Nursery, dns, named_by, xmpp_addr};

const ROOMS: &str = "rooms.montague.lit";

pub(super) fn family(nursery: &mut Nursery) -> Family {
    let strict = nursery.root("A Strict Authority", |params| {
        params.name_constraints = Some(permitted(&["montague.lit"]));
    });
    let authority = &nursery.authority;
    let below = |constraints: NameConstraints| {
        authority.intermediate(|params| params.name_constraints = Some(constraints))
    };
    let raw = |content: Vec<u8>| {
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], content);
        extension.set_criticality(true);
        authority.intermediate(|params| params.custom_extensions = vec![extension])
    };
    let by = |issuer: &Authority, names: &[Vec<u8>]| named_by(issuer, names).with(issuer);
    let montague = below(permitted(&["montague.lit"]));
    let capulet = below(permitted(&["capulet.lit"]));
    let both = below(permitted(&["capulet.lit", "montague.lit"]));
    let but = |name: &str| below(excluded(&[name]));
    let within = below(NameConstraints {
        excluded_subtrees: vec![GeneralSubtree::DnsName(ROOMS.into())],
        ..permitted(&["montague.lit"])
    });
    let rooms_below_montague = montague.intermediate(|params| {
        params.distinguished_name = common_name("Rooms");
        params.name_constraints = Some(permitted(&[ROOMS]));
    });
    let capulet_below_montague = montague.intermediate(|params| {
        params.distinguished_name = common_name("Capulet");
        params.name_constraints = Some(permitted(&["capulet.lit"]));
    });
    let twice = |issuer: &Authority, name: &str| by(issuer, &[dns(name)]).with(&montague);
    let addresses = below(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(
            [192, 0, 2, 0],
            24,
        ))],
        excluded_subtrees: Vec::new(),
    });
    let mut organisation = common_name("Montague");
    organisation.push(DnType::OrganizationName, "Montague");
    let directory = below(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DirectoryName(organisation)],
        excluded_subtrees: Vec::new(),
    });
    let no_names = raw(tlv(0x30, &tlv(0xa0, &[])));
    let persons = raw(tlv(0x30, &tlv(0xa1, &tlv(0x30, &xmpp_addr("capulet.lit")))));
    let common = |san: &str, issuer: &Authority| {
        let issued = issuer.issue(&[san], |params| {
            params.distinguished_name = common_name("montague.lit");
        });
        issued.with(issuer)
    };
    let name = [dns("montague.lit")];
    let specimens = vec![
        shown("may: `montague.lit`", &by(&montague, &name)).proves(),
        shown("may: `montague.lit`; it is for `rooms.montague.lit`", &{
            by(&montague, &[dns(ROOMS)])
        })
        .by(ROOMS)
        .proves(),
        shown("may: `montague.lit`; it is for `*.montague.lit`", &{
            by(&montague, &[dns("*.montague.lit")])
        })
        .by(ROOMS)
        .proves(),
        shown("may: `capulet.lit` and `montague.lit`", &by(&both, &name)).proves(),
        shown("may: `capulet.lit`", &by(&capulet, &name)).untrusted(FORBIDDEN),
        shown("may: `capulet.lit`; it is for both", &{
            by(&capulet, &[dns("capulet.lit"), dns("montague.lit")])
        })
        .untrusted(FORBIDDEN),
        shown(
            "may: `rooms.montague.lit`",
            &by(&below(permitted(&[ROOMS])), &name),
        )
        .untrusted(FORBIDDEN),
        shown(
            "may: `.montague.lit`",
            &by(&below(permitted(&[".montague.lit"])), &name),
        )
        .untrusted(FORBIDDEN),
        shown(
            "may: `MONTAGUE.LIT`",
            &by(&below(permitted(&["MONTAGUE.LIT"])), &name),
        )
        .proves(),
        shown(
            "may: `ague.lit`",
            &by(&below(permitted(&["ague.lit"])), &name),
        )
        .untrusted(FORBIDDEN),
        shown(
            "may: every name (the empty one)",
            &by(&below(permitted(&[""])), &name),
        )
        .proves(),
        shown("may not: `montague.lit`", &by(&but("montague.lit"), &name)).untrusted(FORBIDDEN),
        shown(
            "may not: `montague.lit`; it is for `rooms.montague.lit`",
            &{ by(&but("montague.lit"), &[dns(ROOMS)]) },
        )
        .by(ROOMS)
        .untrusted(FORBIDDEN),
        shown("may not: `montague.lit`; it is for `MONTAGUE.lit`", &{
            by(&but("montague.lit"), &[dns("MONTAGUE.lit")])
        })
        .untrusted(FORBIDDEN),
        shown(
            "may not: `rooms.montague.lit`; it is for `*.montague.lit`",
            &{ by(&but(ROOMS), &[dns("*.montague.lit")]) },
        )
        .by(ROOMS)
        .untrusted(FORBIDDEN),
        shown("may not: `capulet.lit`", &by(&but("capulet.lit"), &name)).proves(),
        shown("may not: any name (the empty one)", &by(&but(""), &name)).untrusted(FORBIDDEN),
        shown(
            "may: `montague.lit`; may not: `rooms.montague.lit`",
            &by(&within, &name),
        )
        .proves(),
        shown(
            "may: `montague.lit`; may not: `rooms.montague.lit`, for which it is",
            &{ by(&within, &[dns(ROOMS)]) },
        )
        .by(ROOMS)
        .untrusted(FORBIDDEN),
        shown("the root may: `montague.lit`", &named_by(&strict, &name)).proves(),
        shown("the root may: `montague.lit`; it is for `capulet.lit`", &{
            named_by(&strict, &[dns("capulet.lit")])
        })
        .by("capulet.lit")
        .untrusted(FORBIDDEN),
        shown(
            "`rooms.montague.lit` below `montague.lit`, for the first",
            &{ twice(&rooms_below_montague, ROOMS) },
        )
        .by(ROOMS)
        .proves(),
        shown(
            "`rooms.montague.lit` below `montague.lit`, for the second",
            &{ twice(&rooms_below_montague, "montague.lit") },
        )
        .untrusted(FORBIDDEN),
        shown("`capulet.lit` below `montague.lit`, for the first", &{
            twice(&capulet_below_montague, "capulet.lit")
        })
        .by("capulet.lit")
        .untrusted(FORBIDDEN),
        shown("may: `capulet.lit`; `montague.lit` is the common name", &{
            common("capulet.lit", &capulet)
        })
        .names_others("capulet.lit"),
        shown("may: `montague.lit`; it is an XmppAddr", &{
            by(&montague, &[xmpp_addr("montague.lit")])
        })
        .names_nobody(),
        shown("may: `montague.lit`; it is an SRVName", &{
            by(&montague, &[srv("_xmpp-server.montague.lit")])
        })
        .names_nobody(),
        shown(
            "may: `capulet.lit`; beside that an XmppAddr and an SRVName",
            &{
                let names = [
                    dns("capulet.lit"),
                    xmpp_addr("montague.lit"),
                    srv("_xmpp-server.montague.lit"),
                ];
                by(&capulet, &names)
            },
        )
        .names_others("capulet.lit"),
        shown("the root may: `montague.lit`; it is an XmppAddr", &{
            named_by(&strict, &[xmpp_addr("montague.lit")])
        })
        .names_nobody(),
        shown("may: 192.0.2.0/24", &by(&addresses, &name)).proves(),
        shown("may: 192.0.2.0/24; it is for 198.51.100.1 as well", &{
            by(
                &addresses,
                &[dns("montague.lit"), tlv(0x87, &[198, 51, 100, 1])],
            )
        })
        .untrusted(FORBIDDEN),
        shown("may: 192.0.2.0/24; it is an XmppAddr", &{
            by(&addresses, &[xmpp_addr("montague.lit")])
        })
        .names_nobody(),
        shown(
            "may not: an XmppAddr of `capulet.lit`",
            &by(&persons, &name),
        )
        .proves(),
        // RFC 5280 §4.2.1.10: whoever does not know the kind of name refuses the certificate.
        shown(
            "may not: an XmppAddr of `capulet.lit`; it is an XmppAddr",
            &{ by(&persons, &[dns("montague.lit"), xmpp_addr("montague.lit")]) },
        )
        .untrusted(FORBIDDEN),
        shown("may: an organisation's directory", &by(&directory, &name)).untrusted(FORBIDDEN),
        // RFC 5280 forbids the authority to write that, and does not say what it means.
        shown("may: an empty list", &by(&no_names, &name)).proves(),
        shown("may: an empty list; it is an XmppAddr", &{
            by(&no_names, &[xmpp_addr("montague.lit")])
        })
        .names_nobody(),
    ];
    Family {
        title: "Authorities that may certify some names only",
        about: "Of an authority with nameConstraints only DNS names count: an XmppAddr or SRVName by it proves nothing, \
                because its constraints say nothing about them.",
        specimens,
    }
}

fn permitted(names: &[&str]) -> NameConstraints {
    NameConstraints {
        permitted_subtrees: subtrees(names),
        excluded_subtrees: Vec::new(),
    }
}

fn excluded(names: &[&str]) -> NameConstraints {
    NameConstraints {
        permitted_subtrees: Vec::new(),
        excluded_subtrees: subtrees(names),
    }
}

fn subtrees(names: &[&str]) -> Vec<GeneralSubtree> {
    let subtree = |name: &&str| GeneralSubtree::DnsName((*name).to_owned());
    names.iter().map(subtree).collect()
}

const FORBIDDEN: &str = "it has names that its authority may not certify (nameConstraints)";
