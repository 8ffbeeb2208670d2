//! Stanzas that look like nobody's: every way to write namespaces, attributes and text, mixed.

use super::Numbers;

/// The declarations of the stream header in which these stanzas stand, without a default namespace.
pub const PREFIXES: &str = "xmlns:stream='http://etherx.jabber.org/streams' \
    xmlns:x='urn:x' xmlns:y='urn:y' xmlns:s='jabber:server'";

/// The same without what the header of the other tests declares already.
pub const PREFIXES_ELSEWHERE: &str = "xmlns:x='urn:x' xmlns:y='urn:y' xmlns:s='jabber:server'";

/// Whether elements of the stanza's own namespace may have a prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Usual,
    Anything,
}

/// A stanza in `jabber:server`; `inherited` says whether that is the default namespace of its stream.
pub fn stanza(numbers: &mut Numbers, style: Style, inherited: bool) -> String {
    let mut out = String::new();
    let root = match (style, numbers.below(4), inherited) {
        (Style::Anything, 0, _) => ("s:message", ""),
        (Style::Anything, 1, _) => ("q:message", " xmlns:q='jabber:server'"),
        (_, 2, true) => ("message", ""),
        (_, 3, _) => ("message", " xmlns='jabber:server' xmlns:x='urn:other'"),
        (_, _, _) => ("message", " xmlns = \"jabber:server\""),
    };
    element(numbers, style, root, 0, &mut out);
    out
}

fn element(
    numbers: &mut Numbers,
    style: Style,
    (name, declarations): (&str, &str),
    depth: usize,
    out: &mut String,
) {
    out.push('<');
    out.push_str(name);
    out.push_str(declarations);
    for (place, choices) in ATTRIBUTES.iter().enumerate() {
        if numbers.below(3) == 0 && (depth == 0 || place > 1) {
            out.push_str(SPACES[numbers.below(SPACES.len())]);
            out.push_str(choices[numbers.below(choices.len())]);
        }
    }
    let pieces = numbers.below(5).saturating_sub(depth / 2);
    if pieces == 0 && numbers.below(2) == 0 {
        out.push_str(" />");
        return;
    }
    out.push('>');
    for _ in 0..pieces {
        if numbers.below(2) == 0 {
            out.push_str(TEXTS[numbers.below(TEXTS.len())]);
            continue;
        }
        let names = match style {
            Style::Usual => &ELEMENTS[..USUAL],
            Style::Anything => ELEMENTS,
        };
        let name = names[numbers.below(names.len())];
        element(numbers, style, name, depth + 1, out);
    }
    out.push_str("</");
    out.push_str(name);
    out.push_str([">", " >", "\n>"][numbers.below(3)]);
}

/// Every group is one attribute, so that none comes twice.
const ATTRIBUTES: [&[&str]; 6] = [
    &[
        "from='romeo@a.example'",
        "from = \"o&apos;neill@a.example\"",
        "from='a&#x2E;example'",
    ],
    &[
        "to='b.example'",
        "to=\"b.example/it's\"",
        "to='juliet@b.example/a\tb&#9;c'",
    ],
    &[
        "id='1'",
        "id='&lt;&amp;&#x1F600;&gt;'",
        "id=\"a\nb\rc\r\nd\"",
    ],
    &["type='chat'", "type='x>y'"],
    &["x:a='1'", "y:a='2'", "s:a='3'"],
    &["xml:lang='en'", "xml:lang=''"],
];

const SPACES: [&str; 4] = [" ", "  ", "\n", "\t\r\n "];

const TEXTS: &[&str] = &[
    "plain",
    "&amp;&lt;&#62;",
    "\r\n\r",
    "]]",
    "<![CDATA[<not a='tag'>&amp;]] >]]>",
    "\u{1F600}\u{E9}",
    "&#13;",
    "a > b \"quoted\" 'so'",
    " ",
    "<![CDATA[]]>",
];

/// The first of them are written as most software does it.
const ELEMENTS: &[(&str, &str)] = &[
    ("body", ""),
    ("x:x", ""),
    ("y:y", " xmlns:x='urn:inner'"),
    ("f:forwarded", " xmlns:f='urn:forward'"),
    ("forwarded", " xmlns='urn:forward'"),
    ("x", " xmlns:x='urn:inner' xmlns='urn:x'"),
    ("none", " xmlns=''"),
    ("y:y", " xmlns='urn:default' xmlns:y='urn:new'"),
    // From here on the content namespace is spelled out.
    ("message", " xmlns='jabber:server'"),
    ("s:body", ""),
    ("t:body", " xmlns:t='jabber:server'"),
    ("x:x", " xmlns='jabber:server'"),
    ("s:s", " xmlns='urn:x' xmlns:s='urn:not-server'"),
];
const USUAL: usize = 8;
