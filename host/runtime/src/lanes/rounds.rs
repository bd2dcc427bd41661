//! Lanes that come round by themselves: one thread that goes from instance to instance, instead of a job for each.
//!
//! ```text
//!   one lane works ──▶ it stays in one call too long ──▶ the watchdog starts another, which goes on with the rest
//!        ▲                                                    │ twice as many each time that all of them stay
//!        └──────────── the ones too many end ◀────────────────┘
//! ```
//!
//! What the work is, `Rounds` says; here is only who does it. A lane is lost and rotated as any other.

use super::lane::{Lane, LaneObserver, Work};
use super::pool::PoolLimits;
use super::watchdog;
use crate::loader::Slot;
use extman_model::clock::{self, Monotonic};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// All lanes in one call for longer than this: the rest is for another one.
const STAYS: Duration = Duration::from_millis(25);

/// The work of lanes that come round by themselves.
pub trait Rounds: Send + Sync + 'static {
    /// Works until the station is to end, or until there is nothing to do that another lane does not wait for.
    fn come_round(&self, station: &Station<'_>);
}

/// A lane as its work sees it. That there is one proves that this is a lane's thread.
pub struct Station<'a> {
    lane: &'a Lane,
    slot: &'a Slot,
    observer: &'a dyn LaneObserver,
}

impl Station<'_> {
    /// Tells lanes apart; never 0.
    pub fn number(&self) -> u64 {
        self.lane.number
    }

    /// Whether the lane is to end: come back as soon as possible.
    pub fn is_to_end(&self) -> bool {
        self.lane.is_retiring() || self.lane.is_lost()
    }

    /// Sleeps until a moment, or until somebody wakes the lane.
    pub fn sleep_until(&self, moment: Monotonic) {
        let left = moment.since(clock::monotonic());
        if !left.is_zero() && !self.is_to_end() {
            std::thread::park_timeout(left);
        }
    }

    /// Runs plugin code, which began at `began`. `None` if the lane was lost in it: then what came of it is nobody's any more, and
    /// the lane is to end.
    pub fn run<T>(&self, work: Work, began: Monotonic, run: impl FnOnce(&Slot) -> T) -> Option<T> {
        self.lane.enter(work, began);
        let value = run(self.slot);
        self.lane.leave(self.observer).then_some(value)
    }
}

/// The lanes of one work.
#[derive(Clone)]
pub struct RoundLanes {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    limits: PoolLimits,
    observer: Arc<dyn LaneObserver>,
    rounds: OnceLock<Weak<dyn Rounds>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lanes: Vec<Arc<Lane>>,
    /// Lost, or ending by themselves; not joined yet.
    leaving: Vec<Arc<Lane>>,
    made: u64,
    closing: bool,
}

impl RoundLanes {
    /// Without lanes yet.
    pub fn new(name: impl Into<String>, limits: PoolLimits, observer: Arc<dyn LaneObserver>) -> Self {
        let shared = Arc::new(Shared {
            name: name.into(),
            limits,
            observer,
            rounds: OnceLock::new(),
            state: Mutex::default(),
        });
        RoundLanes { shared }
    }

