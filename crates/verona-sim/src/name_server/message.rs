//! DNS messages as a test wants them: written without compression or checks, so that a wrong one can be written too.
//! Why not a DNS library: it would refuse to write most of what is interesting.

use super::Transport;

/// A question that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The id to answer with.
    pub id: u16,
    /// The name, in lower case, without the final dot.
    pub name: String,
    /// The type that is asked for.
    pub kind: u16,
    /// How it came.
    pub transport: Transport,
    /// Whether the message has an OPT record (RFC 6891).
    pub edns: bool,
    /// How often the same was asked before.
    pub earlier: usize,
    /// The question as it was written: name, type, class.
    pub section: Vec<u8>,
    /// All of the message.
    pub message: Vec<u8>,
}

impl Question {
    /// Reads the one question of a message; `None` if it is none.
    #[must_use]
    pub fn read(bytes: &[u8], transport: Transport) -> Option<Self> {
        let number = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        if number(2)? & RESPONSE != 0 || number(4)? != 1 {
            return None;
        }
        let (name, end) = read_name(bytes, HEADER)?;
        Some(Self {
            id: number(0)?,
            name: name.to_ascii_lowercase(),
            kind: number(end)?,
            transport,
            edns: number(10)? > 0,
            earlier: 0,
            section: bytes.get(HEADER..end + 4)?.to_vec(),
            message: bytes.to_vec(),
        })
    }
}

/// A message in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Has to be that of the question.
    pub id: u16,
    /// The second word of the header: [`RESPONSE`], [`TRUNCATED`], a response code in the last four bits …
    pub flags: u16,
    /// Questions to write, after those of `section`: name, type, class.
    pub questions: Vec<(String, u16, u16)>,
    /// One question, repeated as it came.
    pub section: Vec<u8>,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section.
    pub authorities: Vec<Record>,
    /// The additional section.
    pub additionals: Vec<Record>,
}

impl Message {
    /// An empty one.
    #[must_use]
    pub fn new(id: u16, flags: u16) -> Self {
        Self {
            id,
            flags,
            questions: Vec::new(),
            section: Vec::new(),
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        }
    }

    /// An answer without anything in it: recursion desired and available, no error.
    #[must_use]
    pub fn reply(question: &Question) -> Self {
        let mut message = Self::new(question.id, RESPONSE | 0x0180);
        message.section.clone_from(&question.section);
        message
    }

    /// The same with a response code.
    #[must_use]
    pub fn code(question: &Question, code: u16) -> Self {
        let mut message = Self::reply(question);
        message.flags |= code;
        message
    }

    /// The bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let count = |many: usize| u16::try_from(many).unwrap_or(u16::MAX).to_be_bytes();
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.flags.to_be_bytes());
        bytes.extend(count(
            self.questions.len() + usize::from(!self.section.is_empty()),
        ));
        for records in [&self.answers, &self.authorities, &self.additionals] {
            bytes.extend(count(records.len()));
        }
        bytes.extend_from_slice(&self.section);
        for (name, kind, class) in &self.questions {
            bytes.extend(name_bytes(name));
            bytes.extend_from_slice(&kind.to_be_bytes());
            bytes.extend_from_slice(&class.to_be_bytes());
        }
        for record in self
            .answers
            .iter()
            .chain(&self.authorities)
            .chain(&self.additionals)
        {
            record.write(&mut bytes);
        }
        bytes
    }

    /// The bytes as a server sends them that keeps to the size which is safe over UDP: cut, and marked as cut.
    #[must_use]
    pub fn to_bytes_for(&self, question: &Question) -> Vec<u8> {
        let whole = self.to_bytes();
        if question.transport == Transport::Tcp || whole.len() <= UDP_BYTES_MAX {
            return whole;
        }
        let mut cut = Self::new(self.id, self.flags | TRUNCATED);
        cut.section.clone_from(&self.section);
        cut.to_bytes()
    }
}

/// One record, its data as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub name: String,
    /// Its type.
    pub kind: u16,
    /// 1, but for a test.
    pub class: u16,
    /// Seconds to live.
    pub ttl: u32,
    /// The data, names in it uncompressed.
    pub data: Vec<u8>,
}

impl Record {
    /// A record of class IN that lives for a minute.
    #[must_use]
    pub fn new(name: &str, kind: u16, data: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            class: 1,
            ttl: 60,
            data,
        }
    }

    /// The same with another time to live.
    #[must_use]
    pub fn ttl(self, ttl: u32) -> Self {
        Self { ttl, ..self }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(name_bytes(&self.name));
        bytes.extend_from_slice(&self.kind.to_be_bytes());
        bytes.extend_from_slice(&self.class.to_be_bytes());
        bytes.extend_from_slice(&self.ttl.to_be_bytes());
        let size = u16::try_from(self.data.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(&self.data);
    }
}

/// An IPv4 address.
#[must_use]
pub fn a(name: &str, address: impl Into<std::net::Ipv4Addr>) -> Record {
    Record::new(name, A, address.into().octets().to_vec())
}

/// An IPv6 address.
#[must_use]
pub fn aaaa(name: &str, address: impl Into<std::net::Ipv6Addr>) -> Record {
    Record::new(name, AAAA, address.into().octets().to_vec())
}

/// A server of a service (RFC 2782).
#[must_use]
pub fn srv(name: &str, priority: u16, weight: u16, port: u16, target: &str) -> Record {
    let mut data = Vec::new();
    for number in [priority, weight, port] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    data.extend(name_bytes(target));
    Record::new(name, SRV, data)
}

