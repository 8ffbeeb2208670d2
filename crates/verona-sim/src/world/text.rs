//! A plan as text: the transcript of a world. What is printed is read again as it was.
//!
//! ```text
//! # Both servers dial at once; the pair keeps one order.
//! seed 7
//! server a hosts a.lit
//! server b hosts b.lit,chat.b.lit proof dialback bidi off multiplex on uncertain resend direct-tls yes limits outbox_stanzas_max=4
//! link a b latency 20ms jitter 5ms room 4096
//! at 0s attach a.lit
//! at 0s attach b.lit
//! at 1s send a.lit b.lit message count 3 size 10
//! at 1.1s cut a b every after 137 heard first
//! expect delivered 3
//! ```

use std::fmt::Write as _;
use std::str::FromStr;

use verona_proto::limits::Limits;
use verona_proto::policy::{ManagementPolicy, Multiplex, OnUncertain};
use verona_proto::stanza::StanzaKind;

use super::clock::Moment;
use super::plan::{
    Action, Crash, DnsAnswer, Expectation, Heard, LinkPlan, Parting, Plan, ProofPlan, ServerPlan,
    Which,
};

/// Prints a plan, without the comments of the file that it may have come from.
#[must_use]
pub fn print(plan: &Plan) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "seed {}", plan.seed);
    for server in &plan.servers {
        print_server(&mut out, server);
    }
    for (a, b, link) in &plan.links {
        let _ = writeln!(
            out,
            "link {} {} latency {} jitter {} room {}",
            plan.servers[*a].name,
            plan.servers[*b].name,
            span(link.latency),
            span(link.jitter),
            link.room
        );
    }
    for (at, done) in &plan.actions {
        let _ = writeln!(out, "at {} {}", span(*at), action(plan, done));
    }
    for expectation in &plan.expectations {
        let (what, count) = match expectation {
            Expectation::Delivered(count) => ("delivered", count),
            Expectation::Bounced(count) => ("bounced", count),
            Expectation::Lost(count) => ("lost", count),
            Expectation::Connections(count) => ("connections", count),
        };
        let _ = writeln!(out, "expect {what} {count}");
    }
    out
}

fn print_server(out: &mut String, server: &ServerPlan) {
    let _ = write!(
        out,
        "server {} hosts {}",
        server.name,
        server.hosts.join(",")
    );
    match server.proof {
        ProofPlan::Certificate => {}
        ProofPlan::Expiring(seconds) => {
            let _ = write!(out, " proof expiring-{seconds}");
        }
        ProofPlan::Dialback => out.push_str(" proof dialback"),
    }
    if !server.bidi {
        out.push_str(" bidi off");
    }
    match server.multiplex {
        Multiplex::Auto => {}
        Multiplex::Off => out.push_str(" multiplex off"),
        Multiplex::On => out.push_str(" multiplex on"),
    }
    match server.on_uncertain {
        OnUncertain::Bounce => {}
        OnUncertain::Resend => out.push_str(" uncertain resend"),
    }
    match server.management {
        ManagementPolicy::Auto => {}
        ManagementPolicy::Acknowledgements => out.push_str(" management acknowledgements"),
        ManagementPolicy::Off => out.push_str(" management off"),
    }
    if server.direct_tls {
        out.push_str(" direct-tls yes");
    }
    if !server.limits.is_empty() {
        let limits: Vec<String> = server
            .limits
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let _ = write!(out, " limits {}", limits.join(","));
    }
    out.push('\n');
}

