//! One call, from a function in the same program to a thread of tokio's blocking pool.

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use extman_benches::hop::{AsyncHop, ChannelHop, FutexHop};
use extman_benches::plugins::Taken;
use extman_benches::raw::Raw;
use extman_benches::timing::{MEASURED, SAMPLES, WARMED_UP, on_one_core, timed, timed_in_turn};
use extman_benches::{fixture, plugins};

use extman_runtime::crash;
use extman_runtime::instance::Instance;
use extman_runtime::lanes::Attached;
use extman_runtime::loader::{CallContext, PluginInstance};
use std::hint::black_box;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Input of every call.
const BODY: &[u8] = br#"{"text":"Bonjour tout le monde"}"#;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(SAMPLES).measurement_time(MEASURED).warm_up_time(WARMED_UP);
    targets = calls
}
criterion_main!(benches);

struct Subjects {
    raw: Arc<Raw>,
    bound: Arc<PluginInstance>,
    /// As `bound`, and listed in the crash journal.
    noted: Arc<PluginInstance>,
    instance: Arc<Instance>,
    one: Runtime,
    two: Runtime,
}

fn calls(criterion: &mut Criterion) {
    let taken = plugins::take("bench-plugin");
    let one = fixture::runtime();
    let bound = fixture::bound(&taken);
    // From here on everything is as it is in the program.
    let state = tempfile::tempdir().expect("a directory");
    crash::begin(state.path()).expect("a crash journal");
    let subjects = Subjects {
        raw: Arc::new(Raw::open(&taken.path)),
        bound,
        noted: fixture::bound_and_noted(&taken),
        instance: Arc::new(one.block_on(fixture::instance(&taken))),
        one,
        two: fixture::runtime_of_two(),
    };
    let mut group = criterion.benchmark_group("call, 8 bytes back");
    least(&mut group, &subjects);
    inline(&mut group, &subjects, "bench.small");
    hops(&mut group);
    through_threads(&mut group, &subjects, "bench.small");
    group.finish();
    let mut group = criterion.benchmark_group("call, 200 bytes of JSON back");
    inline(&mut group, &subjects, "bench.json");
    hops(&mut group);
    through_threads(&mut group, &subjects, "bench.json");
    group.finish();
    one_core(criterion, &taken, &subjects.raw);
}

fn least(group: &mut BenchmarkGroup<'_, WallTime>, subjects: &Subjects) {
    group.bench_function("direct function call", |b| b.iter(|| direct(black_box(BODY))));
    group.bench_function("C function of the library, held pointer", |b| {
        b.iter(|| subjects.raw.small());
    });
}

#[inline(never)]
fn direct(input: &[u8]) -> u64 {
    black_box(input.len() as u64)
}

fn inline(group: &mut BenchmarkGroup<'_, WallTime>, subjects: &Subjects, capability: &str) {
    group.bench_function("bare vtable call", |b| {
        b.iter(|| bare(&subjects.raw, black_box(capability)));
    });
    let context = CallContext::acquire().expect("a context");
    let checked = [
        ("checked vtable call", &subjects.bound),
        ("checked vtable call, in the crash journal", &subjects.noted),
    ];
    for (name, bound) in checked {
        group.bench_function(name, |b| {
            b.iter(|| fixture::checked_call(bound, &context, capability, BODY));
        });
    }
    drop(context);
    let attached = Attached::new().expect("a context");
    group.bench_function("instance, attached thread", |b| {
        b.iter(|| {
            subjects
                .instance
                .invoke_attached(&attached, black_box(capability), BODY)
                .expect("an answer")
        });
    });
}

fn bare(raw: &Raw, capability: &str) -> Vec<u8> {
    let mut output = Vec::new();
    raw.invoke(capability, BODY, &mut output);
    output
}

fn hops(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (futex, channel) = (FutexHop::new(), ChannelHop::new());
    group.bench_function("futex hop, no call", |b| b.iter(|| futex.hop()));
    group.bench_function("channel hop, no call", |b| b.iter(|| channel.hop()));
}

fn through_threads(group: &mut BenchmarkGroup<'_, WallTime>, subjects: &Subjects, capability: &'static str) {
    let (raw, instance) = (&subjects.raw, &subjects.instance);
    through_lane(group, instance, capability, (&subjects.one, "current-thread"));
    through_lane(group, instance, capability, (&subjects.two, "multi-thread"));
    through_pool(group, raw, capability, (&subjects.one, "current-thread"));
    through_pool(group, raw, capability, (&subjects.two, "multi-thread"));
}

fn through_lane(
    group: &mut BenchmarkGroup<'_, WallTime>,
    instance: &Arc<Instance>,
    capability: &'static str,
    (runtime, kind): (&Runtime, &str),
) {
    let hop = &Arc::new(AsyncHop::new());
    let hops = |hop: Arc<AsyncHop>| async move { hop.hop().await };
    let calls = move |instance: Arc<Instance>| async move {
        let returned = instance.invoke(fixture::call(capability, BODY), None).await;
        black_box(returned.expect("an answer"));
    };
    group.bench_function(format!("async hop, no call, {kind} runtime"), |b| {
        b.iter_custom(|times| timed_in_turn(runtime, times, (hop, hops), (instance, calls)));
    });
    group.bench_function(format!("instance, lane, {kind} runtime"), |b| {
        b.iter_custom(|times| timed_in_turn(runtime, times, (instance, calls), (hop, hops)));
    });
}

fn through_pool(
    group: &mut BenchmarkGroup<'_, WallTime>,
    raw: &Arc<Raw>,
    capability: &'static str,
    (runtime, kind): (&Runtime, &str),
) {
    let blocking = move |raw: Arc<Raw>| async move {
        let output = tokio::task::spawn_blocking(move || bare(&raw, capability)).await;
        black_box(output.expect("an answer"));
    };
    group.bench_function(format!("spawn_blocking, bare vtable call, {kind} runtime"), |b| {
        b.iter_custom(|times| timed(runtime, raw, times, blocking));
    });
}

/// With threads and lanes of its own, which are started there.
fn one_core(criterion: &mut Criterion, taken: &Taken, raw: &Arc<Raw>) {
    let mut group = criterion.benchmark_group("call, 8 bytes back, all threads on one core");
    on_one_core(|| {
        let runtime = fixture::runtime();
        let instance = Arc::new(runtime.block_on(fixture::instance(taken)));
        let kind = (&runtime, "current-thread");
        hops(&mut group);
        through_lane(&mut group, &instance, "bench.small", kind);
        through_pool(&mut group, raw, "bench.small", kind);
    });
    group.finish();
}
