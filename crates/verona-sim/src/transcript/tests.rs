//! The judge is judged: a transcript that says the wrong thing must fail, at the right line.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

const GOOD: &str = "\
# We refuse a stanza before anything is authorised.
spec STREAM-34
let ID = one
stream receiving hosts=montague.lit tls=unavailable ids={ID}

> <?xml version='1.0'?><stream:stream from='capulet.lit' to='montague.lit' version='1.0' …>
< <stream:stream to='capulet.lit' from='montague.lit' id='{id}' version='1.0' xml:lang='en' …>
< <stream:features><bidi xmlns='urn:xmpp:features:bidi'/>
  <dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback></stream:features>
> <message from='juliet@capulet.lit' to='romeo@montague.lit'/>
< {stream-error:not-authorized}
* failed not-authorized peer stream
= deadline +5s
@ +5s
* disconnect
= no deadline
";

fn play(text: &str) -> Result<usize, Mistake> {
    Transcript::parse("test.txt", text).and_then(|transcript| transcript.play())
}

#[test]
fn a_true_transcript_passes_in_every_delivery() {
    assert_eq!(play(GOOD), Ok(11));
    let transcript = Transcript::parse("test.txt", GOOD).unwrap();
    assert_eq!(transcript.specs(), ["STREAM-34"]);
}

#[test]
fn what_is_untrue_is_found_at_its_line() {
    for (truth, lie, line, says) in [
        ("id='{id}'", "id='two'", 7, "instead of"),
        ("id='{id}'", "", 7, "instead of"),
        (
            "xml:lang='en' …>",
            "xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
            7,
            "instead of",
        ),
        (
            "<bidi xmlns='urn:xmpp:features:bidi'/>",
            "",
            8,
            "instead of",
        ),
        ("<errors/>", "<errors/><errors/>", 8, "instead of"),
        ("< {stream-error:not-authorized}\n", "", 12, "there is more"),
        ("error:not-authorized", "error:bad-format", 11, "instead of"),
        (
            "* failed not-authorized peer stream\n",
            "",
            12,
            "there is more",
        ),
        ("peer stream", "policy stream", 12, "instead of"),
        ("deadline +5s", "deadline +6s", 13, "it is"),
        ("* disconnect\n", "", 15, "there is more"),
        ("= no deadline", "* disconnect", 16, "did not happen"),
        ("= no deadline", "= sends a → b", 16, "it is `nothing`"),
        ("= no deadline", "! secured\n= no deadline", 16, "missing"),
    ] {
        let text = GOOD.replacen(truth, lie, 1);
        assert_ne!(text, GOOD, "{truth}");
        let mistake = play(&text).unwrap_err();
        assert_eq!(mistake.line, line, "{mistake}");
        assert!(mistake.text.contains(says), "{mistake}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_before_it_is_played() {
    for (truth, lie, line) in [
        ("spec STREAM-34\n", "", 1),
        ("STREAM-34", "STREAM34", 2),
        ("stream receiving", "stream sending", 4),
        ("hosts=montague.lit", "", 4),
        ("tls=unavailable", "tls=perhaps", 4),
        ("tls=unavailable", "limits=no_such:1", 4),
        ("tls=unavailable", "colour=red", 4),
        ("> <?xml", "? <?xml", 6),
    ] {
        let mistake = Transcript::parse("test.txt", &GOOD.replacen(truth, lie, 1)).unwrap_err();
        assert_eq!(mistake.line, line, "{mistake}");
        assert_eq!(mistake.path, "test.txt");
    }
    let nothing = "spec STREAM-34\nstream receiving hosts=a.lit\n> <a/>\n";
    assert_eq!(
        Transcript::parse("t", nothing).unwrap_err().text,
        "nothing is expected"
    );
}
