//! The command line (contract §2).
//!
//! Exit status: 0 done, 1 the answer is no, 2 wrong usage.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use verona_proto::addr::{Domain, Jid};

use crate::admin::ask;
use crate::config::{self, Loaded};
use crate::{demo, output, run};

/// Federates XMPP domains with other servers, over one connection each.
#[derive(Parser)]
#[command(
    name = "verona",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    subcommand_required = true,
    help_template = TEMPLATE,
    after_long_help = MORE
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server in the foreground
    Run(ConfigFile),
    /// Show two servers federating on this machine, without DNS or root
    Demo(Demo),
    /// Report every mistake in the configuration
    CheckConfig(CheckConfig),
    /// Print a commented configuration to begin with
    GenConfig,
    /// Ping an address of another server through the running server
    Ping(Ping),
    /// Show whether the server runs, and what it carries
    Status(Listing),
    /// List the live connections with other servers
    Links(Listing),
    /// List what is known of other servers: what works, the last failure, the next attempt
    Peers(Listing),
    /// List what waits for other servers, and on what it waits
    Queue(Listing),
    /// Forget what was learned about a server, or about all
    Forget(Forget),
    /// List the domains that components serve, and which are attached
    Components(Listing),
    /// Take over the configuration file; a mistake in it changes nothing
    Reload(ConfigFile),
    /// Close the links with a server in good order
    Close(Close),
    /// Deliver or return what waits, and end the server
    Drain(ConfigFile),
    /// Print what a shell needs to complete commands
    Completions(Completions),
    /// Print the manual page
    Man,
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration
    #[arg(short = 'c', long = "config", value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
}

#[derive(Args)]
struct Demo {
    /// How the two servers prove who they are
    #[arg(long, value_enum, default_value_t = demo::Auth::External)]
    auth: demo::Auth,
    /// Show every element as it is, not shortened
    #[arg(long)]
    transcript: bool,
    /// Keep both servers running until Ctrl-C
    #[arg(long)]
    hold: bool,
}

#[derive(Args)]
struct CheckConfig {
    #[command(flatten)]
    config: ConfigFile,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Ping {
    /// The hosted domain that asks
    #[arg(value_parser = domain)]
    from: Domain,
    /// Whom to ask: a domain or an address
    #[arg(value_parser = address)]
    to: Jid,
    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Args)]
struct Forget {
    /// The server's domain
    #[arg(value_parser = domain, required_unless_present = "all", conflicts_with = "all")]
    peer: Option<Domain>,
    /// Forget about all of them
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Args)]
struct Close {
    /// The server's domain
    #[arg(value_parser = domain)]
    peer: Domain,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Args)]
struct Completions {
    /// Whose completions
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

#[derive(Args)]
struct Listing {
    #[command(flatten)]
    config: ConfigFile,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Cli {
    /// Does what was asked for.
    pub(crate) fn execute(self) -> ExitCode {
        match self.command {
            Command::Run(config) => run::run(&config.file),
            Command::Demo(demo) => demo::run(demo.auth, demo.transcript, demo.hold),
            Command::CheckConfig(check) => check_config(&check),
            Command::GenConfig => {
                output::result(config::TEMPLATE);
                ExitCode::SUCCESS
            }
            Command::Ping(ping) => ask::ping(
                &ping.config.file,
                &ping.from,
                &ping.to,
                Duration::from_secs(ping.timeout),
            ),
            Command::Status(listing) => ask::status(&listing.config.file, listing.json),
            Command::Links(listing) => ask::links(&listing.config.file, listing.json),
            Command::Peers(listing) => ask::peers(&listing.config.file, listing.json),
            Command::Forget(forget) => ask::forget(&forget.config.file, forget.peer.as_ref()),
            Command::Queue(listing) => ask::queue(&listing.config.file, listing.json),
            Command::Components(listing) => ask::components(&listing.config.file, listing.json),
            Command::Reload(config) => ask::reload(&config.file),
            Command::Close(close) => ask::close(&close.config.file, &close.peer),
            Command::Drain(config) => ask::drain(&config.file),
            Command::Completions(completions) => self::completions(completions.shell),
            Command::Man => man(),
        }
    }
}

fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "verona", &mut text);
    print(&text)
}

fn man() -> ExitCode {
    let mut text = Vec::new();
    match clap_mangen::Man::new(Cli::command()).render(&mut text) {
        Ok(()) => print(&text),
        Err(error) => {
            output::complaint(&format!("error: the page cannot be made: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &[u8]) -> ExitCode {
    output::result(&String::from_utf8_lossy(text));
    ExitCode::SUCCESS
}

fn check_config(check: &CheckConfig) -> ExitCode {
    let Loaded { settings, report } = config::load(&check.config.file);
    if check.json {
        output::result(&config::to_json(&report));
    } else {
        output::result(&report.render(output::stdout_colours()));
        output::result(&config::summary(settings.as_ref(), &report));
    }
    if settings.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn domain(text: &str) -> Result<Domain, String> {
    Domain::parse(text).map_err(|error| error.to_string())
}

fn address(text: &str) -> Result<Jid, String> {
    Jid::parse(text).map_err(|error| error.to_string())
}

const DEFAULT_FILE: &str = "/etc/verona/verona.toml";

/// The commands alone fill a screen.
const TEMPLATE: &str = "\
{about}

{usage-heading} {usage}  (-h for help, --help for more, -V for the version)

Commands:
{subcommands}{after-help}";

const MORE: &str = "\
Begin with `verona demo`, which needs no configuration. Then:
  verona gen-config > verona.toml     a commented starting point
  verona check-config -c verona.toml  every mistake in it, with what to do
  verona run -c verona.toml           the server; SIGTERM delivers what waits, and ends within 10 s

The other commands ask a running server, found by `[admin] listen` of the same configuration. Those that change
something (forget, reload, close, drain) need `[admin] token_file`. Completions: `verona completions bash`.
Results go to stdout, logs and complaints to stderr. `--json` prints one document with a version.
NO_COLOR turns colours off; RUST_LOG overrides the level of the log.

Exit status: 0 done, 1 the answer is no, 2 wrong usage.";
