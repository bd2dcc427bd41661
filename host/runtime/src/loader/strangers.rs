//! Threads that were made past the host: by C11's `thrd_create`, by a raw clone, by the system itself. The kernel lists them, and
//! nothing tells whose they are.

use super::threads;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

/// Whether one was seen, now or ever, that is younger than that.
pub(super) fn were_any_since(boot_ticks: u64) -> bool {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    // No look can take that back.
    if seen.youngest.is_some_and(|since| since >= boot_ticks) {
        return true;
    }
    if !are_all_known() {
        let now = look();
        // One that is just ending may be known no more. Two looks in a row see the same thread only if it lives.
        let stays = |found: &&Found| seen.last.contains(found);
        let youngest = now.iter().filter(stays).map(|found| found.since).max();
        seen.youngest = seen.youngest.max(youngest);
        seen.last = now;
    } else {
        seen.last.clear();
    }
    let youngest = seen.last.iter().map(|found| found.since).max();
    youngest
        .max(seen.youngest)
        .is_some_and(|since| since >= boot_ticks)
}

/// Now, in clock ticks since boot, as /proc counts them.
pub(super) fn boot_ticks() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) };
    // SAFETY: takes no pointers.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    now.tv_sec as u64 * per_second + now.tv_nsec as u64 * per_second / 1_000_000_000
}

/// When a thread was started, in clock ticks since boot; `None` if it is gone (field 22 of proc_pid_stat(5)).
pub(super) fn start_ticks(tid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The threads of this process but for the main one.
pub(super) fn tasks() -> std::io::Result<impl Iterator<Item = i32>> {
    let main = std::process::id() as i32;
    let tasks = std::fs::read_dir(TASKS)?.flatten();
    let numbers = tasks.filter_map(|task| task.file_name().to_str()?.parse::<i32>().ok());
    Ok(numbers.filter(move |tid| *tid != main))
}

const TASKS: &str = "/proc/self/task";

static SEEN: Mutex<Seen> = Mutex::new(Seen {
    last: Vec::new(),
    youngest: None,
});

struct Seen {
    /// By the last look.
    last: Vec<Found>,
    /// When the youngest of all was started that two looks saw.
    youngest: Option<u64>,
}

#[derive(PartialEq, Eq)]
struct Found {
    tid: i32,
    since: u64,
}

/// A quick look at how many there are: the main one, and those that the host knows.
fn are_all_known() -> bool {
    let counted = || {
        let known = threads::known_threads()?;
        Some(
            known
                .iter()
                .filter(|thread| thread.runs && thread.tid != 0)
                .count(),
        )
    };
    let before = (counted(), threads::thread_sequence());
    // Two links of every folder, and one for each folder in it.
    let there = std::fs::metadata(TASKS).map_or(0, |tasks| tasks.nlink());
    let after = (counted(), threads::thread_sequence());
    before == after && before.0.is_some_and(|known| there == known as u64 + 3)
}

fn look() -> Vec<Found> {
    let Ok(tasks) = tasks() else { return Vec::new() };
    // Before what the host knows: a thread that is made meanwhile is known, not strange.
    let tasks: Vec<i32> = tasks.collect();
    let Some(known) = threads::known_threads() else {
        return Vec::new();
    };
    let is_strange = |tid: &i32| known.iter().all(|thread| thread.tid != *tid);
    let strange = tasks.into_iter().filter(is_strange);
    let found = strange.filter_map(|tid| {
        let since = start_ticks(tid)?;
        // One that is being made tells its number as it begins.
        let begun = threads::known_threads()?;
        (!begun.iter().any(|thread| [0, tid].contains(&thread.tid))).then_some(Found { tid, since })
    });
    found.collect()
}
