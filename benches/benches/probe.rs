//! Asking a plugin how it is, from a function in the same program to a program of its own.

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use extman_abi::Report;
use extman_benches::hop::{AsyncHop, ChannelHop, FutexHop};
use extman_benches::plugins::Taken;
use extman_benches::raw::Raw;
use extman_benches::timing::{MEASURED, SAMPLES, WARMED_UP, timed, timed_in_turn};
use extman_benches::{fixture, plugins};
use extman_model::clock;
use extman_model::{CheckKind, CheckOutcome};
use extman_runtime::instance::Instance;
use extman_runtime::loader::{CallContext, OutputLimits};
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(SAMPLES).measurement_time(MEASURED).warm_up_time(WARMED_UP);
    targets = probes
}
criterion_main!(benches);

fn probes(criterion: &mut Criterion) {
    let taken = plugins::take("bench-plugin");
    let raw = Arc::new(Raw::open(&taken.path));
    let mut group = criterion.benchmark_group("probe");
    inline(&mut group, &taken, &raw);
    through_threads(&mut group, &taken, &raw);
    group.bench_function("program started, /bin/true", |b| {
        b.iter(|| Command::new("/bin/true").status().expect("the program runs"));
    });
    group.finish();
}

fn inline(group: &mut BenchmarkGroup<'_, WallTime>, taken: &Taken, raw: &Raw) {
    group.bench_function("direct function call", |b| b.iter(direct));
    group.bench_function("bare vtable call", |b| b.iter(|| raw.check()));
    group.bench_function("bare vtable call, timed", |b| {
        b.iter(|| {
            let began = Instant::now();
            let report = raw.check();
            (report, began.elapsed())
        });
    });
    let (bound, context) = (fixture::bound(taken), CallContext::acquire().expect("a context"));
    group.bench_function("checked vtable call", |b| {
        b.iter(|| {
            let deadline = clock::monotonic().after(Duration::from_secs(1));
            context.open(Some(deadline), None, OutputLimits::default());
            bound.check(&context, CheckKind::Readiness).expect("an answer")
        });
    });
    drop(context);
}

#[inline(never)]
fn direct() -> Report {
    black_box(extman_abi::Report::BLANK)
}

fn through_threads(group: &mut BenchmarkGroup<'_, WallTime>, taken: &Taken, raw: &Arc<Raw>) {
    let (one, two) = (fixture::runtime(), fixture::runtime_of_two());
    let instance = Arc::new(one.block_on(fixture::instance(taken)));
    let (futex, channel, hop) = (FutexHop::new(), ChannelHop::new(), Arc::new(AsyncHop::new()));
    group.bench_function("futex hop, no call", |b| b.iter(|| futex.hop()));
    group.bench_function("channel hop, no call", |b| b.iter(|| channel.hop()));
    for (runtime, kind) in [(&one, "current-thread"), (&two, "multi-thread")] {
        group.bench_function(format!("async hop, no call, {kind} runtime"), |b| {
            b.iter_custom(|times| timed_in_turn(runtime, times, (&hop, hops), (&instance, on_a_lane)));
        });
        group.bench_function(format!("instance, own lane, {kind} runtime"), |b| {
            b.iter_custom(|times| timed_in_turn(runtime, times, (&instance, on_a_lane), (&hop, hops)));
        });
        group.bench_function(format!("spawn_blocking, bare vtable call, {kind} runtime"), |b| {
            b.iter_custom(|times| timed(runtime, raw, times, blocking));
        });
    }
}

async fn hops(hop: Arc<AsyncHop>) {
    hop.hop().await;
}

async fn on_a_lane(instance: Arc<Instance>) {
    let (outcome, _) = instance.check(CheckKind::Readiness, Duration::from_secs(1)).await;
    assert!(matches!(outcome, CheckOutcome::Answered { .. }), "{outcome:?}");
}

async fn blocking(raw: Arc<Raw>) {
    let report = tokio::task::spawn_blocking(move || raw.check()).await;
    black_box(report.expect("an answer"));
}
