//! What an unload depends on: no thread outlives the instance, none but its own ever ran, and it can be cancelled.
//!
//! One test only: another one's threads in the same process would be counted.
#![cfg(target_os = "linux")]

mod common;

use embedder::embedder::EmbedError;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn no_thread_outlives_the_instance() {
    let before = threads();
    let plugin = common::instance(3, 1);
    assert_eq!(threads(), before, "create starts nothing");
    for _ in 0..2 {
        plugin.load().unwrap();
        let embedder = plugin.embedder().unwrap();
        let long = "a text that has many more tokens than count ".repeat(40);
        assert_eq!(embedder.embed(&[&long], &|| false).unwrap().tokens, 256);

        let own = |all: BTreeMap<u32, String>| {
            all.into_iter()
                .filter(|(id, _)| !before.contains_key(id))
                .map(|(_, name)| name)
                .collect::<Vec<_>>()
        };
        let mut names = own(threads());
        names.sort();
        assert_eq!(
            names,
            ["embedder-0", "embedder-1", "embedder-2"],
            "only the pool's own threads"
        );

        let asked = Cell::new(0);
        let cancelled = || {
            asked.set(asked.get() + 1);
            asked.get() > 2
        };
        let error = embedder
            .embed(&["one", "two", "three", "four"], &cancelled)
            .unwrap_err();
        assert!(matches!(error, EmbedError::Cancelled));
        assert_eq!(asked.get(), 3, "looked at between batches, and no batch after it");

        assert!(matches!(
            embedder.embed(&["one", " \n"], &|| false),
            Err(EmbedError::Blank(1))
        ));
        drop(embedder);
        plugin.unload();
        wait_until(|| threads() == before);
    }
    plugin.load().unwrap();
    plugin.embedder().unwrap().embed(&["short"], &|| false).unwrap();
    drop(plugin);
    wait_until(|| threads() == before);
}

fn threads() -> BTreeMap<u32, String> {
    let name = |id: &u32| std::fs::read_to_string(format!("/proc/self/task/{id}/comm")).ok();
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter_map(|id| Some((id, name(&id)?.trim().to_owned())))
        .collect()
}

/// The kernel lists a thread for a moment after it was joined.
fn wait_until(done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < LIMIT, "still there: {:?}", threads());
        std::thread::yield_now();
    }
}
