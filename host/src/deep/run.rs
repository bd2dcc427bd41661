//! Makes deep checks: whoever is due is asked, one after the other. That it was begun is on the disk before the plugin is asked.

use super::state::PREFIX;
use super::{Inner, Refused};
use crate::probing::{Asked, Candidate};
use extman_model::clock::{self, nanos};
use extman_model::{CheckKind, CheckOutcome, CheckView, DeepResult, ErrorKind};
use extman_runtime::lanes::stood_still;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Who is due and can't be asked is looked at again after this.
const HOLD_MS: u64 = 15_000;
/// All is written down so often: over a reboot or the loss of the store, no more is lost.
const CHECKPOINT_EVERY_MS: u64 = 300_000;
/// After this it is tried again whether the store can be used.
const RETRY: Duration = Duration::from_secs(30);

/// Until nobody holds it any more.
pub(super) async fn run(inner: Weak<Inner>, wake: Arc<Notify>) {
    let mut checkpoint_ms = 0;
    loop {
        let Some(strong) = inner.upgrade() else { return };
        let booted_ms = strong.booted_ms();
        if booted_ms.saturating_sub(checkpoint_ms) >= CHECKPOINT_EVERY_MS {
            checkpoint_ms = booted_ms;
            let values = strong.state().values(booted_ms, |_| true);
            strong.store.note(values);
        }
        let pause = strong.tick().await;
        drop(strong);
        let _ = tokio::time::timeout(pause, wake.notified()).await;
    }
}

impl Inner {
    /// Makes the check that is due, if any. Gives when to look again.
    async fn tick(self: &Arc<Self>) -> Duration {
        let at_most = Duration::from_millis(CHECKPOINT_EVERY_MS);
        if !self.state().is_any_wanted() {
            return at_most;
        }
        let trouble = self.load().await.err();
        let before = std::mem::replace(&mut self.state().trouble, trouble.clone());
        if let Some(why) = trouble {
            if before.as_ref() != Some(&why) {
                tracing::warn!("deep checks are configured, and none is made: {why}");
            }
            return RETRY;
        }
        let (next, now_ms) = {
            let state = self.state();
            (state.next_due(), state.now_ms(self.booted_ms()).unwrap_or(0))
        };
        let Some((due_ms, name)) = next else {
            return at_most;
        };
        if due_ms > now_ms {
            return Duration::from_millis(due_ms - now_ms).min(at_most);
        }
        if let Err(refused) = self.make(&name, false).await {
            tracing::debug!(plugin = &*name, "no deep check is made now: {refused}");
            if let Some(target) = self.state().targets.get_mut(&name) {
                target.hold_until_ms = now_ms.saturating_add(HOLD_MS);
            }
        }
        Duration::ZERO
    }

    /// Reads what was used, once; and fails as long as nothing can be kept.
    async fn load(self: &Arc<Self>) -> Result<(), String> {
        self.store.ready()?;
        let _one = self.loading.lock().await;
        if self.state().is_loaded() {
            return Ok(());
        }
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || store.read(PREFIX)).await;
        let kept = read.map_err(|error| error.to_string())??;
        let is_lost = self.store.times_lost() > 0;
        let values = self
            .state()
            .load(kept, &self.machine.boot, self.booted_ms(), is_lost);
        self.store.note(values);
        Ok(())
    }

    /// Makes one, or says why not.
    pub(super) async fn make(self: &Arc<Self>, name: &Arc<str>, by_operator: bool) -> Result<(), Refused> {
        let not_kept = |why| Refused::NotKept(name.clone(), why);
        let timeout = self.state().policy(name)?.timeout;
        self.load().await.map_err(not_kept)?;
        let candidate = self.engine.candidate(name);
        let candidate = candidate.ok_or_else(|| Refused::NotRunning(name.clone()))?;
        let (values, ended) = self
            .state()
            .begin(name, &candidate, by_operator, self.booted_ms())?;
        let _guard = CompletionGuard(self);
        let store = self.store.clone();
        let kept = tokio::task::spawn_blocking(move || store.keep(values)).await;
        kept.unwrap_or_else(|error| Err(error.to_string()))
            .map_err(not_kept)?;
        let answered = self.ask(name, &candidate, timeout, ended).await;
        answered.ok_or_else(|| Refused::Stopped(name.clone()))
    }

    /// Asks the plugin, and has the engine and the usage log know what came of it. `None` if the instance stops before it has answered.
    async fn ask(
        &self,
        name: &Arc<str>,
        candidate: &Candidate,
        timeout: Duration,
        mut ended: oneshot::Receiver<()>,
    ) -> Option<()> {
        // One that stopped while the disk was waited for is not asked.
        if ended.try_recv() != Err(oneshot::error::TryRecvError::Empty) {
            return None;
        }
        let (began, at_unix_ms) = (clock::monotonic(), clock::unix_ms(clock::wall()));
        let (outcome, took) = tokio::select! {
            answer = candidate.target.clone().check_apart(CheckKind::Deep, timeout) => answer,
            _ = ended => return None,
        };
        let took_ns = took.map(nanos);
        let asked = Asked { at_unix_ms, took_ns };
        let host_late = !stood_still(began, clock::monotonic()).is_zero();
        let generation = candidate.generation;
        let verdict = self
            .engine
            .deep_ended(name, generation, &outcome, asked, host_late)?;
        let (plugin, counted) = (&**name, verdict.counted);
        tracing::info!(
            plugin,
            counted,
            took_ns,
            text = outcome.text(),
            "deep check: {}",
            outcome.word()
        );
        let mut state = self.state();
        let target = state.targets.get_mut(name)?;
        target.failed = verdict.failed;
        target.is_unsupported = matches!(
            &outcome,
            CheckOutcome::Failed {
                kind: ErrorKind::Unsupported,
                ..
            }
        );
        if let Some(log) = &mut target.log {
            log.last = Some(DeepResult {
                times: 1,
                last_unix_ms: None,
                check: CheckView {
                    kind: CheckKind::Deep,
                    at_unix_ms,
                    outcome,
                    took_ns,
                },
                counted,
            });
        }
        let values = state.values(self.booted_ms(), |other| other == name);
        drop(state);
        self.store.note(values);
        Some(())
    }
}

/// The next one may be made only when this one has ended, however it does.
struct CompletionGuard<'a>(&'a Inner);

impl Drop for CompletionGuard<'_> {
    fn drop(&mut self) {
        self.0.state().in_flight = None;
        self.0.wake.notify_one();
    }
}
