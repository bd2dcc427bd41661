use super::*;
use crate::lanes::Phase;
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

fn work() -> Work {
    Work {
        subject: "test".into(),
        generation: 1,
        phase: Phase::Invoke,
        capability: None,
        deadline: clock::monotonic().after(LONG),
        wedge_after: LONG,
    }
}

fn submit<T: Send + 'static>(
    pool: &Pool,
    concurrency: Option<Arc<ConcurrencyLimit>>,
    run: impl FnOnce() -> T + Send + 'static,
) -> Receiver<T> {
    let (answer, answered) = channel();
    let answer = move |value| {
        let _ = answer.send(value);
    };
    pool.submit(work(), Priority::Call(concurrency), run, answer)
        .unwrap();
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
    let (pool, concurrency) = (pool(2), ConcurrencyLimit::new(1));
    let permit = concurrency.try_enter().unwrap();
    let waiting = submit(&pool, Some(concurrency), || ());
    // The second job is behind the first; once it has run, the first was passed over.
    submit(&pool, None, || ()).recv_timeout(LONG).unwrap();
    assert!(waiting.try_recv().is_err());
    assert!(permit.leave());
    pool.nudge();
    waiting.recv_timeout(LONG).unwrap();
    pool.shutdown(LONG).unwrap();
}

#[test]
fn a_queue_in_which_nothing_waits_is_not_crowded_however_short_it_is() {
    for queue_max in [1, 2, 8, 64, 1000] {
        let limits = PoolLimits {
            lanes_max: 1,
            queue_max,
            ..PoolLimits::default()
        };
        let pool = Pool::new("short", limits, Arc::new(Unobserved));
        assert!(!pool.is_crowded(), "{queue_max}");
    }
}

#[test]
fn a_queue_is_crowded_and_full_once_as_many_wait_as_may() {
    let limits = PoolLimits {
        lanes_max: 1,
        queue_max: 1,
        ..PoolLimits::default()
    };
    let pool = Pool::new("short", limits, Arc::new(Unobserved));
    let ((began, has_begun), (go, may_go)) = (channel(), channel::<()>());
    let held = submit(&pool, None, move || {
        began.send(()).unwrap();
        may_go.recv_timeout(LONG).unwrap();
    });
    has_begun.recv_timeout(LONG).unwrap();
    assert!(!pool.is_crowded() && pool.full_for_calls().is_none());
    let waits = submit(&pool, None, || ());
    assert!(pool.is_crowded());
    assert!(matches!(pool.full_for_calls(), Some(Refused::QueueFull(1))));
    go.send(()).unwrap();
    held.recv_timeout(LONG).unwrap();
    waits.recv_timeout(LONG).unwrap();
    until("nothing waits", || {
        !pool.is_crowded() && pool.full_for_calls().is_none()
    });
    pool.shutdown(LONG).unwrap();
}

fn submit_step<T: Send + 'static>(pool: &Pool, run: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (answer, answered) = channel();
    let answer = move |value| {
        let _ = answer.send(value);
    };
    pool.submit(work(), Priority::Step, run, answer).unwrap();
    answered
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let give_up = clock::monotonic().after(LONG);
    while !condition() {
        assert!(clock::monotonic() < give_up, "not in time: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_lane_for_a_step_ends_after_it_and_serves_no_calls() {
    let pool = pool(1);
    let (release, released) = channel::<()>();
    let (begun, begins) = channel();
    let call = submit(&pool, None, move || {
        begun.send(()).unwrap();
        let _ = released.recv();
        std::thread::current().id()
    });
    begins.recv_timeout(LONG).unwrap();
    let step = submit_step(&pool, || std::thread::current().id());
    let waiting = submit(&pool, None, || std::thread::current().id());
    let on_its_own = step.recv_timeout(LONG).unwrap();
    until("the lane of the step ends", || pool.lanes() == 1);
    assert!(waiting.try_recv().is_err(), "one call at a time");
    drop(release);
    let lane = call.recv_timeout(LONG).unwrap();
    assert_ne!(lane, on_its_own);
    assert_eq!(waiting.recv_timeout(LONG).unwrap(), lane);
    pool.shutdown(LONG).unwrap();
}

#[test]
fn a_step_keeps_no_call_from_a_lane() {
    let pool = pool(1);
    let (release, released) = channel::<()>();
    let step = submit_step(&pool, move || {
        let _ = released.recv();
    });
    submit(&pool, None, || ()).recv_timeout(LONG).unwrap();
    drop(release);
    step.recv_timeout(LONG).unwrap();
    until("one lane is left", || pool.lanes() == 1);
    submit(&pool, None, || ()).recv_timeout(LONG).unwrap();
    pool.shutdown(LONG).unwrap();
}

#[test]
fn no_call_is_lost_while_lanes_of_steps_end() {
    let pool = pool(1);
    let steps = std::thread::spawn({
        let pool = pool.clone();
        move || {
            for n in 0..2000 {
                assert_eq!(submit_step(&pool, move || n).recv_timeout(LONG), Ok(n));
            }
        }
    });
    let mut calls = 0;
    while !steps.is_finished() || calls < 100 {
        assert_eq!(submit(&pool, None, move || calls).recv_timeout(LONG), Ok(calls));
        calls += 1;
    }
    steps.join().unwrap();
    pool.shutdown(LONG).unwrap();
}

#[test]
fn lanes_that_sleep_for_long_end_but_for_one() {
    let limits = PoolLimits {
        lanes_max: 3,
        idle_max: Duration::from_millis(20),
        ..PoolLimits::default()
    };
    let pool = Pool::new("test", limits, Arc::new(Unobserved));
    let together = Arc::new(std::sync::Barrier::new(3));
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let together = together.clone();
            submit(&pool, None, move || together.wait().is_leader())
        })
        .collect();
    calls
        .iter()
        .for_each(|call| assert!(call.recv_timeout(LONG).is_ok()));
    until("one is left", || pool.lanes() == 1);
    assert_eq!(submit(&pool, None, || 7).recv_timeout(LONG), Ok(7));
    pool.shutdown(LONG).unwrap();
}

