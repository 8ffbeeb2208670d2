//! slixmpp behind verona, and slixmpp on the other server: everything that two addresses can do with each other.
//! Why first: both ends can be told what to do and tell all that they see, so the order of everything can be judged.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Stage;
use crate::clients::Driven;

/// The whole conversation.
pub(super) fn converse(stage: &mut Stage<'_>) -> Result<()> {
    let mut component = stage.component("component")?;
    stage.component_becomes("attached")?;
    stage.second_is_refused()?;
    let mut client = stage.client("miranda", "island")?;
    let cast = Cast {
        person: stage.account("miranda"),
        seat: format!("{}/island", stage.account("miranda")),
        bot: format!("echo@{}", stage.names.echo),
        far: stage.names.far.to_owned(),
    };

    queries(&mut client, &mut component, &cast)?;
    messages(&mut client, &mut component, &cast)?;
    subscription(&mut client, &mut component, &cast)?;
    let links = stage.verona.says(&["links"])?;
    let pair = format!(
        "  {} ↔ {}: sends by inverse of certificate, receives by sasl",
        stage.names.echo, cast.far
    );
    ensure!(
        links.lines().any(|line| line == pair),
        "`verona links` has no line {pair:?}: {links}"
    );
    component.leave()?;
    stage.component_becomes("absent")?;
    absent(&mut client, &cast)?;
    let mut component = stage.component("component-again")?;
    stage.component_becomes("attached")?;
    client.tell(&json!({"do": "message", "to": cast.bot, "body": "again", "id": "m-again"}))?;
    component.expect(
        "message",
        message(&cast.seat, &cast.bot, "again", "m-again"),
    )?;
    client.leave()?;
    component.expect(
        "presence",
        json!({"from": cast.seat, "to": cast.bot, "type": "unavailable"}),
    )?;
    component.leave()?;
    stage.component_becomes("absent")?;
    stage.evidence.push(format!(
        "{MANY} messages each way, queries each way, a subscription each way, all in order"
    ));
    Ok(())
}

struct Cast {
    person: String,
    seat: String,
    bot: String,
    far: String,
}

/// Queries of three kinds and one that nobody understands, from each side to the other.
fn queries(client: &mut Driven, component: &mut Driven, cast: &Cast) -> Result<()> {
    let Cast { seat, bot, far, .. } = cast;
    let asked = |from: &str, query: &str| json!({"type": "get", "from": from, "query": query, "roster": []});
    let stranger = |from: &str| {
        json!({"ok": false, "from": from, "error_type": "cancel",
            "condition": "feature-not-implemented", "text": "No handlers registered for this request."})
    };

    client.ask("ping", bot, json!({"ok": true, "from": bot}))?;
    client.ask("version", bot, json!({"ok": true, "name": "Slixmpp"}))?;
    client.ask(
        "disco",
        bot,
        // slixmpp knows nothing particular of one address of its domain.
        json!({"ok": true, "identities": ["component/generic"], "features": ["http://jabber.org/protocol/disco#info"]}),
    )?;
    client.ask("unknown", bot, stranger(bot))?;
    for query in QUERIES {
        component.expect("asked", asked(seat, query))?;
    }

    let sender = Some(bot.as_str());
    component.ask_as("ping", seat, sender, json!({"ok": true, "from": seat}))?;
    component.ask_as(
        "version",
        seat,
        sender,
        json!({"ok": true, "name": "Slixmpp"}),
    )?;
    component.ask_as(
        "disco",
        seat,
        sender,
        json!({"ok": true, "identities": ["client/bot"], "features": FEATURES}),
    )?;
    component.ask_as("unknown", seat, sender, stranger(seat))?;
    for query in QUERIES {
        client.expect("asked", asked(bot, query))?;
    }
    component.ask_as("ping", far, sender, json!({"ok": true, "from": far}))?;
    // An account that is not online: its server answers.
    let nobody = format!("nobody@{far}/nowhere");
    component.ask_as(
        "ping",
        &nobody,
        sender,
        json!({"ok": false, "from": nobody, "error_type": "cancel", "condition": "service-unavailable", "text": ""}),
    )
}

/// Texts that need care in XML, each way, all complete and in order.
fn messages(client: &mut Driven, component: &mut Driven, cast: &Cast) -> Result<()> {
    let Cast { seat, bot, .. } = cast;
    for number in 0..MANY {
        client.tell(
            &json!({"do": "message", "to": bot, "body": text(number), "id": format!("m-{number}")}),
        )?;
    }
    for number in 0..MANY {
        component.expect(
            "message",
            message(seat, bot, &text(number), &format!("m-{number}")),
        )?;
    }
    for number in 0..MANY {
        component.tell(&json!({"do": "message", "to": seat, "sender": bot, "body": text(number), "id": format!("a-{number}")}))?;
    }
    for number in 0..MANY {
        client.expect(
            "message",
            message(bot, seat, &text(number), &format!("a-{number}")),
        )?;
    }
    // Kinds of message beside chat, and a resource on the component's side.
    let corner = format!("{bot}/corner");
    component.tell(&json!({"do": "message", "to": seat, "sender": corner, "type": "headline", "subject": "news", "body": "b", "id": "h"}))?;
    client.expect(
        "message",
        json!({"from": corner, "to": seat, "type": "headline", "subject": "news", "body": "b", "id": "h"}),
    )?;
    client.tell(&json!({"do": "message", "to": corner, "type": "normal", "subject": "s", "body": "", "id": "n"}))?;
    component.expect(
        "message",
        json!({"from": seat, "to": corner, "type": "normal", "subject": "s", "id": "n"}),
    )
}

