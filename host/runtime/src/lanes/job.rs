//! One piece of work for a lane.

use super::concurrency::{ConcurrencyLimit, Permit};
use super::lane::LaneContext;
use std::sync::Arc;
use std::time::Duration;

type Run = Box<dyn FnOnce(&LaneContext<'_>, Option<Permit>) + Send>;

/// Something to run on a lane.
pub(super) struct Job {
    pub run: Run,
    /// What has to have room before it runs.
    pub concurrency: Option<Arc<ConcurrencyLimit>>,
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
