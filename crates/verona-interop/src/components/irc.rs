//! An IRC client, as far as one person in one channel needs it (RFC 2812).
//! Why our own: what arrives on IRC is judged line by line, with nobody's interpretation between.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// A registered client.
#[derive(Debug)]
pub(super) struct IrcClient {
    nick: String,
    lines: BufReader<TcpStream>,
    /// Everything received, for whoever looks at a failure.
    seen: Vec<String>,
}

impl IrcClient {
    /// Connects and registers.
    pub(super) fn register(server: SocketAddr, nick: &str) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&server, LONGEST)
            .with_context(|| format!("connecting to the IRC server {server}"))?;
        let mut client = Self {
            nick: nick.to_owned(),
            lines: BufReader::new(stream),
            seen: Vec::new(),
        };
        client.say(&format!("NICK {nick}"))?;
        client.say(&format!("USER {nick} 0 * :{nick}"))?;
        client.wait_for(&format!(" 001 {nick} "))?;
        Ok(client)
    }

    /// Enters a channel and returns who is there.
    pub(super) fn join(&mut self, channel: &str) -> Result<Vec<String>> {
        self.say(&format!("JOIN {channel}"))?;
        let line = self.wait_for(&format!(" 353 {} ", self.nick))?;
        let names = line.rsplit(':').next().unwrap_or_default();
        let mut names: Vec<String> = names
            .split_whitespace()
            .map(|name| name.trim_start_matches(['@', '+']).to_owned())
            .collect();
        names.sort();
        self.wait_for(&format!(" 366 {} ", self.nick))?;
        Ok(names)
    }

    /// Speaks to a channel or a person.
    pub(super) fn privmsg(&mut self, to: &str, text: &str) -> Result<()> {
        self.say(&format!("PRIVMSG {to} :{text}"))
    }

    /// The next line but for pings is `COMMAND PARAMETERS` of this person.
    pub(super) fn expect(&mut self, nick: &str, what: &str) -> Result<()> {
        let line = self.next(LONGEST)?.context("the IRC server said nothing")?;
        let (source, rest) = line.split_once(' ').unwrap_or_default();
        let right = source.starts_with(&format!(":{nick}!")) && rest == what;
        ensure!(
            right,
            "IRC was to say \"{what}\" of {nick} and said {line:?}"
        );
        Ok(())
    }

    /// Nothing is said for a moment.
    pub(super) fn nothing_more(&mut self) -> Result<()> {
        match self.next(Duration::from_millis(400))? {
            Some(line) => bail!("IRC says {line:?}, which nobody sent"),
            None => Ok(()),
        }
    }

    /// What the server said so far.
    pub(super) fn seen(&self) -> String {
        self.seen.join("\n")
    }

    fn wait_for(&mut self, part: &str) -> Result<String> {
        let until = Instant::now() + LONGEST;
        while let Some(line) = self.next(until.saturating_duration_since(Instant::now()))? {
            if line.contains(part) {
                return Ok(line);
            }
        }
        bail!("no {part:?} from the IRC server; it said {:?}", self.seen)
    }

    /// The next line that is no ping; pings are answered.
    fn next(&mut self, deadline: Duration) -> Result<Option<String>> {
        let until = Instant::now() + deadline;
        loop {
            // Zero would mean for ever.
            let left = until
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1));
            self.lines.get_ref().set_read_timeout(Some(left))?;
            let mut line = String::new();
            match self.lines.read_line(&mut line) {
                Ok(0) => bail!("the IRC server closed the connection"),
                Ok(_) => {}
                Err(error) if is_timeout(&error) && line.is_empty() => return Ok(None),
                Err(error) => return Err(error).context("reading from the IRC server"),
            }
            let line = line.trim_end().to_owned();
            self.seen.push(line.clone());
            match line.strip_prefix("PING ") {
                Some(token) => self.say(&format!("PONG {token}"))?,
                None => return Ok(Some(line)),
            }
        }
    }

    fn say(&mut self, line: &str) -> Result<()> {
        self.lines
            .get_mut()
            .write_all(format!("{line}\r\n").as_bytes())
            .context("writing to the IRC server")
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

/// For anything that the IRC server is to say.
const LONGEST: Duration = Duration::from_secs(30);
