//! Asking an instance how it is, on its library's own lanes.
//!
//! Whoever goes through many instances asks them one after the other, inline on a lane; a single check, a deep one for instance, is a job
//! of its own. Neither waits behind calls. The time of a check runs from when the plugin's code begins.

use super::InProcess;
use crate::instance::{Accounts, Asked};
use crate::lanes::{LaneContext, Permit, Phase, Pool};
use crate::loader::{CallContext, OutputLimits, Said};
use crate::pending_call::{DispatchError, How, PendingCall};
use extman_model::clock::{self, Monotonic};
use extman_model::{CallError, CheckKind, CheckOutcome, ErrorKind, Figures};
use extman_plugin_api::manifest::schema::ThreadModel;
use std::hint::black_box;
use std::ops::Deref;
use std::sync::Arc;
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
    fn of(said: Result<Said, CallError>) -> Self {
        match said {
            Ok(Said::Figures(figures)) => Answer::Figures(Some(figures)),
            Ok(Said::Nothing) => Answer::Figures(None),
            Ok(Said::Report(report)) => Answer::Other(Box::new(CheckOutcome::Answered {
                report: Some(*report),
            })),
            Err(CallError { kind, text, .. }) => Answer::Other(Box::new(if kind == ErrorKind::NotServing {
                CheckOutcome::Busy
            } else {
                CheckOutcome::Failed { kind, text }
            })),
        }
    }
}

impl InProcess {
    /// The lanes that it is asked on.
    pub(in crate::instance) fn lanes(&self) -> &Pool {
        &self.pool
    }

    /// How long after its deadline a lane is given up in it.
    pub(in crate::instance) fn wedge_after(&self) -> Duration {
        self.settings.wedge_after
    }

    /// Whether the plugin has a check of its own. Without one, all that a check can show is that the plugin is there.
    #[inline]
    pub(in crate::instance) fn has_check(&self) -> bool {
        self.plugin.has_check()
    }

    /// Whether calls may keep checks out at all.
    pub(in crate::instance) fn may_be_full(&self) -> bool {
        self.threads != ThreadModel::Many
    }

    /// Whether a call keeps checks out now: of one that is entered once at a time, a check counts as a call.
    pub(in crate::instance) fn is_full(&self) -> bool {
        match self.threads {
            ThreadModel::Many => false,
            ThreadModel::Serial => self.concurrency.inside() >= self.concurrency.limit(),
            ThreadModel::Affine => {
                self.concurrency.inside() >= self.concurrency.limit() || !self.pool.has_room()
            }
        }
    }

    /// Reads what asking reads.
    #[inline]
    pub(in crate::instance) fn warm(&self) {
        black_box((
            self.admit().is_ok(),
            self.settings.wedge_after,
            self.accounts.checks.cheap.0.load(Relaxed),
            self.plugin.has_check(),
            self.plugin.inside(),
        ));
    }

    /// Asks inline, on a lane of its own library's. `None` if that was lost meanwhile.
    pub(in crate::instance) fn check_on(
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
                Some(permit) => Some(PlaceInside::new(permit, self.pool.clone())),
                None => return not_entered(CheckOutcome::Busy),
            },
        };
        let deadline = began.after(timeout);
        let checks = CheapCheck(&self.accounts);
        let alone = match CheckUnderWay::begin(checks, deadline) {
            Ok(alone) => alone,
            // One before it is still inside, and its time is over: it has not answered.
            Err(Late(true)) => return not_entered(CheckOutcome::TimedOut),
            Err(Late(false)) => return not_entered(CheckOutcome::NotBegun),
        };
        let lost_at = deadline.after(self.settings.wedge_after);
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
                Answer::of(said)
            };
            Asked { answer, ended }
        })?;
        drop((permit, alone));
        Some(asked)
    }

    /// Asks on a lane of its own library's, and waits for the answer: for a lane as long as for the answer itself.
    pub(in crate::instance) async fn check(
        &self,
        kind: CheckKind,
        timeout: Duration,
    ) -> (CheckOutcome, Option<Duration>) {
        if self.admit().is_err() || self.is_full() {
            return (CheckOutcome::Busy, None);
        }
        let place = match self.threads {
            ThreadModel::Many => None,
            ThreadModel::Serial | ThreadModel::Affine => Some((self.concurrency.clone(), self.pool.clone())),
        };
        let work = self.work(Phase::Check, timeout.saturating_mul(2));
        let under_way = UnderWay {
            accounts: self.accounts.clone(),
            is_deep: kind == CheckKind::Deep,
        };
        let alone = match CheckUnderWay::ask(under_way) {
            Ok(alone) => alone,
            Err(Late(true)) => return (CheckOutcome::TimedOut, None),
            Err(Late(false)) => return (CheckOutcome::Busy, None),
        };
        let plugin = self.plugin.clone();
        let pending = PendingCall::step(work.deadline);
        let run = move |context: CallContext| {
            let began = clock::monotonic();
            let deadline = began.after(timeout);
            // Held until the code has returned, however long ago its caller was answered.
            alone.begin(deadline);
            // Taken only here: a check that waits for a lane must not keep calls out meanwhile.
            let permit = match place {
                None => None,
                Some((concurrency, pool)) => Some(PlaceInside::new(concurrency.try_enter()?, pool)),
            };
            context.set_deadline(deadline);
            let said = plugin.check(&context, kind);
            let took = clock::monotonic().since(began);
            drop((context, permit, alone));
            Some((Answer::of(said), took))
        };
        match pending.dispatch(&self.pool, work, How::Check(timeout), run).await {
            Ok(Some((_, took))) if took > timeout => (CheckOutcome::TimedOut, None),
            Ok(Some((answer, took))) => {
                let took = answer.came_back().then_some(took);
                (answer.outcome(), took)
            }
            Ok(None) => (CheckOutcome::Busy, None),
            Err(DispatchError::Deadline) => (CheckOutcome::TimedOut, None),
            Err(_) => (CheckOutcome::NotBegun, None),
        }
    }
}

