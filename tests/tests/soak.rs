//! Thousands of loads and unloads in one process: each unmapped, and nothing left behind.
//!
//! `EXTMAN_SOAK_CYCLES` sets how many; by default 300, which is more than enough to notice a leak and less than the number after
//! which a process without thread-specific keys left would die.

use extman_tests::scenario::Order;
use std::path::Path;

const CYCLES_DEFAULT: u32 = 300;
/// After these, memory that is taken once has been taken.
const WARM_UP_MAX: u32 = 300;
const GROWTH_BYTES_MAX: u64 = 512 * 1024;

fn cycles() -> u32 {
    let asked = std::env::var("EXTMAN_SOAK_CYCLES").ok();
    asked.map_or(CYCLES_DEFAULT, |n| n.parse().expect("a number of cycles"))
}

fn soak(order: Order) {
    let cycles = cycles();
    grows_not(Order {
        cycles,
        warm_up: (cycles / 2).min(WARM_UP_MAX),
        ..order
    });
}

fn grows_not(order: Order) {
    // One arena: how many there are is up to the threads' timing, and each takes memory of its own.
    let one_arena = [("MALLOC_ARENA_MAX", Path::new("1"))];
    let outcome = order.run(Path::new(env!("CARGO_BIN_EXE_fault-host")), &one_arena);
    let growth = outcome.rss_after_bytes.saturating_sub(outcome.rss_before_bytes);
    println!(
        "{}: {} of {} cycles unmapped, {growth} bytes of growth after {}, {} bytes in the end",
        order.input, outcome.unmapped, order.cycles, order.warm_up, outcome.rss_after_bytes
    );
    assert_eq!(outcome.unmapped, order.cycles, "{}", outcome.verdict);
    assert!(!outcome.mapped);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes of growth");
    // A copy in sealed memory is in nobody's resident size: it goes when its descriptor does.
    assert_eq!(outcome.descriptors_after, outcome.descriptors_before);
    assert_eq!(outcome.blamed, [""; 0]);
}

#[test]
fn a_plugin_that_uses_tokio() {
    soak(Order::fault("tokio-multi-thread"));
}

#[test]
fn a_plugin_that_asks_for_its_thread() {
    soak(Order::fault("thread-current"));
}

#[test]
fn a_plugin_with_a_thread_local() {
    soak(Order::fault("thread-local"));
}

#[test]
fn a_plugin_with_a_key_of_its_own() {
    soak(Order::c("pthread-key"));
}

#[test]
fn calls_that_were_answered() {
    grows_not(Order {
        calls: 50_000,
        cycles: 2,
        warm_up: 1,
        ..Order::c("echo")
    });
}
