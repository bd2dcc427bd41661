//! Asking an instance how it is, on its library's own lanes.
//!
//! Whoever goes through many instances asks them one after the other, inline on a lane; a single check, a deep one for instance, is a job
//! of its own. Neither waits behind calls. The time of a check runs from when the plugin's code begins.

use super::{Inside, Instance};
use crate::instance::{Asked, CallMetrics};
use crate::lanes::{LaneContext, Phase, Pool, Priority};
use crate::loader::{CallContext, OutputLimits, Said};
use crate::pending_call::{DispatchError, PendingCall};
use crate::supervisor::Secrets;
use extman_model::clock::{self, Monotonic};
use extman_model::{CallError, CheckKind, CheckOutcome, ErrorKind, Figures};
use extman_plugin_api::manifest::schema::ThreadModel;
use std::hint::black_box;
use std::ops::Deref;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Duration;

/// What asking came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It answered in figures alone; `None` if it says nothing of itself.
    Figures(Option<Figures>),
    /// Whatever else.
    Other(Box<CheckOutcome>),
}

impl Answer {
    /// As it is told.
    pub fn outcome(self) -> CheckOutcome {
        match self {
            Answer::Figures(figures) => CheckOutcome::Answered {
                report: figures.map(|figures| figures.report()),
            },
            Answer::Other(outcome) => *outcome,
        }
    }

    /// Whether the plugin's code was entered and has come back.
    pub fn came_back(&self) -> bool {
        match self {
            Answer::Figures(_) => true,
            Answer::Other(outcome) => {
                matches!(
                    **outcome,
                    CheckOutcome::Answered { .. } | CheckOutcome::Failed { .. }
                )
            }
        }
    }

    #[inline]
    fn of(said: Result<Said, CallError>, secrets: &Secrets) -> Self {
        match said {
            Ok(Said::Figures(figures)) => Answer::Figures(Some(figures)),
            Ok(Said::Nothing) => Answer::Figures(None),
            Ok(Said::Report(report)) => Answer::Other(Box::new(CheckOutcome::Answered {
                report: Some(secrets.redact_report(*report)),
            })),
            Err(CallError { kind, text, .. }) => Answer::Other(Box::new(if kind == ErrorKind::NotServing {
                CheckOutcome::Busy
            } else {
                let text = secrets.redact(&text).into_owned();
                CheckOutcome::Failed { kind, text }
            })),
        }
    }
}

impl Instance {
    /// The lanes that it is asked on: those of its library, or its own one if everything must run on one thread.
    pub fn lanes(&self) -> &Pool {
        &self.pool
    }

    /// How long after its deadline a lane is given up in it.
    pub fn wedge_after(&self) -> Duration {
        self.settings.wedge_after()
    }

    /// Whether the plugin has a check of its own. Without one, all that a check can show is that the plugin is there.
    #[inline]
    pub fn has_check(&self) -> bool {
        self.plugin.has_check()
    }

    /// Whether calls may keep checks out at all: those of one that is entered once at a time.
    pub fn may_be_full(&self) -> bool {
        self.threads != ThreadModel::Many
    }

    /// Whether a call keeps checks out now.
    pub fn is_full(&self) -> bool {
        match self.threads {
            ThreadModel::Many => false,
            ThreadModel::Serial => self.concurrency.inside() >= self.concurrency.limit(),
            ThreadModel::Affine => {
                self.concurrency.inside() >= self.concurrency.limit() || !self.pool.has_room()
            }
        }
    }

    /// Fetches from memory what [`check_on`](Self::check_on) needs: with many instances waiting for it is most of what asking costs,
    /// and what several wait for comes at once.
    #[inline]
    pub fn warm(&self) {
        black_box((
            self.metrics.counts(),
            self.admit().is_ok(),
            self.settings.wedge_after(),
            self.metrics.checks.cheap.load(Relaxed),
        ));
        self.plugin.warm();
    }

    /// Asks it how it is, inline on one of its own lanes; `began` is now. `None` if that lane was lost in it.
    #[inline]
    pub fn check_on(
        &self,
        lane: &LaneContext<'_>,
        kind: CheckKind,
        timeout: Duration,
        began: Monotonic,
    ) -> Option<Asked> {
        let not_entered = |outcome| {
            Some(Asked {
                answer: Answer::Other(Box::new(outcome)),
                ended: clock::monotonic(),
            })
        };
        if self.admit().is_err() {
            return not_entered(CheckOutcome::NotBegun);
        }
        let permit = match self.threads {
            ThreadModel::Many => None,
            // There a check counts as a call; without room it is not asked rather than queued behind them.
            ThreadModel::Serial | ThreadModel::Affine => match self.concurrency.try_enter() {
                Some(permit) => Some(Inside::new(permit, &self.pool)),
                None => return not_entered(CheckOutcome::Busy),
            },
        };
        let deadline = began.after(timeout);
        let guard = match CheckGuard::claim(&*self.metrics, false, deadline.as_nanos()) {
            Ok(guard) => guard,
            // One before it is still inside, and its time is over: it has not answered.
            Err(AlreadyRunning { is_late: true }) => return not_entered(CheckOutcome::TimedOut),
            Err(AlreadyRunning { is_late: false }) => return not_entered(CheckOutcome::NotBegun),
        };
        let lost_at = deadline.after(self.settings.wedge_after());
        let asked = lane.run(began, lost_at, |context| {
            context.open(Some(deadline), None, OutputLimits::default());
            let said = self.plugin.check(context, kind);
            context.close();
            let ended = clock::monotonic();
            // A plugin that ends because its time is over says so by its status; it has not answered in time all the same.
            let gave_up = matches!(&said, Err(error) if matches!(error.kind, ErrorKind::Cancelled | ErrorKind::DeadlineExceeded));
            let answer = if gave_up && ended >= deadline {
                Answer::Other(Box::new(CheckOutcome::TimedOut))
            } else {
                Answer::of(said, &self.settings.secrets)
            };
            Asked { answer, ended }
        })?;
        drop((permit, guard));
        Some(asked)
    }

