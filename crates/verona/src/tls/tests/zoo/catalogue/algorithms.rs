//! Keys and signatures, good and outdated.

use rcgen::{KeyPair, RsaKeySize, SignatureAlgorithm};
use rustls::SignatureScheme;

use super::super::super::{Authority, Issued, leaf, tlv};
use super::super::openssl::{Key, OpenSsl};
use super::super::specimen::{Specimen, shown, shown_with};
use super::super::surgery::{Pieces, ecdsa_with};
use super::{Family, Nursery};

const NAME: &[&str] = &["montague.lit"];

pub(super) fn family(nursery: &mut Nursery) -> Family {
    let mut specimens = usual(nursery);
    if let Some(openssl) = &nursery.openssl {
        specimens.extend(signatures(nursery, openssl));
        specimens.extend(keys(nursery, openssl));
    }
    Family {
        title: "Keys and signatures",
        about: "RSA from 2,048 bits, ECDSA on the curves of NIST, Ed25519; SHA-256 and better. With a key that is not \
                accepted there is no TLS; with a signature that is not accepted the certificate proves nothing.",
        specimens,
    }
}

fn usual(nursery: &Nursery) -> Vec<Specimen> {
    let by = |key: KeyPair| {
        let certificate = leaf(NAME).signed_by(&key, &nursery.authority.0).unwrap();
        Issued {
            chain: vec![certificate.der().clone()],
            key,
        }
    };
    let of = |algorithm: &'static SignatureAlgorithm| by(KeyPair::generate_for(algorithm).unwrap());
    let rsa = |size| by(KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap());
    let below = |algorithm: &'static SignatureAlgorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let authority = nursery.authority.intermediate_with(key, |_| {});
        let issued = authority.issue(NAME, |_| {});
        issued.with(&authority)
    };
    vec![
        shown("ECDSA, P-256", &of(&rcgen::PKCS_ECDSA_P256_SHA256)).proves(),
        shown("ECDSA, P-384", &of(&rcgen::PKCS_ECDSA_P384_SHA384)).proves(),
        shown("ECDSA, P-521", &of(&rcgen::PKCS_ECDSA_P521_SHA512)).proves(),
        shown("Ed25519", &of(&rcgen::PKCS_ED25519)).proves(),
        shown("RSA, 2,048 bits", &rsa(RsaKeySize::_2048)).proves(),
        shown("RSA, 3,072 bits", &rsa(RsaKeySize::_3072)).proves(),
        shown("RSA, 4,096 bits", &rsa(RsaKeySize::_4096)).proves(),
        shown(
            "signed with RSA and SHA-256",
            &below(&rcgen::PKCS_RSA_SHA256),
        )
        .proves(),
        shown(
            "signed with RSA and SHA-384",
            &below(&rcgen::PKCS_RSA_SHA384),
        )
        .proves(),
        shown(
            "signed with RSA and SHA-512",
            &below(&rcgen::PKCS_RSA_SHA512),
        )
        .proves(),
        shown("signed with ECDSA, P-384 and SHA-384", &{
            below(&rcgen::PKCS_ECDSA_P384_SHA384)
        })
        .proves(),
        shown("signed with ECDSA, P-521 and SHA-512", &{
            below(&rcgen::PKCS_ECDSA_P521_SHA512)
        })
        .proves(),
        shown("signed with Ed25519", &below(&rcgen::PKCS_ED25519)).proves(),
    ]
}

/// What an authority may have signed with.
fn signatures(nursery: &Nursery, openssl: &OpenSsl) -> Vec<Specimen> {
    let rsa = openssl.key(RSA_2048);
    let short = openssl.key(RSA_1024);
    let p256 = openssl.key(P256);
    let signed = |key: &Key, algorithm: &[u8], options: &[&str]| {
        certified_by(&nursery.authority, key, algorithm, options)
    };
    let pss = ["-digest", "sha256", PADDING_PSS, SALT_OF_DIGEST];
    let pss_sha1 = ["-digest", "sha1", PADDING_PSS, SALT_OF_DIGEST];
    vec![
        shown(
            "signed with RSA-PSS and SHA-256",
            &signed(&rsa, &rsa_pss(), &pss),
        )
        .proves(),
        shown("signed with RSA-PSS and SHA-1", &{
            signed(&rsa, &rsa_pss_sha1(), &pss_sha1)
        })
        .untrusted(OUTDATED),
        shown("signed with RSA and SHA-1", &{
            signed(&rsa, &rsa_with(5), &["-digest", "sha1"])
        })
        .untrusted(OUTDATED),
        shown("signed with RSA and MD5", &{
            signed(&rsa, &rsa_with(4), &["-digest", "md5"])
        })
        .untrusted(OUTDATED),
        shown("signed with ECDSA and SHA-1", &{
            let sha1 = tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]);
            signed(&p256, &tlv(0x30, &sha1), &["-digest", "sha1"])
        })
        .untrusted(OUTDATED),
        shown("signed with ECDSA and SHA-224", &{
            signed(&p256, &ecdsa_with(1), &["-digest", "sha224"])
        })
        .untrusted(OUTDATED),
        shown("signed with RSA, 1,024 bits, and SHA-256", &{
            signed(&short, &rsa_with(11), &["-digest", "sha256"])
        })
        .untrusted("its signature is wrong, or by a key that is too short (RSA needs 2048 bits)"),
    ]
}

