//! Runs the cases: many at once, those that disturb others at the end, each in a world of its own.
//! Why a control comes first: a kit that cannot see a delivery would praise a server that delivers everything.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::authority::Authority;
use crate::case::{Case, Need};
use crate::dns::Zone;
use crate::scene::{Directions, Scene, Subject};
use crate::verdict::Verdict;

/// How a case ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// With an acceptable verdict.
    Passed(Verdict),
    /// With another one.
    Failed(Verdict),
    /// The negotiation before the attack did not work, or the kit is blind.
    Broken(String),
    /// The target lacks what it needs.
    Skipped(String),
}

/// A case with its ending.
#[derive(Clone)]
pub struct Outcome {
    /// The case.
    pub case: Case,
    /// How it ended.
    pub ending: Ending,
    /// What was said last.
    pub trail: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// What a run needs besides the cases.
#[derive(Clone)]
pub struct Stage {
    /// The server under test.
    pub subject: Subject,
    /// The kit's certificates.
    pub authority: Authority,
    /// The kit's names.
    pub zone: Zone,
    /// The domain below which each case has its own.
    pub apex: String,
    /// The address of our listeners and the source of our connections; without one, each case has its own in 127/8.
    pub own: Option<IpAddr>,
    /// How many cases run at once.
    pub concurrent: usize,
}

/// Runs the cases and returns their outcomes in their order.
pub async fn run(
    stage: &Stage,
    cases: Vec<Case>,
    mut on_outcome: impl FnMut(&Outcome),
) -> Vec<Outcome> {
    let blind = control(stage)
        .await
        .err()
        .map(|error| format!("the control failed, so that no delivery would be seen: {error:#}"));
    let semaphore = Arc::new(Semaphore::new(stage.concurrent.max(1)));
    let (alone, together): (Vec<_>, Vec<_>) = cases
        .into_iter()
        .enumerate()
        .partition(|(_, case)| case.is_alone);
    let mut running = tokio::task::JoinSet::new();
    for (number, case) in together {
        let stage = stage.clone();
        let semaphore = Arc::clone(&semaphore);
        let blind = blind.clone();
        running.spawn(async move {
            // It is closed by nobody, so a permit comes.
            let _permit = semaphore.acquire().await;
            (number, one(&stage, number, case, blind).await)
        });
    }
    let mut found = Vec::new();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok((number, (outcome, scene))) => {
                on_outcome(&outcome);
                found.push((number, outcome, scene));
            }
            Err(error) => complain(&error.to_string()),
        }
    }
    for (number, case) in alone {
        let (outcome, scene) = one(stage, number, case, blind.clone()).await;
        on_outcome(&outcome);
        found.push((number, outcome, scene));
    }
    found.sort_by_key(|(number, _, _)| *number);
    let mut outcomes = Vec::new();
    for (_, outcome, scene) in found {
        let passed = matches!(outcome.ending, Ending::Passed(_));
        let outcome = late(outcome, scene.as_deref());
        if passed && !matches!(outcome.ending, Ending::Passed(_)) {
            on_outcome(&outcome);
        }
        outcomes.push(outcome);
    }
    outcomes
}

/// A task that panicked has no outcome; the count of the report shows that one is missing, this says why.
#[allow(clippy::print_stderr, reason = "there is no other place for it")]
fn complain(text: &str) {
    eprintln!("a case came to no end: {text}");
}

/// Looks once more, after all cases, whether something was delivered that must not be.
fn late(mut outcome: Outcome, scene: Option<&Scene>) -> Outcome {
    let delivered = scene.map(Scene::delivered_nevertheless).unwrap_or_default();
    if let (Ending::Passed(_), Some(what)) = (&outcome.ending, delivered.first()) {
        outcome.ending = Ending::Failed(Verdict::Delivered(format!("{what}, late")));
        outcome.trail = scene
            .map(|scene| scene.trail.last(TRAIL))
            .unwrap_or_default();
    }
    outcome
}

