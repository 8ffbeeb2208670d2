//! Dialback elements: what is read from any element, and what is written of it, say the same. A question that is read
//! as an answer, or an answer as a question, would be a proof that nobody gave.

use verona_proto::addr::Domain;
use verona_proto::dialback::{
    Answer, Dialback, DialbackError, Secret, Verdict, write_answer, write_request, write_verdict,
    write_verify,
};
use verona_proto::ns;
use verona_proto::stanza::condition::read_stream_error;
use verona_xml::{Element, Limits, Scan, Scanner};

use crate::choices::Choices;

/// The first byte chooses between an element as text and one that is put together from choices.
pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let how = choices.byte();
    let text = match how & 1 {
        0 => String::from_utf8_lossy(choices.rest()).into_owned(),
        _ => composed(&mut choices),
    };
    if let Some(element) = scanned(&text) {
        read(&element);
        // It takes any element.
        let _ = read_stream_error(&element);
    }
    // Slow, and nothing in it depends on much of the text.
    if how & 0xE == 0xE {
        keys(&text);
    }
}

/// An element with the names of dialback and values that matter, or nearly so.
fn composed(choices: &mut Choices<'_>) -> String {
    let mut text = String::from("<");
    let name = choices.one_of(&["db:result", "db:verify", "result", "db:error", "x:result"]);
    text.push_str(name);
    while !choices.is_used_up() {
        let attribute = choices.one_of(&[
            "from", "to", "id", "type", "xmlns", "xmlns:x", "db:from", "xml:lang",
        ]);
        let plain = [
            "a.example",
            "b.example",
            "",
            "valid",
            "invalid",
            "error",
            "id1",
            "é.example",
            "A.EXAMPLE.",
            "jabber:server:dialback",
            "xn--9ca.example",
        ];
        let value = match choices.flag() {
            true => choices.one_of(&plain).to_owned(),
            false => String::from_utf8_lossy(choices.bytes()).replace('\'', "&apos;"),
        };
        text.push_str(&format!(" {attribute}='{value}'"));
        if choices.below(4) == 0 {
            break;
        }
    }
    let content = String::from_utf8_lossy(choices.rest());
    match content.is_empty() {
        true => text.push_str("/>"),
        false => text.push_str(&format!(">{content}</{name}>")),
    }
    text
}

/// The element, if the scanner of a stream lets it pass.
fn scanned(text: &str) -> Option<Element> {
    let header = format!(
        "<stream:stream xmlns='{}' xmlns:stream='{}' xmlns:db='{}'>",
        ns::SERVER,
        ns::STREAM,
        ns::DIALBACK
    );
    let mut scanner = Scanner::new(Limits::default());
    assert!(matches!(
        scanner.scan(header.as_bytes()),
        Ok(Scan::Header { .. })
    ));
    match scanner.scan(text.as_bytes()) {
        Ok(Scan::Element { len, .. }) => {
            let element = Element::parse(&text.as_bytes()[..len], scanner.scope());
            Some(element.expect("what the scanner accepts can be read"))
        }
        Ok(
            Scan::More
            | Scan::Space { .. }
            | Scan::Declaration { .. }
            | Scan::Header { .. }
            | Scan::Close { .. },
        )
        | Err(_) => None,
    }
}

fn read(element: &Element) {
    let asks = element.attribute("type").is_none();
    let mut written = String::new();
    match Dialback::read(element) {
        Ok(Dialback::Request { from, to, key }) => {
            assert!(asks && element.name() == "result");
            write_request(&mut written, &from, &to, &key);
            same(&written, &Dialback::Request { from, to, key });
        }
        Ok(Dialback::Answer { from, to, answer }) => {
            assert!(!asks && element.name() == "result");
            assert_eq!(
                answer == Answer::Valid,
                element.attribute("type") == Some("valid")
            );
            write_answer(&mut written, &from, &to, answer);
            same(&written, &Dialback::Answer { from, to, answer });
        }
        Ok(Dialback::Verify { from, to, id, key }) => {
            assert!(asks && element.name() == "verify");
            assert_eq!(element.attribute("id"), Some(id.as_str()));
            write_verify(&mut written, &from, &to, &id, &key);
            same(&written, &Dialback::Verify { from, to, id, key });
        }
        Ok(Dialback::Verdict {
            from,
            to,
            id,
            verdict,
        }) => {
            assert!(!asks && element.name() == "verify");
            assert_eq!(
                verdict == Verdict::Valid,
                element.attribute("type") == Some("valid")
            );
            write_verdict(&mut written, &from, &to, &id, verdict);
            same(
                &written,
                &Dialback::Verdict {
                    from,
                    to,
                    id,
                    verdict,
                },
            );
        }
        Ok(Dialback::Irregular(what)) => {
            assert!(!what.is_empty());
            let known = matches!(element.name(), "result" | "verify");
            assert!(
                !known || !asks,
                "a question is refused with a reason: {element:?}"
            );
        }
        Err(error) => {
            assert!(asks, "nobody is answered who did not ask: {element:?}");
            match error {
                DialbackError::ImproperAddressing => assert_eq!(element.name(), "result"),
                DialbackError::BadVerify { from, to, id } => {
                    assert_eq!(element.name(), "verify");
                    assert!(from.is_none() || to.is_none() || id.is_none());
                }
            }
        }
    }
}

/// What we write is read as what was meant.
fn same(written: &str, meant: &Dialback) {
    let element = scanned(written).unwrap_or_else(|| panic!("we wrote {written:?}"));
    assert_eq!(element.namespace(), ns::DIALBACK);
    assert_eq!(Dialback::read(&element).as_ref(), Ok(meant), "{written}");
}

/// A key is recognised for what it was made for, whatever white space is around it, and for nothing else.
fn keys(text: &str) {
    let secret = Secret::new("secret");
    let domain = |name: &str| Domain::parse(name).expect("a domain");
    let (receiving, originating) = (domain("a.example"), domain("b.example"));
    let key = secret.key(&receiving, &originating, text);
    assert!(secret.is_key(&receiving, &originating, text, &format!(" \n{key}\t")));
    assert!(!secret.is_key(&originating, &receiving, text, &key));
    assert!(!secret.is_key(&receiving, &originating, &format!("{text}x"), &key));
    assert_eq!(
        secret.is_key(&receiving, &originating, "id", text),
        text.trim_matches([' ', '\t', '\n', '\r']) == secret.key(&receiving, &originating, "id")
    );
}
