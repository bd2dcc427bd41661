//! What a pool knows of its lanes and of what waits. Nothing here waits or starts a thread; the pool's lock is held.
//!
//! A lane takes steps of the lifecycle before calls. As many lanes as the limit says may be in calls or ready for them; one that
//! is in a step does not count, so that a step keeps no call from a lane. One that comes out of a step and finds enough lanes ends.

use super::super::gate::Gate;
use super::super::job::Job;
use super::super::lane::Lane;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

#[derive(Default)]
pub(super) struct State {
    /// Steps of the lifecycle that wait, and what else does not wait behind calls.
    pub steps: VecDeque<Job>,
    /// Calls that wait.
    pub calls: VecDeque<Job>,
    pub lanes: Vec<Arc<Lane>>,
    /// Lanes that sleep, the one that worked last at the end: it is woken first, since its memory is still warm.
    pub idle: Vec<Arc<Lane>>,
    /// Numbers of the lanes that are in a step.
    in_steps: Vec<u64>,
    pub made: u64,
    pub lost: Vec<Arc<Lane>>,
    /// Lanes that end by themselves. Their threads may not be gone yet.
    pub ended: Vec<Arc<Lane>>,
    /// Lanes that were told to end, while somebody waits for them.
    pub leaving: Vec<Arc<Lane>>,
    pub closing: bool,
}

impl State {
    /// Whether another lane is to be started for what waits.
    pub(super) fn is_short(&self, lanes_max: usize) -> bool {
        let waiting = self.steps.len() + self.calls.len();
        let room = self.for_calls() < lanes_max && self.lanes.len() <= lanes_max * 2;
        let one_more = !self.steps.is_empty() && self.lanes.len() <= lanes_max;
        waiting > self.available() && (room || one_more)
    }

    /// Whether a lane is free or may be started for a call.
    pub(super) fn has_room(&self, lanes_max: usize) -> bool {
        self.available() > 0 || self.for_calls() < lanes_max
    }

    /// Whether a lane that is free now is one too many.
    pub(super) fn is_surplus(&self, lanes_max: usize) -> bool {
        self.for_calls() > lanes_max
    }

    /// Lanes that are not in a step.
    fn for_calls(&self) -> usize {
        self.lanes.len().saturating_sub(self.in_steps.len())
    }

    /// Lanes that will look for a job without running plugin code before: they sleep, wake up, or are about to look.
    fn available(&self) -> usize {
        self.lanes.iter().filter(|lane| lane.is_available()).count()
    }

    /// A sleeping lane, if there are more jobs than lanes that will look anyway.
    pub(super) fn lane_to_wake(&mut self) -> Option<Arc<Lane>> {
        let awake = self.available().saturating_sub(self.idle.len());
        if self.steps.len() + self.calls.len() > awake {
            self.idle.pop()
        } else {
            None
        }
    }

    /// What this lane is to do next.
    pub(super) fn next_for(&mut self, lane: &Lane, lanes_max: usize) -> Option<Job> {
        if let Some(step) = first_that_may_run(&mut self.steps) {
            self.in_steps.push(lane.number);
            return Some(step);
        }
        if self.is_surplus(lanes_max) {
            return None;
        }
        first_that_may_run(&mut self.calls)
    }

    pub(super) fn has_left_its_step(&mut self, lane: &Lane) {
        self.in_steps.retain(|number| *number != lane.number);
    }

    /// `true` if it was asleep for all that others know.
    pub(super) fn is_no_longer_idle(&mut self, lane: &Lane) -> bool {
        let before = self.idle.len();
        self.idle.retain(|idle| idle.number != lane.number);
        self.idle.len() < before
    }

    /// The lane ends by itself.
    pub(super) fn let_end(&mut self, lane: &Arc<Lane>) {
        self.lanes.retain(|other| other.number != lane.number);
        self.forget_the_gone();
        self.ended.push(lane.clone());
    }

    /// Forgets lanes that have ended and whose threads are gone.
    pub(super) fn forget_the_gone(&mut self) {
        self.ended.retain(|lane| !lane.join_within(Duration::ZERO));
    }

    /// Whether there is none any more whose thread may not be gone.
    pub(super) fn are_all_gone(&mut self) -> bool {
        self.forget_the_gone();
        self.lost.retain(|lane| !lane.join_within(Duration::ZERO));
        self.all().next().is_none()
    }

    /// These are told to end and will be waited for; until then they stay known here, whatever they were before.
    pub(super) fn have_end(&mut self, lanes: &[Arc<Lane>]) {
        lanes.iter().for_each(|lane| lane.retire());
        for lane in lanes {
            if !among(&self.lost, lane) && !among(&self.leaving, lane) {
                self.leaving.push(lane.clone());
            }
        }
    }

    /// The wait for a lane that was told to end is over.
    pub(super) fn was_waited_for(&mut self, lane: &Arc<Lane>, gone: bool) {
        self.leaving.retain(|other| other.number != lane.number);
        // Somebody else may have waited for it for longer.
        if gone || lane.join_within(Duration::ZERO) {
            self.lost.retain(|other| other.number != lane.number);
        } else if !among(&self.lost, lane) {
            self.lost.push(lane.clone());
        }
    }

    /// All lanes whose threads may not be gone.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Lane>> {
        let others = self.ended.iter().chain(&self.leaving);
        self.lanes.iter().chain(&self.lost).chain(others)
    }

    /// The lane is lost.
    pub(super) fn lose(&mut self, lost: &Lane) {
        self.has_left_its_step(lost);
        self.is_no_longer_idle(lost);
        if let Some(at) = self.lanes.iter().position(|lane| lane.number == lost.number) {
            let lane = self.lanes.remove(at);
            self.lost.push(lane);
        }
    }

    /// A lost lane goes on.
    pub(super) fn find_again(&mut self, lane: &Arc<Lane>) {
        lane.find_again();
        self.lost.retain(|lost| lost.number != lane.number);
        if !self.lanes.iter().any(|other| other.number == lane.number) {
            self.lanes.push(lane.clone());
        }
    }

    /// Takes out the lanes that ran code of a generation.
    pub(super) fn take_those_that_ran(&mut self, generation: u64) -> Vec<Arc<Lane>> {
        let (old, kept): (Vec<_>, Vec<_>) = self.lanes.drain(..).partition(|lane| lane.ran(generation));
        self.lanes = kept;
        self.idle.retain(|lane| !lane.ran(generation));
        for lane in &old {
            self.has_left_its_step(lane);
        }
        old
    }
}

fn among(lanes: &[Arc<Lane>], lane: &Lane) -> bool {
    lanes.iter().any(|other| other.number == lane.number)
}

fn first_that_may_run(queue: &mut VecDeque<Job>) -> Option<Job> {
    for at in 0..queue.len() {
        let pass = match &queue[at].gate {
            None => None,
            Some(gate) => match Gate::try_enter_or_wait_outside(gate) {
                Some(pass) => Some(pass),
                None => continue,
            },
        };
        let mut job = queue.remove(at)?;
        job.pass = pass;
        return Some(job);
    }
    None
}
