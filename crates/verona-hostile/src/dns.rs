//! A name server that knows the domains of the cases and nothing else.
//! Why our own: a case decides what its domain resolves to, a closed port or nothing at all included, while it runs.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// What a domain and all below it resolve to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One server.
    Server(SocketAddr),
    /// There is no such name.
    NoName,
    /// The service is decidedly not available (RFC 2782, target `.`).
    NoService,
    /// No answer ever comes.
    Silence,
}

/// The records, shared with the cases.
#[derive(Clone, Default)]
pub struct Zone(Arc<Mutex<BTreeMap<String, Answer>>>);

impl Zone {
    /// From here on the domain and all below it resolve so, unless something below it says otherwise.
    pub fn set(&self, domain: &str, answer: Answer) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.insert(domain.to_ascii_lowercase(), answer);
    }

    /// The longest match.
    fn find(&self, name: &str) -> Answer {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = name;
        loop {
            if let Some(answer) = records.get(rest) {
                return *answer;
            }
            match rest.split_once('.') {
                Some((_, parent)) => rest = parent,
                None => return Answer::NoName,
            }
        }
    }
}

/// Starts to answer at `address` and returns where that is; it ends with the runtime.
///
/// # Errors
/// The port is taken.
pub async fn serve(address: SocketAddr, zone: Zone) -> Result<SocketAddr> {
    let socket = UdpSocket::bind(address)
        .await
        .with_context(|| format!("no name server at {address}"))?;
    let own = socket.local_addr()?;
    // Some resolvers ask over TCP after a lost packet.
    let listener = TcpListener::bind(own).await?;
    let records = zone.clone();
    tokio::spawn(async move {
        let mut buffer = [0_u8; 2048];
        while let Ok((size, asker)) = socket.recv_from(&mut buffer).await {
            let question = buffer.get(..size).unwrap_or_default();
            if let Some(answer) = respond(question, &records) {
                // Who did not get it asks again.
                let _ = socket.send_to(&answer, asker).await;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(over_tcp(stream, zone.clone()));
        }
    });
    Ok(own)
}

async fn over_tcp(mut stream: TcpStream, zone: Zone) -> Result<()> {
    loop {
        let size = usize::from(stream.read_u16().await?);
        let mut question = vec![0_u8; size];
        stream.read_exact(&mut question).await?;
        if let Some(answer) = respond(&question, &zone) {
            stream.write_u16(u16::try_from(answer.len())?).await?;
            stream.write_all(&answer).await?;
        }
    }
}

const A: u16 = 1;
const SRV: u16 = 33;
const NX_DOMAIN: u16 = 3;

/// The answer to one question; nothing when it is none, or when the zone says to be silent.
fn respond(question: &[u8], zone: &Zone) -> Option<Vec<u8>> {
    let (name, end) = read_name(question, 12)?;
    let kind = u16::from_be_bytes([*question.get(end)?, *question.get(end + 1)?]);
    let asked = question.get(12..end + 4)?;
    let lower = name.to_ascii_lowercase();
    let (service, domain) = match lower.strip_prefix("_xmpp-server._tcp.") {
        Some(domain) => (true, domain),
        None => (false, lower.as_str()),
    };
    let host = domain.strip_prefix("xmpp.").unwrap_or(domain);
    // Direct TLS is not served.
    let found = match lower.starts_with("_xmpps-") {
        true => Answer::NoName,
        false => zone.find(host),
    };
    let (code, data) = match found {
        Answer::Silence => return None,
        Answer::NoName => (NX_DOMAIN, None),
        Answer::NoService if service && kind == SRV => (0, Some(srv_data(0, "")?)),
        Answer::NoService => (NX_DOMAIN, None),
        Answer::Server(address) if service => match kind {
            SRV => (
                0,
                Some(srv_data(address.port(), &format!("xmpp.{domain}"))?),
            ),
            _ => (0, None),
        },
        Answer::Server(address) => match (kind, address.ip()) {
            (A, IpAddr::V4(ip)) => (0, Some(ip.octets().to_vec())),
            _ => (0, None),
        },
    };
    let mut answer = question.get(..2)?.to_vec();
    // A response with authority, recursion as asked and available.
    answer.extend_from_slice(&(0x8580_u16 | code).to_be_bytes());
    answer.extend_from_slice(&[0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
    answer.extend_from_slice(asked);
    if let Some(data) = data {
        // The name is that of the question, at offset 12; a second to live.
        answer.extend_from_slice(&[0xc0, 12]);
        answer.extend_from_slice(&kind.to_be_bytes());
        answer.extend_from_slice(&[0, 1, 0, 0, 0, 1]);
        answer.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
        answer.extend_from_slice(&data);
    }
    Some(answer)
}

fn srv_data(port: u16, target: &str) -> Option<Vec<u8>> {
    let mut data = vec![0, 0, 0, 5];
    data.extend_from_slice(&port.to_be_bytes());
    for label in target.split('.').filter(|label| !label.is_empty()) {
        data.push(u8::try_from(label.len()).ok().filter(|size| *size < 64)?);
        data.extend_from_slice(label.as_bytes());
    }
    data.push(0);
    Some(data)
}

/// The name at `at`, dots between its labels, and where it ends. Questions use no compression.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    loop {
        let size = usize::from(*message.get(at)?);
        at += 1;
        if size == 0 {
            return Some((name, at));
        }
        let label = message.get(at..at + size).filter(|_| size < 64)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(std::str::from_utf8(label).ok()?);
        at += size;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    fn ask(zone: &Zone, name: &str, kind: u16) -> Option<Vec<u8>> {
        let mut question = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend_from_slice(label.as_bytes());
        }
        question.push(0);
        question.extend_from_slice(&kind.to_be_bytes());
        question.extend_from_slice(&[0, 1]);
        respond(&question, zone)
    }

    #[test]
    fn the_longest_match_answers() {
        let zone = Zone::default();
        let server = SocketAddr::from(([127, 0, 0, 9], 5269));
        zone.set("c1.test", Answer::Server(server));
        zone.set("gone.c1.test", Answer::NoName);
        zone.set("mute.c1.test", Answer::Silence);
        let srv = ask(&zone, "_xmpp-server._tcp.rooms.c1.test", SRV).unwrap();
        assert_eq!(srv[3] & 15, 0);
        assert_eq!(srv[7], 1);
        assert!(srv.ends_with(b"\x04xmpp\x05rooms\x02c1\x04test\0"));
        let a = ask(&zone, "xmpp.rooms.c1.test", A).unwrap();
        assert!(a.ends_with(&[127, 0, 0, 9]));
        assert_eq!(ask(&zone, "x.gone.c1.test", A).unwrap()[3] & 15, 3);
        assert_eq!(ask(&zone, "mute.c1.test", A), None);
        assert_eq!(
            ask(&zone, "_xmpps-server._tcp.c1.test", SRV).unwrap()[3] & 15,
            3
        );
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        for bytes in [&b""[..], b"abc", &[0; 12], &[0xff; 40]] {
            assert_eq!(respond(bytes, &Zone::default()), None);
        }
    }
}
