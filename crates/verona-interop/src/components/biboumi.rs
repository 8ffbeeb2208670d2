//! biboumi behind verona and ngircd behind biboumi: one channel, a person on XMPP and a person on IRC.
//! Why: a gateway is what most people want a component for, and this one is as old and as widely run as they get.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Stage;
use super::irc::IrcClient;
use crate::clients::Driven;
use crate::process::Process;
use crate::scene::SECRET;

pub(super) const PROGRAM: &str = "/usr/bin/biboumi";
pub(super) const NGIRCD: &str = "/usr/sbin/ngircd";

/// The whole conversation.
pub(super) fn converse(stage: &mut Stage<'_>) -> Result<()> {
    let server = irc_server_address()?;
    let _ngircd = ngircd(stage.dir, server)?;
    let relay = stage.relay()?;
    let biboumi = biboumi(stage, relay.address)?;
    stage.component_becomes("attached")?;

    let mut irc = IrcClient::register(server, "sebastian")?;
    ensure!(irc.join("#sea")? == ["sebastian"], "the channel is not new");
    let mut viola = stage.client("viola", "ship")?;
    let seat = format!("{}/ship", stage.account("viola"));
    let room = format!("#sea%{}@{}", server.ip(), stage.names.echo);
    let sebastian = format!("{room}/sebastian");

    viola.tell(&json!({"do": "enter", "room": room, "nick": "viola"}))?;
    viola.expect("presence", json!({"from": sebastian, "to": seat, "affiliation": "admin", "role": "moderator", "codes": []}))?;
    viola.expect("presence", json!({"from": format!("{room}/viola"), "to": seat, "affiliation": "none", "role": "participant", "codes": ["100", "110", "210"]}))?;
    irc.expect("viola", "JOIN :#sea")?;
    notices(&mut viola, &room, &seat, server)?;

    viola.tell(&json!({"do": "message", "to": room, "type": "groupchat", "body": "What country, friends, is this?", "id": "w-1"}))?;
    irc.expect("viola", "PRIVMSG #sea :What country, friends, is this?")?;
    viola.expect("message", json!({"from": format!("{room}/viola"), "to": seat, "type": "groupchat", "body": "What country, friends, is this?", "id": "w-1"}))?;
    irc.privmsg("#sea", "This is Illyria, lady.")?;
    viola.expect("message", json!({"from": sebastian, "to": seat, "type": "groupchat", "body": "This is Illyria, lady."}))?;
    // In turns: biboumi holds back whoever says more than ten lines at once, as IRC servers want it.
    for number in 0..MANY {
        let body = format!("{number}: {TEXT}");
        viola.tell(&json!({"do": "message", "to": room, "type": "groupchat", "body": body, "id": format!("m-{number}")}))?;
        irc.expect("viola", &format!("PRIVMSG #sea :{body}"))?;
        viola.expect("message", json!({"from": format!("{room}/viola"), "to": seat, "type": "groupchat", "body": body, "id": format!("m-{number}")}))?;
        irc.privmsg("#sea", &body)?;
        viola.expect(
            "message",
            json!({"from": sebastian, "to": seat, "type": "groupchat", "body": body}),
        )?;
    }
    // Between the two alone.
    viola.tell(
        &json!({"do": "message", "to": sebastian, "body": "I am not that I play.", "id": "p"}),
    )?;
    irc.expect("viola", "PRIVMSG sebastian :I am not that I play.")?;
    irc.privmsg("viola", "Are you a comedian?")?;
    viola.expect("message", json!({"from": sebastian, "to": seat, "type": "chat", "body": "Are you a comedian?", "codes": []}))?;
    irc.nothing_more()?;
    // It keeps its people and their channels meanwhile.
    stage.comes_back(&relay)?;
    viola.tell(
        &json!({"do": "message", "to": room, "type": "groupchat", "body": "again", "id": "again"}),
    )?;
    irc.expect("viola", "PRIVMSG #sea :again")?;
    viola.expect("message", json!({"from": format!("{room}/viola"), "to": seat, "type": "groupchat", "body": "again", "id": "again"}))?;
    viola.leave()?;
    irc.expect("viola", "PART #sea :")?;
    irc.nothing_more()?;
    stage.evidence.push(format!(
        "{MANY} messages each way in a channel, one each way in private, all in order"
    ));
    fs::write(stage.dir.join("irc.log"), irc.seen())?;
    let status = biboumi.terminate(Duration::from_secs(10))?;
    ensure!(status.success(), "biboumi ended with {status}");
    stage.component_becomes("absent")
}

