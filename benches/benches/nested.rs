//! A call that a plugin makes of another one, in a whole host, against the two calls that it consists of, each made by the host's own caller,
//! and turn about with them.

use criterion::{Criterion, criterion_group, criterion_main};
use extman::Host;
use extman_benches::timing::{MEASURED, SAMPLES, WARMED_UP, on_one_core, timed_in_turn};
use extman_benches::{fixture, plugins};
use extman_model::RequestExtras;
use extman_model::control::Invocation;
use std::hint::black_box;
use std::sync::Arc;
use tokio::runtime::Runtime;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(SAMPLES).measurement_time(MEASURED).warm_up_time(WARMED_UP);
    targets = nested
}
criterion_main!(benches);

/// A capability, and its input.
type Asked = (&'static str, &'static [u8]);

/// The relay answers by itself.
const ALONE: Asked = ("test.relay", b"nothing nobody\n12345678");
/// What the relay calls.
const OTHER: Asked = ("bench.small", b"12345678");
/// The relay calls it.
const NESTED: Asked = ("test.relay", b"call bench.small\n12345678");

fn nested(criterion: &mut Criterion) {
    let place = tempfile::tempdir().expect("a folder");
    let dir = place.path().join("plugins");
    std::fs::create_dir(&dir).expect("a folder for plugins");
    for package in ["relay", "bench-plugin"] {
        let library = plugins::build(package);
        let name = library.file_name().expect("a file");
        std::fs::copy(&library, dir.join(name)).expect("a copy");
    }
    let started = |runtime: &Runtime| {
        runtime.block_on(async {
            let store = place.path().join("store");
            let builder = Host::builder().dir(&dir).store_dir(store).vetting(false);
            let host = builder.build().await.expect("a host");
            host.wait_ready().await;
            call(&host, NESTED).await;
            Arc::new(host)
        })
    };
    let runtime = fixture::runtime_of_two();
    let host = started(&runtime);
    rows(criterion, "call within a call", &runtime, &host);
    runtime.block_on(host.shutdown());
    on_one_core(|| {
        let runtime = fixture::runtime();
        let host = started(&runtime);
        rows(
            criterion,
            "call within a call, all threads on one core",
            &runtime,
            &host,
        );
        runtime.block_on(host.shutdown());
    });
}

fn rows(criterion: &mut Criterion, group: &str, runtime: &Runtime, host: &Arc<Host>) {
    let mut group = criterion.benchmark_group(group);
    let nested = |host: Arc<Host>| async move { call(&host, NESTED).await };
    let direct = |host: Arc<Host>| async move {
        call(&host, ALONE).await;
        call(&host, OTHER).await;
    };
    group.bench_function("two calls, one after the other", |b| {
        b.iter_custom(|times| timed_in_turn(runtime, times, (host, direct), (host, nested)));
    });
    group.bench_function("one call that makes the other", |b| {
        b.iter_custom(|times| timed_in_turn(runtime, times, (host, nested), (host, direct)));
    });
    group.finish();
}

async fn call(host: &Host, (capability, input): Asked) {
    let invocation = Invocation {
        capability: capability.to_owned(),
        instance: None,
        content_type: "application/json".to_owned(),
        body: input.to_vec(),
        timeout: None,
        extras: RequestExtras::NONE,
    };
    black_box(host.invoke_raw(invocation).await.expect("an answer"));
}
