//! Lanes that hang, are lost, and are rotated.

use super::*;
use crate::lanes::Phase;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

/// Counts its rounds; item 7 hangs while it is told to.
#[derive(Default)]
struct Counting {
    rounds: AtomicU64,
    hangs: AtomicBool,
    hanging: AtomicU64,
    lanes: Mutex<HashSet<u64>>,
}

fn work(generation: u64, wedge_after: Duration) -> Work {
    Work {
        subject: "it".into(),
        generation,
        phase: Phase::Check,
        deadline: clock::monotonic(),
        wedge_after,
    }
}

const LONG: Duration = Duration::from_secs(60);

impl Rounds for Counting {
    fn come_round(&self, station: &Station<'_>) {
        while !station.is_to_end() {
            let round = self.rounds.fetch_add(1, SeqCst);
            self.lanes.lock().unwrap().insert(station.number());
            let patience = if round % 10 == 7 {
                Duration::from_millis(200)
            } else {
                LONG
            };
            let ran = station.run(work(5, patience), clock::monotonic(), |_| {
                if round % 10 == 7 && self.hangs.swap(false, SeqCst) {
                    self.hanging.fetch_add(1, SeqCst);
                    while self.hanging.load(SeqCst) > 0 {
                        std::thread::park_timeout(Duration::from_millis(1));
                    }
                }
            });
            if ran.is_none() {
                return;
            }
            station.sleep_until(clock::monotonic().after(Duration::from_millis(1)));
        }
    }
}

#[derive(Default)]
struct Heard {
    lost: AtomicU64,
    late: AtomicU64,
}

impl LaneObserver for Heard {
    fn lost(&self, _: &Work, _: Duration) {
        self.lost.fetch_add(1, SeqCst);
    }
    fn returned_late(&self, _: &Work, _: Duration) {
        self.late.fetch_add(1, SeqCst);
    }
}

fn until(mut holds: impl FnMut() -> bool) {
    let give_up = clock::monotonic().after(LONG);
    while !holds() {
        assert!(clock::monotonic() < give_up, "it never came");
        std::thread::yield_now();
    }
}

fn started() -> (RoundLanes, Arc<Counting>, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let lanes = RoundLanes::new("t-round", PoolLimits::default(), heard.clone());
    let counting = Arc::new(Counting::default());
    lanes.begin(&counting).unwrap();
    until(|| counting.rounds.load(SeqCst) > 3);
    (lanes, counting, heard)
}

#[test]
fn a_lane_that_hangs_is_replaced_and_lost_and_comes_back() {
    let (lanes, counting, heard) = started();
    counting.hangs.store(true, SeqCst);
    until(|| counting.hanging.load(SeqCst) == 1);
    let then = counting.rounds.load(SeqCst);
    until(|| counting.rounds.load(SeqCst) > then + 20);
    until(|| heard.lost.load(SeqCst) == 1);
    assert_eq!(heard.late.load(SeqCst), 0);
    counting.hanging.store(0, SeqCst);
    until(|| heard.late.load(SeqCst) == 1);
    lanes.shutdown(LONG).unwrap();
    assert_eq!(lanes.lanes(), 0);
}

#[test]
fn rotation_ends_the_lanes_that_ran_a_generation_and_the_work_goes_on() {
    let (lanes, counting, _) = started();
    let before = counting.lanes.lock().unwrap().clone();
    lanes.rotate(4, LONG).unwrap();
    assert_eq!(*counting.lanes.lock().unwrap(), before);
    lanes.rotate(5, LONG).unwrap();
    until(|| counting.lanes.lock().unwrap().difference(&before).count() == 1);
    lanes.shutdown(LONG).unwrap();
}

#[test]
fn without_its_work_the_lanes_end() {
    let (lanes, counting, _) = started();
    lanes.shutdown(LONG).unwrap();
    let then = counting.rounds.load(SeqCst);
    assert!(lanes.rotate(5, LONG).is_ok());
    assert_eq!((lanes.lanes(), counting.rounds.load(SeqCst)), (0, then));
}
