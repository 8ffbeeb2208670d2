//! From the certificate to an authority that is trusted, or not.

use rcgen::{BasicConstraints, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};

use super::super::super::{Authority, Issued, common_name, leaf};
use super::super::specimen::{Specimen, shown};
use super::super::surgery::Pieces;
use super::{Family, Nursery};

const NAME: &[&str] = &["montague.lit"];

pub(super) fn family(nursery: &mut Nursery) -> Family {
    let mut specimens = complete(nursery);
    specimens.extend(crossed(nursery));
    specimens.extend(unknown(nursery));
    specimens.extend(forbidden(nursery));
    specimens.extend(forged(nursery));
    Family {
        title: "The path to an authority",
        about: "A server has to send its own certificate first and every intermediate, in any order; the root need not be \
                there. What it sends beyond that does no harm.",
        specimens,
    }
}

/// What a server sends, from all that it should to all that it could.
fn complete(nursery: &Nursery) -> Vec<Specimen> {
    let authority = &nursery.authority;
    let upper = authority.intermediate(|params| params.distinguished_name = common_name("Upper"));
    let lower = upper.intermediate(|params| params.distinguished_name = common_name("Lower"));
    let stranger = Authority::new("A Stranger");
    let issued = || lower.issue(NAME, |_| {});
    let itself = || {
        let mut issued = issued();
        issued.chain.push(issued.chain[0].clone());
        issued
    };
    vec![
        shown("issued by the root", &nursery.server(|_| {})).proves(),
        shown("with both intermediates", &issued().with(&lower).with(&upper)).proves(),
        shown("with both intermediates in the wrong order", &{
            issued().with(&upper).with(&lower)
        })
        .proves(),
        shown("with the root as well", &{
            issued().with(&lower).with(&upper).with(authority)
        })
        .proves(),
        shown("with the certificate of a stranger between", &{
            issued().with(&stranger).with(&lower).with(&upper)
        })
        .proves(),
        shown("with an intermediate twice, and itself", &{
            itself().with(&lower).with(&lower).with(&upper)
        })
        .proves(),
        shown("without its intermediates", &issued()).untrusted(
            "issued by an unknown authority (CN=Lower); its server sent no intermediate certificate",
        ),
        shown("without the upper intermediate", &issued().with(&lower))
            .untrusted("issued by an unknown authority (CN=Lower)"),
        shown("with the upper intermediate alone", &issued().with(&upper))
            .untrusted("issued by an unknown authority (CN=Lower)"),
        shown("six intermediates", &deep(authority, 6)).proves(),
        shown("ten intermediates", &deep(authority, 10))
            .untrusted("there are too many intermediates between it and a trusted authority"),
    ]
}

fn deep(authority: &Authority, count: usize) -> Issued {
    let mut above = Vec::new();
    for number in 0..count {
        let next = above
            .last()
            .unwrap_or(authority)
            .intermediate(|params| params.distinguished_name = common_name(&format!("{number}")));
        above.push(next);
    }
    let issued = above[count - 1].issue(NAME, |_| {});
    above.iter().rev().fold(issued, Issued::with)
}

/// An intermediate with several issuers.
fn crossed(nursery: &mut Nursery) -> Vec<Specimen> {
    let other = nursery.root("Another Authority", |_| {});
    let stranger = Authority::new("A Stranger");
    let crossed = Authority::new("A Crossed Authority");
    let by = |issuer: &Authority, year| {
        crossed.certified_by(issuer, "A Crossed Authority", |params| {
            params.not_after = date_time_ymd(year, 1, 1)
        })
    };
    let issued = || crossed.issue(NAME, |_| {});
    let with = |certificates: &[&rcgen::Certificate]| {
        let mut issued = issued();
        let further = certificates
            .iter()
            .map(|certificate| certificate.der().clone());
        issued.chain.extend(further);
        issued
    };
    let (expired, good) = (by(&nursery.authority, 2021), by(&other, 2999));
    let strange = by(&stranger, 2999);
    let (one, two) = (Authority::new("One"), Authority::new("Two"));
    let (one_by_two, two_by_one) = (
        one.certified_by(&two, "One", |_| {}),
        two.certified_by(&one, "Two", |_| {}),
    );
    let mut circle = one.issue(NAME, |_| {});
    circle.chain.push(one_by_two.der().clone());
    circle.chain.push(two_by_one.der().clone());
    vec![
        shown(
            "two roots crossed, the first path expired",
            &with(&[&expired, &good]),
        )
        .proves(),
        shown(
            "two roots crossed, the second path expired",
            &with(&[&good, &expired]),
        )
        .proves(),
        shown(
            "two roots crossed, one of them unknown",
            &with(&[&strange, &good]),
        )
        .proves(),
        shown(
            "two roots crossed, one unknown and one expired",
            &with(&[&strange, &expired]),
        )
        .untrusted("an intermediate certificate: expired on 2021-01-01"),
        shown("two intermediates that certify each other", &circle)
            .untrusted("issued by an unknown authority (CN=One)"),
    ]
}

