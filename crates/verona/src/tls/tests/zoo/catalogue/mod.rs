//! The certificates, by family, each with the verdict that the standards ask for.

mod algorithms;
mod constraints;
mod names;
mod oddities;
mod paths;
mod times;
mod uses;
mod xmpp;

use rcgen::CertificateParams;

use super::super::{Authority, Issued, TrustRoots, alternative_names, tlv};
use super::openssl::OpenSsl;
use super::specimen::Specimen;

pub(super) use names::dns;
pub(super) use xmpp::xmpp_addr;

/// A family of certificates.
pub(super) struct Family {
    pub(super) title: &'static str,
    /// What an operator needs to know of it.
    pub(super) about: &'static str,
    pub(super) specimens: Vec<Specimen>,
}

/// All of them. Those that need `openssl` are missing where that is.
pub(super) fn families(nursery: &mut Nursery) -> Vec<Family> {
    vec![
        names::family(nursery),
        xmpp::family(nursery),
        uses::family(nursery),
        times::family(nursery),
        paths::family(nursery),
        algorithms::family(nursery),
        constraints::family(nursery),
        oddities::family(nursery),
    ]
}

/// Makes certificates, and knows whom the operator trusts.
pub(super) struct Nursery {
    /// A root that is trusted.
    pub(super) authority: Authority,
    pub(super) openssl: Option<OpenSsl>,
    /// Further roots that are trusted, in PEM.
    roots: Vec<String>,
}

impl Nursery {
    pub(super) fn new() -> Self {
        Self {
            authority: Authority::new("An Authority"),
            openssl: OpenSsl::find(),
            roots: Vec::new(),
        }
    }

    /// Another root that is trusted.
    pub(super) fn root(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Authority {
        let root = Authority::changed(name, change);
        self.trust_also(&root.0.pem());
        root
    }

    pub(super) fn trust_also(&mut self, pem: &str) {
        self.roots.push(pem.to_owned());
    }

    pub(super) fn trust(&self) -> TrustRoots {
        let mut all = self.authority.0.pem();
        self.roots.iter().for_each(|root| all.push_str(root));
        TrustRoots::from_pem(&all).unwrap()
    }

    /// A certificate of montague.lit.
    pub(super) fn server(&self, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        self.authority.issue(&["montague.lit"], change)
    }

    /// A certificate with these names and no others.
    pub(super) fn named(&self, names: &[Vec<u8>]) -> Issued {
        named_by(&self.authority, names)
    }
}

/// A certificate with these names and no others, by `authority`.
fn named_by(authority: &Authority, names: &[Vec<u8>]) -> Issued {
    let extension = alternative_names(names);
    authority.issue(&[], |params| params.custom_extensions = vec![extension])
}

/// The value of an extension that lists object identifiers or other elements.
fn list(elements: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &elements.concat())
}
