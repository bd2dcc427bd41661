use super::*;
use crate::runtime::lanes::Phase;
use std::sync::mpsc::{Receiver, channel};

const LONG: Duration = Duration::from_secs(60);

struct Unobserved;

impl LaneObserver for Unobserved {
    fn lost(&self, _: &Work, _: Duration) {}
    fn returned_late(&self, _: &Work, _: Duration) {}
}

fn pool(lanes_max: usize) -> Pool {
    let limits = PoolLimits {
        lanes_max,
        ..PoolLimits::default()
    };
    Pool::new("test", limits, Arc::new(Unobserved))
}

fn work(generation: u64) -> Work {
    Work {
        subject: "test".into(),
        generation,
        phase: Phase::Invoke,
        deadline: clock::monotonic().after(LONG),
        wedge_after: LONG,
    }
}

fn submit<T: Send + 'static>(
    pool: &Pool,
    gate: Option<Arc<Gate>>,
    run: impl FnOnce() -> T + Send + 'static,
) -> Receiver<T> {
    let (answer, answered) = channel();
    let answer = move |value| {
        let _ = answer.send(value);
    };
    pool.submit(work(1), gate, move |_| run(), answer).unwrap();
    answered
}

#[test]
fn one_caller_needs_one_lane() {
    let pool = pool(8);
    let first = submit(&pool, None, || std::thread::current().id());
    let first = first.recv_timeout(LONG).unwrap();
    for _ in 0..500 {
        let next = submit(&pool, None, || std::thread::current().id());
        assert_eq!(next.recv_timeout(LONG).unwrap(), first);
    }
    pool.shutdown(LONG).unwrap();
}

#[test]
fn callers_that_overlap_get_a_lane_each() {
    let pool = pool(3);
    let together = Arc::new(std::sync::Barrier::new(3));
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let together = together.clone();
            submit(&pool, None, move || together.wait().is_leader())
        })
        .collect();
    let led = waiting.iter().filter(|w| w.recv_timeout(LONG).unwrap());
    assert_eq!(led.count(), 1);
    pool.shutdown(LONG).unwrap();
}

#[test]
fn a_job_passed_over_runs_once_its_place_is_free() {
    let (pool, gate) = (pool(2), Gate::new(1));
    let pass = gate.try_enter().unwrap();
    let waiting = submit(&pool, Some(gate), || ());
    // The second job is behind the first; once it has run, the first was passed over.
    submit(&pool, None, || ()).recv_timeout(LONG).unwrap();
    assert!(waiting.try_recv().is_err());
    assert!(pass.leave());
    pool.nudge();
    waiting.recv_timeout(LONG).unwrap();
    pool.shutdown(LONG).unwrap();
}

#[test]
fn no_job_is_lost_while_lanes_are_replaced() {
    let pool = pool(2);
    let caller = std::thread::spawn({
        let pool = pool.clone();
        move || {
            for n in 0..300 {
                assert_eq!(submit(&pool, None, move || n).recv_timeout(LONG), Ok(n));
            }
        }
    });
    while !caller.is_finished() {
        pool.rotate(1, LONG).unwrap();
    }
    caller.join().unwrap();
    pool.shutdown(LONG).unwrap();
}
