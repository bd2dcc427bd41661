//! What keeps the time, and what a lane does that goes through its library's due instances.
//!
//! ```text
//!   extman-probe, a thread of the host's own: sleeps until somebody is due ──▶ a visit for each library of theirs
//!   a lane: lock: the last answers in, the next sixteen out ──▶ unlock, ask each inline ──┐
//!              ▲                                                                          │
//!              └──────────────────────────────────────────────────────────────────────────┘ until nobody of its library is due
//! ```

use super::meter::Meter;
use super::out::{Audience, Out, Plan};
use super::shard::{Shard, TICK};
use super::visit::{Asking, Done, GROUP, Visit};
use super::{lock, wall_ms};
use extman_model::clock::{self, Monotonic};
use extman_runtime::lanes::{LaneContext, start_watchdog, stood_still};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;
use tokio::runtime::Handle;

/// What all who ask share.
pub(super) struct Ring {
    pub own: Weak<Ring>,
    pub shard: Mutex<Shard>,
    pub audience: Arc<dyn Audience>,
    pub meter: Meter,
    pub tasks: Handle,
    timer: OnceLock<Thread>,
    joined: Mutex<Option<JoinHandle<()>>>,
    ending: AtomicBool,
}

impl Ring {
    /// Starts what keeps the time. It ends when nobody else holds the ring, or with [`end`](Ring::end).
    pub(super) fn start(audience: Arc<dyn Audience>, tasks: Handle) -> std::io::Result<Arc<Self>> {
        // Before there is a lane: whether the host itself stands still is known from the start.
        start_watchdog();
        let ring = Arc::new_cyclic(|own: &Weak<Ring>| Ring {
            own: own.clone(),
            shard: Mutex::new(Shard::new(clock::monotonic(), own.clone())),
            audience,
            meter: Meter::default(),
            tasks,
            timer: OnceLock::new(),
            joined: Mutex::default(),
            ending: AtomicBool::new(false),
        });
        let weak = ring.own.clone();
        let timer = std::thread::Builder::new().name("extman-probe".to_owned());
        let timer = timer.spawn(move || {
            while let Some(until) = weak.upgrade().and_then(|ring| ring.pass()) {
                std::thread::park_timeout(until.since(clock::monotonic()));
            }
        })?;
        let _ = ring.timer.set(timer.thread().clone());
        *ring.joined.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer);
        Ok(ring)
    }

    /// Has somebody look who is due.
    pub(super) fn wake(&self) {
        if let Some(timer) = self.timer.get() {
            timer.unpark();
        }
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

    /// Who is due goes to the lanes. Gives when to look again; `None` at the end.
    fn pass(&self) -> Option<Monotonic> {
        if self.ending.load(Ordering::Acquire) {
            return None;
        }
        let (now, unix_ms, mut out) = (
            clock::monotonic(),
            wall_ms(),
            Out::for_audience(self.audience.as_ref()),
        );
        let until = {
            let mut shard = lock(&self.shard);
            let stall = stall(&shard, now);
            shard.pass(now, unix_ms, stall, &mut out)
        };
        for plan in out.plans.drain(..) {
            self.begin(plan);
        }
        self.send(&mut out);
        Some(until)
    }

    /// Has a lane begin a visit. If none does, those that wait for it are asked another time.
    fn begin(&self, plan: Plan) {
        let Some(ring) = self.own.upgrade() else { return };
        let planned = Planned(Some((ring, plan.visit)));
        // Where it is refused the job is dropped, and with it what it holds.
        let _ = plan.pool.submit_checks(move |lane| planned.begin(lane));
    }

    /// On a lane.
    fn visit(&self, lane: &LaneContext<'_>, visit: &Arc<Visit>) {
        lane.go_through(visit.clone());
        let mut out = Out::for_audience(self.audience.as_ref());
        let (mut group, mut done) = (Vec::with_capacity(GROUP), Vec::with_capacity(GROUP));
        let (mut now, mut unix_ms) = (clock::monotonic(), wall_ms());
        // A lane that never rests must not write yesterday's time.
        let mut looked_at = now;
        loop {
            if now.since(looked_at) >= TICK {
                (looked_at, unix_ms) = (now, wall_ms());
            }
            self.hand_over(lane, visit, (now, unix_ms), (&mut done, &mut group), &mut out);
            // With what was known before.
            done.clear();
            self.send(&mut out);
            if group.is_empty() {
                return;
            }
            match ask(lane, visit, &mut group, &mut done) {
                Some(ended) => now = ended,
                None => {
                    lock(&self.shard).leave(visit);
                    return;
                }
            }
        }
    }

    /// The last answers in, the next ones to ask out; none when the visit is over.
    fn hand_over(
        &self,
        lane: &LaneContext<'_>,
        visit: &Visit,
        (now, unix_ms): (Monotonic, u64),
        (done, group): (&mut [Done], &mut Vec<Asking>),
        out: &mut Out,
    ) {
        let mut shard = lock(&self.shard);
        visit.leave();
        for done in done {
            let host_late = is_host_late(done);
            shard.ended(done, unix_ms, host_late, out);
        }
        if !lane.is_to_end() && !self.ending.load(Ordering::Acquire) {
            shard.fill(visit, now, unix_ms, group, out);
        }
        if group.is_empty() {
            shard.leave(visit);
        }
    }

    fn never_began(&self, visit: &Visit) {
        lock(&self.shard).never_began(visit, clock::monotonic(), wall_ms());
    }

    /// Tells what there is to tell. Those whose minute is over are measured by somebody who may wait.
    fn send(&self, out: &mut Out) {
        if self.meter.take(&mut out.records)
            && let Some(ring) = self.own.upgrade()
        {
            self.tasks
                .spawn_blocking(move || ring.meter.settle(ring.audience.as_ref()));
        }
        out.tell(self.audience.as_ref());
    }
}

/// A visit that a lane is to begin.
struct Planned(Option<(Arc<Ring>, Arc<Visit>)>);

impl Planned {
    fn begin(mut self, lane: &LaneContext<'_>) {
        if let Some((ring, visit)) = self.0.take() {
            ring.visit(lane, &visit);
        }
    }
}

impl Drop for Planned {
    fn drop(&mut self) {
        if let Some((ring, visit)) = self.0.take() {
            ring.never_began(&visit);
        }
    }
}

/// Asks them one after the other: where one's code ends, the next one's begins. Those that another lane has taken over are left out.
/// Gives when the last one ended; `None` if the lane was lost.
fn ask(
    lane: &LaneContext<'_>,
    visit: &Visit,
    group: &mut Vec<Asking>,
    done: &mut Vec<Done>,
) -> Option<Monotonic> {
    let (mut began, mut before) = (clock::monotonic(), 0);
    for (at, asking) in group.drain(..).enumerate() {
        if !visit.enter(at, began, &mut before) {
            break;
        }
        let Asking {
            place,
            asking,
            target,
            timeout,
        } = asking;
        let asked = target.check_on(lane, timeout, began)?;
        let ended = asked.ended;
        done.push(Done {
            place,
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

fn stall(shard: &Shard, now: Monotonic) -> Duration {
    // It may sleep for a second by itself.
    if now.since(shard.seen()) < GAP {
        return Duration::ZERO;
    }
    stood_still(shard.seen(), now)
}

fn is_host_late(done: &Done) -> bool {
    done.asked.ended.since(done.began) >= GAP && !stood_still(done.began, done.asked.ended).is_zero()
}