/// How it went on the way to the IRC server, and what that had to say; then the channel's subject, which is empty.
fn notices(viola: &mut Driven, room: &str, seat: &str, server: SocketAddr) -> Result<()> {
    let ip = server.ip();
    let mut bodies = Vec::new();
    let subject = loop {
        let line = viola.take("message")?;
        let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("from").starts_with(room) {
            break line;
        }
        ensure!(
            text("from").starts_with(&format!("{ip}@")) && text("to") == seat,
            "a notice from elsewhere: {line}"
        );
        bodies.push(text("body").to_owned());
    };
    let wanted = [
        format!("Connecting to {ip}:6697 (encrypted)"),
        "Connection failed: Connection refused".to_owned(),
        format!("Connecting to {ip}:6670 (encrypted)"),
        "Connection failed: Connection refused".to_owned(),
        format!("Connecting to {ip}:6667 (not encrypted)"),
        "Connected to IRC server.".to_owned(),
    ];
    ensure!(
        bodies.starts_with(&wanted),
        "biboumi was to tell {wanted:?} first and told {bodies:?}"
    );
    let empty =
        json!({"event": "message", "from": room, "to": seat, "type": "groupchat", "subject": ""});
    ensure!(
        subject == empty,
        "the subject was to be {empty} and is {subject}"
    );
    Ok(())
}

/// biboumi always goes to port 6667 of the server that the room names, so each run has a loopback address of its own.
fn irc_server_address() -> Result<SocketAddr> {
    let run = std::process::id();
    for step in 0..200_u32 {
        let [_, _, high, low] = (run.wrapping_mul(31).wrapping_add(step)).to_be_bytes();
        let candidate = SocketAddr::from(([127, 77, high, low.clamp(1, 254)], IRC_PORT));
        if std::net::TcpListener::bind(candidate).is_ok() {
            return Ok(candidate);
        }
    }
    anyhow::bail!("port {IRC_PORT} is taken on every address that was tried")
}

fn ngircd(dir: &Path, address: SocketAddr) -> Result<Process> {
    let file = dir.join("ngircd.conf");
    let text = format!(
        "[Global]\n\
         Name = irc.orsino.lit\n\
         Info = interop test\n\
         Listen = {}\n\
         Ports = {}\n\
         MotdPhrase = \"If music be the food of love\"\n\
         AdminInfo1 = nobody\n\
         [Options]\n\
         DNS = no\n\
         Ident = no\n\
         PAM = no\n",
        address.ip(),
        address.port()
    );
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    let mut process = Process::start(
        "ngircd",
        dir,
        Path::new(NGIRCD),
        &["--nodaemon", "--config", &file.to_string_lossy()],
    )?;
    process.wait_for_listeners(&[address], Duration::from_secs(10))?;
    Ok(process)
}

fn biboumi(stage: &Stage<'_>, server: SocketAddr) -> Result<Process> {
    let home = stage.dir.join("biboumi");
    fs::create_dir_all(&home)?;
    let file = home.join("biboumi.cfg");
    let text = format!(
        "hostname={domain}\n\
         password={SECRET}\n\
         xmpp_server_ip={ip}\n\
         port={port}\n\
         db_name={database}\n\
         identd_port=0\n\
         log_level=0\n",
        domain = stage.names.echo,
        ip = server.ip(),
        port = server.port(),
        database = home.join("biboumi.sqlite").display(),
    );
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    Process::start(
        "biboumi",
        stage.dir,
        Path::new(PROGRAM),
        &[&file.to_string_lossy()],
    )
}

const IRC_PORT: u16 = 6667;
const MANY: usize = 8;
const TEXT: &str = "O that I served that lady & <i>\"'\u{26F5}";
