//! What has to be true of the wire, one function for each claim.
//! Why apart from the cases: a claim that cannot fail proves nothing, so each is tried on connections that break it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::scene::{Auth, Transport};
use crate::sockets::{Account, Ends};
use crate::wire::{Connection, Pair, Side};

/// The stanzas of every pair, both directions, went over one TCP connection (BIDI-51, BIDI-55).
///
/// # Errors
/// A pair used several connections, or stanzas went one way only.
pub fn one_connection_per_pair(connections: &[Connection]) -> Result<()> {
    let carriers = carriers(connections);
    ensure!(!carriers.is_empty(), "no stanza was on the wire");
    for ((near, far), numbers) in &carriers {
        let [number] = numbers.as_slice() else {
            bail!(
                "{near} and {far} used {} connections: {}",
                numbers.len(),
                numbers
                    .iter()
                    .filter_map(|number| Some((number, connections.get(*number)?)))
                    .map(|(number, connection)| one_line(*number, connection))
                    .collect::<Vec<_>>()
                    .join("; ")
            );
        };
        let connection = connections.get(*number).context("no such connection")?;
        for side in [Side::Near, Side::Far] {
            ensure!(
                connection.stanzas(side) > 0,
                "{near} and {far}: the {side:?} side wrote no stanza on {}",
                one_line(*number, connection)
            );
        }
    }
    Ok(())
}

/// Every pair used two connections, one for each direction: what XEP-0288 does away with.
///
/// # Errors
/// A pair used another number, or a connection carried stanzas both ways.
pub fn two_connections_each_one_way(connections: &[Connection]) -> Result<()> {
    let carriers = carriers(connections);
    ensure!(!carriers.is_empty(), "no stanza was on the wire");
    for ((near, far), numbers) in &carriers {
        ensure!(
            numbers.len() == 2,
            "{near} and {far} used {} connections, not two",
            numbers.len()
        );
        for number in numbers {
            let connection = connections.get(*number).context("no such connection")?;
            let both = [Side::Near, Side::Far]
                .iter()
                .all(|side| connection.stanzas(*side) > 0);
            ensure!(
                !both,
                "stanzas went both ways on {}",
                one_line(*number, connection)
            );
        }
    }
    Ok(())
}

/// A connection that the near server opened to verify a key did nothing else (DB-25, BIDI-67).
///
/// # Errors
/// It carried a stanza, `<bidi/>`, a key of its own or SASL.
pub fn verifying_connections_do_nothing_else(connections: &[Connection]) -> Result<()> {
    for (number, connection) in connections.iter().enumerate() {
        if connection.opener != Side::Near || !connection.requested(Side::Near, "verify") {
            continue;
        }
        let what = one_line(number, connection);
        let stanzas = connection.stanzas(Side::Near) + connection.stanzas(Side::Far);
        ensure!(
            stanzas == 0,
            "a verifying connection carried {stanzas} stanzas: {what}"
        );
        ensure!(
            !connection.asked_for_bidi(),
            "a verifying connection asked for bidi: {what}"
        );
        ensure!(
            !connection.requested(Side::Near, "result"),
            "a verifying connection carried a key of its own: {what}"
        );
        ensure!(
            !connection.external(),
            "a verifying connection used SASL: {what}"
        );
    }
    Ok(())
}

/// The connections that carried stanzas were proven as the case says, and by nothing else.
///
/// # Errors
/// Another proof was used, or bidi was not asked for.
pub fn proven_by(auth: Auth, connections: &[Connection]) -> Result<()> {
    for (number, connection) in payload(connections) {
        let what = one_line(number, connection);
        ensure!(
            connection.asked_for_bidi(),
            "no <bidi/> before stanzas: {what}"
        );
        let by_dialback = connection.requested(connection.opener, "result");
        match auth {
            Auth::External => {
                ensure!(connection.external(), "no SASL EXTERNAL: {what}");
                ensure!(!by_dialback, "dialback beside EXTERNAL: {what}");
            }
            Auth::Dialback => {
                ensure!(
                    !connection.external(),
                    "EXTERNAL with a self-signed certificate: {what}"
                );
                ensure!(
                    by_dialback && connection.valid(connection.opener.other()),
                    "no valid dialback: {what}"
                );
            }
        }
    }
    if auth == Auth::External {
        for (number, connection) in connections.iter().enumerate() {
            ensure!(
                !connection.requested(Side::Near, "verify"),
                "a key was verified although certificates suffice: {}",
                one_line(number, connection)
            );
        }
    }
    Ok(())
}

