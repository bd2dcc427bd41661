//! Reading what the system tells of disks and memory. What it does not tell is absent.

use extman_health::components::{DescriptorsSeen, LogSeen, MemorySeen, Space};
use extman_model::clock;
use extman_runtime::process_guard::log_lost;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file systems of these places.
pub(super) fn spaces(places: &[(&'static str, PathBuf)]) -> Vec<Space> {
    let space = |(of, path): &(&'static str, PathBuf)| Space {
        of: (*of).into(),
        path: path.clone(),
        bytes: match rustix::fs::statvfs(path) {
            Ok(seen) => Ok((
                seen.f_bavail.saturating_mul(seen.f_frsize),
                seen.f_blocks.saturating_mul(seen.f_frsize),
            )),
            Err(error) => Err(format!("its file system can't be asked: {error}")),
        },
    };
    places.iter().map(space).collect()
}

/// The memory of this process, and what it may use.
pub(super) fn memory() -> MemorySeen {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let field = |file: &str, name: &str| kib(&read(Path::new(file))?, name);
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    MemorySeen {
        resident: field("/proc/self/status", "VmRSS"),
        allowed: limits(&groups)
            .filter_map(|file| read(&file)?.trim().parse().ok())
            .min(),
        machine: field("/proc/meminfo", "MemTotal"),
    }
}

/// The descriptors of this process.
pub(super) fn descriptors() -> DescriptorsSeen {
    use rustix::process::{Resource, getrlimit};
    // The one by which the folder is read is not counted.
    let open = std::fs::read_dir("/proc/self/fd").map(|all| (all.count() as u64).saturating_sub(1));
    DescriptorsSeen {
        open: open.ok(),
        allowed: getrlimit(Resource::Nofile).current,
    }
}

/// Lines that the log lost.
pub(super) fn log() -> LogSeen {
    let lost = log_lost()?;
    let ago = clock::unix_ms(clock::wall()).saturating_sub(lost.last_unix_ms);
    Some((lost.lines, Duration::from_millis(ago), lost.why))
}

/// A line such as `VmRSS:  1234 kB`, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let number = line.trim().strip_suffix("kB")?.trim_end();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

/// Files in which a limit of the memory may stand: of each control group on the way up, in either version's hierarchy. In a container
/// the own one is often seen as the topmost.
fn limits(groups: &str) -> impl Iterator<Item = PathBuf> {
    let of = |line: &str| -> Option<(PathBuf, String, &'static str)> {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let (root, file) = if number == "0" && controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            return None;
        };
        Some((root.into(), path.to_owned(), file))
    };
    let all: Vec<_> = groups.lines().filter_map(of).collect();
    all.into_iter().flat_map(|(root, path, file)| {
        let inner = PathBuf::from(path.trim_start_matches('/'));
        let up: Vec<PathBuf> = inner
            .ancestors()
            .map(|group| root.join(group).join(file))
            .collect();
        up
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_stand_in_each_group_up_to_the_topmost() {
        let of =
            |groups: &str| -> Vec<String> { limits(groups).map(|file| file.display().to_string()).collect() };
        assert_eq!(
            of("0::/system.slice/extman.service\n"),
            [
                "/sys/fs/cgroup/system.slice/extman.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            of("12:pids:/a\n4:cpu,memory:/docker/ab\n1:name=systemd:/b\n"),
            [
                "/sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert_eq!(of("0::/"), ["/sys/fs/cgroup/memory.max"]);
        assert_eq!(of("nonsense\n\n::\n0:"), [""; 0]);
    }

    #[test]
    fn figures_of_proc_are_read_or_absent() {
        let text = "Name:\textman\nVmRSS:\t   2048 kB\nVmSwap: many kB\n";
        assert_eq!(kib(text, "VmRSS"), Some(2 << 20));
        assert_eq!(
            (kib(text, "VmSwap"), kib(text, "Vm"), kib(text, "VmPeak")),
            (None, None, None)
        );
    }

    #[test]
    fn this_process_and_its_disk_are_measured() {
        let seen = memory();
        assert!(
            seen.resident > Some(0) && seen.machine > seen.resident,
            "{seen:?}"
        );
        let gone = PathBuf::from("/nowhere/at/all");
        let seen = spaces(&[("store", std::env::temp_dir()), ("history", gone)]);
        assert!(
            seen[0]
                .bytes
                .as_ref()
                .is_ok_and(|(free, all)| free <= all && *all > 0),
            "{seen:?}"
        );
        assert!(seen[1].bytes.is_err(), "{seen:?}");
    }
}
