//! Answers from nowhere, to other questions, broken, and with more in them than was asked for.

use std::sync::Arc;
use std::time::Duration;

use verona_sim::name_server::Act;
use verona_sim::name_server::message::{
    A, AAAA, Message, NX_DOMAIN, Question, Record, SRV, a, cname, ns, soa, srv,
};

use crate::case::{Again, Case, Expect, Takes};
use crate::world::STARTTLS;
use crate::zone::{
    HOST_A, OTHER, Reply, TRAP, XMPP, XMPPS, Zone, both, message, no_data, said, server,
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = forgeries();
    cases.extend(broken());
    cases.extend(poison());
    cases
}

fn forgeries() -> Vec<Case> {
    vec![
        early(
            "another id, and then the answer",
            forged(|message| message.id ^= 1),
        ),
        early(
            "the answer to another question, and then the answer",
            to_another_question(),
        ),
        early(
            "an answer from another port, and then the answer",
            from_another_port(),
        ),
        early(
            "NXDOMAIN with another id, and then the answer",
            said(|question| {
                let mut message = Message::code(question, NX_DOMAIN);
                message.id = message.id.wrapping_add(1);
                message.to_bytes()
            }),
        ),
        early(
            "an empty datagram, and then the answer",
            said(|_| Vec::new()),
        ),
        early("noise, and then the answer", said(|_| vec![0x5a; 40])),
        alone("another id", forged(|message| message.id ^= 1)),
        alone("the answer to another question", to_another_question()),
        alone(
            "the answer to no question",
            forged(|message| message.section.clear()),
        ),
        alone("an answer from another port", from_another_port()),
        alone("an empty datagram", said(|_| Vec::new())),
        alone("noise", said(|_| vec![0x5a; 40])),
        alone(
            "an answer to two questions, ours and another",
            forged(|message| message.questions.push((OTHER.into(), SRV, 1))),
        ),
        Case::new("our question, with the letters in other cases", |place| {
            let shouted = said(|question| {
                let mut message = Message::new(question.id, 0x8180);
                message.questions.push((XMPP.to_uppercase(), SRV, 1));
                let name = "_XMPP-server._TCP.CAPULET.lit";
                message
                    .answers
                    .push(srv(name, 0, 0, STARTTLS, "A.caPULET.lit"));
                message.to_bytes()
            });
            Zone::good(place).on(XMPP, SRV, shouted)
        })
        .dials(&["a:15269"])
        .why("case means nothing in DNS"),
        Case::new("a question instead of an answer (QR = 0)", |place| {
            Zone::good(place).on(XMPP, SRV, forged(|message| message.flags &= 0x7fff))
        })
        .timeout("")
        .questions(6)
        .why("a question answers nothing"),
        Case::new("an answer of class CH", |place| {
            Zone::good(place).on(
                XMPP,
                SRV,
                forged(|message| {
                    for record in &mut message.answers {
                        record.class = 3;
                    }
                }),
            )
        })
        .timeout("")
        .questions(6)
        .why("records of another class are others"),
    ]
}

/// Our id, our question, and not to be read.
fn broken() -> Vec<Case> {
    vec![
        unreadable("a header, and nothing behind it", |bytes| {
            bytes.truncate(12)
        }),
        unreadable(
            "an answer cut in the middle, and not marked as cut",
            |bytes| {
                bytes.truncate(bytes.len() - 10);
            },
        ),
        unreadable("65,535 answers announced, one there", |bytes| {
            if let Some(count) = bytes.get_mut(6..8) {
                count.fill(0xff);
            }
        }),
        unreadable("a record longer than the message", |bytes| {
            let at = bytes.len() - TRAP_DATA - 2;
            if let Some(length) = bytes.get_mut(at..at + 2) {
                length.fill(0xff);
            }
        }),
        unreadable("a name that points to itself", |bytes| {
            bytes.truncate(bytes.len() - TRAP_NAME);
            let here = u16::try_from(bytes.len()).unwrap_or_default();
            bytes.extend_from_slice(&(0xc000 | here).to_be_bytes());
            fix_length(bytes, 8);
        }),
        unreadable("a name that points past the end", |bytes| {
            bytes.truncate(bytes.len() - TRAP_NAME);
            bytes.extend_from_slice(&[0xff, 0xff]);
            fix_length(bytes, 8);
        }),
        unreadable("an SRV record of three bytes", |bytes| {
            bytes.truncate(bytes.len() - TRAP_DATA + 3);
            fix_length(bytes, 3);
        }),
        Case::new("more bytes behind the answer", |place| {
            let longer = said(|question| {
                let mut message = Message::reply(question);
                message.answers.push(srv(XMPP, 0, 0, STARTTLS, HOST_A));
                let mut bytes = message.to_bytes();
                bytes.extend_from_slice(b"more");
                bytes
            });
            Zone::good(place).on(XMPP, SRV, longer)
        })
        .dials(&["a:15269"])
        .questions(6)
        .why("the answer is whole"),
    ]
}

