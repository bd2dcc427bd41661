//! Threads, runtimes and thread-locals: what keeps a library from being unloaded.

use super::wait;
use crate::catalogue::Hazard;
use crate::late;
use crate::order::Order;
use extman_plugin_api::prelude::*;
use rayon::prelude::*;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// A thread that outlives everything.
pub fn alive(release: Option<PathBuf>) -> Result<()> {
    spawn(move || wait::for_release(release.as_deref()))
}

/// A thread that computes and gives nothing for it.
pub fn spin(order: &Order) -> Result<()> {
    let enough = patience(order);
    let release = order.release.clone();
    spawn(move || {
        while !enough() && !release.as_deref().is_some_and(Path::exists) {
            (0..1_000_000_u64).for_each(|n| {
                std::hint::black_box(n);
            });
        }
    })
}

/// A thread-local whose drop is in this library.
pub fn local() {
    struct Dropped;
    impl Drop for Dropped {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }
    static DROPS: AtomicU32 = AtomicU32::new(0);
    thread_local!(static HELD: RefCell<Option<Dropped>> = const { RefCell::new(None) });
    HELD.with(|held| *held.borrow_mut() = Some(Dropped));
}

/// Made, used, dropped.
pub fn tokio_current_thread() -> Result<()> {
    let runtime = Builder::new_current_thread().build()?;
    runtime.block_on(tokio::task::yield_now());
    Ok(())
}

/// Made, used, dropped.
pub fn tokio_multi_thread() -> Result<()> {
    use_workers(&multi_thread()?)
}

/// Made once, used, never dropped.
pub fn static_tokio() -> Result<()> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if RUNTIME.get().is_none() {
        // Of two at once, one is kept and the other dropped.
        let _ = RUNTIME.set(multi_thread()?);
    }
    RUNTIME.get().map_or(Ok(()), use_workers)
}

/// Work for a pool that is never dropped.
pub fn rayon_global() {
    let sum: u64 = (0..1_000_u64).into_par_iter().sum();
    std::hint::black_box(sum);
}

/// Writes once the host no longer knows the call.
pub fn write_after_return(order: &Order, sink: Sink) -> Result<()> {
    let enough = patience(order);
    let release = order.release.clone();
    spawn(move || {
        wait::for_release_or(release.as_deref(), || sink.cancelled() || enough());
        late::record(Hazard::WriteAfterReturn, &sink.write(b"too late"));
    })
}

/// Pushes health when the instance should be gone.
pub fn push_after_destroy(order: &Order, host: Host) -> Result<()> {
    let enough = patience(order);
    let release = order.release.clone();
    spawn(move || {
        wait::for_release_or(release.as_deref(), enough);
        late::record(
            Hazard::PushAfterDestroy,
            &host.push_health(Health::Up, "too late"),
        );
    })
}

fn multi_thread() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).build()
}

fn use_workers(runtime: &Runtime) -> Result<()> {
    let answer = runtime.block_on(runtime.spawn(async { 42 }))?;
    std::hint::black_box(answer);
    Ok(())
}

fn spawn(run: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new().name("fault".to_owned()).spawn(run)?;
    Ok(())
}

/// Whether `ms` have passed since now; never without it.
fn patience(order: &Order) -> impl Fn() -> bool + Send + use<> {
    let since = Instant::now();
    let limit = order.ms.map(Duration::from_millis);
    move || limit.is_some_and(|limit| since.elapsed() >= limit)
}
