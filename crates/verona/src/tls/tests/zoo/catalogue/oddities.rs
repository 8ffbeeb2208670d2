//! Certificates of other times and other minds, those of somebody else, and none.

use rcgen::{CustomExtension, KeyPair, SerialNumber};
use rustls::pki_types::CertificateDer;

use super::super::super::{certified, tlv};
use super::super::specimen::{Specimen, nothing, shown, shown_with};
use super::super::surgery::Pieces;
use super::{Family, Nursery};

pub(super) fn family(nursery: &mut Nursery) -> Family {
    let mut specimens = vec![nothing("none at all").not("the peer showed no certificate")];
    specimens.extend(odd(nursery));
    specimens.extend(stolen(nursery));
    Family {
        title: "Odd, stolen, or none",
        about: "Whoever does not have the key of the certificate that it shows does not get past the TLS handshake, whatever \
                the certificate.",
        specimens,
    }
}

fn odd(nursery: &Nursery) -> Vec<Specimen> {
    let extension = |critical: bool| {
        let mut extension = unknown_extension();
        extension.set_criticality(critical);
        nursery.server(|params| params.custom_extensions = vec![extension])
    };
    let twice = nursery.server(|params| {
        params.custom_extensions = vec![unknown_extension(), unknown_extension()];
    });
    let numbered = |number: &[u8]| {
        let number = SerialNumber::from(number.to_vec());
        nursery.server(|params| params.serial_number = Some(number))
    };
    let staple =
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], tlv(0x30, &[2, 1, 5]));
    let mut version_1 = nursery.server(|_| {});
    let pieces = Pieces::of(&version_1.chain[0]).into_version_1();
    version_1.chain = vec![pieces.signed_by(&nursery.authority)];
    let mut version_2 = nursery.server(|_| {});
    let mut pieces = Pieces::of(&version_2.chain[0]).into_version_1();
    pieces.version = vec![0xa0, 3, 2, 1, 1];
    version_2.chain = vec![pieces.signed_by(&nursery.authority)];
    let mut longer = nursery.server(|_| {});
    longer.chain[0] = [longer.chain[0].as_ref(), &[0]].concat().into();
    let mut shorter = nursery.server(|_| {});
    let bytes = shorter.chain[0].as_ref();
    shorter.chain[0] = bytes[..bytes.len() - 1].to_vec().into();
    let mut no_certificate = nursery.server(|_| {});
    no_certificate.chain = vec![CertificateDer::from(b"montague.lit".to_vec())];
    vec![
        shown("X.509 v1", &version_1).untrusted("it is no X.509 v3 certificate"),
        shown("X.509 v2", &version_2).untrusted("it is no X.509 v3 certificate"),
        shown("a critical extension that nobody knows", &extension(true))
            .untrusted("it has a critical extension that is unknown here"),
        shown("an extension that nobody knows", &extension(false)).proves(),
        shown("the same extension twice", &twice).proves(),
        // A promise to staple an answer of OCSP, which the public authorities have given up.
        shown("OCSP must-staple, and nothing stapled", &{
            nursery.server(|params| params.custom_extensions = vec![staple])
        })
        .proves(),
        shown("serial number 0", &numbered(&[0])).proves(),
        // RFC 5280 §4.1.2.2: users must cope with 20 octets.
        shown("serial number of 20 octets", &numbered(&[0x7f; 20])).proves(),
        shown("a byte behind its end", &longer).no_tls(NO_KEY),
        shown("without its last byte", &shorter).no_tls(NO_KEY),
        shown("no certificate where one should be", &no_certificate).no_tls(NO_KEY),
    ]
}

fn stolen(nursery: &Nursery) -> Vec<Specimen> {
    let mut critical = unknown_extension();
    critical.set_criticality(true);
    let ordinary = nursery.server(|_| {}).chain;
    let version_1 = Pieces::of(&ordinary[0]).into_version_1();
    let version_1 = vec![version_1.signed_by(&nursery.authority)];
    let critical = nursery
        .server(|params| params.custom_extensions = vec![critical])
        .chain;
    let thief = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let own = &rcgen::PKCS_ECDSA_P256_SHA256;
    [
        ("stolen, with a key of the same kind", &ordinary, own),
        (
            "stolen, with a key of another curve",
            &ordinary,
            &rcgen::PKCS_ECDSA_P384_SHA384,
        ),
        (
            "stolen, with a key of another kind",
            &ordinary,
            &rcgen::PKCS_ED25519,
        ),
        ("stolen, X.509 v1", &version_1, own),
        (
            "stolen, with a critical extension that nobody knows",
            &critical,
            own,
        ),
    ]
    .into_iter()
    .map(|(what, chain, algorithm)| {
        shown_with(what, certified(chain, &thief(algorithm))).no_tls(NO_KEY)
    })
    .collect()
}

fn unknown_extension() -> CustomExtension {
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0])
}

const NO_KEY: &str = "it did not prove that it has the key of its certificate; its key is another or too weak (RSA needs \
                      2048 bits); its operator must look at the certificate";
