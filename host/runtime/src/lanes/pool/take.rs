//! A lane's own side of a pool: its next job, its sleep, its end.

use super::super::job::Job;
use super::super::lane::Lane;
use super::super::watchdog;
use super::{Pool, PoolLimits, Shared};
use extman_model::clock;
use std::sync::Arc;

impl Shared {
    pub(super) fn hear_of_its_loss(self: &Arc<Self>, lane: &Arc<Lane>) {
        let shared = Arc::downgrade(self);
        let replace = move |lost: &Lane| {
            if let Some(shared) = shared.upgrade() {
                (Pool { shared }).replace_lost(lost);
            }
        };
        watchdog::on_lost(lane, Box::new(replace));
    }

    /// The next job that may run, once there is one; `None` when the lane should end.
    pub(super) fn take(self: &Arc<Self>, lane: &Arc<Lane>) -> Option<Job> {
        let PoolLimits {
            lanes_max,
            idle_max,
            idle_kept,
            ..
        } = self.limits;
        let mut state = self.lock();
        state.has_left_its_step(lane);
        let mut slept_out = false;
        loop {
            if lane.is_retiring() {
                return None;
            }
            if lane.is_lost() {
                if !self.one_thread {
                    return None;
                }
                state.find_again(lane);
                watchdog::watch(lane);
                self.hear_of_its_loss(lane);
            }
            if let Some(job) = state.next_for(lane, lanes_max) {
                lane.set_available(false);
                return Some(job);
            }
            let unneeded = state.is_surplus(lanes_max) || (slept_out && state.lanes.len() > idle_kept);
            if unneeded && !self.one_thread {
                state.let_end(lane);
                // Whoever submitted may have counted on this one.
                if let Some(other) = state.lane_to_wake() {
                    other.wake();
                }
                return None;
            }
            state.idle.push(lane.clone());
            drop(state);
            let fell_asleep = clock::monotonic();
            std::thread::park_timeout(idle_max);
            state = self.lock();
            // Still there if nobody meant to wake it.
            let unwoken = state.is_no_longer_idle(lane);
            slept_out = unwoken && clock::monotonic().since(fell_asleep) >= idle_max;
        }
    }
}
