//! The part of the page about the first stanza, with the wires.
//! Why with diagrams: that there are so many round trips is a fact; that each is waited for has to be shown.

use std::fmt::Write as _;

use super::figure;
use crate::results::Work;
use crate::world::Kind;

/// Writes it.
pub(super) fn write(work: &Work, page: &mut String) {
    page.push_str(INTRODUCTION);
    page.push_str("| far server | link | round trips | ms |\n|---|---|---|---|\n");
    let mut wires = String::new();
    for kind in [Kind::Prosody, Kind::Verona] {
        for (case, title) in cases() {
            let Some(trips) = work.median(&case, kind.name(), "round_trips") else {
                continue;
            };
            let _ = writeln!(
                page,
                "| {} | {title} | {trips:.0} | {} |",
                kind.title(),
                figure(work.median(&case, kind.name(), "ms"))
            );
            if let Some(diagram) = work.diagram(&case, kind.name()) {
                let _ = writeln!(
                    wires,
                    "verona to {}, {title}: {trips:.0} round trips\n\n```text\n{diagram}```\n",
                    kind.title()
                );
            }
        }
    }
    page.push_str(WIRES);
    page.push_str(&wires);
}

/// The cases as they are named in the results, and for people.
fn cases() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (transport, by) in [("starttls", "STARTTLS"), ("direct-tls", "direct TLS")] {
        for (proof, shown) in [("external", "EXTERNAL"), ("dialback", "dialback")] {
            for (when, met) in [("first", "never met"), ("again", "met before")] {
                all.push((
                    format!("{transport}-{proof}-{when}"),
                    format!("{by}, {shown}, {met}"),
                ));
            }
        }
    }
    all
}

const INTRODUCTION: &str = "\
## The first stanza

A component of verona's sends a message to a domain with which there is no link; it counts until the far component has it.
The line between the servers takes 100 ms each way, a connection's handshake included, and DNS is at hand. Round trips are
those before the message itself leaves. *Met before*: the link of the first message has ended, nothing else was forgotten;
where the far side keeps one of its own there is no such figure.

";

const WIRES: &str = "
### The wires

As verona, which calls, saw them: milliseconds since the component sent, the connection and who opened it, what went out
(→) and came in (←) inside TLS or before it, and where TLS stood (=). TCP's own handshake is the first round trip of each
connection, TLS 1.3 one more. Why none of the others is spared with a peer that is not known, or does not say that it need
not be waited for (XEP-0305):

- `<stream>` → `<features>`: what the features offer decides what may be asked for; the next word is another one if
  STARTTLS or EXTERNAL is not among them.
- `<starttls>` → `<proceed>`: the ClientHello may not go before `<proceed/>`, for what refuses says so in the clear
  (RFC 6120 §5.4.2.3).
- `<auth>` → `<success>`: the new stream begins after `<success/>` only (RFC 6120 §6.4.6), and whether stanzas may flow is
  in it. `<bidi/>` costs nothing: it goes with `<auth>`.
- `<stream>` → `<features>` after it: the features are the far side's word that the negotiation is over
  (RFC 6120 §4.3.5), and a stanza before it may end the stream.
- `<db:result>` → `<db:result valid>`: the far side first asks the authoritative server about the key, on a connection of
  its own that takes as long as this one did; no answer can come before.

A verona that was met before is not waited for where the answer is known: what is left is TCP, `<proceed/>` (behind
`<starttls/>` nothing may follow in the clear), TLS, and the last features, before which no stanza may go. One that was met
and is known by dialback alone is asked step by step: the key is made from the id in its header.

";