/// The checks of an instance that are under way: a deep one may last, as a call, while others are asked and answered.
#[derive(Debug, Default)]
pub(in crate::instance) struct ChecksUnderWay {
    cheap: CheckUnderWay,
    deep: CheckUnderWay,
}

/// One of an instance's, from its lane.
struct CheapCheck<'a>(&'a Accounts);

impl Deref for CheapCheck<'_> {
    type Target = CheckUnderWay;

    fn deref(&self) -> &CheckUnderWay {
        &self.0.checks.cheap
    }
}

/// One of an instance's, held by whoever asks and by the lane.
struct UnderWay {
    accounts: Arc<Accounts>,
    is_deep: bool,
}

impl Deref for UnderWay {
    type Target = CheckUnderWay;

    fn deref(&self) -> &CheckUnderWay {
        let checks = &self.accounts.checks;
        if self.is_deep { &checks.deep } else { &checks.cheap }
    }
}

/// The check that an instance is asked for or is in: 0 if there is none, its deadline once it has begun.
#[derive(Debug, Default)]
struct CheckUnderWay(AtomicU64);

const NOT_BEGUN: u64 = u64::MAX;

/// A check is under way; and whether it is past its deadline.
struct Late(bool);

/// The right to check; giving it back is dropping it.
struct Alone<C: Deref<Target = CheckUnderWay>>(C);

impl CheckUnderWay {
    /// The right to a check that begins later.
    fn ask<C: Deref<Target = CheckUnderWay>>(this: C) -> Result<Alone<C>, Late> {
        this.claim(NOT_BEGUN)?;
        Ok(Alone(this))
    }

    /// The right to a check that begins now.
    fn begin<C: Deref<Target = CheckUnderWay>>(this: C, deadline: Monotonic) -> Result<Alone<C>, Late> {
        this.claim(deadline.as_nanos())?;
        Ok(Alone(this))
    }

    fn claim(&self, state: u64) -> Result<(), Late> {
        match self.0.compare_exchange(0, state, Acquire, Relaxed) {
            Ok(_) => Ok(()),
            Err(deadline) => Err(Late(clock::monotonic().as_nanos() >= deadline)),
        }
    }
}

impl<C: Deref<Target = CheckUnderWay>> Alone<C> {
    fn begin(&self, deadline: Monotonic) {
        self.0.0.store(deadline.as_nanos(), Release);
    }
}

impl<C: Deref<Target = CheckUnderWay>> Drop for Alone<C> {
    fn drop(&mut self) {
        self.0.0.store(0, Release);
    }
}

/// The place of a check inside an instance that is entered once at a time: when it is free again, the lanes are told.
struct PlaceInside {
    permit: Option<Permit>,
    pool: Pool,
}

impl PlaceInside {
    fn new(permit: Permit, pool: Pool) -> Self {
        PlaceInside {
            permit: Some(permit),
            pool,
        }
    }
}

impl Drop for PlaceInside {
    fn drop(&mut self) {
        if self.permit.take().is_some_and(Permit::leave) {
            self.pool.nudge();
        }
    }
}
