//! The scanner: the same document in any cuts is read the same way, in time proportional to its bytes, and what is
//! accepted can be read as a tree, written again, and then means the same.

use verona_xml::{Element, Error, ErrorKind, Head, Limits, Scan, Scanner, Scope};

use crate::choices::Choices;

/// The header in which elements stand when the input does not bring its own.
pub(crate) const HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
     xmlns:db='jabber:server:dialback' xmlns:p='urn:p'>";

/// Two bytes of choices, then the document.
pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let how = choices.byte();
    let mut seed = u64::from(choices.byte()) << 1 | 1;
    let limits = match how & 1 {
        0 => Limits::default(),
        _ => small(),
    };
    let mut document = Vec::new();
    if how & 2 == 0 {
        document.extend_from_slice(HEADER.as_bytes());
    }
    // A header of ours arrives at once: cutting it in each of a million runs would find nothing.
    let start = document.len();
    document.extend_from_slice(choices.rest());
    let whole = read(&document, start, limits, &mut || usize::MAX);
    let single = read(&document, start, limits, &mut || 1);
    assert_eq!(whole, single, "byte by byte: {}", document.escape_ascii());
    let random = read(&document, start, limits, &mut || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % 23 + 1).unwrap_or(1)
    });
    assert_eq!(whole, random, "cut at random: {}", document.escape_ascii());
}

/// Limits that a short document exceeds.
fn small() -> Limits {
    Limits {
        header_bytes_max: 200,
        stanza_bytes_max: 120,
        element_depth_max: 3,
        elements_max: 4,
        attributes_max: 3,
        attribute_bytes_max: 30,
        namespaces_max: 4,
        name_bytes_max: 16,
    }
}

/// What a scanner made of a document.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    pieces: Vec<Piece>,
    error: Option<Error>,
    consumed: usize,
}

/// A result, with the bytes that it counts. White space may come in many results; it is added up.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Space(usize),
    Declaration(usize),
    Header(Said),
    Element(Said),
    Close(usize),
}

/// What a head says.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    len: usize,
    name: [Option<String>; 3],
    attributes: [Option<String>; 5],
    flags: [bool; 4],
}

fn said(len: usize, head: &Head, bytes: &[u8], scope: &Scope) -> Said {
    let text = |text: Option<std::borrow::Cow<'_, str>>| text.map(std::borrow::Cow::into_owned);
    Said {
        len,
        name: [
            head.prefix(bytes).map(str::to_owned),
            Some(head.local(bytes).to_owned()),
            Some(head.namespace(bytes, scope).to_owned()),
        ],
        attributes: [
            text(head.from(bytes)),
            text(head.to(bytes)),
            text(head.id(bytes)),
            text(head.kind(bytes)),
            text(head.lang(bytes)),
        ],
        flags: [
            head.is_prefixed(),
            head.declares_default(),
            head.leans_on_scope(),
            head.has_non_ascii_name(),
        ],
    }
}

