//! How the memory of a vetting's processes is bounded: by a control group of their own where the host has one to divide, and by adding
//! up what they have in use.
//!
//! A control group (cgroups(7), version 2) bounds exactly, whatever a plugin forks. It takes one that was delegated to the host, with
//! the host itself in a group below it: systemd's `Delegate=memory` and `DelegateSubgroup=host`. Everywhere else the guard process adds
//! up every ten milliseconds, and what is allocated in between may go over the limit.

use extman_model::MemoryBound;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A control group of one vetting. Removed when it is dropped, once its processes have ended.
pub(super) struct MemoryGroup(PathBuf);

/// What the names of all of them begin with.
const NAME: &str = "extman-vetting-";

/// By what the memory of a vetting is bounded in this process.
pub(super) fn memory_bound() -> MemoryBound {
    match delegated() {
        Some(_) => MemoryBound::ControlGroup,
        None => MemoryBound::Measured,
    }
}

impl MemoryGroup {
    /// A new one that holds so many bytes; `None` where the host has none to divide.
    pub fn new(bytes_max: u64) -> Option<Self> {
        Self::below(&delegated()?, bytes_max)
    }

    fn below(parent: &Path, bytes_max: u64) -> Option<Self> {
        remove_unused(parent);
        let path = parent.join(format!("{NAME}{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let group = MemoryGroup(path);
        group.set("memory.max", &bytes_max.to_string()).ok()?;
        // What is over the limit must not go to swap, and none of the processes is to outlive the others.
        group.set("memory.swap.max", "0").ok();
        group.set("memory.oom.group", "1").ok()?;
        Some(group)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The most that was in use, if the system ended the processes for it.
    pub fn exceeded_by(&self) -> Option<u64> {
        let events = self.read("memory.events")?;
        let ended = field(&events, "oom_kill").is_some_and(|count| count > 0);
        let most = || {
            let most = self.read("memory.peak").or_else(|| self.read("memory.max"))?;
            most.trim().parse().ok()
        };
        ended.then(most).flatten()
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.0.join(file), value)
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.0.join(file)).ok()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Refused while a process is in it: then the next vetting removes it.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Moves the calling process into the group at this path.
pub(super) fn join(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
}

/// Removes the groups that guards have left which were killed. One that still runs may be about to fill its own.
fn remove_unused(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let guard = name.to_str().and_then(|name| name.strip_prefix(NAME));
        if guard.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The control group that the host may divide.
fn delegated() -> Option<PathBuf> {
    let read = |path| fs::read_to_string(path).ok();
    let own = own_group(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)?;
    let parent = own.parent()?.to_owned();
    (is_delegated(&parent) && divides_memory(&parent)).then_some(parent)
}

/// The folder of this process's control group; `None` for the hierarchy's root, above which there is none.
fn own_group(mounts: &str, groups: &str) -> Option<PathBuf> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, mount) = mounts.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, mount) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup2 ").then_some((root, mount))
    })?;
    let below = Path::new(group).strip_prefix(root).ok()?;
    (below != Path::new("")).then(|| Path::new(mount).join(below))
}

/// Whether the group was given to the host to divide, as systemd marks it. To be allowed to write there says nothing: an administrator
/// may everywhere, a user in groups that their service manager divides.
fn is_delegated(group: &Path) -> bool {
    let mut value = [0; 8];
    ["user.delegate", "trusted.delegate"].into_iter().any(|name| {
        let length = rustix::fs::getxattr(group, name, &mut value);
        length.is_ok_and(|length| value.get(..length) == Some(b"1"))
    })
}

/// Whether groups below this one can have a limit of memory.
fn divides_memory(group: &Path) -> bool {
    let control = group.join("cgroup.subtree_control");
    let has =
        || fs::read_to_string(&control).is_ok_and(|all| all.split_whitespace().any(|one| one == "memory"));
    has() || fs::write(&control, "+memory").is_ok() && has()
}

/// The value of a line such as `oom_kill 3`.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value)
}

/// Bytes of memory that these processes have in use. Pages of files are not counted: the system takes them back when it needs to.
/// Exact only above `enough`: what forked processes share is counted once then.
pub(super) fn memory_used(processes: &[u32], enough: u64) -> u64 {
    let sum = |file: &str, fields: &[&str]| -> u64 {
        let of = |process: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
            Some(kibibytes(&text, fields) * 1024)
        };
        processes.iter().filter_map(of).sum()
    };
    let simple = sum("status", &["RssAnon:", "RssShmem:", "VmSwap:"]);
    if simple <= enough {
        return simple;
    }
    match sum("smaps_rollup", &["Pss_Anon:", "Pss_Shmem:", "SwapPss:"]) {
        // Older kernels do not have the file.
        0 => simple,
        shared_once => shared_once,
    }
}

