//! `verona-interop proxy`: a fault proxy by hand, told line by line what to do.
//! Why: what a soak found is looked at with one connection and one fault at a time.

// What it prints is the product of this command.
#![allow(clippy::print_stdout)]

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;

use super::{Direction, FaultProxy, Shape};
use crate::chance;

/// Passes connections on, and does to them what it reads on its standard input.
#[derive(Debug, Parser)]
#[command(name = "verona-interop proxy", after_help = WORDS)]
struct Arguments {
    /// Where to listen.
    #[arg(long, value_name = "IP:PORT")]
    listen: SocketAddr,
    /// The server behind it.
    #[arg(long, value_name = "IP:PORT")]
    upstream: SocketAddr,
    /// Delays each direction by so much; with 50 a round trip takes 100 ms.
    #[arg(long, default_value_t = 0, value_name = "MILLISECONDS")]
    latency: u64,
    /// Delays by up to so much more.
    #[arg(long, default_value_t = 0, value_name = "MILLISECONDS")]
    jitter: u64,
    /// Lets at most so many bytes a second pass, each way.
    #[arg(long, value_name = "BYTES")]
    bandwidth: Option<u64>,
    /// Writes in pieces of this size.
    #[arg(long, value_name = "BYTES")]
    slice: Option<usize>,
    /// Decides what is left to chance.
    #[arg(long)]
    seed: Option<u64>,
}

const WORDS: &str = "\
Standard input, a command a line; DIRECTION is to-server, to-dialer or both, and the end of the input ends the proxy:
  cut                          ends every connection by an RST
  cut-after DIRECTION N        the same once N more bytes have passed
  half-close-after DIRECTION N a FIN after N more bytes, and nothing behind it
  corrupt-after DIRECTION N    changes a bit, N bytes from here
  stall DIRECTION              nothing passes
  black-hole                   nothing passes, and whoever connects is not answered
  strand                       on the connections that are open nothing passes any more; others do
  refuse                       whoever connects is refused
  heal                         as at the start
  connections                  prints how much each open connection has carried";

/// Runs it with the words after `proxy`.
#[must_use]
pub fn run(words: &[String]) -> ExitCode {
    let arguments = Arguments::parse_from(
        std::iter::once("verona-interop proxy".to_owned()).chain(words.iter().cloned()),
    );
    match go(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn go(arguments: &Arguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(chance::seed);
    let proxy = FaultProxy::start(arguments.listen, arguments.upstream, seed)?;
    let shape = Shape {
        latency: Duration::from_millis(arguments.latency),
        jitter: Duration::from_millis(arguments.jitter),
        bytes_per_second: arguments.bandwidth,
        slice_bytes: arguments.slice,
        is_stalled: false,
    };
    let reset = || {
        proxy.heal();
        for direction in Direction::ALL {
            proxy.shape(direction, shape);
        }
    };
    reset();
    println!(
        "{} leads to {}, seed {seed}",
        proxy.address(),
        arguments.upstream
    );
    for line in std::io::stdin().lock().lines() {
        let line = line.context("reading a command")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["heal"] => reset(),
            words => match obey(&proxy, words) {
                Ok(said) => println!("{said}"),
                Err(error) => println!("{error:#}"),
            },
        }
    }
    Ok(())
}

fn obey(proxy: &FaultProxy, words: &[&str]) -> Result<String> {
    match words {
        ["cut"] => return Ok(format!("{} connections cut", proxy.cut())),
        ["black-hole"] => proxy.black_hole(),
        ["strand"] => proxy.strand(),
        ["refuse"] => proxy.refuse(),
        ["connections"] => return Ok(format!("{:?}", proxy.connections())),
        ["stall", direction] => {
            for direction in directions(direction)? {
                proxy.stall(direction);
            }
        }
        [what, direction, bytes] => {
            let bytes = bytes
                .parse()
                .with_context(|| format!("{bytes} is no number of bytes"))?;
            for direction in directions(direction)? {
                match *what {
                    "cut-after" => proxy.cut_after(direction, bytes),
                    "half-close-after" => proxy.half_close_after(direction, bytes),
                    "corrupt-after" => proxy.corrupt_after(direction, bytes),
                    _ => bail!("there is no command {what}; --help lists them"),
                }
            }
        }
        words => bail!("there is no command {}; --help lists them", words.join(" ")),
    }
    Ok("done".to_owned())
}

fn directions(word: &str) -> Result<Vec<Direction>> {
    match word {
        "to-server" => Ok(vec![Direction::ToServer]),
        "to-dialer" => Ok(vec![Direction::ToDialer]),
        "both" => Ok(Direction::ALL.to_vec()),
        _ => bail!("{word} is no direction: to-server, to-dialer or both"),
    }
}
