//! Answers that do not fit into a datagram, and TCP that does not help.

use std::sync::Arc;

use verona_sim::name_server::message::{A, Message, Record, SRV, TRUNCATED, TXT, a, srv};
use verona_sim::name_server::{Act, framed};

use crate::case::{Case, Servers, Takes};
use crate::world::{Place, STARTTLS};
use crate::zone::{
    HOST_A, HOST_B, Reply, XMPP, Zone, by_transport, message, records, said, server, silence,
    truncated,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("truncated over UDP; TCP answers", |place| {
            Zone::good(place).on(XMPP, SRV, by_transport(truncated(), server(HOST_A)))
        })
        .dials(&["a:15269"])
        .questions(6)
        .why("by TCP it is whole"),
        cut("truncated over UDP; TCP is refused", |place| {
            Zone::good(place).on(XMPP, SRV, truncated())
        })
        .servers(Servers::WithoutTcp),
        cut("truncated over UDP; TCP is silent", |place| {
            Zone::good(place).on(XMPP, SRV, by_transport(truncated(), silence()))
        })
        .takes(Takes::DnsSeconds),
        cut("truncated over UDP; TCP closes at once", |place| {
            let hang_up = Arc::new(|_: &_| vec![Act::HangUp]);
            Zone::good(place).on(XMPP, SRV, by_transport(truncated(), hang_up))
        }),
        cut(
            "truncated over UDP; TCP closes in the middle of the answer",
            |place| {
                let half: Reply = Arc::new(|question| {
                    let mut answer = Message::reply(question);
                    answer.answers.push(srv(XMPP, 0, 0, STARTTLS, HOST_A));
                    let mut bytes = framed(&answer.to_bytes());
                    bytes.truncate(bytes.len() / 2);
                    vec![Act::Write(bytes), Act::HangUp]
                });
                Zone::good(place).on(XMPP, SRV, by_transport(truncated(), half))
            },
        ),
        cut("truncated over UDP and over TCP", |place| {
            Zone::good(place).on(XMPP, SRV, truncated())
        }),
        cut(
            "truncated, with the records that fit; TCP is refused",
            |place| {
                let part = message(|message| {
                    message.flags |= TRUNCATED;
                    message.answers.push(srv(XMPP, 0, 0, STARTTLS, "trap.lit"));
                });
                Zone::good(place).on(XMPP, SRV, part)
            },
        )
        .servers(Servers::WithoutTcp),
        Case::new("100 SRV records", |place| {
            let many = (0..100)
                .map(|n| srv(XMPP, n, 0, STARTTLS, &format!("h{n}.capulet.lit")))
                .collect();
            let mut zone = Zone::good(place).on(XMPP, SRV, records(many));
            for n in 0..100 {
                let host = format!("h{n}.capulet.lit");
                let address = match n {
                    0 => place.a(),
                    15 => place.b(),
                    16.. => place.trap(),
                    _ => place.dead(),
                };
                zone = zone.on(&host, A, records(vec![a(&host, address)]));
            }
            zone
        })
        .dials(&["a:15269", "b:15269"])
        .questions(40)
        .why("no more than 16 are asked for, or dialled"),
        Case::new("1,000 A records", |place| {
            let mut many = vec![a(HOST_A, place.a())];
            many.extend((0..998).map(|_| a(HOST_A, place.dead())));
            many.push(a(HOST_A, place.trap()));
            Zone::good(place).on(HOST_A, A, records(many))
        })
        .dials(&["a:15269"])
        .questions(6)
        .why("no more than 8 of one server are dialled"),
        Case::new(
            "an answer of 60 KB: records that nobody asked for, each as large as can be",
            |place| {
                let large = message(|message| {
                    message.answers.push(srv(XMPP, 0, 0, STARTTLS, HOST_A));
                    let text = Record::new("large.lit", TXT, [255; 256].repeat(234));
                    message.additionals.push(text);
                });
                Zone::good(place).on(XMPP, SRV, large)
            },
        )
        .dials(&["a:15269"])
        .questions(6)
        .why("read, and not believed"),
        Case::new("an answer of 16 KB in one datagram", |place| {
            let large = said(|question| {
                let mut message = Message::reply(question);
                message.answers.push(srv(XMPP, 0, 0, STARTTLS, HOST_A));
                message
                    .additionals
                    .push(Record::new("large.lit", TXT, [255; 256].repeat(64)));
                message.to_bytes()
            });
            Zone::good(place).on(XMPP, SRV, large)
        })
        .timeout("")
        .questions(6)
        .why("more than was offered to take, so it arrives cut"),
        Case::new("by TCP the answer to another question", |place| {
            let other = said(|question| {
                let mut message = Message::new(question.id, 0x8180);
                let name = "_xmpp-server._tcp.escalus.lit";
                message.questions.push((name.into(), SRV, 1));
                message.answers.push(srv(name, 0, 0, STARTTLS, "trap.lit"));
                message.to_bytes()
            });
            Zone::good(place).on(XMPP, SRV, by_transport(truncated(), other))
        })
        .timeout("")
        .questions(8)
        .why("not the question, not the answer"),
        Case::new("by TCP the absence of another name", |place| {
            let other = said(|question| {
                let mut message = Message::new(question.id, 0x8183);
                let name = "_xmpp-server._tcp.escalus.lit";
                message.questions.push((name.into(), SRV, 1));
                message.to_bytes()
            });
            Zone::good(place).on(XMPP, SRV, by_transport(truncated(), other))
        })
        .timeout("")
        .questions(8)
        .why("the same: that another name is absent proves nothing"),
        Case::new("by TCP an answer without a question", |place| {
            let none = said(|question| {
                let mut message = Message::new(question.id, 0x8183);
                message.answers.clear();
                message.to_bytes()
            });
            Zone::good(place).on(XMPP, SRV, by_transport(truncated(), none))
        })
        .timeout("")
        .questions(8)
        .why("nobody knows what it answers"),
        Case::new("by TCP with another id, then with ours", |place| {
            let twice: Reply = Arc::new(|question| {
                let mut wrong = Message::reply(question);
                wrong.id ^= 1;
                wrong.answers.push(srv(XMPP, 0, 0, STARTTLS, "trap.lit"));
                let mut right = Message::reply(question);
                right.answers.push(srv(XMPP, 0, 0, STARTTLS, HOST_B));
                vec![Act::Say(wrong.to_bytes()), Act::Say(right.to_bytes())]
            });
            Zone::good(place).on(XMPP, SRV, by_transport(truncated(), twice))
        })
        .dials(&["b:15269"])
        .questions(6)
        .why("the first is not ours"),
    ]
}

fn cut(what: &'static str, zone: impl Fn(&Place) -> Zone + Send + Sync + 'static) -> Case {
    Case::new(what, zone)
        .questions(12)
        .why("part of an answer is no answer")
}