/// Prints one line of what is done, without its time.
pub(crate) fn action(plan: &Plan, action: &Action) -> String {
    let server = |index: usize| plan.servers.get(index).map_or("?", |it| it.name.as_str());
    let domain = |index: usize| plan.domains().nth(index).map_or("?", |(_, name)| name);
    match *action {
        Action::Attach { domain: at } => format!("attach {}", domain(at)),
        Action::Detach { domain: at, how } => match how {
            Parting::Politely => format!("detach {} politely", domain(at)),
            Parting::Killed => format!("detach {} killed", domain(at)),
        },
        Action::Send {
            from,
            to,
            kind,
            count,
            size,
        } => format!(
            "send {} {} {} count {count} size {size}",
            domain(from),
            domain(to),
            kind.name()
        ),
        Action::Crash { server: at, how } => match how {
            Crash::Killed => format!("crash {} killed", server(at)),
            Crash::PowerLoss => format!("crash {} power-loss", server(at)),
        },
        Action::Restart { server: at } => format!("restart {}", server(at)),
        Action::Shutdown { server: at } => format!("shutdown {}", server(at)),
        Action::Panic { server: at } => format!("panic {}", server(at)),
        Action::Freeze {
            server: at,
            span: of,
        } => format!("freeze {} for {}", server(at), span(of)),
        Action::Stall {
            domain: at,
            span: of,
        } => format!("stall {} for {}", domain(at), span(of)),
        Action::Cut {
            from,
            to,
            which,
            after,
            heard,
        } => {
            let which = match which {
                Which::First => "first",
                Which::Last => "last",
                Which::Every => "every",
            };
            let heard = match heard {
                Heard::Both => "both",
                Heard::First => "first",
                Heard::Neither => "neither",
            };
            format!(
                "cut {} {} {which} after {after} heard {heard}",
                server(from),
                server(to)
            )
        }
        Action::Hole { from, to, span: of } => {
            format!("hole {} {} for {}", server(from), server(to), span(of))
        }
        Action::Refuse {
            server: at,
            span: of,
        } => format!("refuse {} for {}", server(at), span(of)),
        Action::Dns {
            domain: at,
            says,
            span: of,
        } => {
            let says = match says {
                DnsAnswer::Failure => "fails".to_owned(),
                DnsAnswer::Nothing => "nothing".to_owned(),
                DnsAnswer::DeadAddress => "dead".to_owned(),
                DnsAnswer::DeadAddressFirst => "dead-first".to_owned(),
                DnsAnswer::Elsewhere(other) => format!("elsewhere-{}", server(other)),
            };
            format!("dns {} {says} for {}", domain(at), span(of))
        }
    }
}

/// Reads a plan.
///
/// # Errors
/// What is wrong, with the number of its line.
pub fn parse(text: &str) -> Result<Plan, String> {
    let mut plan = Plan {
        seed: 0,
        servers: Vec::new(),
        links: Vec::new(),
        actions: Vec::new(),
        expectations: Vec::new(),
    };
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = Words(line.split_whitespace());
        read_line(&mut plan, &mut words)
            .and_then(|()| words.end())
            .map_err(|error| format!("line {}: {error}", index + 1))?;
    }
    if plan.servers.len() < 2 {
        return Err("a world has two servers at least".into());
    }
    // What is done at one time is done in the order of the lines.
    plan.actions.sort_by_key(|(at, _)| *at);
    Ok(plan)
}

struct Words<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self, what: &str) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| format!("{what} is missing"))
    }

    fn number<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.next(what)?;
        word.parse()
            .map_err(|_| format!("{what} is no number: {word}"))
    }

    fn span(&mut self) -> Result<Moment, String> {
        read_span(self.next("a time")?)
    }

    /// A word that must stand here.
    fn word(&mut self, expected: &str) -> Result<(), String> {
        let found = self.next(expected)?;
        match found == expected {
            true => Ok(()),
            false => Err(format!("`{expected}` should stand where `{found}` does")),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        match self.0.next() {
            None => Ok(()),
            Some(word) => Err(format!("`{word}` is too much")),
        }
    }
}

fn read_line(plan: &mut Plan, words: &mut Words<'_>) -> Result<(), String> {
    match words.next("a word")? {
        "seed" => plan.seed = words.number("the seed")?,
        "server" => {
            let server = read_server(words)?;
            plan.servers.push(server);
        }
        "link" => {
            let (a, b) = (server(plan, words)?, server(plan, words)?);
            words.word("latency")?;
            let latency = words.span()?;
            words.word("jitter")?;
            let jitter = words.span()?;
            words.word("room")?;
            let room = words.number("the room")?;
            let link = LinkPlan {
                latency,
                jitter,
                room,
            };
            plan.links.push((a, b, link));
        }
        "at" => {
            let at = words.span()?;
            let action = read_action(plan, words)?;
            plan.actions.push((at, action));
        }
        "expect" => {
            let what = words.next("what is expected")?;
            let count = words.number("the number")?;
            plan.expectations.push(match what {
                "delivered" => Expectation::Delivered(count),
                "bounced" => Expectation::Bounced(count),
                "lost" => Expectation::Lost(count),
                "connections" => Expectation::Connections(count),
                other => return Err(format!("nobody counts `{other}`")),
            });
        }
        other => return Err(format!("no line begins with `{other}`")),
    }
    Ok(())
}

