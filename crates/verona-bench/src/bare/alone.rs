//! The scanner alone, and TLS alone: the same bytes, no socket, no other process.
//! Why: what a stanza costs in them is the floor below which no server made of them can come.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};
use verona_xml::{Limits, Scan, Scanner};

use super::HEADER;
use crate::load::Block;
use crate::system::Family;

/// Seconds of CPU for 100,000 stanzas in the scanner.
pub(crate) fn scanner(block: &Block) -> Result<f64> {
    let mut scanner = Scanner::new(Limits::default());
    if !matches!(scanner.scan(HEADER)?, Scan::Header { .. }) {
        bail!("our own header is none");
    }
    timed(block.stanzas, || {
        let mut done = 0;
        while let Some(rest) = block.bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let Scan::Element { len, .. } = scanner.scan(rest)? else {
                bail!("not a stanza");
            };
            done += len;
        }
        Ok(())
    })
}

/// Seconds of CPU for 100,000 stanzas to be encrypted, and for the same to be encrypted and decrypted.
pub(crate) fn tls(
    block: &Block,
    client: &Arc<rustls::ClientConfig>,
    server: &Arc<rustls::ServerConfig>,
) -> Result<(f64, f64)> {
    let name = ServerName::try_from("relay.lit")?;
    let mut near = ClientConnection::new(Arc::clone(client), name)?;
    let mut far = ServerConnection::new(Arc::clone(server))?;
    near.set_buffer_limit(None);
    while near.is_handshaking() || far.is_handshaking() {
        decrypt(&mut far, &written(|wire| near.write_tls(wire))?)?;
        let answer = written(|wire| far.write_tls(wire))?;
        let mut bytes = answer.as_slice();
        while !bytes.is_empty() {
            near.read_tls(&mut bytes)?;
            near.process_new_packets()?;
        }
    }
    let mut wire = Vec::new();
    let both = timed(block.stanzas, || {
        encrypt(&mut near, block, &mut wire)?;
        decrypt(&mut far, &wire)
    })?;
    // Last: the other side misses what is not given to it.
    let one = timed(block.stanzas, || encrypt(&mut near, block, &mut wire))?;
    Ok((one, both))
}

fn encrypt(near: &mut ClientConnection, block: &Block, wire: &mut Vec<u8>) -> Result<()> {
    near.writer().write_all(&block.bytes)?;
    wire.clear();
    while near.wants_write() {
        near.write_tls(wire)?;
    }
    Ok(())
}

fn decrypt(far: &mut ServerConnection, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        far.read_tls(&mut bytes)?;
        let mut left = far.process_new_packets()?.plaintext_bytes_to_read();
        let mut reader = far.reader();
        while left > 0 {
            let length = std::hint::black_box(reader.fill_buf()?).len();
            reader.consume(length);
            left = left.saturating_sub(length.max(1));
        }
    }
    Ok(())
}

/// All that is to be written.
fn written(mut write: impl FnMut(&mut Vec<u8>) -> std::io::Result<usize>) -> Result<Vec<u8>> {
    let mut wire = Vec::new();
    while write(&mut wire)? > 0 {}
    Ok(wire)
}

/// The CPU time of 100,000 stanzas, when one call works on so many.
fn timed(stanzas: u64, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let own = Family::own();
    let (before, start) = (own.cpu()?, Instant::now());
    let mut calls = 0_u64;
    while start.elapsed() < MEASURED {
        for _ in 0..CALLS_AT_ONCE {
            work()?;
        }
        calls += CALLS_AT_ONCE;
    }
    let spent = own.cpu()?.saturating_sub(before).as_secs_f64();
    Ok(spent * 100_000.0 / (calls * stanzas) as f64)
}

const MEASURED: Duration = Duration::from_secs(1);
const CALLS_AT_ONCE: u64 = 32;
