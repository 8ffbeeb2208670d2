//! What the journal costs: the same messages from a domain with it and from one without, through the same two veronas.
//! Why by turns: whatever else the machine does meanwhile, it does to both.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{FAR, NEAR, NEAR_SITE, PLAIN, SECRET, World};
use crate::elements::{Element, Reader};
use crate::speaker::{attach, next};

/// One component that is attached, and what it has read and not looked at.
struct Line {
    domain: &'static str,
    stream: TcpStream,
    reader: Reader,
    read: Vec<Element>,
}

/// What one domain needed.
#[derive(Default)]
struct Costs {
    /// Messages a second, until the last was taken and until it had arrived, one of each round.
    taken: Vec<f64>,
    arrived: Vec<f64>,
    /// Milliseconds from one message to the answer that it is taken, and to its arrival.
    answer: Vec<f64>,
    arrival: Vec<f64>,
}

/// Measures, and says what came of it.
pub(super) fn run(dir: &Path, program: &Path, rounds: usize) -> Result<String> {
    let world = World::set(dir, program)?;
    let near = world.near.start(dir, program, &world.far)?;
    let mut far = Line::attach(world.far.components, FAR)?;
    let mut lines = [
        (Line::attach(near.components, PLAIN)?, Costs::default()),
        (Line::attach(near.components, NEAR)?, Costs::default()),
    ];
    // The first of each makes connections.
    for (line, _) in &mut lines {
        single(line, &mut far)?;
    }
    for round in 0..rounds {
        for (line, costs) in &mut lines {
            for _ in 0..SINGLES {
                let (answer, arrival) = single(line, &mut far)?;
                costs.answer.push(answer);
                costs.arrival.push(arrival);
            }
            let (taken, arrived) = many(line, &mut far)?;
            costs.taken.push(taken);
            costs.arrived.push(arrived);
        }
        println!("… journal: measured {} of {rounds} times", round + 1);
    }
    let status = near.says(&["status", "--json"])?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    let journal = status.pointer("/status/journal").context("no journal")?;
    let number = |name: &str| journal.get(name).and_then(serde_json::Value::as_f64);
    let (commits, seconds) = (number("commits"), number("commit_seconds"));
    let commit = seconds.unwrap_or(0.0) * 1000.0 / commits.unwrap_or(1.0).max(1.0);
    let [(_, without), (_, with)] = &mut lines;
    let mut text = String::new();
    // The worst tenth of rates is the lowest, of times the longest.
    for (what, unit, worst, without, with) in [
        (
            "messages taken",
            "a second",
            1,
            &mut without.taken,
            &mut with.taken,
        ),
        (
            "messages arrived",
            "a second",
            1,
            &mut without.arrived,
            &mut with.arrived,
        ),
        (
            "a message is taken after",
            "ms",
            9,
            &mut without.answer,
            &mut with.answer,
        ),
        (
            "a message arrives after",
            "ms",
            9,
            &mut without.arrival,
            &mut with.arrival,
        ),
    ] {
        let (plain, kept) = (quantile(without, 5), quantile(with, 5));
        let (plain_worst, kept_worst) = (quantile(without, worst), quantile(with, worst));
        text.push_str(&format!(
            "\n  {what}: {plain:.3} {unit} without, {kept:.3} with it ({:.2} times; the worst tenth {plain_worst:.3} and {kept_worst:.3})",
            kept / plain
        ));
    }
    Ok(format!(
        "{rounds} rounds of {SINGLES} single messages and {MANY} at once, medians:{text}\n  {} groups written, {commit:.3} ms each",
        commits.unwrap_or(0.0)
    ))
}

impl Line {
    fn attach(address: std::net::SocketAddr, domain: &'static str) -> Result<Self> {
        let (stream, reader, read) = attach(address, domain, SECRET, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            domain,
            stream,
            reader,
            read,
        })
    }

    fn messages(&self, count: usize) -> String {
        (0..count)
            .map(|number| {
                format!(
                    "<message from='a@{}' to='b@{FAR}' type='chat' id='{number}'><body>{number} {WORDS}</body></message>",
                    self.domain
                )
            })
            .collect::<String>()
            + &format!(
                "<iq from='a@{}' to='{NEAR_SITE}' type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>",
                self.domain
            )
    }

    /// Reads until so many stanzas of a kind have come.
    fn expect(&mut self, name: &str, count: usize) -> Result<()> {
        let mut left = count;
        loop {
            for element in self.read.drain(..) {
                ensure!(
                    element.name == name && element.kind != "error",
                    "{}: {element:?}",
                    self.domain
                );
                left = left.saturating_sub(1);
            }
            if left == 0 {
                return Ok(());
            }
            self.read = next(&mut self.stream, &mut self.reader)?;
        }
    }
}

/// One message and a ping: milliseconds to the answer, and to the arrival.
fn single(near: &mut Line, far: &mut Line) -> Result<(f64, f64)> {
    let text = near.messages(1);
    let began = Instant::now();
    near.stream.write_all(text.as_bytes())?;
    thread::scope(|scope| {
        let arrival = scope.spawn(|| far.expect("message", 1).map(|()| began.elapsed()));
        near.expect("iq", 1)?;
        let answer = began.elapsed();
        let arrival = arrival
            .join()
            .map_err(|_| anyhow::anyhow!("the far end"))??;
        Ok((millis(answer), millis(arrival)))
    })
}

/// Many messages and a ping: how many a second are taken, and arrive.
fn many(near: &mut Line, far: &mut Line) -> Result<(f64, f64)> {
    let text = near.messages(MANY);
    let mut output = near.stream.try_clone()?;
    let began = Instant::now();
    let rate = |took: Duration| MANY as f64 / took.as_secs_f64();
    thread::scope(|scope| {
        let writing = scope.spawn(move || output.write_all(text.as_bytes()));
        let arrival = scope.spawn(|| far.expect("message", MANY).map(|()| began.elapsed()));
        near.expect("iq", 1)?;
        let taken = began.elapsed();
        writing
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that writes"))??;
        let arrived = arrival
            .join()
            .map_err(|_| anyhow::anyhow!("the far end"))??;
        Ok((rate(taken), rate(arrived)))
    })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// So many tenths of the values are smaller.
fn quantile(values: &mut [f64], tenths: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = values.get(values.len() * tenths / 10);
    at.copied().unwrap_or(f64::NAN)
}

const SINGLES: usize = 40;
const MANY: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(30);
const WORDS: &str = "two households, both alike in dignity, in fair Verona, where we lay our scene; from ancient grudge \
                     break to new mutiny, where civil blood makes civil hands unclean";
