//! A rayon pool whose threads are joined.
//!
//! rayon's own pools end their threads some time after they are dropped, and its global pool never does. A library with a thread
//! still in it can't be unloaded.

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::thread::JoinHandle;

const STACK_BYTES: usize = 4 << 20;

/// Threads for rayon's work, joined on drop.
pub struct Pool {
    pool: Option<ThreadPool>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// With this many threads, at least one.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn new(threads: usize) -> Result<Self, ThreadPoolBuildError> {
        let mut started = Vec::new();
        let built = ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .spawn_handler(|thread| {
                let name = format!("embedder-{}", thread.index());
                let builder = std::thread::Builder::new().name(name).stack_size(STACK_BYTES);
                started.push(builder.spawn(|| thread.run())?);
                Ok(())
            })
            .build();
        // On failure rayon has told the threads that did start to end.
        let (pool, failure) = match built {
            Ok(pool) => (Some(pool), None),
            Err(e) => (None, Some(e)),
        };
        let whole = Pool {
            pool,
            threads: started,
        };
        failure.map_or(Ok(whole), Err)
    }

    /// Runs work so that all of rayon's parallelism in it stays in this pool.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        drop(self.pool.take());
        for thread in self.threads.drain(..) {
            // A panic in it was handed to the work's caller already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn work_runs_on_the_pools_own_threads() {
        let pool = Pool::new(3).unwrap();
        let names: HashSet<_> = pool.run(|| {
            (0..1000)
                .into_par_iter()
                .map(|_| std::thread::current().name().map(str::to_owned))
                .collect()
        });
        assert!(
            names
                .iter()
                .all(|name| name.as_ref().is_some_and(|n| n.starts_with("embedder-"))),
            "{names:?}"
        );
    }

    #[test]
    fn a_dropped_pool_has_no_thread_left() {
        static ENDED: AtomicUsize = AtomicUsize::new(0);
        struct LongEnd;
        impl Drop for LongEnd {
            fn drop(&mut self) {
                (0..10_000).for_each(|_| std::thread::yield_now());
                ENDED.fetch_add(1, Ordering::SeqCst);
            }
        }
        thread_local!(static END: LongEnd = const { LongEnd });
        let pool = Pool::new(3).unwrap();
        pool.run(|| rayon::broadcast(|_| END.with(|_| ())));
        assert_eq!(ENDED.load(Ordering::SeqCst), 0);
        drop(pool);
        assert_eq!(ENDED.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_panic_in_the_work_comes_back_and_the_pool_still_ends() {
        let pool = Pool::new(2).unwrap();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.run(|| panic!("inside"))));
        assert!(caught.is_err());
        assert_eq!(pool.run(|| 7), 7);
    }
}
