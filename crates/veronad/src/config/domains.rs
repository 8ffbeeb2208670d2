//! `[[domain]]`: what we host, and the components that serve it.
//!
//! A domain is named once, for two components of one domain would each get half of its stanzas.

use std::sync::Arc;

use verona::config::{Component, Conflict, HostedDomain};
use verona_proto::addr::Domain;

use super::problem::{Place, Report};
use super::section::{Node, Section};
use super::{Base, address, secrets, unavailable};

/// A hosted domain and where its name stands.
pub(super) struct Read {
    pub(super) domain: HostedDomain,
    pub(super) place: Place,
    /// Whether its messages are kept in the journal.
    pub(super) journal: bool,
}

/// Reports that there is no domain.
pub(super) fn none(report: &mut Report) {
    report
        .error_of_file("there is no `[[domain]]`: nothing would be served")
        .suggest("add `[[domain]]` and below it `name = \"capulet.lit\"`");
}

/// Reads every `[[domain]]`.
pub(super) fn read(sections: Vec<Section<'_>>, base: &Base, report: &mut Report) -> Vec<Read> {
    let mut domains: Vec<Read> = Vec::new();
    for mut section in sections {
        let name = section.get("name");
        let component = section
            .get("component")
            .and_then(|node| component(&node, base, report));
        let journal = section
            .get("journal")
            .and_then(|node| Some((node.place(), node.boolean(report)?)));
        if let Some((place, true)) = &journal
            && component.is_none()
            && !section.has("component")
        {
            report
                .warning(
                    place,
                    "no component serves this domain: there are no messages to keep",
                )
                .suggest("remove `journal`, or name its `component`");
        }
        let Some(node) = name else {
            report
                .error(section.place(), "this `[[domain]]` has no name")
                .suggest("add `name = \"capulet.lit\"`");
            section.finish(report);
            continue;
        };
        section.finish(report);
        if let Some(name) = self::name(&node, &domains, report) {
            domains.push(Read {
                domain: HostedDomain { name, component },
                place: node.place(),
                journal: journal.is_some_and(|(_, wanted)| wanted),
            });
        }
    }
    domains
}

fn name(node: &Node<'_>, others: &[Read], report: &mut Report) -> Option<Domain> {
    let name = address::domain(node, node.text(report)?, report)?;
    if others.iter().any(|other| other.domain.name == name) {
        report
            .error(&node.place(), format!("`{name}` is hosted twice"))
            .suggest("keep one of the two `[[domain]]`");
        return None;
    }
    Some(name)
}

fn component(node: &Node<'_>, base: &Base, report: &mut Report) -> Option<Component> {
    let mut table = node.table(report)?;
    let before = report.problems().len();
    let secret = secrets::read(&mut table, base, report);
    if secret.is_none() && report.problems().len() == before {
        report
            .error(
                &node.place(),
                "the component has no secret: anybody could attach as it",
            )
            .suggest("add `secret_file = \"component.secret\"`");
    }
    let conflict = table.get("conflict");
    let conflict = match conflict {
        None => Conflict::default(),
        Some(node) => match node.choice(CONFLICT, report) {
            Some(Some(conflict)) => conflict,
            Some(None) => {
                let remedy =
                    "\"reject-new\" refuses a second connection, \"kick-old\" lets it take over";
                unavailable::report(
                    &node,
                    "sharing one domain between connections",
                    remedy,
                    report,
                );
                Conflict::default()
            }
            None => Conflict::default(),
        },
    };
    table.finish(report);
    Some(Component {
        secret: Arc::from(secret?),
        conflict,
    })
}

/// `None` is what this version cannot do.
const CONFLICT: &[(&str, Option<Conflict>)] = &[
    ("reject-new", Some(Conflict::RejectNew)),
    ("kick-old", Some(Conflict::KickOld)),
    ("share", None),
];
