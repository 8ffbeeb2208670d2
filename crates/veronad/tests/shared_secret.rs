//! Several machines with one dialback secret: whether a daemon vouches for a key that another made is the operator's say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use support::daemon::{Daemon, address};
use support::machine;
use verona_proto::addr::Domain;
use verona_proto::dialback::Secret;

/// Whether a daemon with `extra` in `[dialback]` calls a key valid that another machine made with `secret`.
fn verdict(extra: &str, secret: &str) -> String {
    let dir = machine();
    let config = format!(
        "[[domain]]\nname = \"capulet.lit\"\n[s2s]\nlisten = [\"127.0.0.1:0\"]\n[tls]\ntrust = [\"ca.pem\"]\n\
         [defaults]\ntls = \"optional\"\n[admin]\nlisten = \"unix:verona.sock\"\n\
         [dialback]\nsecret_file = \"rooms.secret\"\n{extra}"
    );
    let daemon = Daemon::start(dir.path(), &config);
    let line = |text: &str| daemon.log.lines().find(|line| line.contains(text));
    let mut stream = TcpStream::connect(address(line("for servers").unwrap())).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let (ours, theirs) = (
        Domain::parse("capulet.lit").unwrap(),
        Domain::parse("montague.lit").unwrap(),
    );
    let id = "417GAF25";
    let key = Secret::new(secret).key(&theirs, &ours, id);
    write!(
        stream,
        "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams' from='{theirs}' to='{ours}' version='1.0'>\
         <db:verify from='{theirs}' to='{ours}' id='{id}'>{key}</db:verify>"
    )
    .unwrap();
    let mut answer = String::new();
    let mut byte = [0];
    while !(answer.contains("<db:verify") && answer.ends_with('>')) {
        stream
            .read_exact(&mut byte)
            .unwrap_or_else(|error| panic!("{error} behind {answer}"));
        answer.push(char::from(byte[0]));
    }
    let (_, verify) = answer.split_once("<db:verify").unwrap();
    let quote = |verify: &str| verify.replace('"', "'");
    let verify = quote(verify);
    let (_, rest) = verify.split_once("type='").unwrap();
    rest.split('\'').next().unwrap().to_owned()
}

#[test]
fn a_key_of_another_machine_is_vouched_for_only_where_the_secret_is_shared() {
    //= DB-03
    //= DB-35
    assert_eq!(verdict("strict_issued_keys = false\n", "s3cr3t"), "valid");
    assert_eq!(
        verdict("strict_issued_keys = false\n", "an0ther"),
        "invalid"
    );
    assert_eq!(verdict("strict_issued_keys = true\n", "s3cr3t"), "invalid");
    assert_eq!(verdict("", "s3cr3t"), "invalid");
}
