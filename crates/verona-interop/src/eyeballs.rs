//! `verona-interop eyeballs`: how much later a first stanza arrives because of a dead IPv6 address (RFC 8305, DNS-07).
//! Why measured: what counts is the whole way, from a component to a component, with DNS, TLS and proof on it.

// The report is the product of this command.
#![allow(clippy::print_stdout)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use crate::certs::{Authority, Issued, Purposes};
use crate::dns::{NameServer, Service};
use crate::matrix::command::{answer, enter_namespace, not_run, program};
use crate::namespace;
use crate::speaker::Speaker;
use crate::verona::Verona;

/// Measures what a dead IPv6 address costs.
#[derive(Debug, Parser)]
#[command(name = "verona-interop eyeballs")]
struct Arguments {
    /// The verona binary [default: beside this program].
    #[arg(long, value_name = "PATH")]
    verona: Option<PathBuf>,
    /// How often with a dead address, and how often without.
    #[arg(long, default_value_t = 40)]
    times: u16,
    /// The most that the dead address may cost.
    #[arg(long, default_value_t = 300, value_name = "MILLISECONDS")]
    most: u64,
    #[arg(long, hide = true)]
    inside_namespace: bool,
}

/// Runs it with the words after `eyeballs`.
#[must_use]
pub fn run(words: &[String]) -> ExitCode {
    answer("eyeballs", words, go)
}

fn go(arguments: &Arguments, words: &[String]) -> Result<ExitCode> {
    ensure!(
        (1..=1_000).contains(&arguments.times),
        "--times is a number from 1 to 1000"
    );
    let lacking = missing();
    if !lacking.is_empty() {
        return Ok(not_run("measurement", 1, &lacking));
    }
    if !arguments.inside_namespace {
        match enter_namespace("eyeballs", words)? {}
    }
    let program = program(arguments.verona.clone())?;
    let folder = tempfile::Builder::new()
        .prefix("verona-interop-eyeballs-")
        .tempdir()?;
    namespace::furnish(folder.path())?;
    swallow_ipv6()?;
    let taken = measure(folder.path(), &program, arguments.times)?;
    let (with, without) = (median(&taken.with), median(&taken.without));
    let later = with.saturating_sub(without);
    println!(
        "first stanza with a dead IPv6 address: {} ms (median of {}; {})\n\
         first stanza without it:               {} ms (median of {}; {})\n\
         later because of it: {} ms, ratio {:.2}; the most that is allowed: {} ms",
        millis(with),
        taken.with.len(),
        range(&taken.with),
        millis(without),
        taken.without.len(),
        range(&taken.without),
        millis(later),
        with.as_secs_f64() / without.as_secs_f64().max(f64::EPSILON),
        arguments.most
    );
    // Otherwise nothing was measured: without a server in the way there is nothing to wait for.
    ensure!(
        later >= NOT_IN_THE_WAY,
        "the dead address was not dialled first: it cost {} ms only",
        millis(later)
    );
    let holds = later <= Duration::from_millis(arguments.most);
    println!(
        "{}",
        if holds {
            "1 passed, 0 failed"
        } else {
            "0 passed, 1 failed"
        }
    );
    Ok(ExitCode::from(u8::from(!holds)))
}

fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if let Err(error) = namespace::available() {
        missing.push(format!("{error:#}"));
    }
    for (path, package) in [
        ("/usr/sbin/unbound", "unbound"),
        ("/usr/sbin/ip", "iproute2"),
    ] {
        if !Path::new(path).exists() {
            missing.push(format!("{path} (Debian package {package})"));
        }
    }
    missing
}

/// Makes all IPv6 addresses that DNS will name lead nowhere: packets to them go out by the loopback interface and come
/// in again for nobody, who answers nothing. A route that refuses would be an error at once, and no dead server.
fn swallow_ipv6() -> Result<()> {
    let source = format!(
        "{}/128",
        Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1)
    );
    namespace::run(
        "ip",
        &["-6", "address", "add", &source, "dev", "lo", "nodad"],
    )?;
    namespace::run("ip", &["-6", "route", "add", "2001:db8::/32", "dev", "lo"])?;
    let began = Instant::now();
    match TcpStream::connect_timeout(&dead(0), NOTHING_COMES) {
        Ok(_) => bail!("somebody answers at {}", dead(0)),
        Err(error) => ensure!(
            began.elapsed() >= NOTHING_COMES,
            "{} is not dead, it refuses: {error}",
            dead(0)
        ),
    }
    Ok(())
}

/// How long each first stanza took.
struct Taken {
    with: Vec<Duration>,
    without: Vec<Duration>,
}

