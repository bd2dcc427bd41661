//! Whose threads checks run on: a library's own, and no other's.

use extman::probing::{Engine, Subject};
use extman_health::policy::Policy;
use extman_model::{CheckOutcome, Health, Lifecycle, Verdict};
use extman_runtime::instance::{Instance, InstanceSettings};
use extman_runtime::module::Module;
use extman_tests::{Bench, build, call, until_async};
use std::sync::Arc;
use std::time::Duration;

/// Two libraries of `checks`, with an instance each that the engine asks often.
struct Two {
    bench: Bench,
    engine: Engine,
}

const LONG: Duration = Duration::from_secs(60);

fn often() -> Arc<Policy> {
    Arc::new(Policy {
        interval: Duration::from_millis(20),
        recheck: Duration::from_millis(20),
        stale_intervals: 250,
        ..Policy::default()
    })
}

fn subject(name: &str, instance: &Arc<Instance>, module: &Module, policy: Arc<Policy>) -> Subject {
    Subject {
        name: name.into(),
        policy,
        lifecycle: Lifecycle::Running,
        target: Some((instance.clone(), module.generation())),
        maintenance: false,
        suppressed_by: None,
    }
}

fn said(engine: &Engine, name: &str) -> Option<String> {
    match engine.view(name)?.check?.outcome {
        CheckOutcome::Answered { report } => report?.text,
        _ => None,
    }
}

fn checks_of(engine: &Engine, name: &str) -> usize {
    engine.view(name).map_or(0, |seen| seen.latencies_ns.len())
}

impl Two {
    fn new() -> Self {
        let bench = Bench::new();
        let engine = bench.engine();
        Two { bench, engine }
    }

    async fn asked(&self, name: &str, config: &str) -> (Arc<Module>, Arc<Instance>) {
        let module = self.bench.module(&build::c_fault("checks")).await;
        let instance = self
            .bench
            .started(&module, config, InstanceSettings::default())
            .await;
        let instance = Arc::new(instance);
        self.engine.put(subject(name, &instance, &module, often()));
        (module, instance)
    }

    async fn unloaded(&self, name: &str, instance: Arc<Instance>, module: Arc<Module>) -> Verdict {
        self.engine.remove(name);
        until_async("the engine lets go of it", || Arc::strong_count(&instance) == 1).await;
        let instance = Arc::into_inner(instance).unwrap();
        self.bench.finished(instance, module).await
    }

