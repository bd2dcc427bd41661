//! What instances say unasked, log records and health reports: it goes to the log and to whoever listens to events.

use super::calls::{CallRouter, Caller, InstanceCalls};
use super::events::Events;
use super::secrets::Secrets;
use crate::loader::{Listener, OutgoingRouter};
use extman_model::clock;
use extman_model::{Health, LogLevel, Progress, Report, What};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Most log records of one instance that are passed on in a second; the rest is counted.
const RECORDS_PER_SECOND: u64 = 100;

/// Listens to one generation of an instance.
pub(super) struct InstanceListener {
    name: Arc<str>,
    events: Events,
    /// The load of the library that the instance runs in.
    generation: u64,
    /// Redacted in what it says.
    secrets: Arc<Secrets>,
    second: AtomicU64,
    records: AtomicU64,
    dropped: AtomicU64,
    calls: Arc<dyn OutgoingRouter>,
}

impl InstanceListener {
    pub(super) fn new(
        caller: Caller,
        router: &Arc<dyn CallRouter>,
        events: Events,
        secrets: Arc<Secrets>,
    ) -> Self {
        InstanceListener {
            name: caller.name.clone(),
            events,
            generation: caller.generation,
            calls: Arc::new(InstanceCalls::new(caller, router.clone())),
            secrets,
            second: AtomicU64::new(0),
            records: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Whether there is room for one more record in this second.
    fn admit(&self) -> bool {
        let second = clock::monotonic().as_nanos() / 1_000_000_000;
        if self.second.swap(second, Relaxed) != second {
            self.records.store(0, Relaxed);
            let dropped = self.dropped.swap(0, Relaxed);
            if dropped > 0 {
                tracing::warn!(plugin = %self.name, dropped, "log records were dropped: more than {RECORDS_PER_SECOND} a second");
            }
        }
        let admitted = self.records.fetch_add(1, Relaxed) < RECORDS_PER_SECOND;
        if !admitted {
            self.dropped.fetch_add(1, Relaxed);
        }
        admitted
    }
}

impl Listener for InstanceListener {
    fn log(&self, level: LogLevel, target: &str, text: &str, fields: &str) {
        if !self.admit() {
            return;
        }
        let plugin = &*self.name;
        let [target, text, fields] = [target, text, fields].map(|part| self.secrets.redact(part));
        let [target, text, fields] = [&*target, &*text, &*fields];
        match level {
            LogLevel::Error => tracing::error!(target: "plugin", plugin, part = target, fields, "{text}"),
            LogLevel::Warn => tracing::warn!(target: "plugin", plugin, part = target, fields, "{text}"),
            LogLevel::Info => tracing::info!(target: "plugin", plugin, part = target, fields, "{text}"),
            LogLevel::Debug => tracing::debug!(target: "plugin", plugin, part = target, fields, "{text}"),
            LogLevel::Trace => tracing::trace!(target: "plugin", plugin, part = target, fields, "{text}"),
        }
        self.events.publish(What::Logged {
            name: plugin.to_owned(),
            level,
            target: target.to_owned(),
            text: text.to_owned(),
        });
    }

    fn keeps(&self, level: LogLevel) -> bool {
        match level {
            LogLevel::Error => tracing::enabled!(target: "plugin", tracing::Level::ERROR),
            LogLevel::Warn => tracing::enabled!(target: "plugin", tracing::Level::WARN),
            LogLevel::Info => tracing::enabled!(target: "plugin", tracing::Level::INFO),
            LogLevel::Debug => tracing::enabled!(target: "plugin", tracing::Level::DEBUG),
            LogLevel::Trace => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
        }
    }

    fn progress(&self, progress: Progress) {
        let Progress { done, total, text } = progress;
        let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
        self.log(
            LogLevel::Info,
            "progress",
            format!("{text} ({done}{of})").trim_start(),
            "",
        );
    }

    fn health(&self, report: Report) {
        let health = report.health.unwrap_or(Health::Unknown);
        self.events.pushed_health(&self.name, self.generation, health);
        self.events.publish(What::HealthPushed {
            name: self.name.to_string(),
            health,
            text: report.text.map(|text| self.secrets.redact(&text).into_owned()),
        });
    }

    fn calls(&self) -> Option<Arc<dyn OutgoingRouter>> {
        Some(self.calls.clone())
    }
}
