//! The composition root: a host with its HTTP API and its log, from start to a clean end.

mod event_log;
mod last_resort;
mod lines;

use extman::config::{Config, ConfigSource};
use extman::control::Control;
use extman::process_guard::StderrLog;
use extman::{BuildError, Host, Interposition, exit_now, interposition};
use extman_cli::Logs;
use extman_http as http;
use extman_model::clock::monotonic;
use extman_model::vital::{Kind, deaths};
use extman_model::{LogLevel, UnfitFields};
use last_resort::LastResort;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Why the host did not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The host could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The address can't be listened on.
    #[error(
        "{address} can't be listened on: {error}; is another host running there? Name another address with --listen, such \
         as 127.0.0.1:0 for any free port"
    )]
    Listen {
        /// Which address.
        address: std::net::SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// The HTTP API can't be served as configured.
    #[error(transparent)]
    HttpConfig(#[from] UnfitFields),
    /// The HTTP API failed.
    #[error("{0}")]
    Http(std::io::Error),
    /// A thread that the host needs can't be made.
    #[error(
        "no thread can be made for the host: {0}; raise the limit of processes and threads (ulimit -u, TasksMax=)"
    )]
    NoThread(std::io::Error),
    /// Signals can't be waited for.
    #[error("signals can't be waited for: {0}")]
    Signals(std::io::Error),
}

impl AppError {
    /// Whether the configuration is what is wrong.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            AppError::HttpConfig(_) | AppError::Build(BuildError::Config(_))
        )
    }
}

/// What the log of this process lets through.
pub struct LogFilter(Box<dyn Fn(LogLevel) + Send + Sync>);

impl LogFilter {
    /// From here on it is this, unless `RUST_LOG` says what it is.
    fn set(&self, level: LogLevel) {
        if std::env::var_os("RUST_LOG").is_none() {
            (self.0)(level);
        }
    }

