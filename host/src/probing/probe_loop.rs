//! The probe loop: a thread that gives due instances to the lanes of their libraries, and what such a lane does.
//!
//! ```text
//!   extman-probe, a thread of the host's own: sleeps until somebody is due ──▶ a batch for each library of theirs
//!   a lane: lock: the last answers in, the next sixteen out ──▶ unlock, ask each inline ──┐
//!              ▲                                                                          │
//!              └──────────────────────────────────────────────────────────────────────────┘ until nobody of its library is due
//! ```

use super::batch::{Asking, Batch, Done, GROUP};
use super::meter::Meter;
use super::outbox::{EventSink, Outbox, Plan};
use super::scheduler::{Scheduler, TICK};
use super::turns::{Turn, Turns};
use super::{At, lock, wall_ms};
use extman_model::clock::{self, Monotonic};
use extman_model::vital::Vital;
use extman_runtime::instance::FailedCalls;
use extman_runtime::lanes::{LaneContext, start_watchdog, stood_still};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;
use tokio::runtime::Handle;

/// What the thread and the lanes share.
pub(super) struct ProbeLoop {
    pub own: Weak<ProbeLoop>,
    pub scheduler: Mutex<Scheduler>,
    pub sink: Arc<dyn EventSink>,
    pub meter: Meter,
    pub tasks: Handle,
    turns: Turns,
    heard: Mutex<Heard>,
    timer: OnceLock<Thread>,
    joined: Mutex<Option<JoinHandle<()>>>,
    ending: AtomicBool,
}

/// What others leave for the thread to look at: they may hold locks of their own.
#[derive(Default)]
struct Heard {
    /// Instances of which a call has failed since they were looked at.
    failing: Vec<u32>,
    /// Batches that no lane took.
    unbegun: Vec<Arc<Batch>>,
}

impl ProbeLoop {
    /// Starts what keeps the time. It ends when nobody else holds the probes, or with [`end`](ProbeLoop::end).
    pub(super) fn start(sink: Arc<dyn EventSink>, tasks: Handle) -> std::io::Result<Arc<Self>> {
        // Before there is a lane: whether the host itself stands still is known from the start.
        start_watchdog();
        let probes = Arc::new_cyclic(|own: &Weak<ProbeLoop>| ProbeLoop {
            own: own.clone(),
            scheduler: Mutex::new(Scheduler::new(clock::monotonic(), own.clone())),
            sink,
            meter: Meter::default(),
            tasks,
            turns: Turns::default(),
            heard: Mutex::default(),
            timer: OnceLock::new(),
            joined: Mutex::default(),
            ending: AtomicBool::new(false),
        });
        let weak = probes.own.clone();
        let timer = std::thread::Builder::new().name("extman-probe".to_owned());
        let timer = timer.spawn(move || {
            let _vital = Vital::part("the thread that has plugins checked");
            while let Some(until) = weak.upgrade().and_then(|probes| probes.pass()) {
                std::thread::park_timeout(until.since(clock::monotonic()));
            }
        })?;
        let _ = probes.timer.set(timer.thread().clone());
        *probes.joined.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer);
        Ok(probes)
    }

    /// Has somebody look who is due.
    pub(super) fn wake(&self) {
        if let Some(timer) = self.timer.get() {
            timer.unpark();
        }
    }

    /// Whether the thread has ended though nobody ended it.
    pub(super) fn is_dead(&self) -> bool {
        let timer = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        timer.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Nobody is asked any more. Lanes under way end after what they are in.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.wake();
        let timer = self.joined.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(timer) = timer.filter(|timer| timer.thread().id() != std::thread::current().id()) {
            // It runs no plugin's code, so it does not stay away.
            let _ = timer.join();
        }
    }

    /// Lets go of the scheduler, and waits for the turn to publish if there is anything.
    pub(super) fn take_turn(
        &self,
        mut scheduler: MutexGuard<'_, Scheduler>,
        out: &Outbox,
    ) -> Option<Turn<'_>> {
        let number = out.has_news().then(|| scheduler.next_turn());
        drop(scheduler);
        number.map(|number| self.turns.wait_for(number))
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is due goes to the lanes. Gives when to look again; `None` at the end.
    fn pass(&self) -> Option<Monotonic> {
        if self.ending.load(Ordering::Acquire) {
            return None;
        }
        let (at, mut out) = (super::now(), Outbox::for_sink(self.sink.as_ref()));
        let heard = std::mem::take(&mut *self.heard());
        let mut scheduler = lock(&self.scheduler);
        let stall = stall(&scheduler, at.0);
        scheduler.calls_failed(&heard.failing, at, &mut out);
        for batch in &heard.unbegun {
            scheduler.never_began(batch, at, &mut out);
        }
        let until = scheduler.pass(at, stall, &mut out);
        let turn = self.take_turn(scheduler, &out);
        self.send(&mut out, turn);
        for plan in out.plans.drain(..) {
            self.begin(plan);
        }
        Some(until)
    }

    /// Has a lane begin a batch. If none does, those that wait for it are asked another time.
    fn begin(&self, plan: Plan) {
        let Some(probes) = self.own.upgrade() else { return };
        let planned = Planned(Some((probes, plan.batch)));
        // Where it is refused the job is dropped, and with it what it holds.
        let _ = plan.pool.submit_checks(move |lane| planned.begin(lane));
    }

    /// On a lane.
    fn batch(&self, lane: &LaneContext<'_>, batch: &Arc<Batch>) {
        lane.go_through(batch.clone());
        let mut out = Outbox::for_sink(self.sink.as_ref());
        let (mut group, mut done) = (Vec::with_capacity(GROUP), Vec::with_capacity(GROUP));
        let (mut now, mut unix_ms) = super::now();
        // A lane that never rests must not write yesterday's time.
        let mut looked_at = now;
        loop {
            if now.since(looked_at) >= TICK {
                (looked_at, unix_ms) = (now, wall_ms());
            }
            let turn = self.hand_over(lane, batch, (now, unix_ms), (&mut done, &mut group), &mut out);
            self.send(&mut out, turn);
            // With what was known before.
            done.clear();
            if group.is_empty() {
                return;
            }
            match ask(lane, batch, &mut group, &mut done) {
                Some(ended) => now = ended,
                None => {
                    lock(&self.scheduler).leave(batch);
                    return;
                }
            }
        }
    }

    /// The last answers in, the next ones to ask out; none when the batch is over.
    fn hand_over(
        &self,
        lane: &LaneContext<'_>,
        batch: &Batch,
        at: At,
        (done, group): (&mut [Done], &mut Vec<Asking>),
        out: &mut Outbox,
    ) -> Option<Turn<'_>> {
        let mut scheduler = lock(&self.scheduler);
        batch.leave();
        for done in done {
            let host_late = is_host_late(done);
            scheduler.ended(done, at.1, host_late, out);
        }
        if !lane.is_to_end() && !self.ending.load(Ordering::Acquire) {
            scheduler.fill(batch, at, group, out);
        }
        if group.is_empty() {
            scheduler.leave(batch);
        }
        self.take_turn(scheduler, out)
    }

    /// Publishes what there is. Instances whose minute is over are measured by somebody who may wait.
    fn send(&self, out: &mut Outbox, turn: Option<Turn<'_>>) {
        if self.meter.take(&mut out.records)
            && let Some(probes) = self.own.upgrade()
        {
            self.tasks
                .spawn_blocking(move || probes.meter.settle(probes.sink.as_ref()));
        }
        out.publish(self.sink.as_ref(), turn);
    }
}

