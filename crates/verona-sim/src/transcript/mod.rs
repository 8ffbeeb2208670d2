//! The transcript of one stream: what the peer sends, what we write, what happens; one line each. A protocol rule with
//! its example on one page can be reviewed by someone who reads no Rust.
//!
//! ```text
//! # A stanza before the peer is authorised is an error.
//! spec STREAM-34
//! stream receiving hosts=montague.lit tls=unavailable ids=one
//!
//! > <stream:stream from='capulet.lit' to='montague.lit' version='1.0' …>
//! < <stream:stream from='montague.lit' to='capulet.lit' id='{id}' version='1.0' xml:lang='en' …>
//! < <stream:features>{any}</stream:features>
//! ```
//!
//! # Lines
//!
//! | line | meaning |
//! |---|---|
//! | `# …` | comment |
//! | `spec ID …` | the requirements that the transcript shows; at least one line |
//! | `include FILE` | the lines of another file, named from this one; a mistake in them is shown at this line |
//! | `let NAME = …` | a constant: `{NAME}` stands for it from here on |
//! | `stream ROLE KEY=VALUE …` | the stream: see below |
//! | `peer DOMAIN KEY=VALUE …` | an exception for one peer, with the keys of the policy |
//! | `> …` | the peer sends these bytes |
//! | `< …` | we write these elements; `< (white space)` for a keepalive |
//! | `* …` | an event, see `event.rs` |
//! | `! …` | somebody wants something of the stream: see below |
//! | `@ +30s` | time passes; the stream is ticked at each of its deadlines |
//! | `= …` | what holds now: see below |
//!
//! A line that begins with white space carries on the line before.
//!
//! *Stream:* `ROLE` is `initiating`, `receiving` or `verifying`. Keys: `hosts`, `pair=LOCAL~REMOTE` (unless
//! receiving), `check=ID/KEY` (verifying), `secured=CERTIFICATE` (TLS came first), `own=no` (we have no certificate),
//! `ids` (of our headers, in order), `secret`, `issued=KEY,…` (keys that we made on other streams within the last 90 s; others
//! are not vouched for), `met=ID,…` (ids of earlier streams to the same peer), `learned=DOMAIN:TOPIC:OUTCOME,…`, `external=no`, `request=no` (what an earlier failure taught), `pace=ahead` (nor is the peer waited for), `proven=DOMAIN:certificate|dane,…` (what peers proved before),
//! `attestations=yes` (DNS and the web can be asked about certificates), `way=dns|dnssec|configured|redirect` (how we came
//! to the server), `tlsa=yes` (DNSSEC names its certificate); and the policy: `tls`
//! (`required`, `optional`, `unavailable`), `weaker`, `identity`, `bidi`, `bidi-offer`, `experience` (`use`, `ignore`), `multiplex`, `management` (`off`, `acknowledgements`, `auto`; here it is `off` unless
//! it is said), `to`, `federate`, `limits=NAME:VALUE,…`; `resume=ID:HANDLED:ACKNOWLEDGED:SENT,…` are lost streams to take up.
//!
//! *Certificate:* `absent`, `untrusted:NAME,…`, or `NAME,…`.
//!
//! *Commands:* `secured certificate=CERTIFICATE [expires=+10s] [FOUND]`, `attested DOMAIN [FOUND]` with `FOUND` some of
//! `dane=matches|differs|none posh=matches|differs|failed host=NAME`, `verdict SENDER → TARGET valid|invalid|error
//! CONDITION`, `request SENDER → TARGET`, `converge`, `reload hosts=… [deny=DOMAIN,…] [POLICY]`, `resume TICKET`, `resume nothing`, `abandon`, `unhandled COUNT`
//! (of what was received, not in its place yet), `drained` (nothing more is to be sent for now), `send STANZA`, `close`, `close CONDITION`, `tls failed`, `eof`.
//!
//! *Assertions:* `unsent`, `state …`, `sends A → B, …` or `sends nothing`, `accepts …`, `bidirectional`,
//! `unidirectional`, `lost TICKET` or `lost none` (what can be taken up, were it lost now), `unacknowledged COUNT`, `deadline +30s`, `no deadline`,
//! `reached LIMIT …` (which limits took effect so far, in the order of their table).
//!
//! *Placeholders:* `{any}` matches anything; `{name}` takes what it meets first and stands for it afterwards;
//! `{key:SECRET,RECEIVING,ORIGINATING,ID}` is a dialback key; `{repeat:N,TEXT}` and `{hex:C080}` make bytes;
//! `{stream-error:CONDITION}` is a stream error with any text and the closing tag, `{stream-error:CONDITION,DETAIL}` one
//! with a condition of XEP-0205 beside it; `{dialback-error:TYPE,CONDITION}` is the content of a dialback error; `…`
//! stands for the namespaces of a server's header.
//!
//! # What is demanded
//!
//! Everything written and every event must be in the transcript, in order; the two orders are compared each for itself.
//! Elements are compared by what they mean, not by how they are written; our `<limits/>` may stand in features and in
//! `<bidi/>` without being shown, and so may `<pipelining/>` in features. Every transcript is played with each `>` line
//! at once, with all `>` lines between two commands at once, byte by byte, and cut at random places: all must end in
//! the same. While the stream lives it must have a deadline, and a tick at a deadline must move it.

