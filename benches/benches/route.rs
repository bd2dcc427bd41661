//! What choosing costs a call: a call of a capability by a whole host with 1, 10 and 100 candidates, its breaker on and off, beside the same
//! instance's own call, on one attached thread.

use criterion::{Criterion, criterion_group, criterion_main};
use extman::config::{BreakerConfig, Config, RoutingConfig};
use extman::{Host, InstanceConfig};
use extman_benches::timing::{MEASURED, SAMPLES, WARMED_UP};
use extman_benches::{fixture, plugins};
use extman_runtime::lanes::Attached;
use std::hint::black_box;
use std::path::Path;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(SAMPLES).measurement_time(MEASURED).warm_up_time(WARMED_UP);
    targets = routes
}
criterion_main!(benches);

const BODY: &[u8] = br#"{"text":"Bonjour tout le monde"}"#;
const CAPABILITY: &str = "bench.small";

fn routes(criterion: &mut Criterion) {
    let library = plugins::build("bench-plugin");
    let runtime = fixture::runtime_of_two();
    let attached = Attached::new().expect("a context");
    let mut group = criterion.benchmark_group("routing of a call, attached thread");
    for candidates in [1, 10, 100] {
        for enabled in [true, false] {
            let folder = tempfile::tempdir().expect("a folder");
            let host = runtime.block_on(serving(folder.path(), &library, candidates, enabled));
            let breaker = if enabled { "on" } else { "off" };
            group.bench_function(format!("{candidates} candidates, breaker {breaker}"), |b| {
                b.iter(|| {
                    host.invoke_attached(&attached, black_box(CAPABILITY), BODY)
                        .expect("an answer")
                });
            });
            let snapshot = host.snapshot();
            let entry = snapshot.get("candidate-0").expect("it is there");
            let (instance, _) = entry.serving.as_ref().expect("it runs");
            group.bench_function(
                format!("its instance itself, beside {candidates} and breaker {breaker}"),
                |b| {
                    b.iter(|| {
                        instance
                            .invoke_attached(&attached, black_box(CAPABILITY), BODY)
                            .expect("an answer")
                    });
                },
            );
            drop((entry, snapshot));
            // The thread's locals may be the library's: it stays.
            runtime.block_on(host.shutdown());
        }
    }
    group.finish();
}

/// A host with so many instances of the plugin, of which the first one serves.
async fn serving(folder: &Path, library: &Path, candidates: usize, enabled: bool) -> Host {
    let plugins = folder.join("plugins");
    std::fs::create_dir(&plugins).expect("a folder for plugins");
    std::fs::copy(library, plugins.join("libbench.so")).expect("the library is copied");
    let mut config = Config {
        routing: RoutingConfig {
            breaker: BreakerConfig {
                enabled,
                ..BreakerConfig::default()
            },
            ..RoutingConfig::default()
        },
        ..Config::default()
    };
    (config.history.enabled, config.state.dir) = (false, None);
    config.intake.discovery.settle_ms = 10;
    config.intake.trust.allow_world_writable = true;
    let named = |number: usize| InstanceConfig {
        name: Some(format!("candidate-{number}")),
        priority: i32::from(number == 0),
        ..InstanceConfig::default_for("bench-plugin")
    };
    config.instances = (0..candidates).map(named).collect();
    let builder = Host::builder().config(config).dir(plugins);
    let builder = builder.store_dir(folder.join("store")).vetting(false);
    let host = builder.build().await.expect("a host");
    host.wait_ready().await;
    host
}