impl FailedCalls for ProbeLoop {
    fn failed(&self, number: u32) {
        self.heard().failing.push(number);
        self.wake();
    }
}

/// A batch that a lane is to begin.
struct Planned(Option<(Arc<ProbeLoop>, Arc<Batch>)>);

impl Planned {
    fn begin(mut self, lane: &LaneContext<'_>) {
        if let Some((probes, batch)) = self.0.take() {
            probes.batch(lane, &batch);
        }
    }
}

impl Drop for Planned {
    fn drop(&mut self) {
        if let Some((probes, batch)) = self.0.take() {
            probes.heard().unbegun.push(batch);
            probes.wake();
        }
    }
}

/// Asks them one after the other: where one's code ends, the next one's begins. Those that another lane has taken over are left out.
/// Gives when the last one ended; `None` if the lane was lost.
fn ask(
    lane: &LaneContext<'_>,
    batch: &Batch,
    group: &mut Vec<Asking>,
    done: &mut Vec<Done>,
) -> Option<Monotonic> {
    let (mut began, mut before) = (clock::monotonic(), 0);
    for (at, asking) in group.drain(..).enumerate() {
        if !batch.enter(at, began, &mut before) {
            break;
        }
        let Asking {
            index,
            asking,
            target,
            timeout,
        } = asking;
        let asked = target.check_on(lane, timeout, began)?;
        let ended = asked.ended;
        done.push(Done {
            index,
            asking,
            began,
            timeout,
            asked,
            target,
        });
        began = ended;
    }
    Some(began)
}

/// A gap this long since the last look is worth asking the watchdog about.
const GAP: Duration = Duration::from_millis(500);

fn stall(scheduler: &Scheduler, now: Monotonic) -> Duration {
    // It may sleep for a second by itself.
    if now.since(scheduler.seen()) < GAP {
        return Duration::ZERO;
    }
    stood_still(scheduler.seen(), now)
}

fn is_host_late(done: &Done) -> bool {
    done.asked.ended.since(done.began) >= GAP && !stood_still(done.began, done.asked.ended).is_zero()
}
