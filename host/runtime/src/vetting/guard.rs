//! The process between the host and the worker. It runs no plugin code, so it lives whatever a plugin does: it bounds the memory in
//! use, ends every process that descends from the worker, and reports how the worker ended.

use super::memory::{MemoryGroup, memory_used};
use super::protocol::{Ended, Line, say};
use crate::loader::default_child_signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, set_child_subreaper, wait,
};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Between two measurements of the memory in use.
const MEMORY_INTERVAL: Duration = Duration::from_millis(10);
/// Most names of processes that are reported.
const PROCESS_NAMES_MAX: usize = 8;
/// Rounds in which descendants are ended: each round ends those whose parents the one before has ended.
const ROUNDS_MAX: usize = 10_000;

/// Starts a worker on the socket that is this process's standard input, and ends when the worker or the host does.
pub(super) fn run(memory_bytes_max: u64) -> io::Result<()> {
    // A parent that ignores the signal, or a plugin in it, would take away how the worker ends.
    default_child_signal();
    // Whoever descends from the worker and loses its parent becomes this process's child.
    set_child_subreaper(Some(rustix::process::getpid()))?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let group = MemoryGroup::new(memory_bytes_max);
    let worker = Command::new("/proc/self/exe")
        .arg(super::worker::INSIDE)
        .args(group.as_ref().map(MemoryGroup::path))
        .stdin(Stdio::from(OwnedFd::from(socket.try_clone()?)))
        // What a plugin prints is heard where its errors are.
        .stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?))
        .spawn()?;
    let (status, over_memory) = watch(worker, &socket, memory_bytes_max)?;
    let ended = Ended {
        code: status.code(),
        signal: status.signal(),
        left: end_descendants(),
        over_memory: over_memory.or_else(|| group.as_ref()?.exceeded_by()),
    };
    say(&socket, &Line::Ended(ended));
    Ok(())
}

/// Waits for the worker's end, and brings it about when the host is gone or the memory in use is over the limit; how it ended, and
/// with how much memory if that was why.
fn watch(
    mut worker: Child,
    socket: &UnixStream,
    memory_bytes_max: u64,
) -> io::Result<(ExitStatus, Option<u64>)> {
    let id = worker.id();
    let process = Pid::from_child(&worker);
    let ended = pidfd_open(process, PidfdFlags::empty()).ok();
    let mut over = None;
    loop {
        if let Some(status) = worker.try_wait()? {
            return Ok((status, over));
        }
        // Of the socket only its other end's closing is waited for.
        let mut waited = vec![PollFd::new(socket, PollFlags::empty())];
        waited.extend(ended.iter().map(|ended| PollFd::new(ended, PollFlags::IN)));
        let timeout = Timespec::try_from(MEMORY_INTERVAL).ok();
        match poll(&mut waited, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let host_is_gone = !waited[0].revents().is_empty();
        let processes: Vec<u32> = std::iter::once(id).chain(descendants(id)).collect();
        let used = memory_used(&processes, memory_bytes_max);
        if used > memory_bytes_max {
            over = Some(used);
        }
        if host_is_gone || over.is_some() {
            worker.kill()?;
            return Ok((worker.wait()?, over));
        }
    }
}

/// Processes below this one, as far as the kernel lists children.
fn descendants(process: u32) -> Vec<u32> {
    let (mut found, mut next) = (Vec::new(), 0);
    found.extend(children(process));
    while next < found.len() && found.len() < 4096 {
        found.extend(children(found[next]));
        next += 1;
    }
    found
}

fn children(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let numbers = list.split_ascii_whitespace();
            numbers
                .filter_map(|number| number.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Ends what the worker has left; the names of those processes.
fn end_descendants() -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let mut killed = 0;
        for child in children(std::process::id()) {
            if seen.insert(child) && names.len() < PROCESS_NAMES_MAX {
                names.extend(name_of(child));
            }
            // A child of this process that was not waited for: its number can't be another's.
            let process = i32::try_from(child).ok().and_then(Pid::from_raw);
            killed += usize::from(process.is_some_and(|process| kill_process(process, Signal::KILL).is_ok()));
        }
        if killed == 0 || wait(WaitOptions::empty()).is_err_and(|error| error != Errno::INTR) {
            break;
        }
    }
    names
}

/// Its name, unless it has ended already.
fn name_of(process: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    (!rest.trim_start().starts_with('Z')).then(|| name.to_owned())
}