    /// Goes by the level that is configured, whenever that changes.
    async fn follow(self, mut level: tokio::sync::watch::Receiver<LogLevel>) {
        loop {
            self.set(*level.borrow_and_update());
            if level.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Sends the log to standard error. `RUST_LOG` sets what is logged; without it, what operators want to see is, until the configuration is known.
pub fn log_to_stderr(format: Logs) -> LogFilter {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none()
        && matches!(format, Logs::Human);
    // Nothing that the log can't write ends a thread of the host.
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(|| StderrLog)
        .map_writer(move |to| lines::OneLine::new(to, colours))
        .log_internal_errors(false);
    macro_rules! begin {
        ($builder:expr) => {{
            let builder = $builder.with_filter_reloading();
            let handle = builder.reload_handle();
            if let Err(error) = builder.try_init() {
                tracing::debug!(%error, "a log is set up already");
            }
            LogFilter(Box::new(move |level| {
                if let Err(error) = handle.reload(EnvFilter::new(level.as_str())) {
                    tracing::warn!(%error, "the level of the log can't be changed");
                }
            }))
        }};
    }
    match format {
        Logs::Human => begin!(builder.with_target(false).with_ansi(colours)),
        Logs::Json => begin!(builder.json().flatten_event(true)),
    }
}

/// A host that has served.
#[must_use = "dropping it takes away the watch over the end of the process"]
pub struct Served {
    /// Why it stopped by itself: the HTTP API failed. Nothing if a signal stopped it.
    pub failed: Option<std::io::Error>,
    last_resort: LastResort,
}

impl Served {
    /// For a program that ends now: should its end hang, as in a library's finaliser, the process is ended all the same when the
    /// time for stopping and two seconds more are over.
    pub fn watch_until_exit(self) {
        self.last_resort.stay_armed();
    }
}

/// Runs a host with its HTTP API until SIGTERM, SIGINT or SIGHUP, then drains and unloads everything within the configured time. `listening` is called with the address once the socket is bound.
///
/// Ends the process itself in two cases: with 143, 130 or 129 at a second signal, and with 0 after the first one (with 1 if the HTTP API
/// failed) if libraries are still in memory then, or hold up the end, since their finalisers might never return.
///
/// # Errors
/// The host can't be built or its address can't be listened on.
pub async fn serve(
    config: Config,
    source: ConfigSource,
    mut http_config: http::HttpConfig,
    log: LogFilter,
    listening: impl FnOnce(std::net::SocketAddr),
) -> Result<Served, AppError> {
    threads_can_be_made().await?;
    let address = http_config.listen;
    http_config.check(address)?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| AppError::Listen { address, error })?;
    let bound = listener.local_addr().map_err(AppError::Http)?;
    let mut signals = Signals::new().map_err(AppError::Signals)?;
    if let Interposition::Missing(symbol) = interposition() {
        tracing::warn!(
            symbol,
            "the host can't see its plugins' threads: libraries are kept, not unloaded"
        );
    }
    let (grace, budget) = (http_config.shutdown_ms, config.shutdown.budget_ms);
    let last_resort = LastResort::start(Duration::from_millis(budget)).map_err(AppError::NoThread)?;
    // Who waits for a call gets its answer as long as calls are waited for.
    http_config.shutdown_ms = grace.max(budget);
    let (host, events) = Host::builder()
        .config(config)
        .rereads_config(source)
        .note_crashes()
        .build_and_listen()
        .await?;
    tokio::spawn(log.follow(host.log_level()));
    let written = Arc::new(tokio::sync::Notify::new());
    let log = tokio::spawn(event_log::write(events, written.clone()));
    let stopping = Arc::new(tokio::sync::Notify::new());
    let until = stopping.clone();
    let control: Arc<dyn Control> = Arc::new(host.clone());
    let mut server: Server = tokio::spawn(http::serve(listener, control, http_config, async move {
        until.notified().await;
    }));
    listening(bound);
    tracing::info!("listening on http://{bound}");
    let ended_early = until_stopped(&mut signals, &mut server).await;
    let failed = ended_early.as_ref().and_then(failure);
    if let Some(error) = &failed {
        tracing::error!(%error, "the host can't go on: draining and unloading");
    }
    stopping.notify_one();
    last_resort.arm(i32::from(failed.is_some()));
    tokio::spawn(end_at_the_next(signals));
    let ended = stop(
        &host,
        server,
        ended_early,
        [grace, budget].map(Duration::from_millis),
    )
    .await;
    written.notify_one();
    let _ = log.await;
    if !host.snapshot().is_empty() || !host.status().resident.is_empty() {
        tracing::info!("ending without the finalisers of libraries that are still in memory");
        exit_now(i32::from(failure(&ended).is_some()));
    }
    Ok(Served {
        failed: failure(&ended),
        last_resort,
    })
}

/// Makes the first of the threads that may wait. Where none can be made, the async runtime waits for one to become free, for ever.
async fn threads_can_be_made() -> Result<(), AppError> {
    let first = tokio::time::timeout(FIRST_THREAD, tokio::task::spawn_blocking(|| ()));
    let none = |_| AppError::NoThread(std::io::Error::other("none has begun in time"));
    first.await.map(drop).map_err(none)
}

/// Waits for a signal, which is `None`, or for the end of something that the host can't go on without.
async fn until_stopped(signals: &mut Signals, server: &mut Server) -> Option<Ended> {
    tokio::select! {
        (name, _) = signals.next() => {
            tracing::info!("{name}: draining and unloading; once more to end at once");
            None
        }
        ended = server => Some(ended),
        name = essential_death() => {
            let text = format!("{name} died of a fault in the host, and nothing goes on without it");
            Some(Ok(Err(std::io::Error::other(text))))
        }
    }
}

async fn end_at_the_next(mut signals: Signals) {
    let (name, code) = signals.next().await;
    tracing::warn!("{name} again: ending at once");
    exit_now(code);
}

/// Drains and unloads everything, then lets open requests end within what is left of the time.
async fn stop(
    host: &Host,
    mut server: Server,
    ended_early: Option<Ended>,
    [grace, budget]: [Duration; 2],
) -> Ended {
    let until = monotonic().after(budget);
    host.shutdown().await;
    let left = host.snapshot().len();
    if left > 0 {
        tracing::warn!(
            left,
            "the time for stopping is over; these instances are left as they are"
        );
    }
    if let Some(ended) = ended_early {
        return ended;
    }
    let rest = until.since(monotonic()).max(ANSWERS_WRITTEN);
    match tokio::time::timeout(rest.min(grace), &mut server).await {
        Ok(ended) => ended,
        Err(_) => {
            tracing::warn!("dropped requests that were still open");
            server.abort();
            Ok(Ok(()))
        }
    }
}

type Server = tokio::task::JoinHandle<std::io::Result<()>>;
type Ended = Result<std::io::Result<()>, tokio::task::JoinError>;

fn failure(ended: &Ended) -> Option<std::io::Error> {
    match ended {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(std::io::Error::new(error.kind(), error.to_string())),
        Err(error) => Some(std::io::Error::other(error.to_string())),
    }
}

/// How long the first thread is waited for.
const FIRST_THREAD: Duration = Duration::from_secs(10);

/// Time in which answers that are there are written, whatever is left of the time for stopping.
const ANSWERS_WRITTEN: Duration = Duration::from_millis(250);

/// The signals that end the host.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next one's name, and the exit code of a process that it ends.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", 128 + 15),
            _ = self.interrupt.recv() => ("SIGINT", 128 + 2),
            _ = self.hang_up.recv() => ("SIGHUP", 128 + 1),
        }
    }
}

/// Comes back when something has died without which nothing goes on, and says what.
async fn essential_death() -> &'static str {
    loop {
        let death = deaths().into_iter().find(|death| death.kind == Kind::Essential);
        if let Some(death) = death {
            return death.name;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Starts a host without HTTP and waits until every plugin has been started or refused.
///
/// # Errors
/// The host can't be built.
pub async fn start(mut config: Config) -> Result<Host, AppError> {
    // A host of one command has no history worth keeping, and another host may be writing to the file.
    config.history.enabled = false;
    let host = Host::builder().config(config).build().await?;
    host.wait_ready().await;
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::vital::Vital;

    #[test]
    fn death_of_what_nothing_goes_on_without_is_heard_by_its_name() {
        let dies = std::thread::spawn(|| {
            let _part = Vital::part("a part");
            let _vital = Vital::essential("the supervisor of a test");
            panic!("as told");
        });
        assert!(dies.join().is_err());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let name = runtime.expect("a runtime").block_on(essential_death());
        assert_eq!(name, "the supervisor of a test");
    }
}