/// Another name for a name.
#[must_use]
pub fn cname(name: &str, target: &str) -> Record {
    Record::new(name, CNAME, name_bytes(target))
}

/// Other names for all names below one (RFC 6672).
#[must_use]
pub fn dname(name: &str, target: &str) -> Record {
    Record::new(name, DNAME, name_bytes(target))
}

/// A server of a zone.
#[must_use]
pub fn ns(name: &str, server: &str) -> Record {
    Record::new(name, NS, name_bytes(server))
}

/// The head of a zone, whose absences hold for `minimum` seconds (RFC 2308 §4).
#[must_use]
pub fn soa(zone: &str, minimum: u32) -> Record {
    let mut data = name_bytes(&format!("ns.{zone}"));
    data.extend(name_bytes(&format!("hostmaster.{zone}")));
    for number in [1, 7200, 3600, 86400, minimum] {
        data.extend_from_slice(&u32::to_be_bytes(number));
    }
    Record::new(zone, SOA, data).ttl(minimum)
}

/// A name as labels; nothing is checked but that a label's length fits its byte.
#[must_use]
pub fn name_bytes(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = label.as_bytes().get(..63).unwrap_or(label.as_bytes());
        bytes.push(u8::try_from(label.len()).unwrap_or_default());
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes
}

/// The name at `at`, dots between its labels, and where it ends. Questions use no compression.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let size = usize::from(*message.get(at)?);
        at += 1;
        if size == 0 {
            return Some((labels.join("."), at));
        }
        let label = message.get(at..at + size).filter(|_| size < 64)?;
        labels.push(std::str::from_utf8(label).ok()?);
        at += size;
    }
}

/// Type A.
pub const A: u16 = 1;
/// Type NS.
pub const NS: u16 = 2;
/// Type CNAME.
pub const CNAME: u16 = 5;
/// Type SOA.
pub const SOA: u16 = 6;
/// Type TXT.
pub const TXT: u16 = 16;
/// Type AAAA.
pub const AAAA: u16 = 28;
/// Type SRV.
pub const SRV: u16 = 33;
/// Type DNAME.
pub const DNAME: u16 = 39;
/// Flag: it is an answer.
pub const RESPONSE: u16 = 0x8000;
/// Flag: it did not fit, ask by TCP.
pub const TRUNCATED: u16 = 0x0200;
/// Response code: the question was not understood.
pub const FORM_ERR: u16 = 1;
/// Response code: the server failed.
pub const SERV_FAIL: u16 = 2;
/// Response code: there is no such name.
pub const NX_DOMAIN: u16 = 3;
/// Response code: it does not know how.
pub const NOT_IMP: u16 = 4;
/// Response code: it does not want to.
pub const REFUSED: u16 = 5;
/// What can be expected to come through by UDP in one piece (the flag day of 2020).
pub const UDP_BYTES_MAX: usize = 1232;
const HEADER: usize = 12;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_message_is_what_rfc_1035_says() {
        let mut message = Message::new(0x0102, 0x0100);
        message.questions.push(("Ab.c".into(), SRV, 1));
        let bytes = message.to_bytes();
        assert_eq!(
            bytes,
            b"\x01\x02\x01\0\0\x01\0\0\0\0\0\0\x02Ab\x01c\0\0\x21\0\x01"
        );
        let question = Question::read(&bytes, Transport::Udp).unwrap();
        assert_eq!(
            (question.id, question.name.as_str(), question.kind),
            (0x0102, "ab.c", SRV)
        );
        let mut answer = Message::code(&question, NX_DOMAIN);
        answer.answers.push(srv("ab.c", 1, 2, 3, "d"));
        let bytes = answer.to_bytes();
        assert!(bytes.starts_with(b"\x01\x02\x81\x83\0\x01\0\x01\0\0\0\0\x02Ab\x01c\0"));
        assert!(
            bytes.ends_with(b"\x02ab\x01c\0\0\x21\0\x01\0\0\0\x3c\0\x09\0\x01\0\x02\0\x03\x01d\0")
        );
    }

    #[test]
    fn what_is_no_question_is_none() {
        for bytes in [&b""[..], b"abc", &[0; 12], &[0xff; 40]] {
            assert_eq!(Question::read(bytes, Transport::Udp), None);
        }
        let question = Message::reply(&Question {
            id: 1,
            name: String::new(),
            kind: A,
            transport: Transport::Udp,
            edns: false,
            earlier: 0,
            section: b"\0\0\x01\0\x01".to_vec(),
            message: Vec::new(),
        });
        assert_eq!(Question::read(&question.to_bytes(), Transport::Udp), None);
    }

    #[test]
    fn what_is_too_large_for_udp_is_cut_there() {
        let mut question = Question::read(
            b"\x01\x02\x01\0\0\x01\0\0\0\0\0\0\x01c\0\0\x01\0\x01",
            Transport::Udp,
        )
        .unwrap();
        let mut message = Message::reply(&question);
        for last in 0..200 {
            message.answers.push(a("c", [192, 0, 2, last]));
        }
        let cut = message.to_bytes_for(&question);
        assert_eq!(
            cut,
            b"\x01\x02\x83\x80\0\x01\0\0\0\0\0\0\x01c\0\0\x01\0\x01"
        );
        question.transport = Transport::Tcp;
        assert_eq!(message.to_bytes_for(&question), message.to_bytes());
    }
}
