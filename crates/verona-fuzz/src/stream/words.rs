//! What a peer may say, made of few choices each, so that a fuzzer need not invent XML to get anywhere.

use verona_proto::ns;
use verona_proto::stream::Role;

use super::{OURS, THEIRS};
use crate::choices::Choices;

/// One element or header, of addresses and ids that matter. `key` is one that we sent.
pub(super) fn anything(choices: &mut Choices<'_>, key: &str) -> String {
    let word = choices.below(20);
    let from = any_domain(choices);
    let to = any_domain(choices);
    match word {
        0..=2 => {
            let kind = any_type(choices);
            let key = choices.one_of(&["key", key, ""]);
            format!("<db:result from='{from}' to='{to}'{kind}>{key}</db:result>")
        }
        3 => {
            let (id, kind) = (any_id(choices), any_type(choices));
            let key = choices.one_of(&["key", key, " \n"]);
            format!("<db:verify from='{from}' to='{to}' id='{id}'{kind}>{key}</db:verify>")
        }
        4 | 5 => stanza(choices, from, to),
        6 => header(from, to, any_id(choices), choices.below(8)),
        7 => bidi(choices),
        8 => {
            let said = [
                "=",
                "",
                "Y2FwdWxldC5saXQ=",
                "YmFuay5saXQ=",
                " Y2FwdWxldC5saXQ= ",
                "!",
                "AA==",
            ];
            let mechanism = choices.one_of(&["EXTERNAL", "EXTERNAL", "PLAIN", ""]);
            let said = choices.one_of(&said);
            format!(
                "<auth xmlns='{}' mechanism='{mechanism}'>{said}</auth>",
                ns::SASL
            )
        }
        9 => {
            let text = choices.one_of(&["success", "failure", "challenge", "response", "abort"]);
            let inner = choices.one_of(&[
                "",
                "<not-authorized/>",
                "<temporary-auth-failure/><text>no</text>",
            ]);
            format!("<{text} xmlns='{}'>{inner}</{text}>", ns::SASL)
        }
        10 => {
            let name = choices.one_of(&["starttls", "proceed", "failure"]);
            format!("<{name} xmlns='{}'/>", ns::TLS)
        }
        11 | 12 => features(choices),
        13 => {
            let condition =
                choices.one_of(&["host-unknown", "not-authorized", "conflict", "made-up"]);
            let streams = "urn:ietf:params:xml:ns:xmpp-streams";
            format!("<stream:error><{condition} xmlns='{streams}'/></stream:error>")
        }
        14 => {
            let texts = [
                "</stream:stream>",
                "<foo xmlns='urn:foo'/>",
                "<a>",
                "<db:other/>",
                "<stream:error/>",
                "<!-- -->",
                "<stream:features>",
                "<message",
                "&lt;",
                "<?xml version='1.0'?>",
            ];
            choices.one_of(&texts).to_owned()
        }
        15..=18 => management(choices),
        _ => String::from_utf8_lossy(choices.bytes()).into_owned(),
    }
}

/// An element of stream management (XEP-0198), with counts that are right, wrong, or no numbers.
fn management(choices: &mut Choices<'_>) -> String {
    let namespace = choices.one_of(&[ns::MANAGEMENT, ns::MANAGEMENT, "urn:xmpp:sm:2"]);
    let h = choices.one_of(&["0", "1", "2", "3", "4294967295", "4294967296", "-1", ""]);
    let id = any_id(choices);
    let takes = format!("<resumption xmlns='{}'/>", ns::RESUMPTION);
    let inner = choices.one_of(&["", takes.as_str(), "<x/>"]);
    match choices.below(9) {
        0 => format!("<enable xmlns='{namespace}'/>"),
        1 => format!("<enable xmlns='{namespace}' resume='true'>{inner}</enable>"),
        2 => format!("<enabled xmlns='{namespace}' id='{id}' resume='true' max='{h}'/>"),
        3 => format!("<enabled xmlns='{namespace}'/>"),
        4 => format!("<resume xmlns='{namespace}' previd='{id}' h='{h}'/>"),
        5 => format!("<resumed xmlns='{namespace}' previd='{id}' h='{h}'/>"),
        6 => format!("<failed xmlns='{namespace}' h='{h}'>{inner}</failed>"),
        7 => format!("<r xmlns='{namespace}'>{inner}</r>"),
        _ => format!("<a xmlns='{namespace}' h='{h}'/>"),
    }
}

fn stanza(choices: &mut Choices<'_>, from: &str, to: &str) -> String {
    let name = choices.one_of(&["message", "iq", "presence", "x:message", "moved", "message"]);
    let kind = choices.one_of(&[
        "",
        " type='get'",
        " type='error'",
        " type='result'",
        " type='set'",
    ]);
    let local = choices.one_of(&["a@", "", "a b@", "é@"]);
    let more = choices.one_of(&[
        "",
        " xmlns:x='jabber:server'",
        " xmlns='jabber:client'",
        " xml:lang='de'",
    ]);
    let body = choices.one_of(&[
        "",
        "<body>hi</body>",
        "<é/>",
        "<db:x/>",
        "<ping xmlns='urn:xmpp:ping'/>",
        "<a><b><c/></b></a>",
    ]);
    format!("<{name} from='{local}{from}/r' to='{local}{to}' id='1'{kind}{more}>{body}</{name}>")
}

