//! One piece of work for a lane: what to run, and what to do with what came of it.

use super::gate::{Gate, Pass};
use super::lane::{Lane, Work};
use crate::loader::Slot;
use std::sync::Arc;

type Run = Box<dyn FnOnce(&Slot, Ending<'_>) + Send>;

/// Something to run on a lane.
pub(super) struct Job {
    pub work: Work,
    pub run: Run,
    pub pass: Option<Pass>,
    pub gate: Option<Arc<Gate>>,
}

/// Dropped between running a job and answering its caller: what the caller does next finds the lane and the gate free.
pub(super) struct Ending<'a> {
    pub lane: &'a Lane,
    pub pass: Option<Pass>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        drop(self.pass.take());
        self.lane.set_available(true);
    }
}

impl Job {
    pub fn new<T>(
        work: Work,
        gate: Option<Arc<Gate>>,
        run: impl FnOnce(&Slot) -> T + Send + 'static,
        answer: impl FnOnce(T) + Send + 'static,
    ) -> Self {
        let run = move |slot: &Slot, ending: Ending<'_>| {
            let value = run(slot);
            drop(ending);
            answer(value);
        };
        Job {
            work,
            run: Box::new(run),
            pass: None,
            gate,
        }
    }
}
