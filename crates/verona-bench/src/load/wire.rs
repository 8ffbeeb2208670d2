//! One connection of the load that never waits: what the system does not take is taken later.
//! Why TLS is fed from a buffer of ours: one call to the system brings many records.

use std::io::{BufRead as _, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::count::Count;
use crate::talk::Standing;

/// A connection, the component's in the clear or a peer's with TLS.
pub(super) struct Wire {
    tcp: mio::net::TcpStream,
    tls: Option<Box<rustls::Connection>>,
    /// Without TLS: what the system did not take.
    waiting: Vec<u8>,
    messages: Count,
    /// Where both sides acknowledge: the server's questions.
    questions: Option<Count>,
    asks: bool,
    /// When something came last, before anything was answered.
    heard: Instant,
    /// The end of what came: should that be the end, it may say why.
    last: Vec<u8>,
}

impl Wire {
    pub(super) fn plain(tcp: TcpStream) -> Result<Self> {
        tcp.set_nonblocking(true)?;
        Ok(Self {
            tcp: mio::net::TcpStream::from_std(tcp),
            tls: None,
            waiting: Vec::new(),
            messages: Count::of("</message>"),
            questions: None,
            asks: false,
            heard: Instant::now(),
            last: Vec::new(),
        })
    }

    pub(super) fn secured(standing: Standing) -> Result<Self> {
        let mut wire = Self::plain(standing.tcp)?;
        let mut tls = standing.tls;
        tls.set_buffer_limit(None);
        wire.tls = Some(Box::new(tls));
        wire.questions = standing.is_managed.then(|| Count::of("<r xmlns"));
        wire.asks = standing.is_managed;
        wire.on_text(&standing.early)?;
        Ok(wire)
    }

    pub(super) fn source(&mut self) -> &mut mio::net::TcpStream {
        &mut self.tcp
    }

    /// For whoever waits by it.
    pub(super) fn descriptor(&self) -> &mio::net::TcpStream {
        &self.tcp
    }

    /// How many stanzas have ever come.
    pub(super) fn received(&self) -> u64 {
        self.messages.found()
    }

    /// When the last of them came. What the server asked along with it is answered later: that is not its time.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether all that was sent has been taken by the system.
    pub(super) fn is_free(&self) -> bool {
        match &self.tls {
            Some(tls) => !tls.wants_write(),
            None => self.waiting.is_empty(),
        }
    }

    /// White space between stanzas: a server that was not told what arrived may wonder whether anybody is there. One that
    /// was told (XEP-0198) knows.
    pub(super) fn show_life(&mut self) -> Result<()> {
        match &mut self.tls {
            Some(tls) if !self.asks => {
                tls.writer().write_all(b" ")?;
                self.flush()
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.tls {
            Some(tls) => {
                tls.writer().write_all(bytes)?;
                // A server that acknowledges is asked as often as servers ask.
                if self.asks {
                    tls.writer().write_all(b"<r xmlns='urn:xmpp:sm:3'/>")?;
                }
                self.flush()
            }
            None => {
                let taken = match self.tcp.write(bytes) {
                    Ok(taken) => taken,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    Err(error) => return Err(error).context("writing to the component port"),
                };
                self.waiting
                    .extend_from_slice(bytes.get(taken..).unwrap_or_default());
                Ok(())
            }
        }
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        match &mut self.tls {
            Some(tls) => {
                while tls.wants_write() {
                    match tls.write_tls(&mut self.tcp) {
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error).context("writing to the server"),
                    }
                }
            }
            None => {
                while !self.waiting.is_empty() {
                    match self.tcp.write(&self.waiting) {
                        Ok(taken) => drop(self.waiting.drain(..taken)),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error).context("writing to the component port"),
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads all there is.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        loop {
            let length = match self.tcp.read(buffer) {
                Ok(0) => bail!(
                    "the server has ended a connection, and said last: {}",
                    String::from_utf8_lossy(&self.last)
                ),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("reading from the server"),
            };
            self.on_bytes(buffer.get(..length).unwrap_or_default())?;
            // The system had no more than that.
            if length < buffer.len() {
                return Ok(());
            }
        }
    }

    fn on_bytes(&mut self, mut bytes: &[u8]) -> Result<()> {
        let Some(mut tls) = self.tls.take() else {
            return self.on_text(bytes);
        };
        let mut asked = false;
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes)?;
            let state = tls.process_new_packets()?;
            let mut left = state.plaintext_bytes_to_read();
            let mut reader = tls.reader();
            while left > 0 {
                let text = reader.fill_buf()?;
                let length = text.len();
                self.messages.take(text);
                keep_last(&mut self.last, text);
                asked |= self
                    .questions
                    .as_mut()
                    .is_some_and(|questions| questions.take(text) > 0);
                reader.consume(length);
                left = left.saturating_sub(length.max(1));
            }
        }
        self.tls = Some(tls);
        self.heard = Instant::now();
        self.answer(asked)
    }

    fn on_text(&mut self, text: &[u8]) -> Result<()> {
        self.messages.take(text);
        keep_last(&mut self.last, text);
        let questions = self.questions.as_mut();
        let asked = questions.is_some_and(|questions| questions.take(text) > 0);
        self.heard = Instant::now();
        self.answer(asked)
    }

    fn answer(&mut self, asked: bool) -> Result<()> {
        if !asked {
            return Ok(());
        }
        let answer = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", self.messages.found());
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(answer.as_bytes())?;
        }
        self.flush()
    }
}

fn keep_last(last: &mut Vec<u8>, text: &[u8]) {
    last.clear();
    last.extend_from_slice(
        text.get(text.len().saturating_sub(LAST_BYTES)..)
            .unwrap_or(text),
    );
}

/// Room for an error of a stream with its text.
const LAST_BYTES: usize = 300;