#[test]
fn where_none_is_kept_each_job_has_a_lane_of_its_own() {
    let limits = PoolLimits {
        lanes_max: 1,
        idle_max: Duration::ZERO,
        idle_kept: 0,
        ..PoolLimits::default()
    };
    let pool = Pool::new("test", limits, Arc::new(Unobserved));
    for n in 0..20 {
        assert_eq!(submit(&pool, None, move || n).recv_timeout(LONG), Ok(n));
        until("its lane has ended", || pool.lanes() == 0);
    }
    pool.shutdown(LONG).unwrap();
}

#[test]
fn what_lanes_used_of_the_processor_is_counted_while_they_run_and_once_they_have_ended() {
    use crate::loader::cpu_of_this_thread;
    let (pool, beside) = (pool(2), pool(2));
    let computed = submit(&pool, None, || {
        let enough = cpu_of_this_thread() + 3_000_000;
        while cpu_of_this_thread() < enough {
            std::hint::black_box(0);
        }
    });
    computed.recv_timeout(LONG).unwrap();
    let running = pool.cpu_ns();
    assert!(running >= 3_000_000, "{running}");
    pool.shutdown(LONG).unwrap();
    assert!(pool.cpu_ns() >= running);
    assert_eq!(beside.cpu_ns(), 0, "it has no lane");
}

#[test]
fn a_pool_has_not_ended_while_a_lane_of_it_is_waited_for_and_what_that_uses_is_counted() {
    use crate::loader::cpu_of_this_thread;
    let beside = Pool::new("beside", PoolLimits::default(), Arc::new(Unobserved));
    let pool = beside.on_one_thread("test");
    let ((began, begun), (release, held)) = (channel(), channel::<()>());
    let last = submit(&pool, None, move || {
        began.send(()).unwrap();
        let _ = held.recv();
        let enough = cpu_of_this_thread() + 3_000_000;
        while cpu_of_this_thread() < enough {
            std::hint::black_box(0);
        }
    });
    begun.recv_timeout(LONG).unwrap();
    let ending = std::thread::spawn({
        let pool = pool.clone();
        move || pool.shutdown(LONG)
    });
    until("it is being shut down", || pool.shared.lock().closing);
    assert!(!pool.has_ended(), "its lane is in a call");
    assert!(pool.busy().is_some());
    assert!(pool.shutdown(Duration::ZERO).is_err(), "whoever else waits");
    assert!(!pool.has_ended());
    drop(release);
    assert_eq!(ending.join().unwrap(), Ok(()));
    last.recv_timeout(LONG).unwrap();
    until("it has ended", || pool.has_ended());
    assert!(pool.cpu_ns() >= 3_000_000, "{}", pool.cpu_ns());
}

#[test]
fn a_lane_that_somebody_waits_for_is_waited_for_by_whoever_comes_next() {
    let pool = pool(1);
    let (release, held) = channel::<()>();
    let (begun, begins) = channel();
    let answer = submit(&pool, None, move || {
        begun.send(()).unwrap();
        let _ = held.recv();
    });
    begins.recv_timeout(LONG).unwrap();
    let first = std::thread::spawn({
        let pool = pool.clone();
        move || pool.shutdown(LONG)
    });
    until("the first one waits", || pool.shared.lock().closing);
    assert!(pool.shutdown(Duration::ZERO).is_err(), "it has not ended");
    drop(release);
    assert_eq!(first.join().unwrap(), Ok(()));
    answer.recv_timeout(LONG).unwrap();
}

struct One;

impl crate::lanes::CheckBatch for One {
    fn work(&self) -> Work {
        Work {
            subject: "one".into(),
            phase: Phase::Check,
            capability: None,
            ..work()
        }
    }
}

