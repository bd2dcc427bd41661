//! Plugins asked once a second each: by the engine, and as it is usually done.

use extman::probing::Target;
use extman_benches::engine;
use extman_benches::figures::{Asked, Figure};
use extman_benches::fixture;
use extman_benches::paced::{self, Meter};
use extman_benches::plugins::{self, Taken};
use extman_benches::raw::Raw;
use std::sync::Arc;
use std::time::Duration;

const GROUP: &str = "probe, once a second each";

fn main() {
    let (asked, taken) = (Asked::from_args(), plugins::take("bench-plugin"));
    for (count, words) in [(100, "100"), (1000, "1,000"), (10_000, "10,000")] {
        asked.row(GROUP, &format!("engine, {words} instances"), |asked| {
            let count = asked.count(count);
            by_engine(
                asked,
                fixture::runtime().block_on(engine::instances(&taken, count)),
            )
        });
        asked.row(
            GROUP,
            &format!("task and spawn_blocking each, {words} plugins"),
            |asked| by_tasks(asked, &taken, asked.count(count)),
        );
    }
    asked.row(
        GROUP,
        "a thread and a lane, bare calls of 10,000 instances, timed",
        |asked| by_ticks(asked, &taken, asked.count(10_000)),
    );
    asked.row(GROUP, "engine, 100,000 stand-ins", |asked| {
        by_engine(asked, engine::stand_ins(asked.count(100_000)))
    });
    for (count, words) in [(100, "100"), (1000, "1,000")] {
        asked.row(
            GROUP,
            &format!("engine, {words} libraries of one instance"),
            |asked| {
                let count = asked.count(count);
                by_engine(asked, engine::stand_ins_of(count, count))
            },
        );
    }
    for takes_ms in [50, 500] {
        asked.row(
            GROUP,
            &format!("engine, 100 libraries whose check takes {takes_ms} ms"),
            |asked| {
                let (takes, count) = (Duration::from_millis(takes_ms), asked.count(100));
                by_engine(asked, engine::stand_ins_that_take(takes, count, count))
            },
        );
    }
    for (count, words) in [(100, "100"), (1000, "1,000")] {
        asked.row(
            GROUP,
            &format!("gRPC health over a Unix socket, {words} plugins"),
            |asked| by_grpc(asked, asked.count(count)),
        );
    }
}

fn stretch(asked: &Asked) -> Duration {
    Duration::from_millis(if asked.measures() { 4000 } else { 20 })
}

fn by_engine(asked: &Asked, targets: Vec<Arc<dyn Target>>) -> Vec<Figure> {
    let (runtime, count) = (fixture::runtime_of_two(), targets.len());
    let engine = engine::start(&runtime);
    engine.change(engine::subjects(targets, engine::every(paced::PERIOD)), []);
    let figures = paced::measure(count, stretch(asked), || {
        (engine.stats().counts.checks, engine.take_lag())
    });
    engine::end(&engine);
    figures
}

fn by_ticks(asked: &Asked, taken: &Taken, count: usize) -> Vec<Figure> {
    let (raw, meter) = (Raw::open(&taken.path), Arc::new(Meter::default()));
    let instances = raw.more(count);
    std::thread::scope(|scope| {
        let of_thread = meter.clone();
        scope.spawn(|| paced::by_ticks(&instances, of_thread));
        let figures = paced::measure(count, stretch(asked), || meter.read());
        drop(meter);
        figures
    })
}

fn by_tasks(asked: &Asked, taken: &Taken, count: usize) -> Vec<Figure> {
    let (runtime, meter) = (fixture::runtime_of_two(), Arc::new(Meter::default()));
    let raw = Arc::new(Raw::open(&taken.path));
    runtime.block_on(paced::tasks(count, raw, meter.clone()));
    let figures = paced::measure(count, stretch(asked), || meter.read());
    runtime.shutdown_timeout(Duration::from_secs(10));
    figures
}

fn by_grpc(asked: &Asked, count: usize) -> Vec<Figure> {
    let (runtime, meter) = (fixture::runtime_of_two(), Arc::new(Meter::default()));
    let folder = tempfile::tempdir().expect("a temporary folder");
    runtime.block_on(paced::grpc(count, &folder.path().join("health"), meter.clone()));
    let figures = paced::measure(count, stretch(asked), || meter.read());
    runtime.shutdown_timeout(Duration::from_secs(10));
    figures
}
