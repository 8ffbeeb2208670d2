//! A component (XEP-0114) that answers pings: what makes a domain of a server that has no accounts one that speaks.
//! Why on a thread of its own: it belongs to the target and lives as long as that, whatever the cases do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha1::{Digest, Sha1};

use crate::element::{Element, Heard, Reader, escape};
use crate::key::hex;

/// Attaches a component and answers for it until the server goes.
///
/// # Errors
/// The server does not let it in.
pub(super) fn attach(server: SocketAddr, domain: &str, secret: &str) -> Result<()> {
    let mut stream = TcpStream::connect(server).context("connecting as a component")?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(
        format!(
            "<stream:stream xmlns='jabber:component:accept' \
             xmlns:stream='http://etherx.jabber.org/streams' to='{domain}'>"
        )
        .as_bytes(),
    )?;
    let mut reader = Reader::default();
    let Heard::Header(header) = next(&mut stream, &mut reader)? else {
        bail!("no header for the component of {domain}");
    };
    let proof = Sha1::digest(format!("{}{secret}", header.attribute("id")).as_bytes());
    stream.write_all(format!("<handshake>{}</handshake>", hex(&proof)).as_bytes())?;
    let answer = next(&mut stream, &mut reader)?.into_element()?;
    if answer.name != "handshake" {
        bail!(
            "the component of {domain} is not let in: {}",
            answer.short()
        );
    }
    stream.set_read_timeout(None)?;
    // Not joined: it ends with its connection.
    thread::spawn(move || serve(stream, reader));
    Ok(())
}

fn serve(mut stream: TcpStream, mut reader: Reader) -> Result<()> {
    loop {
        // Whatever is no element is the end of the stream.
        let element = next(&mut stream, &mut reader)?.into_element()?;
        if let Some(text) = reply(&element) {
            stream.write_all(text.as_bytes())?;
        }
    }
}

/// A result for a ping, an error for any other request.
fn reply(element: &Element) -> Option<String> {
    if element.name != "iq" || !matches!(element.attribute("type"), "get" | "set") {
        return None;
    }
    let is_ping = element.child("urn:xmpp:ping", "ping").is_some();
    let addresses = format!(
        "from='{}' to='{}' id='{}'",
        escape(element.attribute("to")),
        escape(element.attribute("from")),
        escape(element.attribute("id"))
    );
    Some(match is_ping {
        true => format!("<iq {addresses} type='result'/>"),
        false => format!(
            "<iq {addresses} type='error'><error type='cancel'>\
             <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        ),
    })
}

fn next(stream: &mut TcpStream, reader: &mut Reader) -> Result<Heard> {
    let mut buffer = [0_u8; 8192];
    loop {
        if let Some(heard) = reader.next_heard() {
            return Ok(heard);
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(Heard::Eof),
            size => reader.feed(buffer.get(..size).unwrap_or_default()),
        }
    }
}
