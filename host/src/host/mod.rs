//! The host as a library: build one, call capabilities, listen to events, shut it down.

mod answer_cache;
mod attempts;
mod build;
mod calls;
mod commands;
mod components;
mod configuration;
mod crashes;
mod dependents;
mod disabled;
mod error_hint;
mod event_log;
mod figures;
mod health;
mod history;
mod inputs;
mod maintenance;
mod mirrored;
mod nested;
mod probe;
mod process;
mod readiness;
mod recent;
mod report;
mod rollout;
mod tasks;

pub use build::{BuildError, HostBuilder};
pub use calls::TypedError;

use crate::deep::DeepChecks;
use crate::probing::Engine;
use extman_history::History;
use extman_intake::IntakeConfig;
use extman_model::{Event, LogLevel, MemoryBound, Verdict};
use extman_runtime::crash::{self, Crashes};
use extman_runtime::registry::{Registry, Snapshot};
use extman_runtime::supervisor::{Events, Request, Requests};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, broadcast, oneshot, watch};

/// A running host. Cheap to clone; it runs until [`Host::shutdown`] or until the async runtime ends.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let host = extman::Host::builder().dir("plugins").build().await?;
/// host.wait_ready().await;
/// let answer: serde_json::Value =
///     host.call("text.detect-language", &serde_json::json!({ "text": "Bonjour à tous" })).await?;
/// println!("{answer}");
/// for (plugin, verdict) in host.shutdown().await {
///     println!("{plugin}: {verdict}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    configuration: configuration::Configuration,
    /// In which directories it is looked for plugins, and how.
    intake: watch::Sender<IntakeConfig>,
    registry: Arc<Registry>,
    requests: Requests,
    events: Events,
    look: Arc<Notify>,
    ending: Arc<AtomicBool>,
    started_unix_ms: u64,
    vetting_memory: Option<MemoryBound>,
    warnings: Vec<String>,
    engine: Engine,
    deep: DeepChecks,
    history: Arc<History>,
    components: components::Components,
    process: process::ProcessChanges,
    event_log: Arc<event_log::EventLog>,
    inputs: inputs::InputSchemas,
    answers: answer_cache::AnswerCache,
    recent: Arc<recent::RecentCalls>,
    maintenances: Arc<maintenance::Maintenances>,
    publisher: Arc<maintenance::Publisher>,
    disabled: disabled::Disabled,
    reading: Arc<Semaphore>,
    crashes: Arc<Crashes>,
    crashes_not_noted: Option<String>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Where nobody has shut it down: its lanes must not go on without it.
        self.engine.shutdown();
    }
}

impl Host {
    /// A builder with every default.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// Which instances there are. Each of them is shown as it is when it is asked for.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.registry.snapshot()
    }

    /// Every event from here on. A listener that is slower than 4096 events misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.listen()
    }

    /// The level of the log that is configured, now and whenever it changes: for the program, whose log it is.
    pub fn log_level(&self) -> watch::Receiver<LogLevel> {
        self.inner.configuration.log_level()
    }

    /// Has the plugin directories looked at now, not only when the system reports a change.
    pub fn look_now(&self) {
        self.inner.look.notify_one();
    }

    /// Waits until the first look at all directories is done and every plugin found there has been started or refused; or until
    /// somebody shuts the host down.
    pub async fn wait_ready(&self) {
        let mut pause = Duration::from_millis(2);
        let ending = || self.inner.ending.load(std::sync::atomic::Ordering::Acquire);
        while !self.inner.registry.is_ready() && !ending() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Drains, stops and unloads everything, and says what became of each library. Ends within the configured budget; what was not
    /// done by then is not in the answer.
    pub async fn shutdown(&self) -> Vec<(String, Verdict)> {
        self.inner
            .ending
            .store(true, std::sync::atomic::Ordering::Release);
        self.inner.look.notify_one();
        let (reply, ended) = oneshot::channel();
        let budget = self.inner.current().config.shutdown_budget();
        if !self.inner.requests.make(Request::Shutdown(reply, budget)) {
            return Vec::new();
        }
        let verdicts = ended.await.unwrap_or_default();
        let (engine, history) = (self.engine().clone(), self.inner.history.clone());
        let ended = tokio::task::spawn_blocking(move || {
            engine.shutdown();
            if !history.close(Duration::from_secs(5)) {
                tracing::warn!("what was known last of the plugins could not be written down in time");
            }
        })
        .await;
        if let Err(error) = ended {
            tracing::warn!(%error, "what asks plugins how they are did not end as it should");
        }
        self.inner.event_log.close();
        if self.inner.crashes_not_noted.is_none() {
            crash::end();
        }
        verdicts
    }
}
