//! mu-conference behind verona: one room, two clients of the other server.
//! Why this old one: it is a MUC service in C from jabberd2's days, far from any library that the others use.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::{CUT, Stage};
use crate::clients::Driven;
use crate::process::Process;
use crate::scene::SECRET;

pub(super) const PROGRAM: &str = "/usr/sbin/mu-conference";

/// The whole conversation.
pub(super) fn converse(stage: &mut Stage<'_>) -> Result<()> {
    let service = start(stage)?;
    stage.component_becomes("attached")?;
    let domain = stage.names.echo;
    let room = format!("heath@{domain}");
    let (first, second) = (format!("{room}/macduff"), format!("{room}/banquo"));
    let mut macduff = stage.client("macduff", "fife")?;
    let fife = format!("{}/fife", stage.account("macduff"));
    let mut banquo = stage.client("banquo", "horse")?;
    let horse = format!("{}/horse", stage.account("banquo"));

    let says =
        |to: &str, text: &str| json!({"from": room, "to": to, "type": "groupchat", "body": text});
    // 201: the room is new, and locked until its owner has accepted it.
    macduff.tell(&json!({"do": "enter", "room": room, "nick": "macduff"}))?;
    macduff.expect(
        "presence",
        json!({"from": first, "to": fife, "affiliation": "owner", "role": "moderator", "codes": ["110", "201"]}),
    )?;
    macduff.expect("message", says(&fife, "heath"))?;
    macduff.expect(
        "message",
        says(
            &fife,
            "This room is locked from entry until configuration is confirmed.",
        ),
    )?;
    macduff.ask("open_room", &room, json!({"ok": true, "from": room}))?;
    macduff.expect(
        "message",
        says(&fife, "Configuration confirmed: This room is now unlocked."),
    )?;
    macduff.ask("items", domain, json!({"ok": true, "items": [room]}))?;

    banquo.tell(&json!({"do": "enter", "room": room, "nick": "banquo"}))?;
    banquo.expect(
        "presence",
        json!({"from": first, "to": horse, "affiliation": "owner", "role": "moderator", "codes": []}),
    )?;
    banquo.expect(
        "presence",
        json!({"from": second, "to": horse, "affiliation": "none", "role": "participant", "codes": ["110"]}),
    )?;
    macduff.expect(
        "presence",
        json!({"from": second, "to": fife, "affiliation": "none", "role": "participant", "codes": []}),
    )?;

    banquo.expect("message", says(&horse, "heath"))?;

    let mut members = [
        Member {
            client: &mut macduff,
            seat: &fife,
            nick: &first,
        },
        Member {
            client: &mut banquo,
            seat: &horse,
            nick: &second,
        },
    ];
    speak(&mut members, 0, &room, "So foul and fair a day & <i>")?;
    speak(&mut members, 1, &room, "What are these \u{1F9D9}")?;
    let between =
        json!({"do": "message", "to": second, "body": "Your children shall be kings.", "id": "p"});
    macduff.tell(&between)?;
    banquo.expect("message", json!({"from": first, "to": horse, "type": "chat", "body": "Your children shall be kings.", "id": "p"}))?;

    banquo.tell(&json!({"do": "presence", "to": second, "type": "unavailable"}))?;
    let gone = |to: &str, codes: &[&str]| json!({"from": second, "to": to, "type": "unavailable", "affiliation": "none", "role": "none", "codes": codes});
    banquo.expect("presence", gone(&horse, &["110"]))?;
    macduff.expect("presence", gone(&fife, &[]))?;
    banquo.leave()?;
    macduff.leave()?;
    // It has no good way to end, and with a room in use it does not come back from a cut, so it is not cut off here.
    drop(service);
    stage.warnings.push(CUT.to_owned());
    stage.evidence.push(format!(
        "{MANY} messages of each of two, a private one, entering and leaving, all in order"
    ));
    stage.component_becomes("absent")
}

/// Somebody in the room.
struct Member<'a> {
    client: &'a mut Driven,
    seat: &'a str,
    nick: &'a str,
}

/// One says much, and all hear all of it in order, the speaker too.
fn speak(members: &mut [Member<'_>], speaker: usize, room: &str, text: &str) -> Result<()> {
    let body = |number: usize| format!("{number}: {text}");
    let Some(Member { client, nick, .. }) = members.get_mut(speaker) else {
        bail!("nobody to speak");
    };
    let from = (*nick).to_owned();
    for number in 0..MANY {
        client.tell(&json!({"do": "message", "to": room, "type": "groupchat", "body": body(number), "id": format!("s-{number}")}))?;
    }
    for Member { client, seat, .. } in members {
        for number in 0..MANY {
            client.expect("message", json!({"from": from, "to": seat, "type": "groupchat", "body": body(number), "id": format!("s-{number}")}))?;
        }
    }
    Ok(())
}

fn start(stage: &Stage<'_>) -> Result<Process> {
    let server = stage.verona.components;
    let home = stage.dir.join("mu-conference");
    for folder in ["rooms", "logs"] {
        fs::create_dir_all(home.join(folder))?;
    }
    let file = home.join("muc.xml");
    let text = format!(
        "<jcr>\n\
         <name>{domain}</name>\n\
         <host>{domain}</host>\n\
         <ip>{ip}</ip>\n\
         <port>{port}</port>\n\
         <secret>{SECRET}</secret>\n\
         <spool>{home}/rooms/</spool>\n\
         <logdir>{home}/logs/</logdir>\n\
         <pidfile>{home}/muc.pid</pidfile>\n\
         <logstderr/>\n\
         <loglevel>255</loglevel>\n\
         <conference xmlns=\"jabber:config:conference\">\n\
         <public/>\n\
         <history>0</history>\n\
         <notice><join>has come</join><leave>has left</leave><rename>is now</rename></notice>\n\
         </conference>\n\
         </jcr>\n",
        domain = stage.names.echo,
        ip = server.ip(),
        port = server.port(),
        home = home.display(),
    );
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    Process::start(
        "mu-conference",
        stage.dir,
        Path::new(PROGRAM),
        &["-c", &file.to_string_lossy()],
    )
}

const MANY: usize = 50;