/// The sum of fields such as `VmSwap:     12 kB`.
fn kibibytes(text: &str, fields: &[&str]) -> u64 {
    let of = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let wanted = words.next().is_some_and(|name| fields.contains(&name));
        wanted.then(|| words.next()?.parse::<u64>().ok()).flatten()
    };
    text.lines().filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_kernels_tables_are_summed() {
        let text = "Name:\tx\nVmSwap:\t      12 kB\nRssAnon:\t    300 kB\nRssFile:\t 5000 kB\nRssShmem:\n";
        assert_eq!(kibibytes(text, &["RssAnon:", "RssShmem:", "VmSwap:"]), 312);
        assert_eq!(kibibytes("", &["VmSwap:"]), 0);
    }

    #[test]
    fn memory_of_this_process_is_not_nothing() {
        let kept = vec![1u8; 8 << 20];
        let this = [std::process::id()];
        let used = memory_used(&this, u64::MAX);
        assert!(used >= kept.len() as u64, "{used}");
        assert!(memory_used(&this, 0) > 0);
    }

    const MOUNTS: &str = "25 30 0:23 / /sys rw - sysfs sysfs rw\n\
                          35 25 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";

    #[test]
    fn own_group_is_found_below_the_mount_and_the_root_has_none_to_divide() {
        let found = |groups| own_group(MOUNTS, groups);
        let unit = "/sys/fs/cgroup/system.slice/extman.service/host";
        assert_eq!(
            found("12:memory:/x\n0::/system.slice/extman.service/host\n"),
            Some(unit.into())
        );
        assert_eq!(found("0::/\n"), None);
        assert_eq!(found("4:memory:/only/version/one\n"), None);
        let inside = MOUNTS.replace("0:30 / ", "0:30 /machine ");
        assert_eq!(
            own_group(&inside, "0::/machine/host\n"),
            Some("/sys/fs/cgroup/host".into())
        );
        assert_eq!(own_group(&inside, "0::/elsewhere\n"), None);
    }

    /// As far as a folder can stand for a control group: names, values, and removal.
    #[test]
    fn group_has_the_limit_and_tells_of_an_end_for_want_of_memory() {
        let parent = tempfile::tempdir().unwrap();
        // No process has so high a number; the first one is always there.
        let [unused, in_use] = [u32::MAX, 1].map(|process| parent.path().join(format!("{NAME}{process}")));
        fs::create_dir(&unused).unwrap();
        fs::create_dir(&in_use).unwrap();
        let group = MemoryGroup::below(parent.path(), 5_000_000).unwrap();
        assert!(!unused.exists() && in_use.exists());
        assert_eq!(group.read("memory.max").as_deref(), Some("5000000"));
        assert_eq!(group.read("memory.oom.group").as_deref(), Some("1"));
        group
            .set("memory.events", "oom 1\noom_kill 0\noom_group_kill 0\n")
            .unwrap();
        assert_eq!(group.exceeded_by(), None);
        group
            .set("memory.events", "oom 1\noom_kill 2\noom_group_kill 1\n")
            .unwrap();
        assert_eq!(group.exceeded_by(), Some(5_000_000));
        group.set("memory.peak", "4999168\n").unwrap();
        assert_eq!(group.exceeded_by(), Some(4_999_168));
        join(group.path()).unwrap();
        assert_eq!(group.read("cgroup.procs").as_deref(), Some("0"));
        // A folder's files stand for values that go with a control group.
        let path = group.path().to_owned();
        for file in fs::read_dir(&path).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        drop(group);
        assert!(!path.exists(), "it goes with its vetting");
    }

    #[test]
    fn group_that_was_not_given_for_division_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path().join("cgroup.subtree_control");
        fs::write(&control, "cpu memory pids\n").unwrap();
        assert!(divides_memory(folder.path()));
        fs::write(&control, "cpu pids\n").unwrap();
        assert!(!divides_memory(&folder.path().join("absent")));
        assert!(!is_delegated(folder.path()), "nobody has marked it");
    }
}
