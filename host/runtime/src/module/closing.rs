//! Closing a library: on a thread that ends right after it, and where it is not gone at once, looking again
//! from another one, since the closing thread's own thread-locals may be the last thing that holds the library. Either may hang in a finaliser; then it may come back later.

use super::ModuleBudgets;
use crate::lanes::{LaneObserver, Phase, Pool, PoolLimits, Work};
use crate::loader::{Closed, Mapped, NotClosed, Origin};
use crate::process_guard;
use extman_model::clock;
use extman_model::{ResidentReason, Verdict};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What came of it.
pub(super) enum Ended {
    /// It was closed.
    Closed(Verdict),
    /// Something of it is alive: it was not touched.
    NotClosed(NotClosed),
    /// It has not come back.
    Hangs(Closing, Verdict),
}

/// A close that is under way.
pub(super) enum Closing {
    Close(Running<Result<Closed, NotClosed>>),
    Look(Running<Verdict>),
}

/// Closes what nobody holds any more.
pub(super) fn close(mapped: Box<Mapped>, name: &str, budgets: ModuleBudgets) -> Ended {
    let settle = budgets.settle;
    // What is just ending has its own time, before the finalisers have theirs.
    let patience = settle.saturating_add(budgets.close);
    let owner = name.to_owned();
    let close = move || {
        let _window = process_guard::window(&owner, "unload", Origin::UNKNOWN);
        mapped.close(settle)
    };
    match Running::start(&format!("x-close-{name}"), patience, close) {
        Some(running) => closed(running, patience, name, budgets),
        None => Ended::Closed(no_thread()),
    }
}

impl Closing {
    /// Whether it has come back meanwhile, and what became of it then.
    pub(super) fn look(self, name: &str, budgets: ModuleBudgets) -> Ended {
        match self {
            Closing::Close(running) => closed(running, Duration::ZERO, name, budgets),
            Closing::Look(running) => looked(running, Duration::ZERO),
        }
    }
}

fn closed(
    running: Running<Result<Closed, NotClosed>>,
    patience: Duration,
    name: &str,
    budgets: ModuleBudgets,
) -> Ended {
    match running.end_within(patience) {
        Ok(Ok(closed)) if closed.is_gone() => Ended::Closed(Verdict::Unmapped),
        Ok(Ok(closed)) => {
            let look = Running::start(&format!("x-look-{name}"), budgets.close, move || closed.verdict());
            look.map_or_else(|| Ended::Closed(no_thread()), |look| looked(look, budgets.close))
        }
        Ok(Err(not_closed)) => Ended::NotClosed(not_closed),
        Err(running) => {
            let verdict = hangs("a finaliser or a thread-local destructor");
            Ended::Hangs(Closing::Close(running), verdict)
        }
    }
}

fn looked(running: Running<Verdict>, patience: Duration) -> Ended {
    match running.end_within(patience) {
        Ok(verdict) => Ended::Closed(verdict),
        Err(running) => Ended::Hangs(Closing::Look(running), hangs("a deferred finaliser")),
    }
}

fn hangs(culprit: &str) -> Verdict {
    Verdict::resident(ResidentReason::CloseHangs, culprit)
}

fn no_thread() -> Verdict {
    hangs("no thread could be started to close it on")
}

/// Something that runs on a thread of its own, and has only come back once that thread is gone, thread-local destructors included.
pub(super) struct Running<T> {
    pool: Pool,
    reply: Arc<Reply<T>>,
}

impl<T: Send + 'static> Running<T> {
    /// `None` if no thread could be started.
    fn start(name: &str, patience: Duration, run: impl FnOnce() -> T + Send + 'static) -> Option<Self> {
        let limits = PoolLimits {
            lanes_max: 1,
            queue_max: 1,
            lost_max: 1,
            ..PoolLimits::default()
        };
        let pool = Pool::new(name, limits, Arc::new(Unobserved));
        let reply = Arc::new(Reply::default());
        let work = Work {
            subject: name.into(),
            generation: 0,
            phase: Phase::Close,
            deadline: clock::monotonic().after(patience),
            wedge_after: Duration::ZERO,
        };
        let replying = reply.clone();
        // Given by the work itself: the answer of a lane that was lost meanwhile goes nowhere.
        pool.submit_urgent(work, move || replying.give(run()), |()| ())
            .ok()?;
        Some(Running { pool, reply })
    }

    /// What came of it; itself if it is not back in time.
    fn end_within(self, patience: Duration) -> Result<T, Self> {
        let back = self.reply.is_given_within(patience) && self.pool.shutdown(patience.max(ENDS)).is_ok();
        back.then(|| self.reply.take()).flatten().ok_or(self)
    }
}

/// A thread whose work is done has so long to end, at least.
const ENDS: Duration = Duration::from_millis(100);

/// One value from one thread to another. Not a channel: the first wait for one makes a thread-local with a destructor, for which glibc
/// takes the dynamic loader's lock, and a finaliser that hangs holds that.
struct Reply<T> {
    value: Mutex<Option<T>>,
    given: Condvar,
}

impl<T> Default for Reply<T> {
    fn default() -> Self {
        Reply {
            value: Mutex::new(None),
            given: Condvar::new(),
        }
    }
}

impl<T> Reply<T> {
    fn give(&self, value: T) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        self.given.notify_one();
    }

    fn is_given_within(&self, patience: Duration) -> bool {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .given
            .wait_timeout_while(value, patience, |value| value.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_some()
    }

    fn take(&self) -> Option<T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Unobserved;

impl LaneObserver for Unobserved {
    fn lost(&self, _: &Work, _: Duration) {}
    fn returned_late(&self, _: &Work, _: Duration) {}
}
