//! Being asked by a lane that comes round, inline.

use super::{InProcess, check};
use crate::instance::Asked;
use crate::lanes::{Phase, Station, Work};
use crate::loader::OutputLimits;
use extman_model::clock::{self, Monotonic};
use extman_model::{CheckKind, CheckOutcome};
use extman_plugin_api::manifest::schema::ThreadModel;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

impl InProcess {
    /// Whether it may be asked on any lane.
    pub(in crate::instance) fn is_asked_anywhere(&self) -> bool {
        self.threads != ThreadModel::Affine
    }

    /// Whether the plugin has a check of its own. Without one, all that a check can show is that the plugin is there.
    pub(in crate::instance) fn has_check(&self) -> bool {
        self.bound.has_check()
    }

    /// Reads what asking reads.
    #[inline]
    pub(in crate::instance) fn warm(&self) {
        black_box((
            self.admit().is_ok(),
            self.settings.wedge_after,
            Arc::strong_count(&self.name),
            Arc::strong_count(&self.check),
            self.bound.has_check(),
            self.bound.inside(),
        ));
    }

    /// Asks on the lane of `station`. `None` if that was lost meanwhile.
    pub(in crate::instance) fn check_on(
        &self,
        station: &Station<'_>,
        kind: CheckKind,
        timeout: Duration,
        began: Monotonic,
    ) -> Option<Asked> {
        let busy = || {
            Some(Asked {
                outcome: CheckOutcome::Busy,
                took: None,
                ended: clock::monotonic(),
            })
        };
        if self.admit().is_err() || !self.is_asked_anywhere() {
            return busy();
        }
        let pass = match self.threads {
            ThreadModel::Many => None,
            // There a check counts as a call; without room it is not asked rather than queued behind them.
            ThreadModel::Serial | ThreadModel::Affine => match self.gate.try_enter() {
                Some(pass) => Some(check::OutsideLanes::new(pass, self.pool.clone())),
                None => return busy(),
            },
        };
        let deadline = began.after(timeout);
        let Ok(alone) = self.check.begin(deadline) else {
            return busy();
        };
        let work = Work {
            subject: self.name.clone(),
            generation: self.module.generation(),
            phase: Phase::Check,
            deadline,
            wedge_after: self.settings.wedge_after,
        };
        let (answer, ended) = station.run(work, began, |slot| {
            let token = slot.open(Some(deadline), None, OutputLimits::default());
            let answer = self.bound.check(slot, token, kind);
            slot.close();
            (answer, clock::monotonic())
        })?;
        drop((pass, alone));
        let (outcome, took) = check::came_back(answer, ended.since(began));
        Some(Asked { outcome, took, ended })
    }
}
