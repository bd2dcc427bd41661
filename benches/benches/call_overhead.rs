//! What counting costs: an instance's account of a call alone, beside the call without and with it. Accounting can't be
//! switched off, so the row without it is the checked call that an instance's call is made of. How long code ran takes two readings of
//! the clock, whoever counts: the bare call with these alone is the floor of all rows that are counted.

use criterion::{Criterion, criterion_group, criterion_main};
use extman::Host;
use extman::config::Config;
use extman_benches::raw::Raw;
use extman_benches::timing::{MEASURED, SAMPLES, WARMED_UP};
use extman_benches::{fixture, plugins};
use extman_model::{RequestExtras, clock};
use extman_runtime::lanes::Attached;
use extman_runtime::loader::{CallContext, Input, OutputLimits};
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(SAMPLES).measurement_time(MEASURED).warm_up_time(WARMED_UP);
    targets = accounts
}
criterion_main!(benches);

const BODY: &[u8] = br#"{"text":"Bonjour tout le monde"}"#;
const CAPABILITY: &str = "bench.small";

fn accounts(criterion: &mut Criterion) {
    let taken = plugins::take("bench-plugin");
    let (raw, bound) = (Raw::open(&taken.path), fixture::bound(&taken));
    let (runtime, folders) = (fixture::runtime_of_two(), tempfile::tempdir().expect("a folder"));
    let instance = runtime.block_on(fixture::instance(&taken));
    let mut group = criterion.benchmark_group("accounting of a call");
    group.bench_function("bare vtable call", |b| {
        b.iter(|| {
            let mut output = Vec::new();
            raw.invoke(black_box(CAPABILITY), BODY, &mut output);
            output
        });
    });
    group.bench_function("bare vtable call, two readings of the clock", |b| {
        b.iter(|| {
            let began = clock::monotonic();
            let mut output = Vec::new();
            raw.invoke(black_box(CAPABILITY), BODY, &mut output);
            (output, clock::monotonic().since(began))
        });
    });
    group.bench_function("accounts alone: begun, returned, ended", |b| {
        b.iter(|| {
            let counted = instance.accounts().begin();
            instance.accounts().returned(black_box(Duration::from_nanos(40)));
            counted.end(None, false);
        });
    });
    let context = CallContext::acquire().expect("a context");
    group.bench_function("checked vtable call, not counted", |b| {
        b.iter(|| {
            let deadline = clock::monotonic().after(Duration::from_secs(30));
            let token = context.open(Some(deadline), None, OutputLimits::default());
            let input = Input {
                capability: black_box(CAPABILITY),
                content_type: "application/json",
                body: BODY,
                stream: false,
                extras: &RequestExtras::NONE,
            };
            let returned = bound.invoke(token, input);
            assert!(returned.result.is_ok());
            context.close().body
        });
    });
    drop(context);
    let attached = Attached::new().expect("a context");
    group.bench_function("instance, attached thread, counted", |b| {
        b.iter(|| {
            instance
                .invoke_attached(&attached, black_box(CAPABILITY), BODY)
                .expect("an answer")
        });
    });
    let host = runtime.block_on(serving(&folders, &taken.path));
    group.bench_function("whole host, attached thread, counted", |b| {
        b.iter(|| {
            host.invoke_attached(&attached, black_box(CAPABILITY), BODY)
                .expect("an answer")
        });
    });
    group.finish();
    // The thread's locals may be the library's: it stays.
    runtime.block_on(host.shutdown());
}

/// A host that serves the plugin.
async fn serving(folders: &TempDir, library: &Path) -> Host {
    let plugins = folders.path().join("plugins");
    std::fs::create_dir(&plugins).expect("a folder for plugins");
    std::fs::copy(library, plugins.join("libbench.so")).expect("the library is copied");
    let mut config = Config::default();
    config.history.enabled = false;
    config.intake.discovery.settle_ms = 10;
    config.intake.trust.allow_world_writable = true;
    let builder = Host::builder().config(config).dir(plugins);
    let builder = builder.store_dir(folders.path().join("store")).vetting(false);
    let host = builder.build().await.expect("a host");
    host.wait_ready().await;
    host
}