/// Nothing went wrong on the way: no stream error, no element in the clear that needs protection, no malformed byte.
///
/// # Errors
/// Something did.
pub fn clean(connections: &[Connection]) -> Result<()> {
    for (number, connection) in connections.iter().enumerate() {
        let what = || one_line(number, connection);
        if let Some(fault) = &connection.malformed {
            bail!("{fault}, {}", what());
        }
        for passed in &connection.elements {
            let element = &passed.element;
            ensure!(
                !element.is("http://etherx.jabber.org/streams", "error"),
                "the {:?} side sent the stream error {:?}: {}",
                passed.writer,
                element.children,
                what()
            );
            let negotiation = element.is("urn:ietf:params:xml:ns:xmpp-tls", &element.name)
                || element.is("http://etherx.jabber.org/streams", "features");
            ensure!(
                passed.protected || negotiation,
                "<{}/> was sent in the clear: {}",
                element.name,
                what()
            );
        }
    }
    Ok(())
}

/// Every connection began as `transport` says: with TLS, or in the clear and then with STARTTLS.
///
/// # Errors
/// One did not.
pub fn began_by(transport: Transport, connections: &[Connection]) -> Result<()> {
    for (number, connection) in connections.iter().enumerate() {
        let what = || one_line(number, connection);
        let in_the_clear = connection.elements.iter().any(|passed| !passed.protected);
        let starttls = connection
            .by(connection.opener)
            .any(|element| element.is("urn:ietf:params:xml:ns:xmpp-tls", "starttls"));
        match transport {
            Transport::DirectTls => {
                ensure!(!starttls, "STARTTLS inside direct TLS: {}", what());
                ensure!(!in_the_clear, "something was in the clear: {}", what());
            }
            Transport::StartTls | Transport::Proxied => {
                ensure!(starttls && in_the_clear, "no STARTTLS: {}", what());
            }
        }
    }
    Ok(())
}

/// The first connection was opened by `side`.
///
/// # Errors
/// It was the other one, or there was none.
pub fn dialled_first(side: Side, connections: &[Connection]) -> Result<()> {
    let first = connections.first().context("no connection at all")?;
    ensure!(
        first.opener == side,
        "the {side:?} side was to dial first, but: {}",
        one_line(0, first)
    );
    Ok(())
}

/// How many stanzas there have to be.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Messages that the near server wrote.
    pub messages_from_near: usize,
    /// Messages that the far server wrote.
    pub messages_from_far: usize,
    /// Requests (iq of type get) of both sides together, without keep-alive pings.
    pub requests: usize,
}

/// Nothing was lost and nothing doubled: the messages are as many as were sent, and every request has its answer.
///
/// # Errors
/// The numbers differ.
pub fn complete(expected: Expected, connections: &[Connection]) -> Result<()> {
    let messages = |side| -> usize { connections.iter().map(|c| c.count(side, "message")).sum() };
    let (near, far) = (messages(Side::Near), messages(Side::Far));
    ensure!(
        near == expected.messages_from_near && far == expected.messages_from_far,
        "{near} messages from near and {far} from far were on the wire, not {} and {}",
        expected.messages_from_near,
        expected.messages_from_far
    );
    let iq = |request: bool| {
        connections
            .iter()
            .flat_map(|connection| &connection.elements)
            .map(|passed| &passed.element)
            .filter(|element| element.is_stanza() && element.name == "iq")
            .filter(|element| matches!(element.kind.as_str(), "get" | "set") == request)
            .count()
    };
    let (requests, answers) = (iq(true), iq(false));
    ensure!(
        requests == answers && requests >= expected.requests,
        "{requests} requests and {answers} answers were on the wire, {} requests were made",
        expected.requests
    );
    Ok(())
}

/// The kernel saw the same connections, each with at least the bytes of its stream, and the payload where the log has it.
/// An account that is not complete (see [`crate::sockets::SocketWatch::is_complete`]) can only show what is hidden.
///
/// # Errors
/// A connection is in one account only, or its numbers cannot be.
pub fn kernel_agrees(
    connections: &[Connection],
    kernel: &BTreeMap<Ends, Account>,
    whole: bool,
) -> Result<()> {
    let logged: Vec<Ends> = connections.iter().map(ends).collect();
    for (dialer, listener) in kernel.keys() {
        ensure!(
            logged.contains(&(*dialer, *listener)),
            "the kernel saw a connection {dialer} > {listener} that is not in the log"
        );
    }
    for (number, connection) in connections.iter().enumerate().filter(|_| whole) {
        let what = one_line(number, connection);
        let account = kernel
            .get(&ends(connection))
            .with_context(|| format!("the kernel did not see {what}"))?;
        let (from_near, from_far) = by_side(connection.opener, *account);
        ensure!(
            from_near >= connection.bytes_from_near && from_far >= connection.bytes_from_far,
            "TCP carried {from_near} and {from_far} bytes, fewer than the streams in them: {what}"
        );
        if connection.stanzas(Side::Near) + connection.stanzas(Side::Far) == 0 {
            ensure!(
                from_near.max(from_far) < NEGOTIATION_BYTES_MAX,
                "TCP carried {from_near} and {from_far} bytes without a stanza: {what}"
            );
        }
    }
    Ok(())
}

