//! Keeps the engine's certificates, trust and revocation lists as they are on disk: looked at every few seconds, and when
//! asked to.
//!
//! A change is loaded and judged before anything is replaced, and what cannot be used replaces nothing. It is polled: what
//! the kernel tells of changes it does not tell of network file systems, and of a link in a chain of links it tells only
//! whoever watches each of them, while a look at ten thousand domains takes a tenth of a second.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use verona::Handle;
use verona::tls::{
    CertificateProblem, CertificateProblemKind, CertificateStore, Certificates, OwnCertificate,
    Patience, TrustFiles, TrustRoots,
};
use verona_proto::addr::Domain;

use crate::expiry::{self, Stage};

/// The task that looks.
#[derive(Debug)]
pub(crate) struct Renewal {
    orders: mpsc::Sender<Order>,
    report: Report,
    task: JoinHandle<()>,
}

/// Whose certificates are looked for, and where.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) domains: Vec<Domain>,
    pub(crate) store: CertificateStore,
    pub(crate) trust: TrustFiles,
}

#[derive(Debug)]
enum Order {
    /// Everything is to be read again at once.
    Look,
    /// Nothing is to be replaced until the next order; the sender is told when that is so.
    Rest(oneshot::Sender<()>),
    /// Other files are to be looked at from now on.
    Adopt(Box<Files>),
}

/// What came of it so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report(Arc<Mutex<Account>>);

/// The numbers and sentences of a [`Report`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// Something on disk was taken over.
    pub(crate) replaced: u64,
    /// It was asked for, and nothing was other than before.
    pub(crate) unchanged: u64,
    /// Something on disk could not be used.
    pub(crate) failed: u64,
    /// What is wrong, as long as it lasts.
    pub(crate) problems: Vec<String>,
}

impl Report {
    /// As it stands.
    pub(crate) fn read(&self) -> Account {
        self.with(|account| account.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Account) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Renewal {
    /// Begins. What is there is in use already, and was told of.
    pub(crate) fn start(handle: Handle, files: Files) -> Self {
        let (orders, given) = mpsc::channel(ORDERS);
        let report = Report::default();
        let watch = Watch::new(handle, files, report.clone());
        Self {
            task: tokio::spawn(run(watch, given)),
            orders,
            report,
        }
    }

    /// Has everything read again at once: whoever asks vouches for what is there.
    pub(crate) async fn ask(&self) {
        let _ = self.orders.send(Order::Look).await;
    }

    /// Replaces nothing until it is asked again, or told what to look at from now on.
    pub(crate) async fn rest(&self) {
        let (done, rests) = oneshot::channel();
        let _ = self.orders.send(Order::Rest(done)).await;
        // If its task has ended it replaces nothing either.
        let _ = rests.await;
    }

    /// Looks at other files from now on, and reads them at once.
    pub(crate) async fn adopt(&self, files: Files) {
        let _ = self.orders.send(Order::Adopt(Box::new(files))).await;
    }

    /// What came of it so far.
    pub(crate) fn report(&self) -> Report {
        self.report.clone()
    }

    /// Looks no more.
    pub(crate) fn end(self) {
        self.task.abort();
    }
}

async fn run(watch: Watch, mut orders: mpsc::Receiver<Order>) {
    let mut watch = watch;
    let mut rest = INTERVAL;
    loop {
        let mut order = tokio::select! {
            order = orders.recv() => match order {
                Some(order) => Some(order),
                None => return,
            },
            () = tokio::time::sleep(rest) => None,
        };
        while let Some(Order::Rest(done)) = order {
            let _ = done.send(());
            order = orders.recv().await;
        }
        let is_asked = order.is_some();
        if let Some(Order::Adopt(files)) = order {
            watch = watch.looking_at(*files);
        }
        let began = Instant::now();
        // Files may lie far away, and a key takes a while to read.
        let looked = tokio::task::spawn_blocking(move || {
            watch.look(is_asked, SystemTime::now(), Instant::now());
            watch
        });
        watch = match looked.await {
            Ok(watch) => watch,
            Err(error) => {
                tracing::error!(
                    "certificates are looked at no more, restart to renew them: {error}"
                );
                return;
            }
        };
        rest = (began.elapsed() * REST_FACTOR).clamp(INTERVAL, REST_MAX);
    }
}

struct Watch {
    handle: Handle,
    domains: Vec<Domain>,
    store: CertificateStore,
    trust: TrustFiles,
    /// The files of trust could not be read when they were last tried.
    is_trust_stale: bool,
    /// When a choice is due although no file has changed: time alone makes another certificate the better one.
    choice_due: Instant,
    /// What is wrong, in a sentence each.
    troubles: BTreeMap<String, Trouble>,
    /// What was said of the end of each certificate, by its file.
    stages: BTreeMap<PathBuf, Stage>,
    report: Report,
}

/// Something that is wrong for some time.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    is_told: bool,
}

impl Watch {
    fn new(handle: Handle, files: Files, report: Report) -> Self {
        let Files {
            domains,
            store,
            trust,
        } = files;
        let (now, clock) = (SystemTime::now(), Instant::now());
        let mut watch = Self {
            domains,
            store,
            trust,
            is_trust_stale: false,
            choice_due: clock,
            troubles: BTreeMap::new(),
            stages: BTreeMap::new(),
            report,
            handle,
        };
        // What is wrong at the start was told as warnings of the configuration.
        watch.trust.look(Patience::None, now);
        let shown = watch.handle.certificates();
        let (_, problems) = watch.store.choose(&watch.domains, &shown, now);
        let mut texts = described(&problems, &shown, &shown);
        texts.extend(overdue(&watch.handle.trust(), now));
        let told = |text| {
            (
                text,
                Trouble {
                    since: clock,
                    is_told: true,
                },
            )
        };
        watch.troubles = texts.into_iter().map(told).collect();
        let stages = stages(&shown, now);
        watch.stages = stages.map(|(file, _, stage)| (file, stage)).collect();
        watch.account_for_problems();
        watch
    }