fn bidi(choices: &mut Choices<'_>) -> String {
    let namespace = choices.one_of(&[ns::BIDI, ns::BIDI, ns::BIDI_FEATURE, "urn:foo"]);
    let takes = format!("<resumption xmlns='{}'/>", ns::RESUMPTION);
    let multiplex = "<multiplex xmlns='urn:verona:multiplex:0'/>";
    let inner = choices.one_of(&["", multiplex, takes.as_str(), "x"]);
    format!("<bidi xmlns='{namespace}'>{inner}</bidi>")
}

fn features(choices: &mut Choices<'_>) -> String {
    let which = choices.byte();
    let mut said = String::from("<stream:features>");
    if which & 1 != 0 {
        let required = if which & 2 != 0 { "<required/>" } else { "" };
        said.push_str(&format!(
            "<starttls xmlns='{}'>{required}</starttls>",
            ns::TLS
        ));
    }
    if which & 4 != 0 {
        let mechanism = if which & 8 != 0 {
            "EXTERNAL"
        } else {
            "SCRAM-SHA-1"
        };
        said.push_str(&format!(
            "<mechanisms xmlns='{}'><mechanism>{mechanism}</mechanism></mechanisms>",
            ns::SASL
        ));
    }
    if which & 16 != 0 {
        said.push_str(&format!("<bidi xmlns='{}'/>", ns::BIDI_FEATURE));
    }
    if which & 32 != 0 {
        said.push_str(&format!(
            "<dialback xmlns='{}'><errors/></dialback>",
            ns::DIALBACK_FEATURE
        ));
    }
    if which & 64 != 0 {
        said.push_str("<multiplex xmlns='urn:verona:multiplex:0'/>");
        said.push_str(&format!("<pipelining xmlns='{}'/>", ns::PIPELINING));
    }
    if which & 128 != 0 {
        said.push_str(&format!("<bidi xmlns='{}'/>", ns::BIDI));
    }
    match choices.below(4) {
        0 => {}
        1 => said.push_str(&format!("<sm xmlns='{}'/>", ns::MANAGEMENT)),
        _ => said.push_str(&format!(
            "<sm xmlns='{}'/><resumption xmlns='{}'/>",
            ns::MANAGEMENT,
            ns::RESUMPTION
        )),
    }
    said + "</stream:features>"
}

fn header(from: &str, to: &str, id: &str, how: usize) -> String {
    let content = if how == 6 {
        "jabber:client"
    } else {
        ns::SERVER
    };
    let version = if how == 5 { "" } else { " version='1.0'" };
    let from = if how == 4 {
        String::new()
    } else {
        format!(" from='{from}'")
    };
    let to = if how == 3 {
        String::new()
    } else {
        format!(" to='{to}'")
    };
    let id = if how == 2 {
        String::new()
    } else {
        format!(" id='{id}'")
    };
    let lang = if how == 1 { " xml:lang='de'" } else { "" };
    format!(
        "<stream:stream xmlns='{content}' xmlns:db='{}' xmlns:stream='{}'{from}{to}{id}{version}{lang}>",
        ns::DIALBACK,
        ns::STREAM
    )
}

/// What a peer that means well says at this step of a stream.
pub(super) fn well_meant(role: Role, is_direct: bool, step: usize) -> String {
    let (ours, theirs) = (OURS[0], THEIRS[0]);
    let begin = header(theirs, ours, "peer", 0);
    let request = |from: &str| format!("<db:result from='{from}' to='{ours}'>key</db:result>");
    let bidi = format!("<bidi xmlns='{}'/>", ns::BIDI);
    let message = format!("<message from='a@{theirs}' to='b@{ours}'/>");
    let steps = match role {
        Role::Receiving => vec![
            begin.clone(),
            format!("<starttls xmlns='{}'/>", ns::TLS),
            begin.clone(),
            bidi,
            format!("<auth xmlns='{}' mechanism='EXTERNAL'>=</auth>", ns::SASL),
            begin,
            request(THEIRS[1]),
            message,
        ],
        Role::Initiating => vec![
            format!(
                "{begin}<stream:features><starttls xmlns='{}'/></stream:features>",
                ns::TLS
            ),
            format!("<proceed xmlns='{}'/>", ns::TLS),
            format!(
                "{begin}<stream:features><mechanisms xmlns='{}'><mechanism>EXTERNAL</mechanism></mechanisms>\
                 <bidi xmlns='{}'/><dialback xmlns='{}'/></stream:features>",
                ns::SASL,
                ns::BIDI_FEATURE,
                ns::DIALBACK_FEATURE
            ),
            format!("<success xmlns='{}'/>", ns::SASL),
            format!("{begin}<stream:features/>"),
            format!("<db:result from='{theirs}' to='{ours}' type='valid'/>"),
            request(THEIRS[1]),
            message,
        ],
    };
    let skipped = if is_direct { 2 } else { 0 };
    steps.get(skipped + step).cloned().unwrap_or_default()
}

fn any_domain(choices: &mut Choices<'_>) -> &'static str {
    choices.one_of(&[
        THEIRS[0],
        OURS[0],
        THEIRS[1],
        OURS[1],
        THEIRS[2],
        "nobody.lit",
        "CAPULET.lit.",
        "",
        "a b",
    ])
}

fn any_id(choices: &mut Choices<'_>) -> &'static str {
    choices.one_of(&["id1", "id2", "id3", "peer", "x", ""])
}

fn any_type(choices: &mut Choices<'_>) -> &'static str {
    choices.one_of(&[
        "",
        " type='valid'",
        " type='invalid'",
        " type='error'",
        " type='?'",
    ])
}
