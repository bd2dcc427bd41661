//! What a lane does as it comes round.

use super::meter::Meter;
use super::out::{Audience, Out};
use super::shard::{Asking, Done, Next, Shard, TICK};
use super::{lock, wall_ms};
use extman_model::CheckKind;
use extman_model::clock;
use extman_runtime::instance::Asked;
use extman_runtime::lanes::{Rounds, Station, stood_still};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::runtime::Handle;

/// What all lanes share.
pub(super) struct Ring {
    pub own: Weak<Ring>,
    pub shard: Mutex<Shard>,
    pub audience: Arc<dyn Audience>,
    pub meter: Meter,
    pub tasks: Handle,
}

impl Rounds for Ring {
    fn come_round(&self, station: &Station<'_>) {
        let mut out = Out::for_audience(self.audience.as_ref());
        let (mut now, mut unix_ms) = (clock::monotonic(), wall_ms());
        // A lane that never sleeps must not write yesterday's time.
        let mut looked_at = now;
        let mut done: Option<Done> = None;
        loop {
            let next = {
                let mut shard = lock(&self.shard);
                if let Some(done) = &mut done {
                    let host_late = is_host_late(done);
                    shard.ended(done, unix_ms, host_late, &mut out);
                }
                if station.is_to_end() {
                    shard.leave(station.number());
                    None
                } else {
                    let stall = stall(&shard, now);
                    Some(shard.next(now, unix_ms, station.number(), stall, &mut out))
                }
            };
            // With what was known before.
            done = None;
            self.send_apart(&mut out);
            self.measure_apart(&mut out);
            out.tell(self.audience.as_ref());
            match next {
                None | Some(Next::End) => return,
                Some(Next::Sleep(until)) => {
                    station.sleep_until(until);
                    (now, unix_ms) = (clock::monotonic(), wall_ms());
                    looked_at = now;
                }
                Some(Next::Ask(asking)) => {
                    let Asking {
                        place,
                        generation,
                        target,
                        timeout,
                        began,
                    } = asking;
                    let Some(asked) = target.check_on(station, timeout, began) else {
                        lock(&self.shard).leave(station.number());
                        return;
                    };
                    // The end of one is the beginning of the next.
                    now = asked.ended;
                    if now.since(looked_at) >= TICK {
                        (looked_at, unix_ms) = (now, wall_ms());
                    }
                    done = Some(Done {
                        place,
                        generation,
                        began,
                        asked,
                    });
                }
            }
        }
    }
}

/// A gap this long since the last look is worth asking the watchdog about.
const GAP: Duration = Duration::from_millis(500);

fn stall(shard: &Shard, now: clock::Monotonic) -> Duration {
    if now.since(shard.seen()) < GAP {
        return Duration::ZERO;
    }
    stood_still(shard.seen(), now)
}

fn is_host_late(done: &Done) -> bool {
    done.asked.ended.since(done.began) >= GAP && !stood_still(done.began, done.asked.ended).is_zero()
}

impl Ring {
    /// Those that are slow, or need a thread of their own, are asked by a task each.
    fn send_apart(&self, out: &mut Out) {
        for asking in out.apart.drain(..) {
            let Some(ring) = self.own.upgrade() else { return };
            self.tasks.spawn(async move {
                let Asking {
                    place,
                    generation,
                    target,
                    timeout,
                    began,
                } = asking;
                let (outcome, took) = target.check_apart(CheckKind::Readiness, timeout).await;
                let done = Done {
                    place,
                    generation,
                    began,
                    asked: Asked {
                        outcome,
                        took,
                        ended: clock::monotonic(),
                    },
                };
                ring.came_back(done);
            });
        }
    }

    /// Those whose minute is over are measured by somebody who may wait.
    fn measure_apart(&self, out: &mut Out) {
        if self.meter.take(&mut out.records)
            && let Some(ring) = self.own.upgrade()
        {
            self.tasks
                .spawn_blocking(move || ring.meter.settle(ring.audience.as_ref()));
        }
    }

    fn came_back(&self, mut done: Done) {
        let mut out = Out::for_audience(self.audience.as_ref());
        let host_late = is_host_late(&done);
        lock(&self.shard).ended(&mut done, wall_ms(), host_late, &mut out);
        self.measure_apart(&mut out);
        out.tell(self.audience.as_ref());
    }
}