/// The right answer, and something that somebody else would have to say.
fn poison() -> Vec<Case> {
    vec![
        Case::new("beside the SRV records addresses of the server", |place| {
            let trap = place.trap();
            let helpful = message(move |message| {
                message.answers.push(srv(XMPP, 0, 0, STARTTLS, HOST_A));
                message.additionals.push(a(HOST_A, trap));
            });
            Zone::good(place).on(XMPP, SRV, helpful)
        })
        .dials(&["a:15269"])
        .why("addresses are asked for by their name, where it can be proven"),
        Case::new("beside the SRV records those of another domain", |place| {
            let more = message(|message| {
                message.answers.push(srv(XMPP, 1, 0, STARTTLS, HOST_A));
                let other = "_xmpp-server._tcp.escalus.lit";
                message.answers.push(srv(other, 0, 0, STARTTLS, TRAP));
            });
            Zone::good(place).on(XMPP, SRV, more)
        })
        .dials(&["a:15269"])
        .why("what belongs to another name is passed over"),
        Case::new(
            "in place of the SRV records those of another domain",
            |place| {
                let other = message(|message| {
                    let other = "_xmpp-server._tcp.escalus.lit";
                    message.answers.push(srv(other, 0, 0, STARTTLS, TRAP));
                });
                Zone::good(place).on(XMPP, SRV, other)
            },
        )
        .timeout("")
        .questions(8)
        .why("not an answer, and not an absence"),
        Case::new("in place of the SRV record an A record", |place| {
            let trap = place.trap();
            let other = message(move |message| message.answers.push(a(XMPP, trap)));
            Zone::good(place).on(XMPP, SRV, other)
        })
        .timeout("")
        .questions(8)
        .why("not an answer, and not an absence"),
        Case::new("beside the address one of another name", |place| {
            let (good, trap) = (place.a(), place.trap());
            let more = message(move |message| {
                message.answers.push(a("www.other.lit", trap));
                message.answers.push(a(HOST_A, good));
            });
            Zone::good(place).on(HOST_A, A, more)
        })
        .dials(&["a:15269"])
        .why("what belongs to another name is passed over"),
        Case::new(
            "behind an alias of the server, addresses of a third name too",
            |place| {
                let (good, trap) = (place.a(), place.trap());
                let more = message(move |message| {
                    message.answers.push(a("www.other.lit", trap));
                    message.answers.push(cname(HOST_A, "real.lit"));
                    message.answers.push(a("real.lit", good));
                    message.answers.push(cname("www.other.lit", "trap.lit"));
                    message.answers.push(a("trap.lit", trap));
                });
                Zone::good(place).on(HOST_A, A, more)
            },
        )
        .dials(&["a:15269"])
        .questions(6)
        .why("the chain of aliases is followed, and nothing beside it"),
        Case::new("in place of the address one of another name", |place| {
            let trap = place.trap();
            let other = message(move |message| message.answers.push(a("www.other.lit", trap)));
            Zone::good(place)
                .on(HOST_A, A, other.clone())
                .on(HOST_A, AAAA, other)
        })
        .timeout("")
        .questions(8)
        .why("not an answer, and not an absence"),
        Case::new("an A record in answer to AAAA", |place| {
            let trap = place.trap();
            let other = message(move |message| message.answers.push(a(HOST_A, trap)));
            Zone::good(place).on(HOST_A, AAAA, other)
        })
        .dials(&["a:15269"])
        .questions(8)
        .why("only what was asked for is believed"),
        Case::new("the address in the additional section alone", |place| {
            let trap = place.trap();
            let other = message(move |message| message.additionals.push(a(HOST_A, trap)));
            Zone::good(place).on(HOST_A, A, other)
        })
        .not_found("DNS has no address for a.capulet.lit")
        .why("an answer stands in the answer section, and that is empty"),
        Case::new("SRV records in the authority section alone", |place| {
            let other = message(|message| {
                message.authorities.push(srv(XMPP, 0, 0, STARTTLS, TRAP));
            });
            Zone::good(place).on(XMPP, SRV, other)
        })
        .timeout("")
        .questions(8)
        .why("an answer stands in the answer section"),
        Case::new(
            "an absence with an answer for another domain beside it",
            |place| {
                let other = message(|message| {
                    message.flags |= NX_DOMAIN;
                    message.authorities.push(soa("lit", 60));
                    message.authorities.push(ns(OTHER, TRAP));
                    let name = "_xmpp-server._tcp.escalus.lit";
                    message.additionals.push(srv(name, 0, 0, STARTTLS, TRAP));
                });
                Zone::good(place).on(XMPP, SRV, other)
            },
        )
        .dials(&["the domain:5269"])
        .why("the absence is what was asked about")
        .then(Again {
            to: OTHER,
            after: Duration::ZERO,
            expect: Expect::NotFound("DNS has no address for escalus.lit"),
            asks: true,
        }),
        Case::new("NXDOMAIN, and a record all the same", |place| {
            let both = message(|message| {
                message.flags |= NX_DOMAIN;
                message.answers.push(srv(XMPP, 0, 0, STARTTLS, HOST_A));
            });
            Zone::good(place)
                .on(XMPP, SRV, both)
                .on(XMPPS, SRV, no_data())
        })
        .dials(&["a:15269"])
        .why("what is there, is there; it is no absence in any case"),
        Case::new("SERVFAIL, and a record all the same", |place| {
            let both = message(|message| {
                message.flags |= 2;
                message.answers.push(srv(XMPP, 0, 0, STARTTLS, TRAP));
            });
            Zone::good(place).on(XMPP, SRV, both)
        })
        .timeout("Server Failure")
        .questions(6)
        .why("who failed has no answer"),
        Case::new("records of unknown types beside the answer", |place| {
            let more = message(|message| {
                message.answers.push(srv(XMPP, 0, 0, STARTTLS, HOST_A));
                message
                    .answers
                    .push(Record::new(XMPP, 65280, vec![0xff; 30]));
            });
            Zone::good(place).on(XMPP, SRV, more)
        })
        .dials(&["a:15269"])
        .why("they are passed over"),
    ]
}

