//! The threads of this process as the kernel lists them, also those that were made past the host: by C11's `thrd_create`, by a raw
//! clone, by the C library itself. Nothing tells whose those are but their age.

use extman_model::clock;

/// Now, in clock ticks since boot, as /proc counts them.
pub(super) fn boot_ticks() -> u64 {
    // SAFETY: takes no pointers.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u128;
    (clock::since_boot().as_nanos() * per_second / 1_000_000_000) as u64
}

/// When a thread was started, in clock ticks since boot; `None` if it is gone (field 22 of proc_pid_stat(5)).
pub(crate) fn start_ticks(tid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Whether a thread has ended. What can't be looked at, as where no descriptor is free, has not.
pub(crate) fn is_gone(tid: i32) -> bool {
    let seen = std::fs::symlink_metadata(format!("/proc/self/task/{tid}"));
    seen.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// A thread, for people: its number, and its name in quotes.
pub(crate) fn name_of(tid: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/self/task/{tid}/comm")).unwrap_or_default();
    format!("thread {tid} {:?}", name.trim_end())
}

/// The threads of this process but for the main one.
pub(super) fn tasks() -> std::io::Result<impl Iterator<Item = i32>> {
    let main = std::process::id() as i32;
    let tasks = std::fs::read_dir("/proc/self/task")?.flatten();
    let numbers = tasks.filter_map(|task| task.file_name().to_str()?.parse::<i32>().ok());
    Ok(numbers.filter(move |tid| *tid != main))
}
