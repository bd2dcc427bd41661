//! Tells a plugin which of its calls are cancelled, one after the other on one lane at a time: a `cancel` entry that hangs costs one lane,
//! and what waits behind it is bounded.

use crate::lanes::{Pool, Priority, Work};
use crate::loader::PluginInstance;
use crate::sync::lock;
use extman_abi::CallToken;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Most notices that wait; what comes then is dropped, since the plugin can still ask whether a call is cancelled.
const WAITING_MAX: usize = 1024;

/// The notices of one instance.
pub(super) struct CancelNotices {
    plugin: Arc<PluginInstance>,
    /// Of the library: the lane of an instance for one thread is inside the call.
    pool: Pool,
    /// What a lane is in while it tells; the deadline is set anew for each notice.
    work: Work,
    budget: Duration,
    waiting: Mutex<NoticeQueue>,
}

#[derive(Default)]
struct NoticeQueue {
    calls: VecDeque<CallToken>,
    /// A lane is in `cancel`, or about to enter it.
    is_under_way: bool,
    dropped: u64,
}

impl CancelNotices {
    /// Those of a plugin with a `cancel` entry, which may take `budget`; `None` if it does not want to hear.
    pub(super) fn of(
        plugin: &Arc<PluginInstance>,
        pool: &Pool,
        work: impl FnOnce() -> Work,
        budget: Duration,
    ) -> Option<Arc<Self>> {
        plugin.hears_cancel().then(|| {
            Arc::new(CancelNotices {
                plugin: plugin.clone(),
                pool: pool.clone(),
                work: work(),
                budget,
                waiting: Mutex::default(),
            })
        })
    }

    /// Has the plugin hear that a call is cancelled. Waits for nobody.
    pub(super) fn notify(self: &Arc<Self>, call: CallToken) {
        let mut waiting = lock(&self.waiting);
        if waiting.calls.len() == WAITING_MAX {
            waiting.dropped += 1;
            if waiting.dropped == 1 {
                let instance = &*self.work.subject;
                tracing::warn!(
                    instance,
                    "{WAITING_MAX} notices of cancelled calls wait for the plugin's cancel entry to return; further ones are \
                     dropped until it does"
                );
            }
            return;
        }
        waiting.calls.push_back(call);
        let begins = !std::mem::replace(&mut waiting.is_under_way, true);
        drop(waiting);
        if begins {
            self.clone().next();
        }
    }

    fn next(self: Arc<Self>) {
        let Some(call) = self.take() else { return };
        let (plugin, notices) = (self.plugin.clone(), self.clone());
        let tell = move || plugin.cancel(call);
        let told = self
            .pool
            .submit(self.work.anew(self.budget), Priority::Step, tell, move |()| {
                notices.next()
            });
        if told.is_err() {
            // The pool is ending: nobody is left to be told.
            *lock(&self.waiting) = NoticeQueue::default();
        }
    }

    /// The call that the plugin hears of next; `None` once none waits.
    fn take(&self) -> Option<CallToken> {
        let mut waiting = lock(&self.waiting);
        let next = waiting.calls.pop_front();
        if next.is_none() {
            waiting.is_under_way = false;
            let dropped = std::mem::take(&mut waiting.dropped);
            if dropped > 0 {
                let instance = &*self.work.subject;
                tracing::warn!(instance, dropped, "notices of cancelled calls were dropped");
            }
        }
        next
    }
}
