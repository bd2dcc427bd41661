//! What counting costs: an instance's account of a call alone, beside the call without and with it. Accounting can't be
//! switched off, so the row without it is the checked call that an instance's call is made of.

use criterion::{Criterion, criterion_group, criterion_main};
use extman_benches::raw::Raw;
use extman_benches::timing::{MEASURED, SAMPLES, WARMED_UP};
use extman_benches::{fixture, plugins};
use extman_model::{RequestExtras, clock};
use extman_runtime::lanes::Attached;
use extman_runtime::loader::{CallContext, Input, OutputLimits};
use std::hint::black_box;
use std::time::Duration;

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
    let instance = fixture::runtime().block_on(fixture::instance(&taken));
    let mut group = criterion.benchmark_group("accounting of a call");
    group.bench_function("bare vtable call", |b| {
        b.iter(|| {
            let mut output = Vec::new();
            raw.invoke(black_box(CAPABILITY), BODY, &mut output);
            output
        });
    });
    group.bench_function("accounts alone: begun, returned, ended", |b| {
        b.iter(|| {
            let counted = instance.accounts().begin();
            instance.accounts().returned(black_box(Duration::from_nanos(40)));
            counted.end(None);
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
    group.finish();
}
