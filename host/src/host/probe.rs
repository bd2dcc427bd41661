//! Asking an instance now, for who waits for the answer: within a limit, whatever the plugin does.

use super::Host;
use crate::deep::Refused;
use extman_health::policy::Policy;
use extman_model::clock;
use extman_model::control::ControlError;
use extman_model::control::report::{PolicyView, ProbeEnd};
use extman_model::{CheckOutcome, CheckView, Event, Lifecycle, What};
use extman_runtime::registry::Entry;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// How long a result may take over the time that the check itself has: it is asked at once, and judged when its time is over.
const OVER: Duration = Duration::from_secs(2);

/// What became of waiting.
enum Waited<T> {
    Ended(T),
    Left(Lifecycle),
    NoResult(Duration),
}

impl Host {
    /// Has an instance asked how it is, now. Two who want that at once get the answer of one check.
    ///
    /// # Errors
    /// There is none of this name, it does not run or ceased to, or there is no result within its timeout and two seconds more.
    pub async fn check_now(&self, name: &str) -> Result<CheckView, ControlError> {
        match self.wait_for_check(name).await? {
            Waited::Ended(check) => Ok(check),
            Waited::Left(lifecycle) => Err(not_running(name, lifecycle)),
            Waited::NoResult(waited) => Err(ControlError::Failed(format!(
                "{name}: its check has no result after {} ms; `extman health {name}` has what is known",
                waited.as_millis()
            ))),
        }
    }

    /// Has a synthetic request made of an instance, now, on its budget.
    ///
    /// # Errors
    /// There is none of this name, it does not run, no deep checks are configured for it, or none may be made now; or there is no
    /// result within its timeout and two seconds more.
    pub async fn check_deep(&self, name: &str) -> Result<(), ControlError> {
        match self.probe_deep(name).await? {
            ProbeEnd::Ended => Ok(()),
            ProbeEnd::Left { lifecycle } => Err(not_running(name, lifecycle)),
            ProbeEnd::NoResult { waited_ms } => Err(ControlError::Failed(format!(
                "{name}: its deep check has no result after {waited_ms} ms; it goes on"
            ))),
        }
    }

    /// As [`check_now`](Self::check_now), for who wants what is known in any case.
    pub(super) async fn probe(&self, name: &str) -> Result<ProbeEnd, ControlError> {
        self.wait_for_check(name).await.map(Waited::into_end)
    }

    /// As [`check_deep`](Self::check_deep), for who wants what is known in any case.
    pub(super) async fn probe_deep(&self, name: &str) -> Result<ProbeEnd, ControlError> {
        let limit = self
            .policy_of(&*self.entry(name)?)
            .deep
            .map_or(OVER, |deep| deep.timeout + OVER);
        let (deep, asked) = (self.inner.deep.clone(), name.to_owned());
        // A request that was paid for goes on to its end, whoever waits for it.
        let made = tokio::spawn(async move { deep.make_now(&asked).await });
        match self.wait(name, limit, made).await {
            Waited::Ended(Ok(made)) => made.map(|()| ProbeEnd::Ended).map_err(refused),
            Waited::Ended(Err(error)) => Err(ControlError::Failed(format!("{name}: {error}"))),
            waited => Ok(waited.into_end()),
        }
    }

    async fn wait_for_check(&self, name: &str) -> Result<Waited<CheckView>, ControlError> {
        let entry = self.entry(name)?;
        let limit = self.policy_of(&entry).timeout.1 + OVER;
        let began = clock::monotonic();
        match self.wait(name, limit, self.engine().check_now(name)).await {
            Waited::Ended(Some(check)) if check.outcome == CheckOutcome::NotBegun => {
                Ok(Waited::NoResult(clock::monotonic().since(began)))
            }
            Waited::Ended(Some(check)) => Ok(Waited::Ended(check)),
            Waited::Ended(None) => Err(not_running(name, self.lifecycle_of(name))),
            Waited::Left(lifecycle) => Ok(Waited::Left(lifecycle)),
            Waited::NoResult(waited) => Ok(Waited::NoResult(waited)),
        }
    }

    /// Waits until it has ended, the instance does not run any more, or the time is over.
    async fn wait<T>(&self, name: &str, limit: Duration, asked: impl Future<Output = T>) -> Waited<T> {
        let mut events = self.events();
        let left = async {
            loop {
                match events.recv().await {
                    Ok(Event {
                        what: What::Moved { name: moved, to, .. },
                        ..
                    }) if moved == name && to != Lifecycle::Running => {
                        return to;
                    }
                    Err(RecvError::Lagged(_)) if self.lifecycle_of(name) != Lifecycle::Running => {
                        return self.lifecycle_of(name);
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Lifecycle::Stopped,
                }
            }
        };
        tokio::select! {
            biased;
            ended = asked => Waited::Ended(ended),
            lifecycle = left => Waited::Left(lifecycle),
            () = tokio::time::sleep(limit) => Waited::NoResult(limit),
        }
    }

    fn lifecycle_of(&self, name: &str) -> Lifecycle {
        self.snapshot()
            .get(name)
            .map_or(Lifecycle::Stopped, |entry| entry.lifecycle)
    }

    /// By which numbers an instance is asked and judged.
    pub(super) fn policy_of(&self, entry: &Entry) -> Policy {
        Policy::resolve(
            entry.config.probe,
            &entry.plugin.manifest().probe,
            self.inner.current().config.probe,
        )
    }

    /// The same, as it is told.
    pub(super) fn policy_view(&self, entry: &Entry) -> PolicyView {
        let policy = self.policy_of(entry);
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        PolicyView {
            interval_ms: ms(policy.interval),
            idle_interval_ms: ms(policy.idle_interval),
            timeout_min_ms: ms(policy.timeout.0),
            timeout_max_ms: ms(policy.timeout.1),
            fall: policy.fall,
            rise: policy.rise,
            stale_intervals: policy.stale_intervals,
            window_ms: ms(policy.calls.window),
            window_calls_min: policy.calls.calls_min,
            degraded_permille: policy.calls.degraded_permille,
            down_permille: policy.calls.down_permille,
            deep_every_ms: policy.deep.map(|deep| ms(deep.every)),
        }
    }
}

impl<T> Waited<T> {
    fn into_end(self) -> ProbeEnd {
        match self {
            Waited::Ended(_) => ProbeEnd::Ended,
            Waited::Left(lifecycle) => ProbeEnd::Left { lifecycle },
            Waited::NoResult(waited) => ProbeEnd::NoResult {
                waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            },
        }
    }
}

fn not_running(name: &str, lifecycle: Lifecycle) -> ControlError {
    ControlError::Conflict(format!(
        "{name} is {}, and only a running plugin can be asked how it is",
        lifecycle.as_str()
    ))
}

fn refused(refused: Refused) -> ControlError {
    let text = refused.to_string();
    match (refused.retry_after_ms(), &refused) {
        (Some(retry_after_ms), _) => ControlError::NotYet { text, retry_after_ms },
        (None, Refused::NotKept(..)) => ControlError::Unavailable(text),
        (None, _) => ControlError::Conflict(text),
    }
}