/// `verona links --json` tells the same story (contract §4).
///
/// # Errors
/// A link is missing or differs from the wire.
pub fn links_agree(
    auth: Auth,
    transport: Transport,
    connections: &[Connection],
    links: &[Value],
) -> Result<()> {
    let transport = match transport {
        Transport::DirectTls => "tls",
        Transport::StartTls | Transport::Proxied => "starttls",
    };
    let mut told = 0;
    for (number, connection) in payload(connections) {
        let what = one_line(number, connection);
        let link = links
            .iter()
            .find(|link| text(link, "peer_address") == connection.far.to_string())
            .with_context(|| format!("no link with peer_address {}: {what}", connection.far))?;
        let role = match connection.opener {
            Side::Near => "initiating",
            Side::Far => "receiving",
        };
        let differs = |field: &str| format!("{field} differs: {link} and {what}");
        ensure!(text(link, "role") == role, differs("role"));
        ensure!(text(link, "transport") == transport, differs("transport"));
        ensure!(
            link.get("tls").is_some_and(|tls| !tls.is_null()),
            differs("tls")
        );
        ensure!(
            link.get("bidi") == Some(&Value::Bool(true)),
            differs("bidi")
        );
        ensure!(
            count(link, "stanzas_in") == Some(connection.stanzas(Side::Far)),
            differs("stanzas_in")
        );
        ensure!(
            count(link, "stanzas_out") == Some(connection.stanzas(Side::Near)),
            differs("stanzas_out")
        );
        for (near, far) in connection.pairs() {
            let pair = link
                .get("pairs")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .find(|pair| text(pair, "local") == near && text(pair, "remote") == far)
                .with_context(|| format!("no pair {near}, {far} in {link}"))?;
            for direction in ["send", "receive"] {
                let by = pair
                    .get(direction)
                    .map_or("", |grounds| text(grounds, "by"));
                let fits = match auth {
                    Auth::External => matches!(by, "certificate" | "sasl"),
                    Auth::Dialback => matches!(by, "dialback" | "dns"),
                };
                ensure!(fits, "{direction} rests on {by:?}: {link}");
            }
        }
        told += 1;
    }
    let claimed = links
        .iter()
        .filter(|link| {
            count(link, "stanzas_in") != Some(0) || count(link, "stanzas_out") != Some(0)
        })
        .count();
    ensure!(
        claimed == told,
        "verona tells of {claimed} links with stanzas, the wire of {told}"
    );
    Ok(())
}

/// A connection in one line, for people.
#[must_use]
pub fn one_line(number: usize, connection: &Connection) -> String {
    let (dialer, listener) = ends(connection);
    let who = match connection.opener {
        Side::Near => "near opened",
        Side::Far => "far opened",
    };
    let pairs: Vec<String> = connection
        .pairs()
        .into_iter()
        .map(|(near, far)| format!("{near}~{far}"))
        .collect();
    format!(
        "#{} {who} {dialer} > {listener} [{}] {}; stanzas near>far {} far>near {}; XML bytes near>far {} far>near {}",
        number + 1,
        connection.purpose(),
        if pairs.is_empty() {
            "no pair".to_owned()
        } else {
            pairs.join(" ")
        },
        connection.stanzas(Side::Near),
        connection.stanzas(Side::Far),
        connection.bytes_from_near,
        connection.bytes_from_far,
    )
}

/// The connections that carried stanzas, with their numbers.
pub fn payload(connections: &[Connection]) -> impl Iterator<Item = (usize, &Connection)> {
    connections
        .iter()
        .enumerate()
        .filter(|(_, c)| c.stanzas(Side::Near) + c.stanzas(Side::Far) > 0)
}

/// The dialling end and the listening end.
#[must_use]
pub const fn ends(connection: &Connection) -> (SocketAddr, SocketAddr) {
    match connection.opener {
        Side::Near => (connection.near, connection.far),
        Side::Far => (connection.far, connection.near),
    }
}

