//! One connection, spoken on by turns: something is said, and then heard up to what is expected.
//! Why by text: every server that is met here writes its few elements plainly, and nothing of this is measured.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// One connection, in the clear or with TLS.
pub(crate) struct Conversation {
    tcp: TcpStream,
    tls: Option<rustls::Connection>,
    /// Read, and not yet heard.
    seen: Vec<u8>,
}

impl Conversation {
    /// Connects with a server.
    pub(crate) fn connect(server: SocketAddr) -> Result<Self> {
        let tcp = TcpStream::connect_timeout(&server, PATIENCE)
            .with_context(|| format!("connecting with {server}"))?;
        Self::over(tcp)
    }

    /// Speaks on a connection that is there.
    pub(crate) fn over(tcp: TcpStream) -> Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            tcp,
            tls: None,
            seen: Vec::new(),
        })
    }

    pub(crate) fn is_secured(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether the other side has shown a certificate.
    pub(crate) fn has_peer_certificate(&self) -> bool {
        self.tls
            .as_ref()
            .is_some_and(|tls| tls.peer_certificates().is_some())
    }

    /// Says something.
    pub(crate) fn say(&mut self, text: &str) -> Result<()> {
        match &mut self.tls {
            None => self.tcp.write_all(text.as_bytes())?,
            Some(tls) => {
                tls.writer().write_all(text.as_bytes())?;
                while tls.wants_write() {
                    tls.write_tls(&mut self.tcp)?;
                }
            }
        }
        Ok(())
    }

    /// Hears up to the first of these, and says what it was: everything before and it.
    pub(crate) fn hear(&mut self, ends: &[&str]) -> Result<String> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let first = ends
                .iter()
                .filter_map(|end| {
                    memchr::memmem::find(&self.seen, end.as_bytes()).map(|at| at + end.len())
                })
                .min();
            if let Some(length) = first {
                let rest = self.seen.split_off(length);
                let heard = std::mem::replace(&mut self.seen, rest);
                return Ok(String::from_utf8_lossy(&heard).into_owned());
            }
            for refusal in REFUSALS {
                if memchr::memmem::find(&self.seen, refusal.as_bytes()).is_some() {
                    bail!("refused: {}", String::from_utf8_lossy(&self.seen));
                }
            }
            let length = self.read(&mut buffer).with_context(|| {
                format!(
                    "waiting for {ends:?} after {:?}",
                    String::from_utf8_lossy(&self.seen)
                )
            })?;
            if length == 0 {
                bail!(
                    "the connection ended before {ends:?}, after {:?}",
                    String::from_utf8_lossy(&self.seen)
                );
            }
            self.seen
                .extend_from_slice(buffer.get(..length).unwrap_or_default());
        }
    }

    /// What was read beyond what was heard is nothing: a new document, or TLS, begins.
    pub(crate) fn restart(&mut self) {
        self.seen.clear();
    }

    /// Goes over to TLS.
    pub(crate) fn secure(&mut self, mut tls: rustls::Connection) -> Result<()> {
        self.restart();
        while tls.is_handshaking() || tls.wants_write() {
            tls.complete_io(&mut self.tcp)
                .context("the TLS handshake")?;
        }
        self.tls = Some(tls);
        Ok(())
    }

    /// The connection, and what was read of it and not heard.
    pub(crate) fn into_parts(self) -> (TcpStream, Option<rustls::Connection>, Vec<u8>) {
        (self.tcp, self.tls, self.seen)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let Some(tls) = &mut self.tls else {
            return Ok(self.tcp.read(buffer)?);
        };
        loop {
            match tls.reader().read(buffer) {
                Ok(length) => return Ok(length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if tls.read_tls(&mut self.tcp)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets()?;
            while tls.wants_write() {
                tls.write_tls(&mut self.tcp)?;
            }
        }
    }
}

/// The value of an attribute in text that has one start tag.
pub(super) fn attribute(text: &str, name: &str) -> Option<String> {
    for quote in ['\'', '"'] {
        if let Some((_, rest)) = text.split_once(&format!(" {name}={quote}")) {
            return rest.split(quote).next().map(str::to_owned);
        }
    }
    None
}

/// What no server says that goes on.
const REFUSALS: [&str; 2] = ["<stream:error", "<failure"];
/// Longer than any server takes to answer here.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_in_either_quotes() {
        let text = "<stream:stream xml:lang='en' from=\"a.lit\" to='b.lit'>";
        assert_eq!(attribute(text, "from").as_deref(), Some("a.lit"));
        assert_eq!(attribute(text, "to").as_deref(), Some("b.lit"));
        assert_eq!(attribute(text, "id"), None);
    }
}
