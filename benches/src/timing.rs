//! How long things are measured, and how async ones are.

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