    async fn end(self) {
        tokio::task::spawn_blocking(move || self.engine.shutdown())
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_hangs_holds_up_the_unload_of_no_other_library() {
    let two = Two::new();
    let (beside_module, beside) = two.asked("beside", "").await;
    let release = two.bench.folder().join("release");
    let begun = two.bench.folder().join("release.begun");
    let config = format!("hang:{};", release.display());
    until_async("it was asked", || checks_of(&two.engine, "beside") > 3).await;
    let (module, hanging) = two.asked("hanging", &config).await;
    until_async("the other one hangs", || begun.exists()).await;
    let then = checks_of(&two.engine, "beside");
    assert!(then > 0);
    let verdict = two.unloaded("beside", beside, beside_module).await;
    assert_eq!(verdict, Verdict::Unmapped);
    assert!(begun.exists() && !release.exists(), "it still hangs");
    std::fs::write(&release, "").unwrap();
    until_async("its check has come back", || hanging.inside() == 0).await;
    let verdict = two.unloaded("hanging", hanging, module).await;
    assert_eq!(verdict, Verdict::Unmapped);
    two.end().await;
}

/// The priority that threads of this process begin with: field 19 of proc(5).
fn own_priority() -> i32 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    after_name
        .split_ascii_whitespace()
        .nth(16)
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thread_state_that_a_check_leaves_reaches_no_other_library() {
    let two = Two::new();
    let (_module, _spoils) = two.asked("spoils", "spoil;").await;
    let spoilt = || said(&two.engine, "spoils").is_some_and(|text| text.contains("spoiled"));
    until_async("it finds its own thread as it has left it", spoilt).await;
    let (_other, neighbour) = two.asked("neighbour", "").await;
    until_async("the neighbour is asked, again and again", || {
        checks_of(&two.engine, "neighbour") > 10
    })
    .await;
    let found = said(&two.engine, "neighbour").unwrap();
    let priority = format!("nice={}", own_priority());
    let clean = |text: &str| {
        let usual = ["mxcsr=0000", "blocked=0", &priority];
        usual.iter().all(|word| text.contains(word)) && !text.contains("spoiled")
    };
    assert!(clean(&found), "{found}");
    let reply = neighbour.invoke(call("c.echo", ""), None).await.unwrap();
    let found = String::from_utf8(reply.body).unwrap();
    assert!(clean(&found), "{found}");
    let (deep, _) = neighbour.check(extman_model::CheckKind::Deep, LONG).await;
    let CheckOutcome::Answered { report: Some(report) } = deep else {
        panic!("{deep:?}")
    };
    assert!(clean(&report.text.unwrap()));
    two.end().await;
}

/// Ten libraries with ten instances each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_plugins_whose_check_takes_half_a_second_are_all_up() {
    let bench = Bench::new();
    let engine = bench.engine();
    let policy = Arc::new(Policy::default());
    let mut kept = Vec::new();
    for library in 0..10 {
        let module = bench.module(&build::c_fault("checks")).await;
        for number in 0..10 {
            let instance = bench
                .started(&module, "sleep;", InstanceSettings::default())
                .await;
            let instance = Arc::new(instance);
            let name = format!("plugin-{library}-{number}");
            engine.put(subject(&name, &instance, &module, policy.clone()));
            kept.push((module.clone(), instance));
        }
    }
    let all = |holds: &dyn Fn(&extman::probing::Seen) -> bool| engine.views().iter().all(holds);
    until_async("each has answered twice", || {
        all(&|seen| seen.latencies_ns.len() >= 2)
    })
    .await;
    let not_up: Vec<_> = engine
        .views()
        .into_iter()
        .filter(|seen| seen.judged.health != Health::Up || seen.recent.iter().any(|was| *was != Health::Up))
        .map(|seen| format!("{} is {:?}, was {:?}", seen.name, seen.judged, seen.recent))
        .collect();
    assert!(not_up.is_empty(), "{} of 100: {not_up:#?}", not_up.len());
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lane_that_hangs_in_a_check_costs_its_own_library_no_other_check_and_no_call() {
    let bench = Bench::new();
    let engine = bench.engine();
    let module = bench.module(&build::c_fault("checks")).await;
    let release = bench.folder().join("release");
    let begun = bench.folder().join("release.begun");
    let hang = format!("hang:{};", release.display());
    let mut kept = Vec::new();
    for (name, config) in [("a", ""), ("hanging", hang.as_str()), ("b", "")] {
        let instance = Arc::new(bench.started(&module, config, InstanceSettings::default()).await);
        engine.put(subject(name, &instance, &module, often()));
        kept.push(instance);
    }
    until_async("one hangs", || begun.exists()).await;
    let checks = engine.stats().counts.checks;
    until_async("the others are asked on", || {
        engine.stats().counts.checks > checks + 20
    })
    .await;
    assert!(kept[0].invoke(call("c.echo", ""), None).await.is_ok());
    for name in ["a", "b"] {
        assert_eq!(engine.view(name).unwrap().judged.health, Health::Up);
    }
    std::fs::write(&release, "").unwrap();
    until_async("it is up", || {
        engine.view("hanging").unwrap().judged.health == Health::Up
    })
    .await;
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
    let mut instances = kept.into_iter();
    let last = Arc::into_inner(instances.next().unwrap()).unwrap();
    for instance in instances {
        instance.destroy().await.unwrap();
    }
    assert_eq!(bench.finished(last, module).await, Verdict::Unmapped);
}
