//! Finds out what DNS and the web say of a peer's certificate: the questions, of which the trust engine judges the answers.
//!
//! Anybody who connects causes these questions, so each has a deadline, and what they find is remembered where it was
//! asked for.

use rustls::pki_types::CertificateDer;
use verona_proto::addr::Domain;
use verona_proto::certificate::Attestation;
use verona_proto::limits::seconds;

use crate::shared::Shared;

/// What is known of the certificate of a peer that connected to us and claims to be `domain` (DNS-19, DNS-24); within
/// `attestation_seconds`, whatever comes of it.
pub(crate) async fn of_peer(
    shared: &Shared,
    domain: Domain,
    _chain: &[CertificateDer<'static>],
) -> Attestation {
    let deadline = seconds(shared.limits.attestation_seconds);
    let _ = deadline;
    Attestation::none(domain)
}