fn measure(dir: &Path, program: &Path, times: u16) -> Result<Taken> {
    let far: Vec<Far> = (0..times)
        .flat_map(|number| {
            let at = |name: &str, net| Far {
                domain: format!("n{number}.{name}.lit"),
                address: SocketAddr::from((
                    Ipv4Addr::from([127, net, number.to_be_bytes()[0], number.to_be_bytes()[1]]),
                    PORT,
                )),
                dead: (net == DEAD_NET).then(|| dead(number)),
            };
            [at("dead", DEAD_NET), at("live", LIVE_NET)]
        })
        .collect();
    let near = Far {
        domain: "near.lit".to_owned(),
        address: SocketAddr::from(([127, 1, 0, 1], PORT + 1)),
        dead: None,
    };
    let _dns = name_server(dir, far.iter().chain([&near]))?;
    let authority = Authority::new()?;
    authority.write(&dir.join("ca.pem"))?;
    let far_names: Vec<&str> = far.iter().map(|far| far.domain.as_str()).collect();
    let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
    let far_server = server(dir, "far", program, &authority, &far_names, anywhere)?;
    let near_server = server(
        dir,
        "near",
        program,
        &authority,
        &[&near.domain],
        near.address,
    )?;
    let here = Speaker::connect(near_server.components, &near.domain, SECRET)?;
    let mut taken = Taken {
        with: Vec::new(),
        without: Vec::new(),
    };
    // One with and one without in turn: whatever else this machine does meanwhile does it to both.
    for (far, number) in far.iter().zip(0..) {
        let there = Speaker::connect(far_server.components, &far.domain, SECRET)?;
        let began = Instant::now();
        here.say(&far.domain, number..number + 1)?;
        let came = there.wait_for(1, Duration::from_secs(30));
        let took = began.elapsed();
        ensure!(
            came == 1,
            "no stanza arrived at {} within 30 s: {:?}",
            far.domain,
            here.bounces()
        );
        match far.dead {
            Some(_) => taken.with.push(took),
            None => taken.without.push(took),
        }
    }
    Ok(taken)
}

/// A domain of the other server.
struct Far {
    domain: String,
    address: SocketAddr,
    dead: Option<SocketAddr>,
}

fn name_server<'a>(dir: &Path, all: impl Iterator<Item = &'a Far>) -> Result<NameServer> {
    let mut services = Vec::new();
    for Far {
        domain,
        address,
        dead,
    } in all
    {
        for address in std::iter::once(*address).chain(*dead) {
            services.push(Service {
                direct_tls: false,
                domain: domain.clone(),
                address,
            });
        }
    }
    NameServer::start_at(dir, namespace::NAME_SERVER, &services)
}

fn server(
    dir: &Path,
    name: &str,
    program: &Path,
    authority: &Authority,
    domains: &[&str],
    listen: SocketAddr,
) -> Result<Verona> {
    let certificates = dir.join(format!("{name}-certs"));
    let ports = crate::process::free_ports([127, 0, 0, 1], 2)?;
    let [components, admin] = *ports.as_slice() else {
        bail!("no free ports");
    };
    let mut text = format!(
        r#"[s2s]
listen = ["{listen}"]
listen_tls = []
allow_networks = ["127.0.0.0/8", "2001:db8::/32"]

[tls]
certificates = "{certificates}"
trust = ["{authority}"]

[dns]
servers = ["{dns}"]

[components]
listen = ["{components}"]

[admin]
listen = "{admin}"

[log]
level = "info"

[defaults]
limits = {{ streams_per_address_max = 4096, component_connections_max = 4096 }}
"#,
        certificates = certificates.display(),
        authority = dir.join("ca.pem").display(),
        dns = namespace::NAME_SERVER,
    );
    for domain in domains {
        Issued::new(domain, Purposes::ServerAndClient, Some(authority))?
            .write_together(&certificates, domain)?;
        text.push_str(&format!(
            "\n[[domain]]\nname = \"{domain}\"\ncomponent = {{ secret = \"{SECRET}\" }}\n"
        ));
    }
    let reached = match listen.ip().is_unspecified() {
        true => SocketAddr::from((Ipv4Addr::LOCALHOST, listen.port())),
        false => listen,
    };
    Verona::start_with(
        dir,
        name,
        program,
        &text,
        &[reached, components, admin],
        components,
    )
    .with_context(|| format!("starting {name}"))
}

/// An address in a /64 of its own, at which nobody is.
fn dead(number: u16) -> SocketAddr {
    let address = Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, 1);
    SocketAddr::from((address, PORT))
}

fn median(all: &[Duration]) -> Duration {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn range(all: &[Duration]) -> String {
    let (least, most) = (all.iter().min(), all.iter().max());
    let millis = |time: Option<&Duration>| millis(time.copied().unwrap_or_default());
    format!("{} to {}", millis(least), millis(most))
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1_000.0)
}

const PORT: u16 = 5269;
const SECRET: &str = "wherefore";
/// Networks of the other server's IPv4 addresses, one address for each domain: none is dialled often.
const DEAD_NET: u8 = 2;
const LIVE_NET: u8 = 3;
/// From a dead address nothing comes for at least so long.
const NOTHING_COMES: Duration = Duration::from_secs(1);
/// What a dead address in front of a live one costs at least.
const NOT_IN_THE_WAY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        let times = |all: &[u64]| -> Vec<Duration> {
            all.iter().map(|ms| Duration::from_millis(*ms)).collect()
        };
        assert_eq!(median(&times(&[900, 1, 3])), Duration::from_millis(3));
        assert_eq!(median(&[]), Duration::ZERO);
        assert_eq!(range(&times(&[5, 1, 3])), "1.0 to 5.0");
    }
}
