//! `verona run`: starts everything in order, waits for a signal, ends everything in order.
//!
//! Nothing is bound before the configuration is known to be right.

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use verona::Engine;
use verona_proto::addr::Domain;

use crate::admin::{Admin, Listener};
use crate::config::{self, AdminConfig, Loaded, Report, Settings};
use crate::renewal::Renewal;
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
    log::start(settings.log);
    tell_warnings(&report);
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the threads of the engine")
        .and_then(|runtime| {
            let ended = runtime.block_on(serve(settings));
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

async fn serve(mut settings: Settings) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("cannot wait for signals")?;
    let domains: Vec<(Domain, bool)> = settings
        .engine
        .domains
        .iter()
        .map(|domain| (domain.name.clone(), domain.component.is_some()))
        .collect();
    let patience = settings.engine.policy.defaults.limits.drain_seconds;
    let listener = bind(&settings.admin).await?;
    let store = Store::new(settings.state);
    settings.engine.learned = store.load();
    let engine = Engine::start(settings.engine).await?;
    let s2s: Vec<String> = engine
        .s2s_addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    let components: Vec<String> = engine
        .component_addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    for address in &s2s {
        tracing::info!(%address, "listening for servers");
    }
    for address in &components {
        tracing::info!(%address, "listening for components");
    }
    let renewal = Renewal::start(
        engine.handle(),
        domains.iter().map(|(domain, _)| domain.clone()).collect(),
        settings.store,
        settings.trust,
    );
    let admin = Admin {
        handle: engine.handle(),
        renewal: renewal.report(),
        token: settings.admin.token,
        domains,
        s2s,
        components,
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

    signals.end(|| renewal.ask()).await;
    renewal.end();
    notify(&[NotifyState::Stopping, NotifyState::Status("draining")]);
    tracing::info!(
        "draining: connections are closed once everything is written, within {patience} s"
    );
    let code = tokio::select! {
        drained = engine.shutdown() => {
            tracing::info!(
                delivered = drained.delivered,
                bounced = drained.bounced,
                dropped = drained.dropped,
                "stopped"
            );
            ExitCode::SUCCESS
        }
        () = signals.end(|| tracing::info!("SIGHUP changes nothing while the daemon stops")) => {
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

fn tell_warnings(report: &Report) {
    for problem in report.problems() {
        tracing::warn!(
            file = %problem.file,
            line = problem.line,
            suggestion = problem.suggestion.as_deref(),
            "{}",
            problem.message
        );
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

    /// Waits for SIGTERM or SIGINT; SIGHUP does what it is told meanwhile.
    async fn end(&mut self, on_hang_up: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => on_hang_up(),
            }
        }
    }
}