/// A well-behaved ping without bidi: its answer has to arrive at our listener, and soon.
async fn control(stage: &Stage) -> Result<()> {
    let scene = world(stage, CONTROL, "control").await?;
    let domain = scene.domain.clone();
    let hosted = scene.hosted().to_owned();
    let (mut wire, _) = scene
        .established(&domain, &hosted, Directions::One)
        .await
        .context("a well-behaved server is not let in")?;
    let id = scene.ping(&mut wire, &domain, &hosted).await?;
    let start = Instant::now();
    scene
        .answered_at_neighbour(&id, stage.subject.patience)
        .await
        .context("no answer to a ping arrived at the listener")?;
    let took = start.elapsed();
    anyhow::ensure!(
        took < stage.subject.settle,
        "an answer took {took:?}, more than the {:?} that the kit waits",
        stage.subject.settle
    );
    Ok(())
}

async fn one(
    stage: &Stage,
    number: usize,
    case: Case,
    blind: Option<String>,
) -> (Outcome, Option<Arc<Scene>>) {
    let start = Instant::now();
    let subject = &stage.subject;
    let lack = case.needs.iter().find_map(|need| match need {
        Need::Trust if !subject.trusts_us => {
            Some("the target has no EXTERNAL, or does not trust the kit's authority")
        }
        Need::Bidi if !subject.bidi => Some("the target does not speak XEP-0288"),
        Need::SecondDomain if subject.second.is_none() => Some("no second hosted domain is known"),
        Need::Secret if subject.secret.is_none() => Some("the dialback secret is not known"),
        Need::Trust | Need::Bidi | Need::SecondDomain | Need::Secret => None,
    });
    if let Some(lack) = lack {
        return (
            Outcome {
                case,
                ending: Ending::Skipped(lack.to_owned()),
                trail: Vec::new(),
                took: Duration::ZERO,
            },
            None,
        );
    }
    let mut scene = None;
    let ending = match world(stage, number, &format!("c{number}")).await {
        Err(error) => Ending::Broken(format!("{error:#}")),
        Ok(own) => {
            scene = Some(Arc::clone(&own));
            let longest = subject.patience * 4 + Duration::from_secs(60);
            match timeout(longest, case.play(own)).await {
                Err(_) => Ending::Broken(format!("no end after {longest:?}")),
                Ok(Err(error)) => Ending::Broken(format!("{error:#}")),
                Ok(Ok(verdict)) => match (case.accepts(&verdict), blind) {
                    (true, Some(why)) => Ending::Broken(why),
                    (true, None) => Ending::Passed(verdict),
                    (false, _) => Ending::Failed(verdict),
                },
            }
        }
    };
    let trail = scene
        .as_ref()
        .map(|scene| scene.trail.last(TRAIL))
        .unwrap_or_default();
    (
        Outcome {
            case,
            ending,
            trail,
            took: start.elapsed(),
        },
        scene,
    )
}

/// The world of a case, and for a flood a second one from which others come.
async fn world(stage: &Stage, number: usize, name: &str) -> Result<Arc<Scene>> {
    let Some(own) = stage.own else {
        let other = part(
            stage,
            own_address(78, number),
            &format!("{name}.elsewhere"),
            None,
        )
        .await?;
        return part(stage, own_address(77, number), name, Some(other)).await;
    };
    part(stage, own, name, None).await
}

/// An address in 127/8 that no other case has.
fn own_address(second: u8, number: usize) -> IpAddr {
    let third = u8::try_from(number / 250 % 250).unwrap_or(0);
    let fourth = u8::try_from(number % 250 + 1).unwrap_or(1);
    IpAddr::V4(Ipv4Addr::new(127, second, third, fourth))
}

async fn part(
    stage: &Stage,
    own: IpAddr,
    name: &str,
    elsewhere: Option<Arc<Scene>>,
) -> Result<Arc<Scene>> {
    Scene::new(
        stage.subject.clone(),
        format!("{name}.{}", stage.apex),
        own,
        stage.authority.clone(),
        stage.zone.clone(),
        elsewhere,
    )
    .await
}

const CONTROL: usize = 62_000;
const TRAIL: usize = 14;
