//! How long things are measured, and how async ones are.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How long each row is measured.
pub const MEASURED: Duration = Duration::from_millis(2500);
/// How long each row runs before that.
pub const WARMED_UP: Duration = Duration::from_millis(500);
/// Samples of a row.
pub const SAMPLES: usize = 40;

/// Time for `times` acts one after the other, in a task of the runtime.
///
/// # Panics
/// The act does.
pub fn timed<S, F>(
    runtime: &Runtime,
    subject: &Arc<S>,
    times: u64,
    act: impl Fn(Arc<S>) -> F + Send + 'static,
) -> Duration
where
    S: Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let subject = subject.clone();
    let task = runtime.spawn(async move {
        let began = Instant::now();
        for _ in 0..times {
            act(subject.clone()).await;
        }
        began.elapsed()
    });
    runtime.block_on(task).expect("the task ends")
}

/// Runs on one core, with all the threads that are started meanwhile. Where a thread may be woken on a core that sleeps, chance decides
/// how long that takes; on one core each wake is a switch, and rows can be compared.
///
/// # Panics
/// The system does not let its threads be bound to a core.
pub fn on_one_core<T>(run: impl FnOnce() -> T) -> T {
    let before = sched_getaffinity(None).expect("the cores of this thread");
    let first = (0..CpuSet::MAX_CPU).find(|core| before.is_set(*core));
    let mut one = CpuSet::new();
    one.set(first.expect("a core"));
    sched_setaffinity(None, &one).expect("bound to a core");
    let value = run();
    sched_setaffinity(None, &before).expect("bound to all cores again");
    value
}

/// Time for `times` acts, each followed by another one that is not measured. Two rows that take turns with each other in
/// this way find threads and cores in the same state, so that their ratio is of like with like.
///
/// # Panics
/// One of the acts does.
pub fn timed_in_turn<S, F, T, G>(
    runtime: &Runtime,
    times: u64,
    (subject, act): (&Arc<S>, impl Fn(Arc<S>) -> F + Send + 'static),
    (other_subject, other): (&Arc<T>, impl Fn(Arc<T>) -> G + Send + 'static),
) -> Duration
where
    S: Send + Sync + 'static,
    T: Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
    G: Future<Output = ()> + Send + 'static,
{
    let (subject, other_subject) = (subject.clone(), other_subject.clone());
    let task = runtime.spawn(async move {
        let mut spent = Duration::ZERO;
        for _ in 0..times {
            let began = Instant::now();
            act(subject.clone()).await;
            spent += began.elapsed();
            other(other_subject.clone()).await;
        }
        spent
    });
    runtime.block_on(task).expect("the task ends")
}