/// A forgery, and the answer comes after it.
fn early(what: &'static str, forgery: Reply) -> Case {
    Case::new(what, move |place| {
        Zone::good(place).on(XMPP, SRV, both(forgery.clone(), server(HOST_A)))
    })
    .dials(&["a:15269"])
    .why("what is not from the server, to our question and with our id, is passed over")
}

/// A forgery, and nothing comes after it.
fn alone(what: &'static str, forgery: Reply) -> Case {
    Case::new(what, move |place| {
        Zone::good(place).on(XMPP, SRV, forgery.clone())
    })
    .timeout("did not answer")
    .takes(Takes::DnsSeconds)
    .questions(22)
    .why("the same as silence")
}

/// Ours by id, question and sender, and not to be read.
fn unreadable(what: &'static str, spoil: fn(&mut Vec<u8>)) -> Case {
    Case::new(what, move |place| {
        let broken = said(move |question| {
            let mut message = Message::reply(question);
            message.answers.push(srv(XMPP, 0, 0, STARTTLS, TRAP));
            let mut bytes = message.to_bytes();
            spoil(&mut bytes);
            bytes
        });
        Zone::good(place).on(XMPP, SRV, broken)
    })
    .timeout("")
    .questions(6)
    .why("what cannot be read proves nothing")
}

/// An answer that leads to the trap, changed.
fn forged(change: fn(&mut Message)) -> Reply {
    said(move |question| {
        let mut message = Message::reply(question);
        message.answers.push(srv(XMPP, 0, 0, STARTTLS, TRAP));
        change(&mut message);
        message.to_bytes()
    })
}

fn to_another_question() -> Reply {
    said(|question| {
        let mut message = Message::new(question.id, 0x8180);
        let name = "_xmpp-server._tcp.escalus.lit";
        message.questions.push((name.into(), SRV, 1));
        message.answers.push(srv(name, 0, 0, STARTTLS, TRAP));
        message.answers.push(srv(XMPP, 0, 0, STARTTLS, TRAP));
        message.to_bytes()
    })
}

fn from_another_port() -> Reply {
    Arc::new(|question: &Question| {
        let mut message = Message::reply(question);
        message.answers.push(srv(XMPP, 0, 0, STARTTLS, TRAP));
        vec![Act::SayFromElsewhere(message.to_bytes())]
    })
}

/// Puts another length of data into the last record, whose data begins so many bytes before the end.
fn fix_length(bytes: &mut [u8], data: usize) {
    let at = bytes.len() - data - 2;
    let length = u16::try_from(data).unwrap_or_default().to_be_bytes();
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.copy_from_slice(&length);
    }
}

/// The bytes of `trap.lit` as a name.
const TRAP_NAME: usize = 10;
/// The bytes of the SRV record that leads there: three numbers and the name.
const TRAP_DATA: usize = 6 + TRAP_NAME;
