//! What a certificate may be used for (TLS-22).

use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};

use super::super::super::tlv;
use super::super::specimen::shown;
use super::{Family, Nursery, list};

pub(super) fn family(nursery: &mut Nursery) -> Family {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    let purposes = |purposes: &[ExtendedKeyUsagePurpose]| {
        let purposes = purposes.to_vec();
        nursery.server(|params| params.extended_key_usages = purposes)
    };
    let usage = |usage: &[KeyUsagePurpose]| {
        let usage = usage.to_vec();
        nursery.server(|params| params.key_usages = usage)
    };
    let extension = |id: &[u64], content: Vec<u8>| {
        let extension = CustomExtension::from_oid_content(id, content);
        nursery.server(|params| {
            params.extended_key_usages.clear();
            params.custom_extensions = vec![extension];
        })
    };
    let below = |purpose| {
        let authority = nursery
            .authority
            .intermediate(|params| params.extended_key_usages = vec![purpose]);
        let issued = authority.issue(&["montague.lit"], |_| {});
        issued.with(&authority)
    };
    let specimens = vec![
        shown(
            "for servers and clients",
            &purposes(&[ServerAuth, ClientAuth]),
        )
        .proves(),
        shown("for servers alone, as public authorities issue them", &{
            purposes(&[ServerAuth])
        })
        .proves(),
        shown("without a purpose", &purposes(&[])).proves(),
        shown("for clients alone", &purposes(&[ClientAuth])).untrusted(NOT_FOR_SERVERS),
        // RFC 5280 §4.2.1.12: who asks for a purpose may refuse a certificate that does not name it.
        shown("for any purpose", &purposes(&[Any])).untrusted(NOT_FOR_SERVERS),
        shown(
            "for any purpose, and for servers",
            &purposes(&[Any, ServerAuth]),
        )
        .proves(),
        shown("for signing code", &purposes(&[CodeSigning])).untrusted(NOT_FOR_SERVERS),
        shown(
            "with an empty list of purposes",
            &extension(&[2, 5, 29, 37], list(&[])),
        )
        .untrusted(NOT_FOR_SERVERS),
        shown("by an authority for servers alone", &below(ServerAuth)).proves(),
        shown("by an authority for clients alone", &below(ClientAuth)).untrusted(NOT_FOR_SERVERS),
        // What a server's certificate may be used for beside its purpose says nothing about its names.
        shown("keyUsage digitalSignature", &{
            usage(&[KeyUsagePurpose::DigitalSignature])
        })
        .proves(),
        shown("keyUsage keyEncipherment alone", &{
            usage(&[KeyUsagePurpose::KeyEncipherment])
        })
        .proves(),
        shown(
            "CA:FALSE",
            &nursery.server(|params| params.is_ca = IsCa::ExplicitNoCa),
        )
        .proves(),
        // Real ones exist, says webpki (https://bugzilla.mozilla.org/show_bug.cgi?id=985025).
        shown("CA:FALSE with a path length", &{
            extension(&[2, 5, 29, 19], tlv(0x30, &[2, 1, 0]))
        })
        .proves(),
        shown("CA:TRUE", &{
            nursery.server(|params| {
                params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            })
        })
        .untrusted("it is the certificate of an authority (CA:TRUE), not of a server"),
    ];
    Family {
        title: "What it is for",
        about: "Between servers both ends are servers: a certificate for servers (extendedKeyUsage serverAuth) serves in \
                both directions, one for clients alone in neither.",
        specimens,
    }
}

const NOT_FOR_SERVERS: &str = "not for server authentication (extendedKeyUsage)";
