//! A document on the domain's web server (RFC 7711).

use verona_proto::policy::IdentityMethod::{Certificate, Dialback, Posh};

use super::super::specimen::shown;
use super::*;

pub(super) const TITLE: &str = "With POSH: certificates that the web server names";
pub(super) const ABOUT: &str = "A certificate that no authority knows is believed if the domain's web server names it. One \
     that it does not name is worth what it was worth without.";

pub(super) fn cases(nursery: &Nursery) -> Vec<Case> {
    let both = [Certificate, Posh];
    let good = nursery.server(|_| {});
    let itself = self_signed();
    let says = |web| Elsewhere {
        web,
        ..Elsewhere::default()
    };
    let others = format!("{SELF_SIGNED}; its POSH document names other certificates");
    vec![
        Case::new(shown("self-signed", &itself), "names it", &both)
            .elsewhere(says(Web::NamesIt))
            .proves("posh"),
        Case::new(shown("self-signed", &itself), "names it", &[Certificate])
            .elsewhere(says(Web::NamesIt))
            .refused(SELF_SIGNED),
        Case::new(shown("self-signed", &itself), "names others", &both)
            .elsewhere(says(Web::NamesOthers))
            .refused(&others),
        Case::new(
            shown("self-signed", &itself),
            "names others",
            &[Certificate, Posh, Dialback],
        )
        .elsewhere(says(Web::NamesOthers))
        .connects(Verdict::Dialback, &others)
        .dialled(Verdict::Believed("dns".into()), &others)
        .asked(Verdict::Asked("dns"), &others),
        Case::new(shown("self-signed", &itself), "has no document", &both)
            .elsewhere(says(Web::Fails))
            .refused(&format!(
                "{SELF_SIGNED}; POSH: the web server answered with status 404"
            )),
        //= TLS-34
        Case::new(shown("good", &good), "names others", &both)
            .elsewhere(says(Web::NamesOthers))
            .proves("certificate"),
    ]
}
