//! `verona demo`: two servers in this process, on loopback, that federate and show it.
//!
//! Nothing is staged: two engines, real sockets, real TLS, components attached as anybody's would be. What is claimed at
//! the end was counted while it ran.

mod component;
mod lines;
mod play;
mod sockets;
mod transcript;
mod verdict;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;

use crate::output;
use play::Cast;
use transcript::{Printer, Style, Traffic};
use verdict::Verdict;
use world::World;

/// How the two servers prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Auth {
    /// By certificates that both trust, with SASL EXTERNAL
    External,
    /// By keys that are verified over connections of their own (XEP-0220); nobody's certificate is trusted
    Dialback,
}

/// Plays, judges, and holds if asked to.
pub(crate) fn run(auth: Auth, whole: bool, hold: bool) -> ExitCode {
    let style = Style {
        whole,
        colours: output::stdout_colours(),
    };
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the threads of the engines")
        .and_then(|runtime| {
            let ended = runtime.block_on(show(auth, style, hold));
            runtime.shutdown_background();
            ended
        });
    match ended {
        Ok(code) => code,
        Err(error) => {
            output::complaint(&format!("error: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

async fn show(auth: Auth, style: Style, hold: bool) -> anyhow::Result<ExitCode> {
    let (traffic, heard) = Traffic::new();
    let world = World::start(auth, &traffic)
        .await
        .context("the two servers did not start")?;
    output::result(&world.introduction(auth));
    let printer = Printer::start(heard, style, world.addresses());

    let played = match tokio::time::timeout(PLAY_TIMEOUT, perform(auth, &world, &printer)).await {
        Ok(played) => played,
        Err(_) => Err(anyhow::anyhow!(
            "the play did not end within {} s",
            PLAY_TIMEOUT.as_secs()
        )),
    };
    let verdict = settled(auth, &world, &printer).await;
    let holds = played.is_ok() && verdict.reasons.is_empty();
    if hold && holds {
        tell(&verdict, auth);
        world.hold().await?;
        world.end().await;
        printer.settle().await;
        return Ok(ExitCode::SUCCESS);
    }
    printer.scene("C and S stop").await;
    world.end().await;
    printer.settle().await;
    if holds {
        tell(&verdict, auth);
        return Ok(ExitCode::SUCCESS);
    }
    output::result(&verdict.table);
    if let Err(error) = &played {
        output::complaint(&format!("error: {error:#}\n"));
    }
    for reason in &verdict.reasons {
        output::complaint(&format!("error: {reason}\n"));
    }
    Ok(ExitCode::FAILURE)
}

fn tell(verdict: &Verdict, auth: Auth) {
    output::result(&verdict.table);
    output::result(&verdict.conclusion(auth));
}

/// The verdict once it no longer changes: a count is published a moment after the stanza has passed.
async fn settled(auth: Auth, world: &World, printer: &Printer) -> Verdict {
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    loop {
        printer.settle().await;
        let verdict = verdict::judge(auth, world, &printer.counted());
        if verdict.reasons.is_empty() || Instant::now() >= deadline {
            return verdict;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Attaches the components and plays; they detach when it ends, so that others may take their place.
async fn perform(auth: Auth, world: &World, printer: &Printer) -> anyhow::Result<()> {
    let mut cast = Cast::attach(world).await?;
    cast.play(auth, printer).await
}

/// With all its handshakes the play takes well under a second.
const PLAY_TIMEOUT: Duration = Duration::from_secs(6);
const SETTLE_TIMEOUT: Duration = Duration::from_millis(500);
