//! Two parsers that other servers use, expat and libxml2, asked in a process of their own (`referees.py`).

use std::io::{self, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Both of them, listening.
pub struct Referees {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What a parser understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Understood {
    /// Nothing, for this reason.
    Refused(String),
    /// The document's elements, attributes and text, with the delimiters that `referees.py` explains.
    Meaning(String),
}

impl Referees {
    /// Starts them; Debian's own Python has both parsers (`python3`, `python3-lxml`).
    ///
    /// # Errors
    /// There is no such Python, or it lacks lxml.
    pub fn start() -> io::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("referees.py");
        let mut child = Command::new("/usr/bin/python3")
            .arg("-I")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("a pipe is missing");
        let questions = child.stdin.take().ok_or_else(missing)?;
        let answers = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        let mut referees = Self {
            child,
            questions,
            answers,
        };
        referees.ask(b"<a/>")?;
        Ok(referees)
    }

    /// What expat and libxml2 say of a document, in this order.
    ///
    /// # Errors
    /// They have gone away.
    pub fn ask(&mut self, document: &[u8]) -> io::Result<[Understood; 2]> {
        let length = u32::try_from(document.len()).map_err(io::Error::other)?;
        self.questions.write_all(&length.to_be_bytes())?;
        self.questions.write_all(document)?;
        self.questions.flush()?;
        Ok([self.answer()?, self.answer()?])
    }

    fn answer(&mut self) -> io::Result<Understood> {
        let mut length = [0; 4];
        self.answers.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
        let mut text = vec![0; length];
        self.answers.read_exact(&mut text)?;
        let text = String::from_utf8(text).map_err(io::Error::other)?;
        Ok(match text.strip_prefix("refused: ") {
            Some(reason) => Understood::Refused(reason.to_owned()),
            None => Understood::Meaning(text),
        })
    }
}

impl Drop for Referees {
    fn drop(&mut self) {
        // It ends by itself when nothing more is asked; whether it has is of no interest.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
