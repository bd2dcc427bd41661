//! Asking an instance how it is, on lanes that are not its calls'.

use super::InProcess;
use crate::lanes::{Pass, Phase, Pool};
use crate::loader::{OutputLimits, Slot};
use crate::ticket::{How, NoReturn, Ticket, on_lane};
use extman_model::clock::{self, Monotonic};
use extman_model::{CallError, CheckKind, CheckOutcome, ErrorKind, Report};
use extman_plugin_api::manifest::schema::ThreadModel;
use std::ops::Deref;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Duration;

impl InProcess {
    pub(in crate::instance) async fn check(
        &self,
        kind: CheckKind,
        timeout: Duration,
    ) -> (CheckOutcome, Option<Duration>) {
        // There a check counts as a call; without room it is not asked rather than queued behind them.
        let place = match self.threads {
            ThreadModel::Many => None,
            ThreadModel::Serial | ThreadModel::Affine => Some((self.gate.clone(), self.pool.clone())),
        };
        if self.admit().is_err()
            || place
                .as_ref()
                .is_some_and(|(gate, _)| gate.inside() >= gate.limit())
        {
            return (CheckOutcome::Busy, None);
        }
        let pool = match self.threads {
            ThreadModel::Affine if !self.pool.has_room() => return (CheckOutcome::Busy, None),
            ThreadModel::Affine => &self.pool,
            ThreadModel::Many | ThreadModel::Serial if kind == CheckKind::Deep => &self.module.shared().deep,
            ThreadModel::Many | ThreadModel::Serial => &self.module.shared().suspects,
        };
        let (bound, work) = (self.bound.clone(), self.work(Phase::Check, timeout));
        let deadline = work.deadline;
        let under_way = match kind {
            CheckKind::Deep => &self.deep,
            CheckKind::Liveness | CheckKind::Readiness => &self.check,
        };
        let alone = match CheckUnderWay::ask(under_way.clone()) {
            Ok(alone) => alone,
            Err(Late(true)) => return (CheckOutcome::TimedOut, None),
            Err(Late(false)) => return (CheckOutcome::Busy, None),
        };
        let run = move |slot: &Slot, ticket: &Ticket| {
            // Held until the code has returned, however long ago its caller was answered.
            alone.begin(deadline);
            // Taken only here: a check that waits for a shared lane must not keep calls out meanwhile.
            let pass = match place {
                None => None,
                Some((gate, pool)) => Some(OutsideLanes::new(gate.try_enter()?, pool)),
            };
            let token = slot.open(Some(deadline), None, OutputLimits::default());
            ticket.opened(token);
            let began = clock::monotonic();
            let answer = bound.check(slot, token, kind);
            let took = clock::monotonic().since(began);
            slot.close();
            drop((pass, alone));
            Some((answer, took))
        };
        let returned = on_lane(pool, work, How::Queued(None), run).await;
        let (outcome, took) = match returned {
            Ok(None) => return (CheckOutcome::Busy, None),
            Ok(Some((answer, took))) => match came_back(answer, took) {
                (CheckOutcome::Busy, _) => return (CheckOutcome::Busy, None),
                other => other,
            },
            Err(NoReturn::Deadline) => (CheckOutcome::TimedOut, None),
            // It was not asked, so nothing is known of it.
            Err(NoReturn::NotBegun | NoReturn::Refused(_) | NoReturn::Dropped) => {
                return (CheckOutcome::Busy, None);
            }
        };
        (outcome, took)
    }
}

/// What a check came to that has come back.
#[inline]
pub(super) fn came_back(
    answer: Result<Option<Report>, CallError>,
    took: Duration,
) -> (CheckOutcome, Option<Duration>) {
    match answer {
        Err(closed) if closed.kind == ErrorKind::NotServing => (CheckOutcome::Busy, None),
        Ok(report) => (CheckOutcome::Answered { report }, Some(took)),
        Err(CallError { kind, text, .. }) => (CheckOutcome::Failed { kind, text }, Some(took)),
    }
}

/// The check that an instance is asked for or is in: 0 if there is none, its deadline once it has begun.
#[derive(Debug, Default)]
pub(super) struct CheckUnderWay(AtomicU64);

const NOT_BEGUN: u64 = u64::MAX;

/// A check is under way; and whether it is past its deadline.
pub(super) struct Late(pub(super) bool);

/// The right to check; giving it back is dropping it.
pub(super) struct Alone<C: Deref<Target = CheckUnderWay>>(C);

impl CheckUnderWay {
    /// The right to a check that begins later.
    pub(super) fn ask<C: Deref<Target = CheckUnderWay>>(this: C) -> Result<Alone<C>, Late> {
        this.claim(NOT_BEGUN)?;
        Ok(Alone(this))
    }

    /// The right to a check that begins now.
    pub(super) fn begin(&self, deadline: Monotonic) -> Result<Alone<&Self>, Late> {
        self.claim(deadline.as_nanos())?;
        Ok(Alone(self))
    }

    fn claim(&self, state: u64) -> Result<(), Late> {
        match self.0.compare_exchange(0, state, Acquire, Relaxed) {
            Ok(_) => Ok(()),
            Err(deadline) => Err(Late(clock::monotonic().as_nanos() >= deadline)),
        }
    }
}

impl<C: Deref<Target = CheckUnderWay>> Alone<C> {
    pub(super) fn begin(&self, deadline: Monotonic) {
        self.0.0.store(deadline.as_nanos(), Release);
    }
}

impl<C: Deref<Target = CheckUnderWay>> Drop for Alone<C> {
    fn drop(&mut self) {
        self.0.0.store(0, Release);
    }
}

/// The place of a check that does not run on the instance's own lanes: when it is free again, they are told.
pub(super) struct OutsideLanes {
    pass: Option<Pass>,
    pool: Pool,
}

impl OutsideLanes {
    pub(super) fn new(pass: Pass, pool: Pool) -> Self {
        OutsideLanes {
            pass: Some(pass),
            pool,
        }
    }
}

impl Drop for OutsideLanes {
    fn drop(&mut self) {
        if self.pass.take().is_some_and(Pass::leave) {
            self.pool.nudge();
        }
    }
}