/// The client subscribes, slixmpp's component accepts and asks in return, and both see each other come and go
/// (RFC 6121 §3).
fn subscription(client: &mut Driven, component: &mut Driven, cast: &Cast) -> Result<()> {
    let Cast {
        person, seat, bot, ..
    } = cast;
    let roster = |subscription: &str, ask: &str| {
        json!({"type": "set", "from": "", "query": "jabber:iq:roster",
            "roster": [{"jid": bot, "subscription": subscription, "ask": ask}]})
    };
    client.tell(&json!({"do": "presence", "to": bot, "type": "subscribe"}))?;
    client.expect("asked", roster("none", "subscribe"))?;
    component.expect(
        "presence",
        json!({"from": person, "to": bot, "type": "subscribe"}),
    )?;
    component
        .tell(&json!({"do": "presence", "to": person, "sender": bot, "type": "subscribed"}))?;
    client.expect("asked", roster("to", ""))?;
    client.expect(
        "presence",
        json!({"from": bot, "to": person, "type": "subscribed"}),
    )?;
    let air = "to the \u{1F32C} & the <elements>";
    component.tell(&json!({"do": "presence", "to": person, "sender": bot, "show": "away", "status": air, "priority": 5}))?;
    client.expect(
        "presence",
        json!({"from": bot, "to": person, "show": "away", "status": air, "priority": "5"}),
    )?;

    // The other way; slixmpp's client says yes by itself, and its server then shows it to the component.
    component.tell(&json!({"do": "presence", "to": person, "sender": bot, "type": "subscribe"}))?;
    client.expect(
        "presence",
        json!({"from": bot, "to": person, "type": "subscribe"}),
    )?;
    client.expect("asked", roster("both", ""))?;
    // So Prosody says that the request has arrived.
    component.expect(
        "presence",
        json!({"from": person, "to": bot, "type": "unavailable"}),
    )?;
    component.expect(
        "presence",
        json!({"from": person, "to": bot, "type": "subscribed"}),
    )?;
    component.expect(
        "presence",
        json!({"from": seat, "to": bot, "delayed": true}),
    )?;
    component.expect(
        "presence",
        json!({"from": person, "to": bot, "type": "probe"}),
    )?;
    component.expect("presence", json!({"from": seat, "to": bot}))?;
    component.expect(
        "presence",
        json!({"from": person, "to": bot, "type": "subscribe"}),
    )?;
    client.expect("asked", roster("both", ""))?;
    // The answer to the probe.
    client.expect(
        "presence",
        json!({"from": bot, "to": person, "show": "away", "status": air, "priority": "5"}),
    )?;
    client.tell(&json!({"do": "presence", "show": "dnd", "status": "asleep"}))?;
    client.expect(
        "presence",
        json!({"from": seat, "show": "dnd", "status": "asleep"}),
    )?;
    component.expect(
        "presence",
        json!({"from": seat, "to": bot, "show": "dnd", "status": "asleep"}),
    )?;
    component
        .tell(&json!({"do": "presence", "to": person, "sender": bot, "type": "unavailable"}))?;
    client.expect(
        "presence",
        json!({"from": bot, "to": person, "type": "unavailable"}),
    )
}

/// Without its component the domain is not there for a while, and says so.
fn absent(client: &mut Driven, cast: &Cast) -> Result<()> {
    client.tell(&json!({"do": "message", "to": cast.bot, "body": "too late", "id": "late"}))?;
    let (_, domain) = cast.bot.split_once('@').context("the bot's domain")?;
    let why = format!("the service of {domain} is down for the moment");
    client.expect(
        "message",
        json!({"from": cast.bot, "to": cast.seat, "type": "error", "id": "late",
            "error": {"error_type": "wait", "condition": "service-unavailable", "text": why}}),
    )
}

fn message(from: &str, to: &str, body: &str, id: &str) -> Value {
    json!({"from": from, "to": to, "type": "chat", "body": body, "id": id})
}

/// Markup, quotes, the end of a CDATA section, another script, an emoji, and spaces that must stay.
fn text(number: usize) -> String {
    format!("{number}: Μιράντα & <tempest/> \"'\" ]]> \u{1F30A}\n\t two  spaces ")
}

const MANY: usize = 100;
const QUERIES: [&str; 4] = [
    "urn:xmpp:ping",
    "jabber:iq:version",
    "http://jabber.org/protocol/disco#info",
    "urn:verona.invalid:tomorrow",
];
const FEATURES: [&str; 3] = [
    "http://jabber.org/protocol/disco#info",
    "jabber:iq:version",
    "urn:xmpp:ping",
];