fn read(document: &[u8], start: usize, limits: Limits, size: &mut dyn FnMut() -> usize) -> Reading {
    let mut scanner = Scanner::new(limits);
    let mut reading = Reading {
        pieces: Vec::new(),
        error: None,
        consumed: 0,
    };
    let is_whole = size() == usize::MAX;
    let mut arrived = start;
    while reading.error.is_none() {
        while reading.consumed < arrived {
            let pending = &document[reading.consumed..arrived];
            let scan = match scanner.scan(pending) {
                Ok(scan) => scan,
                Err(error) => {
                    assert_eq!(
                        scanner.scan(pending).err(),
                        Some(error),
                        "an error is for ever"
                    );
                    reading.error = Some(error);
                    break;
                }
            };
            let (len, piece) = match scan {
                Scan::More => {
                    assert!(pending.len() <= limits.header_bytes_max.max(limits.stanza_bytes_max));
                    break;
                }
                Scan::Space { len } => (len, Piece::Space(len)),
                Scan::Declaration { len } => (len, Piece::Declaration(len)),
                Scan::Close { len } => (len, Piece::Close(len)),
                Scan::Header { len, head } => {
                    let bytes = &pending[..len];
                    let said = said(len, &head, bytes, scanner.scope());
                    if is_whole {
                        let tree = Element::parse_header(bytes).expect("a header can be read");
                        agree(&said, &tree);
                    }
                    (len, Piece::Header(said))
                }
                Scan::Element { len, head } => {
                    let bytes = &pending[..len];
                    let said = said(len, &head, bytes, scanner.scope());
                    if is_whole {
                        element(bytes, &said, scanner.scope());
                    }
                    (len, Piece::Element(said))
                }
            };
            assert!(
                len > 0 && len <= pending.len(),
                "a result counts bytes that are there"
            );
            reading.consumed += len;
            match (reading.pieces.last_mut(), piece) {
                (Some(Piece::Space(before)), Piece::Space(len)) => *before += len,
                (_, piece) => reading.pieces.push(piece),
            }
        }
        if arrived == document.len() {
            break;
        }
        arrived = document.len().min(arrived.saturating_add(size()));
    }
    let work = scanner.work();
    let bound = 4096 + 80 * document.len() as u64;
    assert!(
        work <= bound,
        "{work} for {} bytes: {}",
        document.len(),
        document.escape_ascii()
    );
    reading
}

/// The tree of an element agrees with its head, and is the same after it was written.
fn element(bytes: &[u8], said: &Said, scope: &Scope) {
    let tree = Element::parse(bytes, scope).expect("what the scanner accepts can be read");
    agree(said, &tree);
    for default in ["", "jabber:server"] {
        let mut written = String::new();
        tree.write(default, &mut written);
        // The stream on which it is written says what is inherited there.
        let header = format!("<s:s xmlns:s='urn:s' xmlns='{default}'>");
        let mut scanner = Scanner::new(Limits::default());
        let scan = scanner.scan(header.as_bytes());
        assert!(matches!(scan, Ok(Scan::Header { .. })), "{scan:?}");
        match scanner.scan(written.as_bytes()) {
            Ok(Scan::Element { len, .. }) => assert_eq!(len, written.len(), "{written}"),
            // What was inherited from a header is spelled out, which can exceed a limit.
            Err(error) if error.kind() == ErrorKind::TooLarge => return,
            other => panic!(
                "{other:?} for {written:?}, made of {}",
                bytes.escape_ascii()
            ),
        }
        let again = Element::parse(written.as_bytes(), scanner.scope()).expect("as before");
        assert_eq!(
            meaning(&again),
            meaning(&tree),
            "{written:?}, made of {}",
            bytes.escape_ascii()
        );
    }
}

fn agree(said: &Said, tree: &Element) {
    assert_eq!(said.name[1].as_deref(), Some(tree.name()));
    assert_eq!(said.name[2].as_deref(), Some(tree.namespace()));
    let attributes = [
        tree.attribute("from"),
        tree.attribute("to"),
        tree.attribute("id"),
        tree.attribute("type"),
        tree.lang(),
    ];
    for (said, read) in said.attributes.iter().zip(attributes) {
        assert_eq!(said.as_deref(), read);
    }
}

/// What an element means: names with their namespaces, attributes in order of name, text; not how it is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    name: (String, String),
    attributes: Vec<(String, String, String)>,
    text: String,
    children: Vec<Meaning>,
}

pub(crate) fn meaning(tree: &Element) -> Meaning {
    let mut attributes: Vec<_> = tree
        .attributes()
        .map(|it| {
            (
                it.namespace().to_owned(),
                it.name().to_owned(),
                it.value().to_owned(),
            )
        })
        .collect();
    attributes.sort();
    Meaning {
        name: (tree.namespace().to_owned(), tree.name().to_owned()),
        attributes,
        text: tree.text(),
        children: tree.children().map(meaning).collect(),
    }
}
