//! The counting allocator: how much Rust heap this plugin has in use.
//!
//! A cdylib has a global allocator of its own, so what goes through it is exactly the plugin's. It does not see stacks,
//! `mmap`, or what C code allocates.
//!
//! Counters are sharded, or threads would fight for one cache line. A shard is chosen by the address of the stack, which differs
//! from thread to thread, and not by a thread-local: a thread-local in an allocator would be one more thing to unload. A shard
//! hands its sum on to the shared total once it has drifted by 16 KiB, and the peak is taken there: it may be short by at
//! most 16 × 16 KiB.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Wraps the system's allocator and counts.
pub struct CountingAllocator;

/// Heap in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heap {
    /// Bytes in use now.
    pub bytes: u64,
    /// The most that were in use, short by at most 256 KiB.
    pub peak_bytes: u64,
}

/// What the counting allocator has counted; zeros if it is not in place.
pub fn usage() -> Heap {
    let drift: i64 = SHARDS.iter().map(|shard| shard.0.load(Relaxed)).sum();
    let bytes = (TOTAL.load(Relaxed) + drift).max(0);
    let peak = PEAK.fetch_max(bytes, Relaxed).max(bytes);
    Heap {
        bytes: bytes as u64,
        peak_bytes: peak as u64,
    }
}

const SHARD_COUNT: usize = 16;
const DRIFT_BYTES_MAX: i64 = 16 * 1024;

#[repr(align(64))]
struct Shard(AtomicI64);

static SHARDS: [Shard; SHARD_COUNT] = [const { Shard(AtomicI64::new(0)) }; SHARD_COUNT];
static TOTAL: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

#[inline]
fn count(change: i64) {
    let on_stack = 0u8;
    let address = std::ptr::from_ref(&on_stack).addr();
    // Stacks are megabytes apart; within one, the address wanders below that.
    let shard = &SHARDS[(address >> 21 ^ address >> 25) % SHARD_COUNT].0;
    let drift = shard.fetch_add(change, Relaxed) + change;
    if drift.abs() >= DRIFT_BYTES_MAX {
        let moved = shard.swap(0, Relaxed);
        let total = TOTAL.fetch_add(moved, Relaxed) + moved;
        if moved > 0 {
            PEAK.fetch_max(total, Relaxed);
        }
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches only atomics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the system's.
        let at = unsafe { System.alloc(layout) };
        if !at.is_null() {
            count(layout.size() as i64);
        }
        at
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let at = unsafe { System.alloc_zeroed(layout) };
        if !at.is_null() {
            count(layout.size() as i64);
        }
        at
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) };
        count(-(layout.size() as i64));
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as above.
        let moved = unsafe { System.realloc(at, layout, new_size) };
        if !moved.is_null() {
            count(new_size as i64 - layout.size() as i64);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_in_use_and_the_peak() {
        let before = usage().bytes;
        let layout = Layout::from_size_align(1_000_000, 8).unwrap();
        // SAFETY: a layout of non-zero size; freed with the same one.
        unsafe {
            let at = CountingAllocator.alloc(layout);
            assert!(!at.is_null());
            assert_eq!(usage().bytes, before + 1_000_000);
            CountingAllocator.dealloc(at, layout);
        }
        assert_eq!(usage().bytes, before);
        assert!(usage().peak_bytes >= before + 1_000_000);
    }
}
