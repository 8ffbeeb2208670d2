//! The command `verona-hostile`: chooses cases, starts or finds the server under test, runs, reports.
//! Why it prints as it goes: whoever attacks a server by hand wants to see what it says while its log is open.
#![forbid(unsafe_code)]
// The report is the product of this program.
#![allow(clippy::print_stdout)]

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use verona_hostile::authority::Authority;
use verona_hostile::case::{Case, Concern};
use verona_hostile::catalogue;
use verona_hostile::dns::{self, Zone};
use verona_hostile::report::{self, Counts, Format};
use verona_hostile::run::{Outcome, Stage, run};
use verona_hostile::scene::Subject;
use verona_hostile::servers::{self, Kind, Running, Settings};

/// Plays an XMPP server well or badly against a server that you run, and judges its answers.
#[derive(Parser)]
struct Arguments {
    /// A server that the kit starts by itself, on loopback.
    #[arg(long, value_enum, conflicts_with = "dial")]
    target: Option<Target>,
    /// The verona binary [default: beside this program].
    #[arg(long, value_name = "PATH")]
    verona: Option<PathBuf>,
    /// The S2S address of a server that runs already. Use it on servers of your own only.
    #[arg(long, value_name = "IP:PORT", requires = "hosted")]
    dial: Option<SocketAddr>,
    /// A domain that it hosts and answers pings for.
    #[arg(long, value_name = "DOMAIN")]
    hosted: Option<String>,
    /// Another one.
    #[arg(long, value_name = "DOMAIN")]
    second: Option<String>,
    /// Where the kit's name server listens; the server under test has to ask it for names below --apex.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    dns: SocketAddr,
    /// The domain below which each case has its own.
    #[arg(long, value_name = "DOMAIN", default_value = "hostile.lit")]
    apex: String,
    /// The address of the kit's listeners and the source of its connections [default: one in 127/8 for each case].
    #[arg(long, value_name = "IP")]
    own: Option<IpAddr>,
    /// Writes the certificate of the kit's authority to this file, then waits for Enter.
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// The server under test was told to trust that authority.
    #[arg(long)]
    trusted: bool,
    /// The server under test speaks XEP-0288.
    #[arg(long)]
    bidi: bool,
    /// The dialback secret of the server under test.
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,
    /// Seconds after which the server under test has given up whatever it waits for.
    #[arg(long, value_name = "SECONDS")]
    patience: Option<u64>,
    /// Milliseconds after which nothing more is expected to come.
    #[arg(long, value_name = "MILLISECONDS")]
    settle: Option<u64>,
    /// Run these only; a part of a name selects all that have it.
    #[arg(long, value_name = "CASE")]
    case: Vec<String>,
    /// Leave these out; a part of a name selects all that have it.
    #[arg(long, value_name = "CASE")]
    skip: Vec<String>,
    /// Only the cases of this concern.
    #[arg(long, value_enum)]
    concern: Option<Only>,
    /// How many cases run at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 24)]
    concurrent: usize,
    /// List the cases as rows of the table in docs/hostile.md: name, role, concern, requirements, what is done.
    #[arg(long)]
    list: bool,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t = Shape::Text)]
    format: Shape,
    /// Writes the report to this file as well as the lines to the terminal.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Keeps the folder with configuration and logs of the server that was started.
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    Verona,
    Prosody,
    Ejabberd,
    Jabberd2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    Conformance,
    Security,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Text,
    Json,
    Junit,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen: Vec<Case> = catalogue::all()
        .into_iter()
        .filter(|case| is_chosen(case, &arguments))
        .collect();
    if arguments.list {
        for case in &chosen {
            println!("{}", listed(case));
        }
        println!("{} cases", chosen.len());
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        println!("no case is named so; --list shows them");
        return ExitCode::from(2);
    }
    match play(&arguments, chosen) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("it did not run: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn is_chosen(case: &Case, arguments: &Arguments) -> bool {
    let named = |names: &[String]| {
        names
            .iter()
            .any(|name| case.id == *name || case.id.contains(name.as_str()))
    };
    let is_wanted = match arguments.concern {
        None => true,
        Some(Only::Conformance) => case.concern == Concern::Conformance,
        Some(Only::Security) => case.concern == Concern::Security,
    };
    is_wanted && (arguments.case.is_empty() || named(&arguments.case)) && !named(&arguments.skip)
}

fn listed(case: &Case) -> String {
    let concern = match case.concern {
        Concern::Security => "security",
        Concern::Conformance => "conformance",
    };
    format!(
        "| `{}` | {} | {concern} | {} | {} |",
        case.id,
        case.role.name(),
        case.requirements.join(" "),
        case.about
    )
}

