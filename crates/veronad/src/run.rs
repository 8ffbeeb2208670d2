//! `verona run`: starts everything in order, waits for a signal, ends everything in order.
//!
//! Nothing is bound before the configuration is known to be right.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use verona::Engine;

use crate::admin::{Admin, CurrentToken, Listener, Order};
use crate::config::{self, AdminConfig, Loaded, Report, Settings, Severity};
use crate::json::{Drained, VERSION};
use crate::log::Level;
use crate::reload::{Fixed, Reloading};
use crate::renewal::{Files, Renewal};
use crate::state::{Keeper, Store};
use crate::{log, output};

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(file: &Path) -> ExitCode {
    let Loaded { settings, report } = config::load(file);
    let Some(settings) = settings else {
        output::complaint(&report.render(output::stderr_colours()));
        output::complaint(&config::summary(None, &report));
        return ExitCode::FAILURE;
    };
    let level = log::start(settings.log);
    tell(&report);
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the threads of the engine")
        .and_then(|runtime| {
            let ended = runtime.block_on(serve(file, settings, level));
            // A look-up in a thread of its own must not hold up the end.
            runtime.shutdown_background();
            ended
        });
    match ended {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(file: &Path, mut settings: Settings, level: Level) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("cannot wait for signals")?;
    let fixed = Fixed::of(&settings);
    let listener = bind(&settings.admin).await?;
    let store = Store::new(settings.state);
    settings.engine.learned = store.load();
    let domains = settings
        .engine
        .domains
        .iter()
        .map(|domain| domain.name.clone())
        .collect();
    let engine = Engine::start(settings.engine).await?;
    for address in engine.s2s_addresses() {
        tracing::info!(%address, "listening for servers");
    }
    for address in engine.component_addresses() {
        tracing::info!(%address, "listening for components");
    }
    let files = Files {
        domains,
        store: settings.store,
        trust: settings.trust,
    };
    let renewal = Renewal::start(engine.handle(), files);
    let token = CurrentToken::new(settings.admin.token);
    let report = renewal.report();
    let (handle, file) = (engine.handle(), file.to_owned());
    let mut reloading = Reloading::new(file, handle, renewal, token.clone(), level, fixed);
    let (orders, mut ordered) = mpsc::channel(ORDERS);
    let admin = Admin {
        handle: engine.handle(),
        renewal: report,
        reloads: reloading.count(),
        token,
        orders,
        since: SystemTime::now(),
    };
    let page = listener.map(|listener| {
        match listener.address() {
            Ok(address) => tracing::info!(%address, "listening for the command line and the API"),
            Err(error) => tracing::warn!(%error, "the address of the API is not known"),
        }
        tokio::spawn(listener.serve(admin.router()))
    });
    let keeper = Keeper::start(store, engine.handle());
    notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "verona is ready");

    let asked = until_the_end(&mut signals, &mut ordered, &mut reloading).await;
    // Nobody is answered any more but who waits for the end.
    drop(ordered);
    reloading.end();
    notify(&[NotifyState::Stopping, NotifyState::Status("draining")]);
    let limits = engine.handle().drain_seconds();
    tracing::info!(
        "draining: connections are closed once everything is written, within {limits} s"
    );
    let code = tokio::select! {
        drained = engine.shutdown() => {
            tracing::info!(
                delivered = drained.delivered,
                bounced = drained.bounced,
                dropped = drained.dropped,
                "stopped"
            );
            answer(asked, &drained).await;
            ExitCode::SUCCESS
        }
        () = signals.end() => {
            tracing::warn!("stopped at once by a second signal: what was queued is lost");
            ExitCode::FAILURE
        }
    };
    keeper.finish().await;
    if let Some(page) = page {
        page.abort();
        let _ = page.await;
    }
    Ok(code)
}

/// Whoever had the daemon end by the API, and waits for it.
type Asked = Option<oneshot::Sender<Drained>>;

/// Serves until a signal or somebody else wants the end, and takes over configurations meanwhile.
async fn until_the_end(
    signals: &mut Signals,
    ordered: &mut mpsc::Receiver<Order>,
    reloading: &mut Reloading,
) -> Asked {
    loop {
        let answer = tokio::select! {
            told = signals.next() => match told {
                Told::End => return None,
                Told::Reload => None,
            },
            Some(order) = ordered.recv() => match order {
                Order::Drain(answer) => {
                    tracing::info!("the end was asked for by the API");
                    return Some(answer);
                }
                Order::Reload(answer) => Some(answer),
            },
        };
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "systemd cannot be told the time"),
        }
        let outcome = reloading.reload().await;
        notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
        if let Some(answer) = answer {
            // Who asked may have gone.
            let _ = answer.send(outcome);
        }
    }
}

/// Tells whoever asked for the end, and waits until the answer is written.
async fn answer(asked: Asked, drained: &verona::Drained) {
    let Some(asked) = asked else { return };
    let document = Drained {
        version: VERSION,
        delivered: drained.delivered,
        bounced: drained.bounced,
        dropped: drained.dropped,
    };
    if asked.send(document).is_ok() {
        tokio::time::sleep(ANSWER_PATIENCE).await;
    }
}

/// Binds the API. Without it the daemon still federates: a default address that is taken is no reason to stay down.
async fn bind(config: &AdminConfig) -> anyhow::Result<Option<Listener>> {
    match Listener::bind(&config.listen).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if config.is_default => {
            tracing::warn!(address = %config.listen, %error, "no API: name a free address as `[admin] listen`");
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| {
            format!(
                "cannot listen on {} for the API (`[admin] listen`)",
                config.listen
            )
        }),
    }
}

/// Writes every problem of a configuration to the log.
pub(crate) fn tell(report: &Report) {
    for problem in report.problems() {
        let (file, line) = (&problem.file, problem.line);
        let suggestion = problem.suggestion.as_deref();
        match problem.severity {
            Severity::Error => tracing::error!(%file, line, suggestion, "{}", problem.message),
            Severity::Warning => tracing::warn!(%file, line, suggestion, "{}", problem.message),
        }
    }
}

/// Tells systemd, if it started us and wants to know.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

/// The signals that the daemon knows.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.hang_up.recv() => Told::Reload,
        }
    }

    /// Waits for SIGTERM or SIGINT while the daemon stops.
    async fn end(&mut self) {
        while self.next().await == Told::Reload {
            tracing::info!("SIGHUP changes nothing while the daemon stops");
        }
    }
}

/// What a signal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    End,
    Reload,
}

/// Of people and their tools; who comes later waits.
const ORDERS: usize = 4;
/// For a few bytes on a connection of this machine.
const ANSWER_PATIENCE: Duration = Duration::from_millis(200);