    /// Other files, of which as much was told as was told of those before.
    fn looking_at(self, files: Files) -> Self {
        let Self {
            mut troubles,
            mut stages,
            handle,
            report,
            ..
        } = self;
        let mut next = Self::new(handle, files, report);
        // What was wrong before and is not any more is told when it is looked at.
        troubles.append(&mut next.troubles);
        let is_new = |file: &PathBuf| !stages.contains_key(file);
        let new: Vec<_> = next
            .stages
            .iter()
            .filter(|(file, _)| is_new(file))
            .map(|(file, stage)| (file.clone(), *stage))
            .collect();
        stages.extend(new);
        Self {
            troubles,
            stages,
            ..next
        }
    }

    fn look(&mut self, is_asked: bool, now: SystemTime, clock: Instant) {
        let patience = if is_asked {
            Patience::None
        } else {
            Patience::UntilSettled
        };
        let files = self.store.look(patience, now);
        let trust_files = self.trust.look(patience, now);
        let is_due =
            is_asked || files || trust_files || self.is_trust_stale || clock >= self.choice_due;
        if !is_due && self.troubles.values().all(|trouble| trouble.is_told) {
            return;
        }
        self.choice_due = clock + CHOICE_INTERVAL;
        let before = self.handle.certificates();
        let (chosen, problems) = self.store.choose(&self.domains, &before, now);
        let mut texts = described(&problems, &chosen, &before);
        let mut trust = self.handle.trust();
        let mut is_trust_new = false;
        if is_asked || trust_files || self.is_trust_stale {
            match self.trust.load() {
                Ok(loaded) => {
                    is_trust_new = !loaded.are_same_as(&trust);
                    self.is_trust_stale = false;
                    trust = loaded;
                }
                Err(error) => {
                    self.is_trust_stale = true;
                    texts.push(format!("what was believed before still is: {error}"));
                }
            }
        }
        texts.extend(overdue(&trust, now));
        let replaced = chosen.differing_from(&before);
        if (replaced > 0 || is_trust_new || is_asked) && !self.replace(chosen, trust) {
            return;
        }
        if replaced > 0 {
            tracing::info!(
                domains = replaced,
                "certificates were replaced: new connections show the new ones"
            );
        }
        if is_trust_new {
            tracing::info!(
                "the files that say whom to trust were read again: new connections are judged by them"
            );
        }
        let is_changed = replaced > 0 || is_trust_new;
        let problems = texts.len();
        let failed = self.tell(texts, clock);
        self.report.with(|account| {
            account.replaced += u64::from(is_changed);
            account.failed += u64::from(failed || (is_asked && problems > 0));
            account.unchanged += u64::from(is_asked && !is_changed && problems == 0);
        });
        self.account_for_problems();
        if is_asked {
            tracing::info!(
                replaced,
                problems,
                "certificates, trust and revocation lists were read again, as a reload asks"
            );
        }
        self.tell_of_ends(now);
    }