/// The bytes from near and from far.
#[must_use]
pub const fn by_side(opener: Side, account: Account) -> (u64, u64) {
    match opener {
        Side::Near => (account.to_listener, account.to_dialer),
        Side::Far => (account.to_dialer, account.to_listener),
    }
}

fn carriers(connections: &[Connection]) -> BTreeMap<Pair, Vec<usize>> {
    let mut carriers: BTreeMap<Pair, Vec<usize>> = BTreeMap::new();
    for (number, connection) in payload(connections) {
        for pair in connection.pairs() {
            carriers.entry(pair).or_default().push(number);
        }
    }
    carriers
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn count(value: &Value, field: &str) -> Option<usize> {
    usize::try_from(value.get(field)?.as_u64()?).ok()
}

/// Bytes one way that a handshake, two stream headers and a key may take; 1,000 messages take ten times as much.
const NEGOTIATION_BYTES_MAX: u64 = 16_384;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail loudly.
    use super::*;
    use crate::elements::Element;
    use crate::wire::Passed;

    fn stanza(name: &str, from: &str, to: &str) -> Element {
        Element {
            namespace: "jabber:server".into(),
            name: name.into(),
            from: from.into(),
            to: to.into(),
            ..Element::default()
        }
    }

    fn dialback(name: &str, kind: &str) -> Element {
        Element {
            namespace: "jabber:server:dialback".into(),
            name: name.into(),
            kind: kind.into(),
            ..Element::default()
        }
    }

    fn bidi() -> Element {
        Element {
            namespace: "urn:xmpp:bidi".into(),
            name: "bidi".into(),
            ..Element::default()
        }
    }

    fn connection(opener: Side, elements: &[(Side, Element)]) -> Connection {
        Connection {
            opener,
            near: "127.0.0.2:20000".parse().unwrap(),
            far: "127.0.0.3:20000".parse().unwrap(),
            since: 0.0,
            bytes_from_near: 100,
            bytes_from_far: 100,
            elements: elements
                .iter()
                .map(|(writer, element)| Passed {
                    at: 0.0,
                    writer: *writer,
                    protected: true,
                    element: element.clone(),
                })
                .collect(),
            malformed: None,
        }
    }

    fn there() -> (Side, Element) {
        (Side::Near, stanza("message", "echo@a.lit", "romeo@b.lit/1"))
    }

    fn back() -> (Side, Element) {
        (Side::Far, stanza("message", "romeo@b.lit/1", "echo@a.lit"))
    }

    #[test]
    fn both_ways_on_one_connection_is_right() {
        let one = connection(Side::Far, &[back(), there()]);
        let idle = connection(Side::Near, &[]);
        one_connection_per_pair(&[one, idle]).unwrap();
    }

    #[test]
    fn each_way_on_its_own_connection_is_wrong() {
        let two = [
            connection(Side::Far, &[back()]),
            connection(Side::Near, &[there()]),
        ];
        let error = one_connection_per_pair(&two).unwrap_err().to_string();
        assert!(error.contains("used 2 connections"), "{error}");
        two_connections_each_one_way(&two).unwrap();
        let mixed = [
            connection(Side::Far, &[back(), there()]),
            connection(Side::Near, &[there()]),
        ];
        assert!(two_connections_each_one_way(&mixed).is_err());
        assert!(two_connections_each_one_way(&mixed[..1]).is_err());
    }

    #[test]
    fn one_way_only_and_nothing_at_all_are_wrong() {
        assert!(one_connection_per_pair(&[connection(Side::Far, &[back()])]).is_err());
        assert!(one_connection_per_pair(&[connection(Side::Far, &[])]).is_err());
    }

    #[test]
    fn a_verifying_connection_may_only_verify() {
        let verify = (Side::Near, dialback("verify", ""));
        let valid = (Side::Far, dialback("verify", "valid"));
        let good = connection(Side::Near, &[verify.clone(), valid]);
        verifying_connections_do_nothing_else(&[good]).unwrap();
        for more in [
            there(),
            back(),
            (Side::Near, bidi()),
            (Side::Near, dialback("result", "")),
        ] {
            let bad = connection(Side::Near, &[verify.clone(), more]);
            assert!(verifying_connections_do_nothing_else(&[bad]).is_err());
        }
        // What the far server does on connections of its own is its own affair.
        let theirs = connection(Side::Far, &[(Side::Far, dialback("verify", "")), back()]);
        verifying_connections_do_nothing_else(&[theirs]).unwrap();
    }

    #[test]
    fn the_proof_has_to_be_the_one_of_the_case() {
        let keyed = connection(
            Side::Far,
            &[
                (Side::Far, bidi()),
                (Side::Far, dialback("result", "")),
                (Side::Near, dialback("result", "valid")),
                back(),
            ],
        );
        proven_by(Auth::Dialback, std::slice::from_ref(&keyed)).unwrap();
        assert!(proven_by(Auth::External, &[keyed]).is_err());
        let unproven = connection(Side::Far, &[(Side::Far, bidi()), back()]);
        assert!(proven_by(Auth::Dialback, &[unproven]).is_err());
    }

    #[test]
    fn a_lost_or_doubled_stanza_is_noticed() {
        let expected = Expected {
            messages_from_near: 1,
            messages_from_far: 1,
            requests: 0,
        };
        complete(expected, &[connection(Side::Far, &[back(), there()])]).unwrap();
        assert!(complete(expected, &[connection(Side::Far, &[back()])]).is_err());
        assert!(
            complete(
                expected,
                &[connection(Side::Far, &[back(), there(), there()])]
            )
            .is_err()
        );
    }

    #[test]
    fn a_stanza_in_the_clear_is_noticed() {
        let mut bare = connection(Side::Far, &[back()]);
        clean(std::slice::from_ref(&bare)).unwrap();
        bare.elements.first_mut().unwrap().protected = false;
        assert!(clean(&[bare]).is_err());
    }

    #[test]
    fn how_a_connection_began_is_noticed() {
        let protected = connection(Side::Far, &[back()]);
        let direct = std::slice::from_ref(&protected);
        began_by(Transport::DirectTls, direct).unwrap();
        assert!(began_by(Transport::StartTls, direct).is_err());
        let mut bare = protected.clone();
        bare.elements.first_mut().unwrap().protected = false;
        assert!(began_by(Transport::DirectTls, &[bare]).is_err());
    }

    #[test]
    fn links_have_to_tell_what_was_on_the_wire() {
        let one = connection(Side::Far, &[(Side::Far, bidi()), back(), there()]);
        let link = serde_json::json!({
            "role": "receiving", "peer_address": "127.0.0.3:20000", "transport": "starttls",
            "tls": {"version": "1.3"}, "bidi": true, "stanzas_in": 1, "stanzas_out": 1,
            "pairs": [{"local": "a.lit", "remote": "b.lit",
                "send": {"by": "dialback", "inverse": true}, "receive": {"by": "dialback", "inverse": false}}],
        });
        let wire = std::slice::from_ref(&one);
        links_agree(
            Auth::Dialback,
            Transport::StartTls,
            wire,
            std::slice::from_ref(&link),
        )
        .unwrap();
        assert!(
            links_agree(
                Auth::External,
                Transport::StartTls,
                wire,
                std::slice::from_ref(&link)
            )
            .is_err()
        );
        for (field, wrong) in [
            ("role", serde_json::json!("initiating")),
            ("peer_address", serde_json::json!("127.0.0.3:1")),
            ("transport", serde_json::json!("plain")),
            ("tls", Value::Null),
            ("bidi", serde_json::json!(false)),
            ("stanzas_in", serde_json::json!(2)),
            ("pairs", serde_json::json!([])),
        ] {
            let mut other = link.clone();
            *other.get_mut(field).unwrap() = wrong;
            assert!(
                links_agree(Auth::Dialback, Transport::StartTls, wire, &[other]).is_err(),
                "{field}"
            );
        }
        assert!(links_agree(Auth::Dialback, Transport::StartTls, wire, &[]).is_err());
        let direct = links_agree(Auth::Dialback, Transport::DirectTls, wire, &[link]);
        assert!(direct.is_err());
    }

    #[test]
    fn a_hidden_connection_is_noticed() {
        let one = connection(Side::Far, &[back(), there()]);
        let account = Account {
            to_listener: 4_000,
            to_dialer: 4_000,
        };
        let mut kernel = BTreeMap::from([(ends(&one), account)]);
        kernel_agrees(std::slice::from_ref(&one), &kernel, true).unwrap();
        kernel.insert(
            (
                "127.0.0.1:9".parse().unwrap(),
                "127.0.0.2:20000".parse().unwrap(),
            ),
            account,
        );
        assert!(kernel_agrees(std::slice::from_ref(&one), &kernel, true).is_err());
        kernel.clear();
        assert!(kernel_agrees(&[one], &kernel, true).is_err());
    }
}
