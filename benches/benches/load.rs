//! A library in and out again: by the dynamic loader alone, and with all that makes it safe.

use criterion::{Criterion, criterion_group, criterion_main};
use extman_benches::plugins::Taken;
use extman_benches::timing::{MEASURED, SAMPLES, WARMED_UP};
use extman_benches::{fixture, plugins, raw};
use extman_model::Verdict;
use extman_runtime::loader::{Library, SealedImage};
use extman_runtime::module::ModuleBudgets;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(SAMPLES).measurement_time(MEASURED).warm_up_time(WARMED_UP);
    targets = loads
}
criterion_main!(benches);

fn loads(criterion: &mut Criterion) {
    for package in ["bench-plugin", "lang-detect"] {
        let taken = plugins::take(package);
        let mut group = criterion.benchmark_group(format!("load and unload, {package}"));
        group.bench_function("dlopen + dlclose", |b| {
            b.iter(|| raw::open_and_close(&taken.path))
        });
        group.bench_function("dlopen + dlclose, from sealed memory", |b| {
            b.iter_custom(|times| (0..times).map(|_| from_memory(&taken)).sum());
        });
        group.bench_function(
            "dlopen, then dlclose, from sealed memory, on a thread each",
            |b| {
                b.iter_custom(|times| (0..times).map(|_| from_memory_on_threads(&taken)).sum());
            },
        );
        group.bench_function(
            "the least: copied, dlopen on a thread, dlclose on another, freed",
            |b| {
                b.iter(|| least(&taken));
            },
        );
        group.bench_function("three threads that do nothing, one after the other", |b| {
            b.iter(|| (0..3).for_each(|_| on_a_thread(|| ())));
        });
        group.bench_function("copy to sealed memory", |b| b.iter(|| fixture::sealed(&taken)));
        group.bench_function("copy to sealed memory and hash", |b| {
            b.iter(|| fixture::sealed_and_hashed(&taken))
        });
        group.bench_function("checked load + verified unload, its threads apart", |b| {
            b.iter_custom(|times| checked(&taken, times).work);
        });
        group.bench_function("checked load + verified unload, its threads included", |b| {
            b.iter_custom(|times| checked(&taken, times).whole);
        });
        group.bench_function("module opened and unloaded, all in", |b| {
            let runtime = fixture::runtime();
            b.iter(|| runtime.block_on(whole(&taken)));
        });
        group.finish();
    }
}

/// Time of the dynamic loader alone, with a copy that it has not seen yet.
fn from_memory(taken: &Taken) -> Duration {
    let copy = fixture::sealed(taken).share().expect("a descriptor");
    timed(|| raw::open_and_close(&path_of(&copy))).1
}

/// As [`from_memory`], without the threads' own time: none of them has run anything before.
fn from_memory_on_threads(taken: &Taken) -> Duration {
    let copy = fixture::sealed(taken).share().expect("a descriptor");
    let path = path_of(&copy);
    let (library, opening) = on_a_thread(move || timed(|| raw::open(&path)));
    let ((), closing) = on_a_thread(move || timed(|| raw::close(library)));
    opening + closing
}

/// What a load and an unload can't do without: a sealed copy, a thread that ends before the library is closed, and one that closes it.
fn least(taken: &Taken) {
    let library = thread::scope(|scope| {
        let opening = scope.spawn(|| {
            let copy = fixture::sealed(taken).share().expect("a descriptor");
            (raw::open(&path_of(&copy)), copy)
        });
        opening.join().expect("the thread ends well")
    });
    on_a_thread(move || {
        let (library, copy) = library;
        raw::close(library);
        drop(copy);
    });
}

fn path_of(copy: &File) -> PathBuf {
    format!("/proc/self/fd/{}", copy.as_raw_fd()).into()
}

/// Time of loads and unloads; not of the copying and hashing before each.
#[derive(Default)]
struct Spent {
    /// Inside the loader's own functions.
    work: Duration,
    /// With the threads on which they run: starting them, waiting for a core, and ending them.
    whole: Duration,
}

fn checked(taken: &Taken, times: u64) -> Spent {
    let mut spent = Spent::default();
    for _ in 0..times {
        let sealed = fixture::sealed(taken);
        // What frees the copy's memory is not the unload: it is measured with the copying.
        let _memory = sealed.share().expect("a descriptor");
        let began = Instant::now();
        spent.work += in_and_out(sealed);
        spent.whole += began.elapsed();
    }
    spent
}

/// Each step on a thread that ends, as the loader asks. The time inside the steps.
fn in_and_out(sealed: SealedImage) -> Duration {
    let (library, opening) =
        on_a_thread(|| timed(|| Library::open(sealed, true, Default::default(), Default::default())));
    let library = library.expect("the library is loaded");
    let (closed, closing) = on_a_thread(|| timed(|| library.into_mapped().close(Duration::from_secs(2))));
    let closed = closed.unwrap_or_else(|held| panic!("{}", held.verdict));
    let (verdict, looking) = on_a_thread(|| timed(|| closed.verdict()));
    assert!(matches!(verdict, Ok(Verdict::Unmapped)));
    opening + closing + looking
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (run(), began.elapsed())
}

fn on_a_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(run).join().expect("the thread ends well")
}

async fn whole(taken: &Taken) {
    let module = fixture::module(taken).await;
    assert_eq!(module.unload(ModuleBudgets::default()).await, Verdict::Unmapped);
}
