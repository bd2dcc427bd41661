//! Heap that the host has in use for each instance, besides what the plugin has, which has an allocator of its own.

use extman::probing::{self, Engine};
use extman_benches::figures::{Asked, Figure};
use extman_benches::{engine, fixture, plugins};
use extman_plugin_api::sdk::alloc::{CountingAllocator, usage};
use extman_runtime::instance::Instance;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const GROUP: &str = "memory of an instance";
const BYTES: &str = "bytes an instance";
const PARTS: &str = "memory of an instance, by part";

fn main() {
    let asked = Asked::from_args();
    for (count, words) in [(10_000, "10,000"), (100_000, "100,000")] {
        asked.row(GROUP, &format!("engine alone, {words} instances"), |asked| {
            let (runtime, targets) = (fixture::runtime(), engine::stand_ins(asked.count(count)));
            let (before, count) = (usage().bytes, targets.len());
            let engine = engine::start(&runtime);
            engine.change(
                engine::subjects(targets, engine::every(Duration::from_millis(100))),
                [],
            );
            figure(&engine, before, count)
        });
    }
    let mut whole = None;
    asked.row(GROUP, "engine and instance, 10,000 instances", |asked| {
        let (runtime, taken) = (fixture::runtime(), plugins::take("bench-plugin"));
        // What a module has once: its library, and its lanes.
        let first = runtime.block_on(engine::instances(&taken, 1));
        let (before, count) = (usage().bytes, asked.count(10_000));
        let engine = engine::start(&runtime);
        let targets = runtime.block_on(engine::instances(&taken, count));
        engine.change(
            engine::subjects(targets, engine::every(Duration::from_millis(100))),
            [],
        );
        let figures = figure(&engine, before, count);
        drop(first);
        whole = figures.first().map(|(_, bytes)| *bytes);
        figures
    });
    let parts: Vec<_> = probing::memory_parts()
        .into_iter()
        .chain(Instance::memory_parts())
        .collect();
    for (part, bytes) in &parts {
        asked.row(PARTS, part, |_| vec![(BYTES, *bytes as f64)]);
    }
    if let Some(whole) = whole {
        let rest = whole - parts.iter().map(|(_, bytes)| *bytes as f64).sum::<f64>();
        asked.row(PARTS, "names, tables by name and by token, room to grow", |_| {
            vec![(BYTES, rest)]
        });
    }
}

/// Once each has answered.
fn figure(engine: &Engine, before: u64, count: usize) -> Vec<Figure> {
    while engine.stats().counts.checks < 2 * count as u64 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let bytes = usage().bytes.saturating_sub(before);
    engine::end(engine);
    vec![(BYTES, bytes as f64 / count as f64)]
}