fn play(arguments: &Arguments, chosen: Vec<Case>) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let folder = tempfile::Builder::new()
        .prefix("verona-hostile-")
        .tempdir()?;
    let authority = Authority::new()?;
    let zone = Zone::default();
    let kind = kind(arguments)?;
    let listen = match &kind {
        Some(kind) if kind.needs_port_53() => SocketAddr::from(([127, 0, 0, 53], 53)),
        _ => arguments.dns,
    };
    let dns = runtime.block_on(dns::serve(listen, zone.clone()))?;
    let mut running = None;
    let (name, mut subject) = match &kind {
        Some(kind) => {
            let settings = Settings {
                dir: folder.path(),
                authority: &authority,
                dns,
            };
            let started = servers::start(kind, &settings)
                .with_context(|| format!("starting {}", kind.name()))?;
            let subject = started.subject.clone();
            running = Some(started);
            (kind.name().to_owned(), subject)
        }
        None => {
            let subject = found(arguments)?;
            println!("name server for *.{}: {dns}", arguments.apex);
            (subject.address.to_string(), subject)
        }
    };
    if let Some(path) = &arguments.authority {
        authority.write(path)?;
        println!(
            "the authority to trust is in {}; press Enter when the server trusts it",
            path.display()
        );
        std::io::stdin().read_line(&mut String::new())?;
    }
    if let Some(seconds) = arguments.patience {
        subject.patience = Duration::from_secs(seconds);
    }
    if let Some(milliseconds) = arguments.settle {
        subject.settle = Duration::from_millis(milliseconds);
    }
    let stage = Stage {
        subject,
        authority,
        zone,
        apex: arguments.apex.clone(),
        own: arguments.own,
        concurrent: arguments.concurrent,
    };
    let number = chosen.len();
    let is_text = arguments.format == Shape::Text;
    let to_terminal = is_text || arguments.output.is_some();
    let outcomes = runtime.block_on(run(&stage, chosen, |outcome| {
        if to_terminal {
            println!("{}", report::line(outcome));
        }
    }));
    let whole = report::whole(format(arguments.format), &name, &outcomes);
    if let Some(path) = &arguments.output {
        std::fs::write(path, &whole).with_context(|| format!("writing {}", path.display()))?;
    } else if !is_text {
        println!("{whole}");
    }
    let is_alive = is_alive(running.as_mut());
    if arguments.keep {
        println!("kept: {}", folder.keep().display());
    }
    Ok(conclude(&outcomes, number, is_alive, to_terminal))
}

/// A server that died while others were served by a second attempt has failed all the same.
fn is_alive(running: Option<&mut Running>) -> bool {
    running.is_none_or(|running| {
        running
            .processes
            .iter_mut()
            .all(verona_interop::process::Process::is_running)
    })
}

fn conclude(outcomes: &[Outcome], number: usize, is_alive: bool, to_terminal: bool) -> bool {
    let mut counts = Counts::of(outcomes);
    // A case that came to no end at all is no pass.
    counts.failed += number - outcomes.len().min(number);
    if !is_alive {
        counts.failed += 1;
    }
    if to_terminal {
        if !is_alive {
            println!("FAILED: the server under test did not survive");
        }
        println!("{}", counts.line());
    }
    counts.failed == 0
}

fn format(shape: Shape) -> Format {
    match shape {
        Shape::Text => Format::Text,
        Shape::Json => Format::Json,
        Shape::Junit => Format::Junit,
    }
}

fn kind(arguments: &Arguments) -> Result<Option<Kind>> {
    Ok(match arguments.target {
        None if arguments.dial.is_some() => None,
        None => bail!("say --target NAME, or --dial IP:PORT --hosted DOMAIN"),
        Some(Target::Verona) => {
            let beside_us = std::env::current_exe()?.with_file_name("verona");
            let program = arguments.verona.clone().unwrap_or(beside_us);
            let program = program
                .canonicalize()
                .with_context(|| format!("no verona at {}", program.display()))?;
            Some(Kind::Verona(program))
        }
        Some(Target::Prosody) => Some(Kind::Prosody),
        Some(Target::Ejabberd) => Some(Kind::Ejabberd),
        Some(Target::Jabberd2) => Some(Kind::Jabberd2),
    })
}

/// A server that the operator runs.
fn found(arguments: &Arguments) -> Result<Subject> {
    Ok(Subject {
        address: arguments.dial.context("no --dial")?,
        hosted: arguments.hosted.clone().context("no --hosted")?,
        second: arguments.second.clone(),
        secret: arguments.secret.clone(),
        trusts_us: arguments.trusted,
        bidi: arguments.bidi,
        patience: Duration::from_secs(60),
        settle: Duration::from_secs(3),
    })
}
