//! What a probe costs all in when the engine goes over many instances: choosing who is due, the call, and all that follows
//! from the answer.

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use extman::probing::Target;
use extman_benches::engine::{self, Stopwatch};
use extman_benches::figures::Asked;
use extman_benches::raw::Raw;
use extman_benches::timing::{MEASURED, SAMPLES, WARMED_UP};
use extman_benches::{fixture, plugins};
use extman_model::{CheckKind, clock};
use extman_runtime::loader::{CallContext, OutputLimits};
use std::sync::Arc;
use std::time::{Duration, Instant};

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(SAMPLES).measurement_time(MEASURED).warm_up_time(WARMED_UP);
    targets = probes
}
criterion_main!(benches);

/// The shortest period that the engine takes.
const PERIOD: Duration = Duration::from_millis(10);
/// A sample is over so many probes at least.
const PROBES: u64 = 1000;

fn probes(criterion: &mut Criterion) {
    let (taken, asked) = (plugins::take("bench-plugin"), Asked::from_args());
    let raw = Raw::open(&taken.path);
    let mut group = criterion.benchmark_group("probe, many instances");
    group.bench_function("bare vtable call, timed", |b| {
        b.iter(|| {
            let began = Instant::now();
            let report = raw.check();
            (report, began.elapsed())
        });
    });
    let others = raw.more(asked.count(10_000));
    let mut in_turn = others.iter().cycle();
    group.bench_function("bare vtable call, timed, 10,000 instances in turn", |b| {
        b.iter(|| {
            let one = in_turn.next().expect("a cycle has no end");
            let began = Instant::now();
            (one.check(), began.elapsed())
        });
    });
    // What the host promises of a check, of as many instances in turn as it asks, and nobody who chooses, judges or keeps anything.
    let bound = fixture::bound_many(&taken, asked.count(10_000));
    let context = CallContext::acquire().expect("a context");
    let mut in_turn = bound.iter().cycle();
    let mut ended = clock::monotonic();
    group.bench_function("checked vtable call, one stamp, 10,000 instances in turn", |b| {
        b.iter(|| {
            let deadline = ended.after(Duration::from_secs(1));
            context.open(Some(deadline), None, OutputLimits::default());
            let bound = in_turn.next().expect("a cycle has no end");
            let said = bound.check(&context, CheckKind::Readiness).expect("an answer");
            ended = clock::monotonic();
            said
        });
    });
    for bound in bound {
        let call = context.open(None, None, OutputLimits::default());
        bound.destroy(call).expect("it is destroyed");
    }
    drop(context);
    for (count, name) in [
        (100, "engine, 100 instances"),
        (1000, "engine, 1,000 instances"),
        (10_000, "engine, 10,000 instances"),
    ] {
        let count = asked.count(count);
        row(&mut group, name, || {
            fixture::runtime().block_on(engine::instances(&taken, count))
        });
    }
    let count = asked.count(100_000);
    row(&mut group, "engine, 100,000 stand-ins", || {
        engine::stand_ins(count)
    });
    group.finish();
}

fn row(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, make: impl Fn() -> Vec<Arc<dyn Target>>) {
    let (runtime, watch) = (fixture::runtime_of_two(), Arc::new(Stopwatch::default()));
    let mut started = None;
    group.bench_function(name, |b| {
        // Once for all samples, and only if it is measured: what is asked is what an engine does that has run for a while.
        started.get_or_insert_with(|| {
            let engine = engine::start(&runtime);
            engine.change(engine::subjects(watch.on(make()), engine::every(PERIOD)), []);
            watch.mean_of(PROBES);
            engine
        });
        // How often it is asked is the engine's affair; so is how many make a sample.
        b.iter_custom(|times| {
            let nanos = watch.mean_of(PROBES).as_nanos() as u64;
            Duration::from_nanos(nanos.saturating_mul(times))
        });
    });
    if let Some(engine) = started {
        engine::end(&engine);
    }
}