    /// Asks it how it is; the time that its code ran, if it came back. It waits for a lane no longer than for the answer.
    pub async fn check(&self, kind: CheckKind, timeout: Duration) -> (CheckOutcome, Option<Duration>) {
        if self.admit().is_err() || self.is_full() {
            return (CheckOutcome::Busy, None);
        }
        let place = match self.threads {
            ThreadModel::Many => None,
            ThreadModel::Serial | ThreadModel::Affine => Some((self.concurrency.clone(), self.pool.clone())),
        };
        let work = self.work(Phase::Check, timeout.saturating_mul(2));
        let is_deep = kind == CheckKind::Deep;
        let guard = match CheckGuard::claim(self.metrics.clone(), is_deep, NOT_BEGUN) {
            Ok(guard) => guard,
            Err(AlreadyRunning { is_late: true }) => return (CheckOutcome::TimedOut, None),
            Err(AlreadyRunning { is_late: false }) => return (CheckOutcome::Busy, None),
        };
        let (plugin, secrets) = (self.plugin.clone(), self.settings.secrets.clone());
        let pending = PendingCall::step(work.deadline);
        let run = move |context: CallContext| {
            let began = clock::monotonic();
            let deadline = began.after(timeout);
            // Held until the code has returned, however long ago its caller was answered.
            guard.begin(deadline);
            // Taken only here: a check that waits for a lane must not keep calls out meanwhile.
            let permit = match place {
                None => None,
                Some((concurrency, pool)) => Some(Inside::new(concurrency.try_enter()?, pool)),
            };
            context.set_deadline(deadline);
            let said = plugin.check(&context, kind);
            let took = clock::monotonic().since(began);
            drop((context, permit, guard));
            Some((Answer::of(said, &secrets), took))
        };
        match pending
            .dispatch(&self.pool, work, Priority::Check(timeout), run)
            .await
        {
            Ok(Some((_, took))) if took > timeout => (CheckOutcome::TimedOut, None),
            Ok(Some((answer, took))) => {
                let took = answer.came_back().then_some(took);
                (answer.outcome(), took)
            }
            Ok(None) => (CheckOutcome::Busy, None),
            Err(DispatchError::Deadline(_)) => (CheckOutcome::TimedOut, None),
            Err(_) => (CheckOutcome::NotBegun, None),
        }
    }
}

/// The checks of an instance that are under way, each as its deadline, or 0 if there is none. A deep one may last, as a call, while
/// others are asked and answered.
#[derive(Debug, Default)]
pub(in crate::instance) struct RunningChecks {
    cheap: AtomicU64,
    deep: AtomicU64,
}

impl RunningChecks {
    #[inline]
    fn word(&self, is_deep: bool) -> &AtomicU64 {
        if is_deep { &self.deep } else { &self.cheap }
    }
}

/// Stands for the deadline of a check that has not begun.
const NOT_BEGUN: u64 = u64::MAX;

/// The instance is in a check of this kind already.
struct AlreadyRunning {
    is_late: bool,
}

/// The right to check; giving it back is dropping it.
struct CheckGuard<A: Deref<Target = CallMetrics>> {
    metrics: A,
    is_deep: bool,
}

impl<A: Deref<Target = CallMetrics>> CheckGuard<A> {
    /// The right to a check until `deadline`; one that has not begun gets its deadline by [`begin`](Self::begin).
    fn claim(metrics: A, is_deep: bool, deadline: u64) -> Result<Self, AlreadyRunning> {
        let word = metrics.checks.word(is_deep);
        match word.compare_exchange(0, deadline, Acquire, Relaxed) {
            Ok(_) => Ok(CheckGuard { metrics, is_deep }),
            Err(deadline) => Err(AlreadyRunning {
                is_late: clock::monotonic().as_nanos() >= deadline,
            }),
        }
    }

    fn begin(&self, deadline: Monotonic) {
        let word = self.metrics.checks.word(self.is_deep);
        word.store(deadline.as_nanos(), Release);
    }
}

impl<A: Deref<Target = CallMetrics>> Drop for CheckGuard<A> {
    fn drop(&mut self) {
        self.metrics.checks.word(self.is_deep).store(0, Release);
    }
}