/// Below an intermediate with this key, signed in this way.
fn certified_by(authority: &Authority, key: &Key, algorithm: &[u8], options: &[&str]) -> Issued {
    let between = authority.intermediate(|_| {});
    let mut pieces = Pieces::of(between.0.der());
    pieces.public_key.clone_from(&key.public);
    let mut issued = between.issue(NAME, |_| {});
    let signed =
        Pieces::of(&issued.chain[0]).signed(algorithm, &|message| key.sign(message, options));
    issued.chain = vec![signed, pieces.signed_by(authority)];
    issued
}

/// Keys with which a peer proves itself in the handshake, or tries to.
fn keys(nursery: &Nursery, openssl: &OpenSsl) -> Vec<Specimen> {
    let by = |key: &Key| {
        let mut pieces = Pieces::of(&nursery.server(|_| {}).chain[0]);
        pieces.public_key.clone_from(&key.public);
        vec![pieces.signed_by(&nursery.authority)]
    };
    let short = openssl.key(RSA_1024);
    let pss = openssl.key(RSA_PSS_2048);
    let bitcoin = openssl.key(SECP256K1);
    let ed448 = openssl.key(&["-algorithm", "ED448"]);
    const PSS: &[&str] = &["-digest", "sha256", PADDING_PSS, SALT_OF_DIGEST];
    const SHA256: &[&str] = &["-digest", "sha256"];
    let scheme = SignatureScheme::from;
    vec![
        shown_with(
            "RSA, 1,024 bits",
            short.certified(by(&short), scheme(0x0804), PSS),
        )
        .no_tls(NO_KEY),
        shown_with(
            "RSA for RSA-PSS alone",
            pss.certified(by(&pss), scheme(0x0809), PSS),
        )
        .no_tls(NO_SCHEME),
        shown_with(
            "ECDSA, secp256k1",
            bitcoin.certified(by(&bitcoin), scheme(0x0403), SHA256),
        )
        .no_tls(NO_KEY),
        shown_with("Ed448", ed448.certified(by(&ed448), scheme(0x0808), &[])).no_tls(NO_SCHEME),
    ]
}

/// The AlgorithmIdentifier of RSA PKCS #1 v1.5 with MD5 (4), SHA-1 (5) or SHA-256 (11).
fn rsa_with(hash: u8) -> Vec<u8> {
    let id = tlv(0x06, &[&RSA[..], &[hash]].concat());
    tlv(0x30, &[id, vec![5, 0]].concat())
}

/// The same of RSA-PSS with SHA-256 and a salt of 32 bytes (RFC 4055).
fn rsa_pss() -> Vec<u8> {
    let sha256 = tlv(
        0x30,
        &[
            tlv(0x06, &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1]),
            vec![5, 0],
        ]
        .concat(),
    );
    let mask = tlv(0x06, &[&RSA[..], &[8]].concat());
    let mask = tlv(0x30, &[mask, sha256.clone()].concat());
    let parameters = [tlv(0xa0, &sha256), tlv(0xa1, &mask), tlv(0xa2, &[2, 1, 32])];
    let id = tlv(0x06, &[&RSA[..], &[10]].concat());
    tlv(0x30, &[id, tlv(0x30, &parameters.concat())].concat())
}

/// The same with SHA-1, which is the default.
fn rsa_pss_sha1() -> Vec<u8> {
    let id = tlv(0x06, &[&RSA[..], &[10]].concat());
    tlv(0x30, &[id, tlv(0x30, &[])].concat())
}

const RSA_1024: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"];
const RSA_2048: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const RSA_PSS_2048: &[&str] = &["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"];
const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const SECP256K1: &[&str] = &[
    "-algorithm",
    "EC",
    "-pkeyopt",
    "ec_paramgen_curve:secp256k1",
];
/// pkcs-1 (RFC 8017).
const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
const PADDING_PSS: &str = "-pkeyopt=rsa_padding_mode:pss";
const SALT_OF_DIGEST: &str = "-pkeyopt=rsa_pss_saltlen:digest";
const OUTDATED: &str =
    "signed with an algorithm that is not accepted (such as SHA-1 or RSA below 2048 bits)";
const NO_KEY: &str = "it did not prove that it has the key of its certificate; its key is another or too weak (RSA needs \
                      2048 bits); its operator must look at the certificate";
const NO_SCHEME: &str = "it signs with a key of a kind that is not accepted; its certificate needs a key that is RSA, ECDSA \
                         on a curve of NIST, or Ed25519";