#[test]
fn checks_wait_behind_no_call_and_keep_none_from_a_lane() {
    let pool = pool(1);
    let (release, held) = channel::<()>();
    let (begun, begins) = channel();
    let call = submit(&pool, None, move || {
        begun.send(()).unwrap();
        let _ = held.recv();
    });
    begins.recv_timeout(LONG).unwrap();
    let ((checked, checks), (go_on, waits)) = (channel(), channel::<()>());
    let batch = move |context: &LaneContext<'_>| {
        context.go_through(Arc::new(One));
        let now = clock::monotonic();
        let ran = context.run(now, now.after(LONG), |_| 7);
        checked.send((ran, context.is_to_end())).unwrap();
        let _ = waits.recv();
    };
    pool.submit_checks(batch).unwrap();
    assert_eq!(checks.recv_timeout(LONG).unwrap(), (Some(7), false));
    drop(release);
    call.recv_timeout(LONG).unwrap();
    submit(&pool, None, || ()).recv_timeout(LONG).unwrap();
    drop(go_on);
    until("one lane is left", || pool.lanes() == 1);
    pool.shutdown(LONG).unwrap();
}

#[derive(Default)]
struct Heard {
    lost: Mutex<Vec<Arc<str>>>,
    late: Mutex<Vec<Arc<str>>>,
}

impl LaneObserver for Heard {
    fn lost(&self, work: &Work, _: Duration) {
        self.lost.lock().unwrap().push(work.subject.clone());
    }
    fn returned_late(&self, work: &Work, _: Duration) {
        self.late.lock().unwrap().push(work.subject.clone());
    }
}

#[test]
fn a_lane_that_hangs_in_a_check_is_lost_by_that_checks_name_and_its_return_is_late() {
    let heard = Arc::new(Heard::default());
    let pool = Pool::new("test", PoolLimits::default(), heard.clone());
    let ((release, held), (ended, ends)) = (channel::<()>(), channel());
    let batch = move |context: &LaneContext<'_>| {
        context.go_through(Arc::new(One));
        let now = clock::monotonic();
        let ran = context.run(now, now.after(Duration::from_millis(50)), |_| {
            let _ = held.recv();
        });
        ended.send((ran, context.is_to_end())).unwrap();
    };
    pool.submit_checks(batch).unwrap();
    until("it is lost", || heard.lost.lock().unwrap().len() == 1);
    assert_eq!(pool.lost(), 1);
    submit(&pool, None, || ()).recv_timeout(LONG).unwrap();
    drop(release);
    assert_eq!(ends.recv_timeout(LONG).unwrap(), (None, true));
    until("it is late", || heard.late.lock().unwrap().len() == 1);
    assert_eq!(&*heard.lost.lock().unwrap()[0], "one");
    pool.shutdown(LONG).unwrap();
}

#[test]
fn a_lane_on_which_nothing_ran_is_not_waited_for_and_one_that_hangs_is() {
    let pool = pool(1);
    let ((release, held), (begun, begins)) = (channel::<()>(), channel());
    let batch = move |_: &LaneContext<'_>| {
        begun.send(()).unwrap();
        let _ = held.recv();
    };
    pool.submit_checks(batch).unwrap();
    begins.recv_timeout(LONG).unwrap();
    assert_eq!(pool.shutdown(Duration::ZERO), Ok(()), "no code ran on it");
    drop(release);
    until("it has ended", || pool.has_ended());
}

/// Lets the lane come back as soon as it hears that it is lost, and gives it time to be heard first.
struct Tardy {
    release: Mutex<Option<std::sync::mpsc::Sender<()>>>,
    told: Mutex<Vec<&'static str>>,
    changed: std::sync::Condvar,
}

impl LaneObserver for Tardy {
    fn lost(&self, _: &Work, _: Duration) {
        drop(self.release.lock().unwrap().take());
        let told = self.told.lock().unwrap();
        let long_enough = Duration::from_millis(300);
        let waited = self
            .changed
            .wait_timeout_while(told, long_enough, |told| told.is_empty());
        waited.unwrap().0.push("lost");
    }
    fn returned_late(&self, _: &Work, _: Duration) {
        self.told.lock().unwrap().push("late");
        self.changed.notify_all();
    }
}

#[test]
fn lane_that_returns_while_its_loss_is_reported_is_late_after_it_is_lost() {
    let (release, held) = channel::<()>();
    let tardy = Arc::new(Tardy {
        release: Mutex::new(Some(release)),
        told: Mutex::default(),
        changed: std::sync::Condvar::new(),
    });
    let pool = Pool::new("test", PoolLimits::default(), tardy.clone());
    let hangs = Work {
        deadline: clock::monotonic(),
        wedge_after: Duration::ZERO,
        ..work()
    };
    let run = move || {
        let _ = held.recv();
    };
    pool.submit(hangs, Priority::Call(None), run, drop).unwrap();
    until("both are told", || tardy.told.lock().unwrap().len() == 2);
    assert_eq!(*tardy.told.lock().unwrap(), ["lost", "late"]);
    pool.shutdown(LONG).unwrap();
}
