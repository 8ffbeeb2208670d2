//! Attacks that are a few bytes at one point of a negotiation: the form that most cases have.
//! Why one form: the same bytes are tried before and after TLS and authentication, and the step must not change the verdict.

use std::sync::Arc;

use anyhow::Result;

use crate::case::Case;
use crate::key::random_id;
use crate::scene::{Directions, Scene, ping};
use crate::verdict::Expect;
use crate::wire::Wire;

/// How far a negotiation has come when the bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Connected; nothing was said.
    Connected,
    /// Headers and features, in plaintext.
    Plain,
    /// TLS is on; nothing was said on it.
    Encrypted,
    /// TLS, headers and features; not authenticated.
    Protected,
    /// The same without a certificate of ours.
    ProtectedUnproven,
    /// Authenticated, one direction.
    Established,
    /// Authenticated, both directions.
    EstablishedBoth,
}

impl Step {
    /// A connection that has come so far, with the case's own domain.
    pub(super) async fn reach(self, scene: &Scene) -> Result<Wire> {
        let (from, to) = (scene.domain.as_str(), scene.hosted());
        match self {
            Self::Connected => scene.dial().await,
            Self::Plain => {
                let mut wire = scene.dial().await?;
                scene.greet(&mut wire, from, to).await?;
                Ok(wire)
            }
            Self::Encrypted => {
                let order = crate::authority::Order::good(&[from]);
                let shown = scene.credentials(&order)?;
                scene.encrypted(from, to, Some(shown)).await
            }
            Self::Protected => Ok(scene.protected(from, to).await?.0),
            Self::ProtectedUnproven => Ok(scene.protected_unproven(from, to).await?.0),
            Self::Established => Ok(scene.established(from, to, Directions::One).await?.0),
            Self::EstablishedBoth => Ok(scene.established(from, to, Directions::Both).await?.0),
        }
    }
}

/// A case that reaches a step, sends bytes, and judges.
pub(super) fn attack<B, M>(id: &str, about: &str, step: Step, expected: &[Expect], bytes: M) -> Case
where
    B: AsRef<[u8]> + Send,
    M: Fn(&Scene) -> Result<B> + Send + Sync + Copy + 'static,
{
    Case::new(id, about, expected, move |scene: Arc<Scene>| async move {
        let mut wire = step.reach(&scene).await?;
        let bytes = bytes(&scene)?;
        wire.send(bytes.as_ref()).await;
        drop(bytes);
        Ok(scene.judge(&mut wire).await)
    })
}

/// The same with bytes so many that reading them takes its time.
pub(super) fn heavy_attack<B, M>(
    id: &str,
    about: &str,
    step: Step,
    expected: &[Expect],
    bytes: M,
) -> Case
where
    B: AsRef<[u8]> + Send,
    M: Fn(&Scene) -> Result<B> + Send + Sync + Copy + 'static,
{
    Case::new(id, about, expected, move |scene: Arc<Scene>| async move {
        let mut wire = step.reach(&scene).await?;
        let bytes = bytes(&scene)?;
        wire.send(bytes.as_ref()).await;
        drop(bytes);
        Ok(scene.judge_within(&mut wire, scene.subject.patience).await)
    })
}

/// A ping that must not be answered.
pub(super) fn forbidden_ping(scene: &Scene, from: &str, to: &str) -> Result<String> {
    let id = random_id()?;
    scene.forbid(&id);
    Ok(ping(from, to, &id))
}

/// A stream error of any kind, or the end.
pub(super) const REFUSED: &[Expect] = &[Expect::StreamError(&[]), Expect::Closed];