fn read_server(words: &mut Words<'_>) -> Result<ServerPlan, String> {
    let name = words.next("the server's name")?.to_owned();
    words.word("hosts")?;
    let hosts = words.next("the domains")?.split(',').map(str::to_owned);
    let mut server = ServerPlan {
        name,
        hosts: hosts.collect(),
        proof: ProofPlan::Certificate,
        bidi: true,
        multiplex: Multiplex::Auto,
        on_uncertain: OnUncertain::Bounce,
        management: ManagementPolicy::Auto,
        direct_tls: false,
        limits: Vec::new(),
    };
    while let Some(key) = words.0.next() {
        let value = words.next("a value")?;
        match (key, value) {
            ("proof", "certificate") => server.proof = ProofPlan::Certificate,
            ("proof", "dialback") => server.proof = ProofPlan::Dialback,
            ("proof", other) => {
                let seconds = other.strip_prefix("expiring-").map(str::parse);
                match seconds {
                    Some(Ok(seconds)) => server.proof = ProofPlan::Expiring(seconds),
                    Some(Err(_)) | None => return Err(format!("nothing is proven by `{other}`")),
                }
            }
            ("bidi", "off") => server.bidi = false,
            ("bidi", "on") => server.bidi = true,
            ("multiplex", "off") => server.multiplex = Multiplex::Off,
            ("multiplex", "on") => server.multiplex = Multiplex::On,
            ("multiplex", "auto") => server.multiplex = Multiplex::Auto,
            ("uncertain", "resend") => server.on_uncertain = OnUncertain::Resend,
            ("uncertain", "bounce") => server.on_uncertain = OnUncertain::Bounce,
            ("management", "auto") => server.management = ManagementPolicy::Auto,
            ("management", "acknowledgements") => {
                server.management = ManagementPolicy::Acknowledgements;
            }
            ("management", "off") => server.management = ManagementPolicy::Off,
            ("direct-tls", "yes") => server.direct_tls = true,
            ("direct-tls", "no") => server.direct_tls = false,
            ("limits", list) => {
                for limit in list.split(',') {
                    let (name, value) = limit.split_once('=').unwrap_or((limit, ""));
                    let value: u64 = value.parse().map_err(|_| format!("no limit: {limit}"))?;
                    Limits::default()
                        .set(name, value)
                        .map_err(|error| format!("{limit}: {error:?}"))?;
                    server.limits.push((name.to_owned(), value));
                }
            }
            (key, value) => return Err(format!("no server has `{key} {value}`")),
        }
    }
    Ok(server)
}

