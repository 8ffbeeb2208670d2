//! TLS without input and output: bytes in, bytes out.
//!
//! rustls keeps no buffer here. It decrypts where the bytes lie and says how many of them it is done with; the others are
//! shown to it again, unchanged, with what comes after them.

use std::io;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, ServerConfig};

/// Either side of TLS.
pub(super) enum Protocol {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What is wanted of TLS when it has no more use for the bytes that it got.
pub(super) enum Wanted<'a> {
    /// Nothing more.
    Nothing,
    /// These bytes, encrypted into the memory.
    Data(&'a [u8], &'a mut [u8]),
    /// The close_notify, in the memory.
    Close(&'a mut [u8]),
}

/// How far TLS came.
pub(super) struct Progress {
    /// It is done with so many of the bytes, counted from the first.
    pub(super) taken: usize,
    pub(super) end: End,
}

/// What stopped it.
#[derive(Debug)]
pub(super) enum End {
    /// It needs more bytes.
    Starved,
    /// It has answers, which have to leave before what is wanted.
    Answers,
    /// What is wanted stands in the memory, in so many bytes.
    Made(usize),
    /// The peer has said close_notify: nothing that comes after it counts.
    PeerClosed,
    /// What is wanted cannot be had any more.
    Unable(Unable),
    /// TLS is over; an alert that says so is among the answers.
    Failed(rustls::Error),
}

/// Why TLS cannot send.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unable {
    /// It has no keys yet, has said close_notify or broke.
    Closed,
    /// Its keys have protected as much as they may, and TLS 1.2 gives no others.
    Exhausted,
}

impl Protocol {
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        UnbufferedClientConnection::new(config, name).map(Self::Client)
    }

    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        UnbufferedServerConnection::new(config).map(Self::Server)
    }

    /// What was agreed.
    pub(super) fn common(&self) -> &CommonState {
        match self {
            Self::Client(connection) => connection,
            Self::Server(connection) => connection,
        }
    }

    /// Takes `bytes`, hands over the plaintext in them, adds to `answers` what TLS says itself, and does what is wanted.
    ///
    /// Nothing may be asked of it after it has failed.
    pub(super) fn proceed(
        &mut self,
        bytes: &mut [u8],
        mut wanted: Wanted<'_>,
        plaintext: &mut impl FnMut(&[u8]),
        answers: &mut Vec<u8>,
    ) -> Progress {
        let mut taken = 0;
        // Each turn either ends this or takes something out of the connection, which got only these bytes.
        let end = loop {
            let (discard, step) = self.step(rest(bytes, taken), &mut wanted, plaintext, answers);
            taken = taken.saturating_add(discard).min(bytes.len());
            match step {
                Step::Again => {}
                Step::End(end) => break end,
            }
        };
        if matches!(end, End::Failed(_)) {
            self.last_words(rest(bytes, taken), plaintext, answers);
        }
        Progress { taken, end }
    }

    /// The alert that tells the peer why. What is to be sent comes before all else, so these bytes, which made it fail,
    /// are not looked at again.
    fn last_words(
        &mut self,
        bytes: &mut [u8],
        plaintext: &mut impl FnMut(&[u8]),
        answers: &mut Vec<u8>,
    ) {
        while self.common().wants_write() {
            let (_, step) = self.step(bytes, &mut Wanted::Nothing, plaintext, answers);
            if matches!(step, Step::End(_)) {
                break;
            }
        }
    }

    fn step(
        &mut self,
        bytes: &mut [u8],
        wanted: &mut Wanted<'_>,
        plaintext: &mut impl FnMut(&[u8]),
        answers: &mut Vec<u8>,
    ) -> (usize, Step) {
        match self {
            Self::Client(connection) => step(
                connection.process_tls_records(bytes),
                wanted,
                plaintext,
                answers,
            ),
            Self::Server(connection) => step(
                connection.process_tls_records(bytes),
                wanted,
                plaintext,
                answers,
            ),
        }
    }
}

