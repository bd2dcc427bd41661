//! The supervisor alone, without a host around it: what it publishes, and when.

use extman_intake::Arrived;
use extman_model::{CallError, ErrorKind, Lifecycle};
use extman_runtime::instance::Call;
use extman_runtime::lanes::PoolLimits;
use extman_runtime::loader::{Answering, Frames, NoAnswer, Task};
use extman_runtime::module::ModuleBudgets;
use extman_runtime::registry::Registry;
use extman_runtime::supervisor::{
    CallRouter, Caller, Configured, Events, Outcome, Request, Requests, Services, Supervisor,
};
use extman_runtime::vetting::{Vetting, VettingConfig};
use extman_tests::{Bench, build, until_async};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// Serves no calls that instances make of each other.
struct NoRouter;

impl CallRouter for NoRouter {
    fn route(&self, _: &Caller, _: Call, _: Option<Arc<Frames>>) -> Answering {
        let error = CallError::new(ErrorKind::Unavailable, "nobody serves here");
        Box::pin(std::future::ready(Err(NoAnswer::Failed(error))))
    }

    fn spawn(&self, _: Task) {}

    fn panicked(&self, _: &Caller) {}
}

/// A supervisor that runs.
struct Supervised {
    requests: Requests,
    registry: Arc<Registry>,
    publications: Arc<AtomicUsize>,
}

impl Supervised {
    fn start(bench: &Bench) -> Self {
        let (requests, received) = Requests::channel();
        let registry = Arc::new(Registry::default());
        let publications = Arc::new(AtomicUsize::new(0));
        let counting = publications.clone();
        registry.on_publish(move |_| {
            counting.fetch_add(1, Ordering::SeqCst);
        });
        let off = VettingConfig {
            enabled: false,
            ..VettingConfig::default()
        };
        let services = Services {
            vetting: Vetting::new(off, bench.folder().join("vetting")),
            observer: Arc::new(requests.clone()),
            pool: PoolLimits::default(),
            budgets: ModuleBudgets::default(),
            state_dir: Some(bench.folder().join("state")),
            modules: Default::default(),
            calls: Arc::new(NoRouter),
        };
        let supervisor = Supervisor::new(
            Configured::default(),
            Arc::new(services),
            registry.clone(),
            Events::new(64),
            requests.clone(),
        );
        tokio::spawn(supervisor.run(received));
        Supervised {
            requests,
            registry,
            publications,
        }
    }

    /// What comes of a command. Whatever was requested before has been handled by then.
    async fn command(&self, request: impl FnOnce(oneshot::Sender<Outcome>) -> Request) -> Outcome {
        let (reply, replied) = oneshot::channel();
        assert!(self.requests.make(request(reply)), "it runs");
        replied.await.expect("it answers")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_that_find_the_same_files_publish_nothing() {
    let bench = Bench::new();
    let plugin = bench.verified(&build::c_plugin("minimal-c"));
    let name = plugin.manifest().plugin.id.clone();
    let supervised = Supervised::start(&bench);
    let arrived = || {
        let plugins = [(plugin.origin().to_owned(), plugin.clone())];
        Request::Arrived(Box::new(Arrived {
            plugins: plugins.into_iter().collect(),
            ..Arrived::default()
        }))
    };
    supervised.requests.make(arrived());
    until_async("it runs", || {
        let entry = supervised.registry.snapshot().get(&name);
        entry.is_some_and(|entry| entry.lifecycle == Lifecycle::Running)
    })
    .await;
    let before = supervised.publications.load(Ordering::SeqCst);
    for _ in 0..10 {
        supervised.requests.make(arrived());
    }
    let nobody = supervised
        .command(|reply| Request::Load("nobody".to_owned(), reply))
        .await;
    assert!(nobody.is_err());
    assert_eq!(supervised.publications.load(Ordering::SeqCst), before);

    let (reply, ended) = oneshot::channel();
    supervised
        .requests
        .make(Request::Shutdown(reply, Duration::from_secs(60)));
    let verdicts = ended.await.expect("it ends");
    assert!(
        verdicts.iter().all(|(_, verdict)| verdict.is_unmapped()),
        "{verdicts:?}"
    );
    assert!(supervised.registry.snapshot().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_gone_and_back_at_once_runs_and_is_listed() {
    let bench = Bench::new();
    let plugin = bench.verified(&build::c_plugin("minimal-c"));
    let name = plugin.manifest().plugin.id.clone();
    let supervised = Supervised::start(&bench);
    let arrived = |there: bool| {
        let plugins = there.then(|| (plugin.origin().to_owned(), plugin.clone()));
        Request::Arrived(Box::new(Arrived {
            plugins: plugins.into_iter().collect(),
            ..Arrived::default()
        }))
    };
    let stopped = || async {
        supervised
            .command(|reply| Request::Unload(name.clone(), reply))
            .await
    };
    supervised.requests.make(arrived(true));
    until_async("it is known", || {
        supervised.registry.snapshot().get(&name).is_some()
    })
    .await;
    stopped().await.expect("it is unloaded");
    // It is stopped, so it is forgotten at once, and another one of that name comes within the same batch or the next.
    supervised.requests.make(arrived(false));
    supervised.requests.make(arrived(true));
    until_async("it runs", || {
        let entry = supervised.registry.snapshot().get(&name);
        entry.is_some_and(|entry| entry.lifecycle == Lifecycle::Running)
    })
    .await;
    stopped().await.expect("it is unloaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_comes_has_nothing_published_of_other_instances() {
    let bench = Bench::new();
    let plugins = ["minimal-c", "hash-embedder"].map(|name| bench.verified(&build::c_plugin(name)));
    let supervised = Supervised::start(&bench);
    let arrived = |count: usize| {
        let there = plugins[..count].iter();
        let there = there.map(|plugin| (plugin.origin().to_owned(), plugin.clone()));
        Request::Arrived(Box::new(Arrived {
            plugins: there.collect(),
            ..Arrived::default()
        }))
    };
    let runs = |at: usize| {
        let name = &plugins[at].manifest().plugin.id;
        let entry = supervised.registry.snapshot().get(name);
        entry.is_some_and(|entry| entry.lifecycle == Lifecycle::Running)
    };
    supervised.requests.make(arrived(1));
    until_async("the first runs", || runs(0)).await;
    let published = |at: usize| {
        let entry = supervised
            .registry
            .snapshot()
            .get(&plugins[at].manifest().plugin.id);
        entry.expect("it is there")
    };
    let before = published(0);
    supervised.requests.make(arrived(2));
    until_async("the second runs", || runs(1)).await;
    assert!(
        Arc::ptr_eq(&before, &published(0)),
        "the first is published as it was"
    );
    for plugin in &plugins {
        let name = plugin.manifest().plugin.id.clone();
        let stopped = supervised.command(|reply| Request::Unload(name, reply)).await;
        stopped.expect("it is unloaded");
    }
}