fn read_action(plan: &Plan, words: &mut Words<'_>) -> Result<Action, String> {
    Ok(match words.next("what is done")? {
        "attach" => Action::Attach {
            domain: domain(plan, words)?,
        },
        "detach" => Action::Detach {
            domain: domain(plan, words)?,
            how: match words.next("how")? {
                "politely" => Parting::Politely,
                "killed" => Parting::Killed,
                other => return Err(format!("no component parts `{other}`")),
            },
        },
        "send" => {
            let (from, to) = (domain(plan, words)?, domain(plan, words)?);
            let kind = words.next("a kind")?;
            let kind =
                StanzaKind::from_name(kind).ok_or_else(|| format!("no stanza is a {kind}"))?;
            words.word("count")?;
            let count = words.number("how many")?;
            words.word("size")?;
            let size = words.number("how large")?;
            Action::Send {
                from,
                to,
                kind,
                count,
                size,
            }
        }
        "crash" => Action::Crash {
            server: server(plan, words)?,
            how: match words.next("how")? {
                "killed" => Crash::Killed,
                "power-loss" => Crash::PowerLoss,
                other => return Err(format!("no server crashes `{other}`")),
            },
        },
        "restart" => Action::Restart {
            server: server(plan, words)?,
        },
        "shutdown" => Action::Shutdown {
            server: server(plan, words)?,
        },
        "panic" => Action::Panic {
            server: server(plan, words)?,
        },
        "freeze" => Action::Freeze {
            server: server(plan, words)?,
            span: for_span(words)?,
        },
        "stall" => Action::Stall {
            domain: domain(plan, words)?,
            span: for_span(words)?,
        },
        "cut" => read_cut(plan, words)?,
        "hole" => Action::Hole {
            from: server(plan, words)?,
            to: server(plan, words)?,
            span: for_span(words)?,
        },
        "refuse" => Action::Refuse {
            server: server(plan, words)?,
            span: for_span(words)?,
        },
        "dns" => {
            let domain = domain(plan, words)?;
            let says = match words.next("what DNS says")? {
                "fails" => DnsAnswer::Failure,
                "nothing" => DnsAnswer::Nothing,
                "dead" => DnsAnswer::DeadAddress,
                "dead-first" => DnsAnswer::DeadAddressFirst,
                other => {
                    let name = other.strip_prefix("elsewhere-").unwrap_or(other);
                    DnsAnswer::Elsewhere(named(plan, name)?)
                }
            };
            Action::Dns {
                domain,
                says,
                span: for_span(words)?,
            }
        }
        other => return Err(format!("nobody can `{other}`")),
    })
}

fn read_cut(plan: &Plan, words: &mut Words<'_>) -> Result<Action, String> {
    let (from, to) = (server(plan, words)?, server(plan, words)?);
    let which = match words.next("which")? {
        "first" => Which::First,
        "last" => Which::Last,
        "every" => Which::Every,
        other => return Err(format!("no connection is `{other}`")),
    };
    words.word("after")?;
    let after = words.number("how many bytes")?;
    words.word("heard")?;
    let heard = match words.next("who hears")? {
        "both" => Heard::Both,
        "first" => Heard::First,
        "neither" => Heard::Neither,
        other => return Err(format!("`{other}` cannot hear")),
    };
    Ok(Action::Cut {
        from,
        to,
        which,
        after,
        heard,
    })
}

fn for_span(words: &mut Words<'_>) -> Result<Moment, String> {
    words.word("for")?;
    words.span()
}

fn server(plan: &Plan, words: &mut Words<'_>) -> Result<usize, String> {
    let name = words.next("a server")?;
    named(plan, name)
}

fn named(plan: &Plan, name: &str) -> Result<usize, String> {
    let found = plan.servers.iter().position(|server| server.name == name);
    found.ok_or_else(|| format!("there is no server `{name}`"))
}

fn domain(plan: &Plan, words: &mut Words<'_>) -> Result<usize, String> {
    let name = words.next("a domain")?;
    let found = plan.domains().position(|(_, other)| other == name);
    found.ok_or_else(|| format!("nobody hosts `{name}`"))
}

/// A time in the largest unit that tells it exactly.
fn span(micros: Moment) -> String {
    if micros.is_multiple_of(1_000_000) {
        format!("{}s", micros / 1_000_000)
    } else if micros.is_multiple_of(1_000) {
        format!("{}ms", micros / 1_000)
    } else {
        format!("{micros}us")
    }
}

fn read_span(word: &str) -> Result<Moment, String> {
    let wrong = || format!("no time: {word}");
    let (number, unit) = match word.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => word.split_at(at),
        None => return Err(wrong()),
    };
    let factor: Moment = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        _ => return Err(wrong()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let whole: Moment = whole.parse().map_err(|_| wrong())?;
    let scale = 10_u64
        .checked_pow(u32::try_from(part.len()).unwrap_or(u32::MAX))
        .ok_or_else(wrong)?;
    let part: Moment = part.parse().map_err(|_| wrong())?;
    let whole = whole.checked_mul(factor).ok_or_else(wrong)?;
    let part = part.checked_mul(factor).ok_or_else(wrong)? / scale;
    whole.checked_add(part).ok_or_else(wrong)
}