/// What comes after one state of a connection.
enum Step {
    Again,
    End(End),
}

/// Acts on one state of a connection; says how many bytes it is done with.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    wanted: &mut Wanted<'_>,
    plaintext: &mut impl FnMut(&[u8]),
    answers: &mut Vec<u8>,
) -> (usize, Step) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Err(error) => Step::End(End::Failed(error)),
        Ok(ConnectionState::ReadTraffic(mut records)) => loop {
            match records.next_record() {
                Some(Ok(record)) => {
                    discard = discard.saturating_add(record.discard);
                    plaintext(record.payload);
                }
                Some(Err(error)) => break Step::End(End::Failed(error)),
                None => break Step::Again,
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut record)) => {
            match encode(answers, |room| record.encode(room)) {
                Ok(()) => Step::Again,
                Err(error) => Step::End(End::Failed(defect(&error))),
            }
        }
        // They are sent in their order, and before all else: as good as done.
        Ok(ConnectionState::TransmitTlsData(sent)) => {
            sent.done();
            Step::Again
        }
        Ok(ConnectionState::WriteTraffic(traffic)) => {
            Step::End(write(traffic, wanted, answers.is_empty()))
        }
        Ok(ConnectionState::PeerClosed) => Step::End(End::PeerClosed),
        Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => {
            Step::End(match wanted {
                Wanted::Nothing => End::Starved,
                Wanted::Data(..) | Wanted::Close(_) => End::Unable(Unable::Closed),
            })
        }
        //= TLS-30
        Ok(ConnectionState::ReadEarlyData(_)) => {
            Step::End(End::Failed(defect(&"early data was taken")))
        }
        Ok(other) => Step::End(End::Failed(defect(&format_args!(
            "it is in the unknown state {other:?}"
        )))),
    };
    (discard, step)
}

/// Does what is wanted of a connection that can send.
fn write<Data>(
    mut traffic: WriteTraffic<'_, Data>,
    wanted: &mut Wanted<'_>,
    answers_sent: bool,
) -> End {
    let made = match wanted {
        Wanted::Nothing => return End::Starved,
        _ if !answers_sent => return End::Answers,
        Wanted::Data(data, memory) => traffic.encrypt(data, memory),
        Wanted::Close(memory) => traffic.queue_close_notify(memory),
    };
    match made {
        Ok(made) => End::Made(made),
        Err(EncryptError::EncryptExhausted) => End::Unable(Unable::Exhausted),
        Err(error @ EncryptError::InsufficientSize(_)) => End::Failed(defect(&error)),
    }
}

/// Has a record written after what is there.
fn encode(
    answers: &mut Vec<u8>,
    mut record: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), EncodeError> {
    let before = answers.len();
    let required = match record(&mut []) {
        Ok(_) => return Ok(()),
        Err(EncodeError::InsufficientSize(needs)) => needs.required_size,
        Err(error @ EncodeError::AlreadyEncoded) => return Err(error),
    };
    answers.resize(before.saturating_add(required), 0);
    let written = record(rest(answers, before));
    answers.truncate(before.saturating_add(*written.as_ref().unwrap_or(&0)));
    written.map(|_| ())
}

fn rest(bytes: &mut [u8], from: usize) -> &mut [u8] {
    bytes.get_mut(from..).unwrap_or_default()
}

/// What rustls promises not to do.
fn defect(what: &dyn std::fmt::Display) -> rustls::Error {
    rustls::Error::General(format!("the TLS library broke a promise: {what}"))
}

impl From<Unable> for io::Error {
    fn from(unable: Unable) -> Self {
        match unable {
            Unable::Closed => Self::new(
                io::ErrorKind::BrokenPipe,
                "nothing more can be sent on this TLS connection",
            ),
            Unable::Exhausted => Self::other("the keys of TLS 1.2 have protected all they may"),
        }
    }
}