mod event;
mod parse;
mod stream;
mod text;
mod wire;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use parse::{Setup, Step};
use stream::Delivery;

/// A transcript, ready to be played.
#[derive(Clone, Debug)]
pub struct Transcript {
    path: String,
    specs: Vec<String>,
    setup: Setup,
    steps: Vec<Step>,
}

impl Transcript {
    /// Reads `text`; `path` is for messages, and seeds the places of the random cuts.
    ///
    /// # Errors
    /// [`Mistake`] names the line that cannot be understood.
    pub fn parse(path: &str, text: &str) -> Result<Self, Mistake> {
        parse::parse(path, parse::logical_lines(text))
    }

    /// Reads a file; messages show `path` without `root`.
    ///
    /// # Errors
    /// As [`Transcript::parse`]; a file that cannot be read is a mistake in its line 0.
    pub fn read(root: &Path, path: &Path) -> Result<Self, Mistake> {
        let shown = path.strip_prefix(root).unwrap_or(path);
        let shown = shown.to_string_lossy();
        let text =
            fs::read_to_string(path).map_err(|error| Mistake::new(&shown, 0, error.to_string()))?;
        let mut lines = Vec::new();
        for (line, text) in parse::logical_lines(&text) {
            match text.strip_prefix("include ") {
                None => lines.push((line, text)),
                Some(name) => include(path, name.trim(), line, &mut lines)
                    .map_err(|text| Mistake::new(&shown, line, text))?,
            }
        }
        parse::parse(&shown, lines)
    }

    /// Plays it with every delivery of the peer's bytes, and says how often that was.
    ///
    /// # Errors
    /// [`Mistake`] names the line that did not hold, what was found, and how the bytes were delivered.
    pub fn play(&self) -> Result<usize, Mistake> {
        let deliveries = Delivery::all(&self.path);
        for delivery in &deliveries {
            stream::play(self, *delivery).map_err(|mistake| Mistake {
                text: format!("{}\n    delivered {delivery}", mistake.text),
                ..mistake
            })?;
        }
        Ok(deliveries.len())
    }

    /// The requirements that it shows.
    #[must_use]
    pub fn specs(&self) -> &[String] {
        &self.specs
    }

    fn mistake(&self, line: usize, text: impl Into<String>) -> Mistake {
        Mistake::new(&self.path, line, text)
    }
}

/// What is wrong, and where: with the transcript, or with the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// A sentence.
    pub text: String,
}

impl Mistake {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

impl std::error::Error for Mistake {}

/// Takes the lines of a file that stands beside the transcript, and of those that it includes in its turn.
fn include(
    from: &Path,
    name: &str,
    line: usize,
    lines: &mut Vec<(usize, String)>,
) -> Result<(), String> {
    let path = from.with_file_name(name);
    let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
    for (_, text) in parse::logical_lines(&text) {
        match text.strip_prefix("include ") {
            None => lines.push((line, text)),
            Some(name) => include(&path, name.trim(), line, lines)?,
        }
    }
    Ok(())
}

/// All transcripts below a directory, in order.
///
/// # Errors
/// A [`Mistake`] when a directory cannot be read.
pub fn files(directory: &Path) -> Result<Vec<PathBuf>, Mistake> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        let unreadable = |error: std::io::Error| {
            Mistake::new(&directory.to_string_lossy(), 0, error.to_string())
        };
        for entry in fs::read_dir(&directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "txt") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
