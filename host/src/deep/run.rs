//! Makes deep checks: whoever is due is asked, one after the other. That it was begun is on the disk before the plugin is asked.

use super::state::PREFIX;
use super::{Inner, Refused};
use crate::probing::{Asked, Candidate};
use extman_model::clock::{self, nanos};
use extman_model::{CheckKind, CheckOutcome, CheckView, DeepResult, ErrorKind, Report};
use extman_runtime::lanes::stood_still;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Who is due and can't be asked is looked at again after this.
const HOLD_MS: u64 = 15_000;
/// The age is written down so often: over a reboot, no more of it is lost.
const CHECKPOINT_EVERY_MS: u64 = 300_000;
/// After this it is tried again whether the store can be used.
const RETRY: Duration = Duration::from_secs(30);
/// A plugin's words that are kept with a result, in bytes.
const TEXT_MAX: usize = 200;

/// Until nobody holds it any more.
pub(super) async fn run(inner: Weak<Inner>, wake: Arc<Notify>) {
    loop {
        let Some(strong) = inner.upgrade() else { return };
        let pause = strong.tick().await;
        drop(strong);
        let _ = tokio::time::timeout(pause, wake.notified()).await;
    }
}

impl Inner {
    /// Makes the check that is due, if any. Gives when to look again.
    async fn tick(self: &Arc<Self>) -> Duration {
        let at_most = Duration::from_millis(CHECKPOINT_EVERY_MS);
        if !self.state().targets.values().any(|target| target.policy.answered) {
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
        self.checkpoint();
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
            let mut state = self.state();
            let now_ms = state.now_ms(self.booted_ms()).unwrap_or(0);
            state.hold(&name, now_ms.saturating_add(HOLD_MS));
        }
        Duration::ZERO
    }

    /// Writes everything down where that is due, or where the store was lost.
    fn checkpoint(&self) {
        let (booted_ms, losses) = (self.booted_ms(), self.store.times_lost());
        let mut state = self.state();
        let now_ms = state.now_ms(booted_ms).unwrap_or(0);
        let passed_ms = now_ms.saturating_sub(state.checkpoint_ms);
        if losses != state.losses || passed_ms >= CHECKPOINT_EVERY_MS || state.checkpoint_ms == 0 {
            state.losses = losses;
            let values = state.all_values(booted_ms);
            self.store.note(values);
        }
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
        let (booted_ms, losses) = (self.booted_ms(), self.store.times_lost());
        let values = self.state().load(kept, &self.machine.boot, booted_ms, losses);
        self.store.note(values);
        Ok(())
    }

    /// Makes one, or says why not.
    pub(super) async fn make(self: &Arc<Self>, name: &Arc<str>, by_operator: bool) -> Result<(), Refused> {
        let not_kept = |why| Refused::NotKept(name.clone(), why);
        let timeout = self.state().target(name)?.policy.timeout;
        self.load().await.map_err(not_kept)?;
        let candidate = self.engine.candidate(name);
        let clock = (self.booted_ms(), self.store.times_lost());
        let (values, ended) = self.state().begin(name, candidate.as_ref(), by_operator, clock)?;
        let guard = CompletionGuard { inner: self, name };
        let store = self.store.clone();
        let kept = tokio::task::spawn_blocking(move || store.keep(values)).await;
        kept.unwrap_or_else(|error| Err(error.to_string()))
            .map_err(not_kept)?;
        let candidate = candidate.ok_or_else(|| Refused::NotRunning(name.clone()))?;
        let done = ask(&candidate, timeout, ended).await;
        guard.complete(done.ok_or_else(|| Refused::Stopped(name.clone()))?)
    }
}

/// What was asked and came of it.
struct Done {
    generation: u64,
    outcome: CheckOutcome,
    took: Option<Duration>,
    at_unix_ms: u64,
    host_late: bool,
}

/// `None` if the instance stops before it has answered.
async fn ask(candidate: &Candidate, timeout: Duration, mut ended: oneshot::Receiver<()>) -> Option<Done> {
    // One that stopped while the disk was waited for is not asked.
    if ended.try_recv() != Err(oneshot::error::TryRecvError::Empty) {
        return None;
    }
    let (began, at_unix_ms) = (clock::monotonic(), clock::unix_ms(clock::wall()));
    let (outcome, took) = tokio::select! {
        answer = candidate.target.clone().check_apart(CheckKind::Deep, timeout) => answer,
        _ = ended => return None,
    };
    Some(Done {
        generation: candidate.generation,
        outcome,
        took,
        at_unix_ms,
        host_late: !stood_still(began, clock::monotonic()).is_zero(),
    })
}

/// The next one may be made only when this one has ended, however it does.
struct CompletionGuard<'a> {
    inner: &'a Arc<Inner>,
    name: &'a Arc<str>,
}

impl CompletionGuard<'_> {
    fn complete(self, done: Done) -> Result<(), Refused> {
        let (took_ns, at_unix_ms) = (done.took.map(nanos), done.at_unix_ms);
        let asked = Asked { at_unix_ms, took_ns };
        let ended =
            self.inner
                .engine
                .deep_ended(self.name, done.generation, &done.outcome, asked, done.host_late);
        let ended = ended.ok_or_else(|| Refused::Stopped(self.name.clone()))?;
        let plugin = &**self.name;
        let words = in_words(&done.outcome);
        tracing::info!(plugin, counted = ended.counted, took_ns, "deep check: {words}");
        if is_unsupported(&done.outcome) {
            tracing::warn!(
                plugin,
                "it says that it answers no deep checks: none is made any more"
            );
        }
        let result = DeepResult {
            times: 1,
            last_unix_ms: None,
            check: CheckView {
                kind: CheckKind::Deep,
                at_unix_ms,
                outcome: shortened(done.outcome),
                took_ns,
            },
            counted: ended.counted,
        };
        let values = self.inner.state().end(self.name, result, ended.failed);
        self.inner.store.note(values);
        Ok(())
    }
}

impl Drop for CompletionGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        state.in_flight.take_if(|flight| flight.name == *self.name);
        drop(state);
        self.inner.wake.notify_one();
    }
}

pub(super) fn is_unsupported(outcome: &CheckOutcome) -> bool {
    matches!(
        outcome,
        CheckOutcome::Failed {
            kind: ErrorKind::Unsupported,
            ..
        }
    )
}

fn in_words(outcome: &CheckOutcome) -> String {
    match outcome {
        CheckOutcome::Answered { report } => {
            let health = report.as_ref().and_then(|report| report.health);
            health.map_or_else(|| "answered".to_owned(), |health| health.as_str().to_owned())
        }
        CheckOutcome::Busy => "not asked: it is busy".to_owned(),
        CheckOutcome::NotBegun => "not asked: no lane of the host's was free".to_owned(),
        CheckOutcome::TimedOut => "no answer in time".to_owned(),
        CheckOutcome::Failed { kind, text } => kind.before(text),
    }
}

/// What is kept of a result over restarts: the word, and the beginning of the plugin's text.
fn shortened(outcome: CheckOutcome) -> CheckOutcome {
    let short = |text: String| text[..text.floor_char_boundary(TEXT_MAX)].to_owned();
    match outcome {
        CheckOutcome::Answered { report } => CheckOutcome::Answered {
            report: report.map(|report| Report {
                health: report.health,
                text: report.text.map(short),
                ..Report::default()
            }),
        },
        CheckOutcome::Failed { kind, text } => CheckOutcome::Failed {
            kind,
            text: short(text),
        },
        other @ (CheckOutcome::Busy | CheckOutcome::NotBegun | CheckOutcome::TimedOut) => other,
    }
}
