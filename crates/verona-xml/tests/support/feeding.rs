//! Feeding whole documents to the scanner in every way in which they may arrive, because most tests want that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

use verona_xml::{Error, Limits, Scan, Scanner};

/// The header in which stanzas stand in these tests.
pub const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
    xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' \
    to='a.example' from='b.example' version='1.0' xml:lang='en'>";
pub const FOOTER: &str = "</stream:stream>";

/// So many cases that a mistake is likely to be found in seconds; `PROPTEST_CASES` asks for more.
pub fn cases() -> proptest::test_runner::Config {
    let mut config = proptest::test_runner::Config::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 3000;
    }
    config.failure_persistence = None;
    config
}

/// A document that a failing test shows readably.
#[derive(Clone)]
pub struct Document(pub Vec<u8>);

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// What a scanner made of a document.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    pub pieces: Vec<Piece>,
    pub error: Option<Error>,
    /// Whether the end of the stream came, and all bytes were counted.
    pub complete: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// White space, however many results it came in.
    Space(String),
    Declaration(String),
    /// With what the head says.
    Header(String, String),
    Element(String, String),
    Close(String),
}

impl Reading {
    pub fn is_accepted(&self) -> bool {
        self.error.is_none() && self.complete
    }

    pub fn elements(&self) -> Vec<&[u8]> {
        let elements = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Element(bytes, _) => Some(bytes.as_bytes()),
            Piece::Space(_) | Piece::Declaration(_) | Piece::Header(..) | Piece::Close(_) => None,
        });
        elements.collect()
    }
}

/// Reads a document that arrives in pieces of the sizes that `size` gives.
pub fn read(document: &[u8], limits: Limits, size: impl FnMut() -> usize) -> Reading {
    let mut scanner = Scanner::new(limits);
    read_with(&mut scanner, document, size)
}

/// The same with a scanner that is looked at afterwards.
pub fn read_with(
    scanner: &mut Scanner,
    document: &[u8],
    mut size: impl FnMut() -> usize,
) -> Reading {
    let mut reading = Reading {
        pieces: Vec::new(),
        error: None,
        complete: false,
    };
    let (mut consumed, mut arrived) = (0, 0);
    while arrived < document.len() {
        arrived = document.len().min(arrived + size().max(1));
        loop {
            let pending = &document[consumed..arrived];
            let scan = match scanner.scan(pending) {
                Ok(scan) => scan,
                Err(error) => {
                    reading.error = Some(error);
                    return reading;
                }
            };
            // What is delivered is valid UTF-8 to the last byte.
            let bytes = |len: usize| String::from_utf8(pending[..len].to_vec()).unwrap();
            let len = match scan {
                Scan::More => break,
                Scan::Space { len } => {
                    match reading.pieces.last_mut() {
                        Some(Piece::Space(before)) => before.push_str(&bytes(len)),
                        _ => reading.pieces.push(Piece::Space(bytes(len))),
                    }
                    len
                }
                Scan::Declaration { len } => {
                    reading.pieces.push(Piece::Declaration(bytes(len)));
                    len
                }
                Scan::Header { len, head } => {
                    reading
                        .pieces
                        .push(Piece::Header(bytes(len), format!("{head:?}")));
                    len
                }
                Scan::Element { len, head } => {
                    reading
                        .pieces
                        .push(Piece::Element(bytes(len), format!("{head:?}")));
                    len
                }
                Scan::Close { len } => {
                    reading.pieces.push(Piece::Close(bytes(len)));
                    reading.complete = true;
                    len
                }
            };
            assert!(
                len > 0 && len <= pending.len(),
                "a result counts bytes that are there"
            );
            consumed += len;
        }
    }
    reading.complete &= consumed == document.len();
    reading
}

/// A document of the collection.
pub struct Nasty {
    pub number: u64,
    pub name: String,
    pub accept: bool,
    pub document: Vec<u8>,
    /// The same thing smaller, where the document is too large for a parser that takes its time.
    pub reduced: Option<Vec<u8>>,
}

/// The collection of nasty documents.
pub fn nasty() -> Vec<Nasty> {
    let lines = include_str!("../data/xml-nasty.jsonl").lines();
    lines
        .map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| entry[name].as_str().map(str::to_owned);
            let (document, reduced) = match (field("text"), field("hex"), field("make")) {
                (Some(text), None, None) => (text.into_bytes(), None),
                (None, Some(hex), None) => (bytes_of(&hex), None),
                (None, None, Some(what)) => (made(&what, 10_000), Some(made(&what, 100))),
                _ => panic!("an entry has one of text, hex and make: {line}"),
            };
            let verdict = field("verdict").unwrap();
            assert!(matches!(verdict.as_str(), "accept" | "reject"));
            Nasty {
                number: entry["number"].as_u64().unwrap(),
                name: field("name").unwrap(),
                accept: verdict == "accept",
                document,
                reduced,
            }
        })
        .collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Documents that are too large to keep; `count` is 10,000 for a large one.
fn made(what: &str, count: usize) -> Vec<u8> {
    let inside = match what {
        "nesting" => format!("{}{}", "<a>".repeat(count * 10), "</a>".repeat(count * 10)),
        "long attribute" => format!("<message a='{}'/>", "x".repeat(count * 100)),
        "long name" => format!("<{}/>", "x".repeat(count * 100)),
        "many attributes" => {
            let attributes: String = (0..count).map(|n| format!(" a{n}='1'")).collect();
            format!("<message{attributes}/>")
        }
        "many declarations" => {
            let declarations: String = (0..count).map(|n| format!(" xmlns:p{n}='u{n}'")).collect();
            format!("<message{declarations}/>")
        }
        other => panic!("nobody knows how to make {other:?}"),
    };
    format!("{HEADER}{inside}{FOOTER}").into_bytes()
}

/// Numbers that look random and are the same in every run (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// What rxml says about a document; text between first-level elements has to be noticed by whoever uses it.
pub fn rxml_accepts(document: &[u8]) -> bool {
    use rxml::{Event, Parse};
    let mut parser = rxml::Parser::new();
    let mut rest = document;
    let mut depth = 0;
    loop {
        match parser.parse(&mut rest, true) {
            Ok(Some(Event::StartElement(..))) => depth += 1,
            Ok(Some(Event::EndElement(..))) => depth -= 1,
            Ok(Some(Event::Text(_, text))) if depth == 1 => {
                if !text
                    .chars()
                    .all(|it| matches!(it, ' ' | '\t' | '\n' | '\r'))
                {
                    return false;
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}