/// Nobody who is trusted knows it.
fn unknown(nursery: &mut Nursery) -> Vec<Specimen> {
    let stranger = Authority::new("A Stranger");
    let double = Authority::new("An Authority");
    let trusted = itself("Montague", IsCa::ExplicitNoCa);
    nursery.trust_also(&trusted.pem_of_chain());
    let trusted_authority = itself(
        "Montague's Authority",
        IsCa::Ca(BasicConstraints::Unconstrained),
    );
    nursery.trust_also(&trusted_authority.pem_of_chain());
    vec![
        shown("self-signed", &itself("a server", IsCa::NoCa)).untrusted("self-signed"),
        shown("self-signed, CA:TRUE", &{
            itself("a server", IsCa::Ca(BasicConstraints::Unconstrained))
        })
        .untrusted(SELF_SIGNED_AUTHORITY),
        shown("self-signed, with the name of another that is trusted", &{
            itself("Montague", IsCa::ExplicitNoCa)
        })
        .untrusted("self-signed, and not with the key of the trusted authority of that name"),
        shown("self-signed, CA:FALSE, named as a root by the operator", &trusted).proves(),
        shown("self-signed, CA:TRUE, named as a root by the operator", &trusted_authority)
            .untrusted(SELF_SIGNED_AUTHORITY),
        shown("with the name of its authority as its own", &{
            nursery.server(|params| params.distinguished_name = common_name("An Authority"))
        })
        .proves(),
        shown("by an unknown authority", &stranger.issue(NAME, |_| {})).untrusted(
            "issued by an unknown authority (CN=A Stranger); its server sent no intermediate certificate",
        ),
        shown("by an unknown authority, which it sends", &{
            stranger.issue(NAME, |_| {}).with(&stranger)
        })
        .untrusted("issued by an unknown authority (CN=A Stranger)"),
        shown("by an unknown authority with the name of a known one", &{
            double.issue(NAME, |_| {})
        })
        .untrusted("its signature is wrong"),
    ]
}

fn itself(name: &str, is_ca: IsCa) -> Issued {
    let key = KeyPair::generate().unwrap();
    let mut params = leaf(NAME);
    params.distinguished_name = common_name(name);
    params.is_ca = is_ca;
    let chain = vec![params.self_signed(&key).unwrap().der().clone()];
    Issued { chain, key }
}

/// Issued by somebody who may not issue.
fn forbidden(nursery: &Nursery) -> Vec<Specimen> {
    let authority = &nursery.authority;
    let below = |issuer: &Authority| issuer.issue(NAME, |_| {}).with(issuer);
    let is_ca = |is_ca: IsCa| authority.intermediate(|params| params.is_ca = is_ca);
    let usage =
        |usage: KeyUsagePurpose| authority.intermediate(|params| params.key_usages = vec![usage]);
    let last = is_ca(IsCa::Ca(BasicConstraints::Constrained(0)));
    let beyond = last.intermediate(|params| params.distinguished_name = common_name("Beyond"));
    let old = is_ca(IsCa::NoCa);
    let mut by_version_1 = old.issue(NAME, |_| {});
    let version_1 = Pieces::of(old.0.der()).into_version_1();
    by_version_1.chain.push(version_1.signed_by(authority));
    vec![
        shown(
            "by a server's certificate (CA:FALSE)",
            &below(&is_ca(IsCa::ExplicitNoCa)),
        )
        .untrusted(MAY_NOT_ISSUE),
        shown(
            "by a certificate that does not say whether it may issue",
            &below(&old),
        )
        .untrusted(MAY_NOT_ISSUE),
        shown("by a certificate of X.509 v1", &by_version_1)
            .untrusted("an intermediate certificate: it is no X.509 v3 certificate"),
        shown("by an intermediate with pathLenConstraint 0", &below(&last)).proves(),
        shown("by an intermediate below one with pathLenConstraint 0", &{
            below(&beyond).with(&last)
        })
        .untrusted(MAY_NOT_ISSUE),
        shown("by an intermediate with keyUsage keyCertSign", &{
            below(&usage(KeyUsagePurpose::KeyCertSign))
        })
        .proves(),
        // RFC 5280 §6.1.4 n.
        shown("by an intermediate whose keyUsage lacks keyCertSign", &{
            below(&usage(KeyUsagePurpose::DigitalSignature))
        })
        .untrusted(MAY_NOT_ISSUE),
    ]
}

/// With signatures that are not what they should be.
fn forged(nursery: &Nursery) -> Vec<Specimen> {
    let authority = &nursery.authority;
    let bent = |offset_from_end: usize| {
        let mut issued = nursery.server(|_| {});
        let mut bytes = issued.chain[0].to_vec();
        let at = bytes.len() - offset_from_end;
        bytes[at] ^= 1;
        issued.chain = vec![bytes.into()];
        issued
    };
    let mut renamed = authority.issue(&["montagua.lit"], |_| {});
    let bytes = renamed.chain[0].to_vec();
    let at = bytes
        .windows(12)
        .position(|window| window == b"montagua.lit")
        .unwrap();
    let mut changed = bytes.clone();
    changed[at + 7] = b'e';
    renamed.chain = vec![changed.into()];
    let below = authority.intermediate(|_| {});
    let mut by_bent = below.issue(NAME, |_| {});
    let mut bytes = below.0.der().to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    by_bent.chain.push(bytes.into());
    vec![
        shown("one bit of its signature changed", &bent(1)).untrusted("its signature is wrong"),
        shown("its name changed after it was signed", &renamed).untrusted("its signature is wrong"),
        shown("one bit of its intermediate's signature changed", &by_bent)
            .untrusted("its signature is wrong"),
    ]
}

const MAY_NOT_ISSUE: &str =
    "issued by a certificate that may not issue (basicConstraints, keyUsage)";
const SELF_SIGNED_AUTHORITY: &str =
    "self-signed, and the certificate of an authority (CA:TRUE), not of a server";
