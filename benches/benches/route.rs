//! What choosing costs a call: a call of a capability by a whole host with 1, 10 and 100 candidates, beside the same instance's own call, on one
//! attached thread. The first one comes before the others, or all are equals and the call goes by load, or the first one's breaker is open and
//! the next one serves. A breaker that is closed costs the same as one that is off: nobody tells it of a call that ends well.

use criterion::{Criterion, criterion_group, criterion_main};
use extman::config::Config;
use extman::control::{Command, Control};
use extman::{Host, InstanceConfig};
use extman_benches::timing::{MEASURED, SAMPLES, WARMED_UP};
use extman_benches::{fixture, plugins};
use extman_health::breaker::BreakerPolicy;
use extman_model::{MaintenanceAsked, clock};
use extman_runtime::lanes::Attached;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(SAMPLES).measurement_time(MEASURED).warm_up_time(WARMED_UP);
    targets = routes
}
criterion_main!(benches);

const BODY: &[u8] = br#"{"text":"Bonjour tout le monde"}"#;
const CAPABILITY: &str = "bench.small";

/// How the candidates stand to each other.
#[derive(Clone, Copy, PartialEq)]
enum Standing {
    OneFirst,
    Equal,
    FirstIsOpen,
}

fn routes(criterion: &mut Criterion) {
    let library = plugins::build("bench-plugin");
    let runtime = fixture::runtime_of_two();
    let attached = Attached::new().expect("a context");
    let mut group = criterion.benchmark_group("route");
    for (candidates, standing, name) in [
        (1, Standing::OneFirst, "1 candidate"),
        (10, Standing::OneFirst, "10 candidates"),
        (100, Standing::OneFirst, "100 candidates"),
        (10, Standing::Equal, "10 equals"),
        (100, Standing::Equal, "100 equals"),
        (
            10,
            Standing::FirstIsOpen,
            "10 candidates, the breaker of the first open",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let host = runtime.block_on(serving(folder.path(), &library, candidates, standing));
        let snapshot = host.snapshot();
        // The one that the host calls, or one of the equals.
        let called = match standing {
            Standing::FirstIsOpen => "candidate-1",
            Standing::OneFirst | Standing::Equal => "candidate-0",
        };
        let entry = snapshot.get(called).expect("it is there");
        let (instance, _) = entry.serving.as_ref().expect("it runs");
        group.bench_function(format!("an instance itself, beside {name}"), |b| {
            b.iter(|| {
                instance
                    .invoke_attached(&attached, black_box(CAPABILITY), BODY)
                    .expect("an answer")
            });
        });
        group.bench_function(name, |b| {
            b.iter(|| {
                host.invoke_attached(&attached, black_box(CAPABILITY), BODY)
                    .expect("an answer")
            });
        });
        drop((entry, snapshot));
        // The thread's locals may be the library's: it stays.
        runtime.block_on(host.shutdown());
    }
    group.finish();
}

/// A host with so many instances of the plugin.
async fn serving(folder: &Path, library: &Path, candidates: usize, standing: Standing) -> Host {
    let plugins = folder.join("plugins");
    std::fs::create_dir(&plugins).expect("a folder for plugins");
    std::fs::copy(library, plugins.join("libbench.so")).expect("the library is copied");
    let mut config = Config::default();
    // Maintenance is kept in the history.
    config.history.enabled = standing == Standing::FirstIsOpen;
    config.history.file = folder.join("history.db");
    config.state.dir = None;
    config.intake.discovery.settle_ms = 10;
    config.intake.trust.allow_world_writable = true;
    let named = |number: usize| InstanceConfig {
        name: Some(format!("candidate-{number}")),
        priority: i32::from(number == 0 && standing != Standing::Equal),
        ..InstanceConfig::default_for("bench-plugin")
    };
    config.instances = (0..candidates).map(named).collect();
    let builder = Host::builder().config(config).dir(plugins);
    let builder = builder.store_dir(folder.join("store")).vetting(false);
    let host = builder.build().await.expect("a host");
    host.wait_ready().await;
    if standing == Standing::FirstIsOpen {
        open_breaker(&host, "candidate-0").await;
    }
    host
}

/// For longer than the bench takes.
async fn open_breaker(host: &Host, name: &str) {
    let (instance, _) = host
        .snapshot()
        .get(name)
        .and_then(|entry| entry.serving.clone())
        .expect("it runs");
    let policy = BreakerPolicy {
        open_first: Duration::from_secs(3600),
        open_max: Duration::from_secs(3600),
        ..BreakerPolicy::default()
    };
    instance.breaker().trip(clock::monotonic(), &policy);
    // Who serves is chosen anew when one comes out of maintenance.
    let asked = MaintenanceAsked {
        for_ms: 60_000,
        reason: None,
    };
    let name = name.to_owned();
    let begin = Command::StartMaintenance {
        name: name.clone(),
        asked,
    };
    for command in [begin, Command::EndMaintenance { name }] {
        host.run(command).await.expect("it is done");
    }
}
