//! What the engine asks: an instance, or whatever a test puts in its place.

use extman_health::Moment;
use extman_health::monitor::Calls;
use extman_model::latency::LatencyHistogram;
use extman_model::{CheckKind, CheckOutcome, ErrorKind};
use extman_runtime::instance::{Asked, FailedCalls, Instance};
use extman_runtime::lanes::{LaneContext, Pool};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A check by itself.
pub type Apart = Pin<Box<dyn Future<Output = (CheckOutcome, Option<Duration>)> + Send>>;

/// Something that can be asked how it is.
pub trait Target: Send + Sync + 'static {
    /// The lanes on which it is asked: all instances of a library have the same.
    fn lanes(&self) -> &Pool;

    /// How long after its time a lane is given up in it.
    fn wedge_after(&self) -> Duration;

    /// Whether it has anything to say of itself.
    fn has_check(&self) -> bool;

    /// Whether calls may keep checks out at all.
    fn may_be_full(&self) -> bool {
        false
    }

    /// Whether a call keeps checks out now.
    fn is_full(&self) -> bool {
        false
    }

    /// It is to be asked soon: may fetch from memory what that needs.
    fn warm(&self) {}

    /// Asks inline, on one of its lanes; `began` is now. `None` if that lane was lost in it.
    fn check_on(&self, lane: &LaneContext<'_>, timeout: Duration, began: Moment) -> Option<Asked>;

    /// Asks on a lane by itself.
    fn check_apart(self: Arc<Self>, kind: CheckKind, timeout: Duration) -> Apart;

    /// Its calls so far.
    fn calls(&self) -> Calls;

    /// Has `sink` hear when a call fails that counts against it; of one, until its failures are [rearmed](Self::rearm_failures).
    fn watch_failures(&self, sink: Weak<dyn FailedCalls>, number: u32) {
        let _ = (sink, number);
    }

    /// Whoever heard of a failed call has looked.
    fn rearm_failures(&self) {}

    /// Its failures so far, by kind.
    fn errors(&self) -> Vec<(ErrorKind, u64)>;

    /// How long its calls took since this was asked last.
    fn take_latency(&self) -> LatencyHistogram;

    /// Processor time since this was asked last, in nanoseconds; `None` if it can't be told from others'. Asked once a minute.
    fn take_cpu(&self) -> Option<u64> {
        None
    }
}

impl Target for Instance {
    fn lanes(&self) -> &Pool {
        Instance::lanes(self)
    }

    fn wedge_after(&self) -> Duration {
        Instance::wedge_after(self)
    }

    fn has_check(&self) -> bool {
        Instance::has_check(self)
    }

    fn may_be_full(&self) -> bool {
        Instance::may_be_full(self)
    }

    fn is_full(&self) -> bool {
        Instance::is_full(self)
    }

    fn warm(&self) {
        Instance::warm(self);
    }

    fn check_on(&self, lane: &LaneContext<'_>, timeout: Duration, began: Moment) -> Option<Asked> {
        Instance::check_on(self, lane, CheckKind::Readiness, timeout, began)
    }

    fn check_apart(self: Arc<Self>, kind: CheckKind, timeout: Duration) -> Apart {
        Box::pin(async move { self.check(kind, timeout).await })
    }

    fn calls(&self) -> Calls {
        let counts = self.accounts().counts();
        Calls {
            ended: counts.ended,
            blamed: counts.blamed,
            excused: counts.excused,
            returned: counts.returned,
            failed_run: counts.failed_run,
        }
    }

    fn watch_failures(&self, sink: Weak<dyn FailedCalls>, number: u32) {
        self.accounts().watch_failures(sink, number);
    }

    fn rearm_failures(&self) {
        self.accounts().rearm_failures();
    }

    fn errors(&self) -> Vec<(ErrorKind, u64)> {
        self.accounts().errors().filter(|(_, count)| *count > 0).collect()
    }

    fn take_latency(&self) -> LatencyHistogram {
        self.accounts().take_latency()
    }

    fn take_cpu(&self) -> Option<u64> {
        Instance::take_cpu(self)
    }
}
