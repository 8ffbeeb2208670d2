//! One case: what it is about, which requirements it tests, and what may come of it.
//! Why the acceptable verdicts stand beside the play and not in it: a reader compares them with the specification.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Result;

use crate::scene::Scene;
use crate::verdict::{Expect, Verdict};

/// Which side opens the connection on which the target is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We dial.
    Dials,
    /// We listen, and the target dials because it has something to send.
    Listens,
    /// Both.
    Both,
}

impl Role {
    /// The role as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dials => "dials",
            Self::Listens => "listens",
            Self::Both => "both",
        }
    }
}

/// Whether a case fails because a peer could harm somebody, or because a peer would not be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// A failure is a defect of interoperability; it may be told of any server.
    Conformance,
    /// A failure may be a vulnerability; it belongs to the server's own people first.
    Security,
}

/// What a target must have for a case to make sense; without it the case is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It offers EXTERNAL and trusts the kit's authority.
    Trust,
    /// It speaks XEP-0288.
    Bidi,
    /// It hosts a second domain.
    SecondDomain,
    /// Its dialback secret is known.
    Secret,
}

type Play =
    Arc<dyn Fn(Arc<Scene>) -> Pin<Box<dyn Future<Output = Result<Verdict>> + Send>> + Send + Sync>;

/// A case.
#[derive(Clone)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// What is done, in a sentence.
    pub about: String,
    /// The requirements that it tests.
    pub requirements: Vec<&'static str>,
    /// Who dials.
    pub role: Role,
    /// What a failure means.
    pub concern: Concern,
    /// What the target must have.
    pub needs: Vec<Need>,
    /// Whether it disturbs others, and so runs after them, alone.
    pub is_alone: bool,
    /// The acceptable verdicts.
    pub expected: Vec<Expect>,
    play: Play,
}

impl Case {
    /// A case about conformance in which we dial.
    pub fn new<F, P>(id: &str, about: &str, expected: &[Expect], play: P) -> Self
    where
        F: Future<Output = Result<Verdict>> + Send + 'static,
        P: Fn(Arc<Scene>) -> F + Send + Sync + 'static,
    {
        Self {
            id: id.to_owned(),
            about: about.to_owned(),
            requirements: Vec::new(),
            role: Role::Dials,
            concern: Concern::Conformance,
            needs: Vec::new(),
            is_alone: false,
            expected: expected.to_vec(),
            play: Arc::new(move |scene| Box::pin(play(scene))),
        }
    }

    /// It tests these requirements.
    #[must_use]
    pub fn tests(mut self, requirements: &[&'static str]) -> Self {
        self.requirements.extend_from_slice(requirements);
        self
    }

    /// We listen.
    #[must_use]
    pub fn listens(self) -> Self {
        Self {
            role: Role::Listens,
            ..self
        }
    }

    /// We dial and listen.
    #[must_use]
    pub fn both(self) -> Self {
        Self {
            role: Role::Both,
            ..self
        }
    }

    /// A failure may be a vulnerability.
    #[must_use]
    pub fn security(self) -> Self {
        Self {
            concern: Concern::Security,
            ..self
        }
    }

    /// The target must have this.
    #[must_use]
    pub fn needs(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// It runs when nothing else does.
    #[must_use]
    pub fn alone(self) -> Self {
        Self {
            is_alone: true,
            ..self
        }
    }

    /// Plays it.
    pub fn play(&self, scene: Arc<Scene>) -> Pin<Box<dyn Future<Output = Result<Verdict>> + Send>> {
        (self.play)(scene)
    }

    /// Whether the verdict is one of the acceptable ones.
    #[must_use]
    pub fn accepts(&self, verdict: &Verdict) -> bool {
        self.expected.iter().any(|expect| expect.accepts(verdict))
    }
}