    /// Begins the work, with one lane. The lanes end when nobody holds `rounds` any more. Once; later calls change nothing.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn begin(&self, rounds: &Arc<impl Rounds>) -> std::io::Result<()> {
        let rounds: Arc<dyn Rounds> = rounds.clone();
        if self.shared.rounds.set(Arc::downgrade(&rounds)).is_ok() {
            watchdog::oversee(Arc::downgrade(&self.shared) as Weak<dyn watchdog::Overseen>);
            Shared::start_lane(&self.shared, &mut self.shared.lock())?;
        }
        Ok(())
    }

    /// Has sleeping lanes look whether there is something to do.
    pub fn wake(&self) {
        self.shared.lock().lanes.iter().for_each(|lane| lane.wake());
    }

    /// Lanes that are not lost.
    pub fn lanes(&self) -> usize {
        self.shared.lock().lanes.len()
    }

    /// Replaces each lane that ran code of `generation`, and waits for the old ones to end. The work goes on meanwhile.
    ///
    /// # Errors
    /// What the lane that did not end in time is in.
    pub fn rotate(&self, generation: u64, patience: Duration) -> Result<(), String> {
        let old = {
            let mut state = self.shared.lock();
            let lanes = std::mem::take(&mut state.lanes);
            let (old, kept): (Vec<_>, Vec<_>) = lanes.into_iter().partition(|lane| lane.ran(generation));
            state.lanes = kept;
            old.iter().for_each(|lane| lane.retire());
            let none_ran = old.is_empty();
            // There they stay until they are gone: whoever else comes waits for them too.
            state.leaving.extend(old);
            if state.lanes.is_empty()
                && !none_ran
                && !state.closing
                && let Err(error) = Shared::start_lane(&self.shared, &mut state)
            {
                tracing::error!(lanes = self.shared.name, %error, "a lane could not be replaced");
            }
            let old = state.leaving.iter().filter(|lane| lane.ran(generation));
            old.cloned().collect()
        };
        self.end(old, patience)
    }

    /// Ends the work, and waits for every lane.
    ///
    /// # Errors
    /// What the lane that did not end in time is in.
    pub fn shutdown(&self, patience: Duration) -> Result<(), String> {
        let lanes = {
            let mut state = self.shared.lock();
            state.closing = true;
            let lanes = std::mem::take(&mut state.lanes);
            state.leaving.extend(lanes);
            state.leaving.iter().for_each(|lane| lane.retire());
            state.leaving.clone()
        };
        self.end(lanes, patience)
    }

    fn end(&self, lanes: Vec<Arc<Lane>>, patience: Duration) -> Result<(), String> {
        lanes.iter().for_each(|lane| lane.wake());
        let give_up = clock::monotonic().after(patience);
        let mut unended = None;
        for lane in lanes {
            if lane.join_within(give_up.since(clock::monotonic())) {
                let mut state = self.shared.lock();
                state.leaving.retain(|other| other.number != lane.number);
            } else {
                unended = Some(lane.describe(&self.shared.name));
            }
        }
        unended.map_or(Ok(()), Err)
    }
}

impl Shared {
    fn start_lane(shared: &Arc<Shared>, state: &mut State) -> std::io::Result<()> {
        state.made += 1;
        let name = format!("{}/{}", shared.name, state.made);
        let (body, observer) = (shared.clone(), shared.observer.clone());
        let lane = Lane::start_with(&name, state.made, move |lane, slot| {
            if let Some(rounds) = body.rounds.get().and_then(Weak::upgrade) {
                let observer = observer.as_ref();
                rounds.come_round(&Station { lane, slot, observer });
            }
            body.ended(lane);
        })?;
        let owner = Arc::downgrade(shared);
        let replace = move |lost: &Lane| {
            if let Some(shared) = owner.upgrade() {
                Shared::replace_lost(&shared, lost);
            }
        };
        watchdog::on_lost(&lane, Box::new(replace));
        state.lanes.push(lane);
        Ok(())
    }

    /// A lane ends by itself: it was one too many, or is to.
    fn ended(&self, lane: &Lane) {
        let mut state = self.lock();
        if let Some(at) = state.lanes.iter().position(|other| other.number == lane.number) {
            let lane = state.lanes.remove(at);
            state.leaving.push(lane);
        }
    }

    fn replace_lost(shared: &Arc<Shared>, lost: &Lane) {
        let mut state = shared.lock();
        if let Some(at) = state.lanes.iter().position(|lane| lane.number == lost.number) {
            let lane = state.lanes.remove(at);
            state.leaving.push(lane);
        }
        if state.lanes.is_empty()
            && !state.closing
            && let Err(error) = Shared::start_lane(shared, &mut state)
        {
            tracing::error!(lanes = shared.name, %error, "a lost lane could not be replaced");
        }
        drop(state);
        if let Some((work, began)) = lost.current() {
            shared.observer.lost(&work, clock::monotonic().since(began));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl watchdog::Overseen for Shared {
    fn look(self: Arc<Self>, now: Monotonic) {
        let mut state = self.lock();
        state.leaving.retain(|lane| !lane.join_within(Duration::ZERO));
        // One that has died of its own work is gone without a word.
        state.lanes.retain(|lane| !lane.join_within(Duration::ZERO));
        let stays = |lane: &Arc<Lane>| lane.began().is_some_and(|began| now.since(began) > STAYS);
        if state.closing || self.rounds.get().is_none_or(|rounds| rounds.strong_count() == 0) {
            return;
        }
        if !state.lanes.iter().all(stays) {
            return;
        }
        let room = self.limits.lanes_max.saturating_sub(state.lanes.len());
        let more = state.lanes.len().max(1).min(room);
        for _ in 0..more {
            if let Err(error) = Shared::start_lane(&self, &mut state) {
                tracing::error!(lanes = self.name, %error, "no further lane could be started");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
