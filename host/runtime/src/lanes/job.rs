//! One piece of work for a lane: what to run, and what to do with what came of it.

use super::concurrency::{ConcurrencyLimit, Permit};
use super::lane::{Lane, LaneContext, Work};
use std::sync::Arc;
use std::time::Duration;

type Run = Box<dyn FnOnce(ReleaseOnDrop<'_>) + Send>;

/// Something to run on a lane.
pub(super) struct Job {
    pub task: Task,
    pub permit: Option<Permit>,
    pub concurrency: Option<Arc<ConcurrencyLimit>>,
}

/// What a job is made of.
pub(super) enum Task {
    /// One entry of a plugin's. With `clock`, its time runs from when its code begins.
    Code {
        work: Work,
        clock: Option<Duration>,
        run: Run,
    },
    /// Many checks, one after the other; each of them says when it begins.
    Checks(Box<dyn FnOnce(&LaneContext<'_>) + Send>),
}

/// Which jobs a lane takes first.
pub enum Priority {
    /// A step of the lifecycle: before all that waits, on a lane more than the limit if all are busy.
    Step,
    /// A check: before calls. The lane is lost by this time, which runs from when the code begins.
    Check(Duration),
    /// A call: in the order of submission, and only while its limit has room.
    Call(Option<Arc<ConcurrencyLimit>>),
}

/// Dropped between running a job and answering its caller: what the caller does next finds the lane free and the permit given back.
pub(super) struct ReleaseOnDrop<'a> {
    pub lane: &'a Lane,
    pub permit: Option<Permit>,
}

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.lane.set_available(true);
    }
}

impl Job {
    pub fn new<T>(
        work: Work,
        clock: Option<Duration>,
        concurrency: Option<Arc<ConcurrencyLimit>>,
        run: impl FnOnce() -> T + Send + 'static,
        answer: impl FnOnce(T) + Send + 'static,
    ) -> Self {
        let run = move |release: ReleaseOnDrop<'_>| {
            let value = run();
            drop(release);
            answer(value);
        };
        let run = Box::new(run);
        Job {
            task: Task::Code { work, clock, run },
            permit: None,
            concurrency,
        }
    }

    pub fn checks(run: impl FnOnce(&LaneContext<'_>) + Send + 'static) -> Self {
        Job {
            task: Task::Checks(Box::new(run)),
            permit: None,
            concurrency: None,
        }
    }
}