    fn replace(&self, chosen: Certificates, trust: TrustRoots) -> bool {
        match self.handle.replace_tls(chosen, trust) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!("certificates could not be replaced: {error}");
                false
            }
        }
    }

    /// Tells of what is wrong once it lasts: between the two files of a renewal a moment passes. Says whether anything was
    /// told that was not before.
    fn tell(&mut self, texts: Vec<String>, clock: Instant) -> bool {
        let mut before = std::mem::take(&mut self.troubles);
        for text in texts {
            let trouble = before.remove(&text).unwrap_or(Trouble {
                since: clock,
                is_told: false,
            });
            self.troubles.insert(text, trouble);
        }
        let gone = before.iter().filter(|(_, trouble)| trouble.is_told);
        for (text, _) in gone.take(TOLD_AT_ONCE_MAX) {
            tracing::info!("no more: {text}");
        }
        let mut told = 0;
        for (text, trouble) in &mut self.troubles {
            if trouble.is_told || clock.duration_since(trouble.since) < GRACE {
                continue;
            }
            trouble.is_told = true;
            told += 1;
            if told <= TOLD_AT_ONCE_MAX {
                tracing::warn!("{text}");
            }
        }
        if told > TOLD_AT_ONCE_MAX {
            let more = told - TOLD_AT_ONCE_MAX;
            tracing::warn!(
                more,
                "so it is with more certificates; `verona status --json` lists them"
            );
        }
        told > 0
    }

    fn account_for_problems(&self) {
        let told = self.troubles.iter().filter(|(_, trouble)| trouble.is_told);
        let problems = told.map(|(text, _)| text.clone()).collect();
        self.report.with(|account| account.problems = problems);
    }

    /// Warns of certificates that end, at each stage once.
    fn tell_of_ends(&mut self, now: SystemTime) {
        let shown = self.handle.certificates();
        let mut said = BTreeMap::new();
        for (file, (domain, own), stage) in stages(&shown, now) {
            if said.contains_key(&file) {
                continue;
            }
            let before = self.stages.get(&file).copied().unwrap_or(Stage::Fine);
            if stage > before {
                let file = file.display();
                let text = expiry::ends(own, domain, now);
                match stage {
                    Stage::Fine | Stage::Soon | Stage::VerySoon => tracing::warn!(%file, "{text}"),
                    Stage::Expired => tracing::error!(%file, "{text}"),
                }
            }
            said.insert(file, stage);
        }
        self.stages = said;
    }
}

type Shown<'a> = (&'a Domain, &'a OwnCertificate);

/// The certificates that are shown, each with its file and its stage.
fn stages(
    shown: &Certificates,
    now: SystemTime,
) -> impl Iterator<Item = (PathBuf, Shown<'_>, Stage)> {
    shown.iter().map(move |(domain, own)| {
        let own = own.as_ref();
        (own.file().to_owned(), (domain, own), Stage::of(own, now))
    })
}

/// The problems as sentences, but for the end of what is shown, which is told in advance.
fn described(
    problems: &[CertificateProblem],
    chosen: &Certificates,
    before: &Certificates,
) -> Vec<String> {
    let is_end = |problem: &&CertificateProblem| {
        problem.is_shown && matches!(problem.kind, CertificateProblemKind::Expired(_))
    };
    let sentence = |problem: &CertificateProblem| {
        if problem.is_shown {
            return problem.to_string();
        }
        match (chosen.get(&problem.domain), before.get(&problem.domain)) {
            (Some(shown), Some(before)) if Arc::ptr_eq(shown, before) => {
                format!("the certificate before it is still shown: {problem}")
            }
            (Some(_), _) => format!("another certificate is shown: {problem}"),
            (None, _) => format!("no certificate can be shown: {problem}"),
        }
    };
    let told = problems.iter().filter(|problem| !is_end(problem));
    told.map(sentence).collect()
}

fn overdue(trust: &TrustRoots, now: SystemTime) -> impl Iterator<Item = String> {
    let lists = trust.revocations().overdue(now);
    lists.map(|(file, day)| expiry::overdue(file, &day))
}

/// More than that nobody has to say at once.
const ORDERS: usize = 4;
/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(2);
/// A look that took long is followed by a rest so many times as long: two per cent of one processor at the most.
const REST_FACTOR: u32 = 50;
const REST_MAX: Duration = Duration::from_secs(60);
/// A certificate that expires gives way to another within this time.
const CHOICE_INTERVAL: Duration = Duration::from_secs(60);
/// How long something may be wrong before it is told: longer than any renewal takes from its first file to its last.
const GRACE: Duration = Duration::from_secs(10);
/// A directory that vanishes takes every domain's certificate with it.
const TOLD_AT_ONCE_MAX: usize = 10;
