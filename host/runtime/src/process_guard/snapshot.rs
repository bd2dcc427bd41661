//! What of the process is compared before and after plugin code, and what of it is put back.

use super::environment::Block;
use super::signals;
use super::streams::{self, StreamFile};
use crate::loader::is_in_executable;
use extman_model::ProcessPart;
use libc::c_int;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The process at one moment.
#[derive(Clone)]
pub(super) struct Snapshot {
    signals: Vec<(c_int, Disposition)>,
    directory: Option<PathBuf>,
    umask: Option<u32>,
    locale: Option<CString>,
    /// In the order of [`LIMITS`].
    limits: [Rlimit; LIMITS.len()],
    environment: Option<Block>,
    streams: [StreamFile; 3],
}

/// A difference between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub part: ProcessPart,
    pub text: String,
    pub put_back: bool,
}

impl Difference {
    pub(super) fn new(part: ProcessPart, text: impl Into<String>, put_back: bool) -> Self {
        Difference {
            part,
            text: text.into(),
            put_back,
        }
    }
}

/// Compared by its handler alone: flags differ where glibc has put a disposition back after `system(3)`.
#[derive(Clone, Copy)]
struct Disposition(libc::sigaction);

impl PartialEq for Disposition {
    fn eq(&self, other: &Self) -> bool {
        self.0.sa_sigaction == other.0.sa_sigaction
    }
}

/// The signals that are not real-time ones; those are a plugin's own affair.
const SIGNALS: std::ops::RangeInclusive<c_int> = 1..=31;

const LIMITS: [(Resource, &str); 7] = [
    (Resource::Nofile, "open descriptors"),
    (Resource::As, "address space"),
    (Resource::Nproc, "processes"),
    (Resource::Fsize, "file size"),
    (Resource::Stack, "stack"),
    (Resource::Core, "core files"),
    (Resource::Memlock, "locked memory"),
];

/// How closely the process is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// As after each step of a plugin: what it costs little to ask for.
    Quick,
    /// All of it. The umask alone takes longer to ask for than all that a quick look sees; so do the dispositions that the program does not
    /// keep, and the limits.
    Whole,
}

impl Look {
    /// Whether changes of this part may be seen by a whole look alone.
    pub(super) fn is_needed_whole(part: ProcessPart) -> bool {
        matches!(
            part,
            ProcessPart::Signals | ProcessPart::Umask | ProcessPart::Limits
        )
    }
}

impl Snapshot {
    pub(super) fn take() -> Self {
        let disposition = |signal| Some((signal, Disposition(signals::get(signal)?)));
        Snapshot {
            signals: SIGNALS.filter_map(disposition).collect(),
            directory: std::env::current_dir().ok(),
            umask: umask(),
            locale: locale(),
            limits: LIMITS.map(|(resource, _)| getrlimit(resource)),
            environment: Block::read(),
            streams: streams::files(),
        }
    }

    /// Compares with the process as it is now, puts back what is safe, and takes over what stays.
    pub(super) fn reconcile(&mut self, look: Look) -> Vec<Difference> {
        let mut found = Vec::new();
        self.reconcile_signals(look, &mut found);
        self.reconcile_directory(&mut found);
        if look == Look::Whole {
            self.reconcile_umask(&mut found);
            self.reconcile_limits(&mut found);
        }
        self.reconcile_streams(&mut found);
        self.reconcile_locale(&mut found);
        self.reconcile_environment(&mut found);
        found
    }

    fn reconcile_locale(&mut self, found: &mut Vec<Difference>) {
        let now = locale();
        if self.locale != now {
            let text = format!("set the locale to {}", shown(now.as_deref()));
            found.push(Difference::new(ProcessPart::Locale, text, false));
            self.locale = now;
        }
    }

    fn reconcile_environment(&mut self, found: &mut Vec<Difference>) {
        let Some(now) = Block::read() else { return };
        if let Some(before) = self.environment.as_ref().filter(|before| **before != now) {
            let (before, after) = (before.variables(), now.variables());
            // Not where only their order differs.
            if before != after {
                let text = environment_text(&before, &after);
                found.push(Difference::new(ProcessPart::Environment, text, false));
            }
        }
        self.environment = Some(now);
    }

    fn reconcile_signals(&mut self, look: Look, found: &mut Vec<Difference>) {
        let is_seen = |signal| look == Look::Whole || signals::is_kept(signal);
        for (signal, before) in self.signals.iter_mut().filter(|(signal, _)| is_seen(*signal)) {
            let Some(after) = signals::get(*signal).map(Disposition) else {
                continue;
            };
            if *before == after {
                continue;
            }
            // The host's own, for which a library of its own may have waited until it was needed.
            if is_in_executable(after.0.sa_sigaction) {
                *before = after;
                continue;
            }
            // The default of a timer's signal ends the process.
            let is_the_hosts = signals::is_kept(*signal)
                || after.0.sa_sigaction == libc::SIG_DFL && is_in_executable(before.0.sa_sigaction);
            let put_back = is_the_hosts && signals::put(*signal, &before.0).is_ok();
            let text = signals::set_text(after.0.sa_sigaction, *signal);
            found.push(Difference::new(ProcessPart::Signals, text, put_back));
            if !put_back {
                *before = after;
            }
        }
    }

    fn reconcile_directory(&mut self, found: &mut Vec<Difference>) {
        let now = std::env::current_dir().ok();
        if self.directory == now {
            return;
        }
        let put_back = self
            .directory
            .as_ref()
            .is_some_and(|before| std::env::set_current_dir(before).is_ok());
        let shown = |directory: &Option<PathBuf>| {
            let directory = directory.as_ref();
            directory.map_or_else(|| "one that is gone".to_owned(), |d| d.display().to_string())
        };
        let text = format!("changed the working directory to {}", shown(&now));
        found.push(Difference::new(ProcessPart::WorkingDirectory, text, put_back));
        if !put_back {
            self.directory = now;
        }
    }

    fn reconcile_umask(&mut self, found: &mut Vec<Difference>) {
        let now = umask();
        let (Some(before), Some(after)) = (self.umask, now) else {
            self.umask = now;
            return;
        };
        if before != after {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(before));
            let text = format!("set the umask to {after:04o}");
            found.push(Difference::new(ProcessPart::Umask, text, true));
        }
    }

    fn reconcile_limits(&mut self, found: &mut Vec<Difference>) {
        for ((resource, name), before) in LIMITS.into_iter().zip(&mut self.limits) {
            let after = getrlimit(resource);
            if *before == after {
                continue;
            }
            // A hard limit that was lowered stays so without a privilege; the soft one may rise up to it.
            let highest = Rlimit {
                current: lower(before.current, after.maximum),
                maximum: after.maximum,
            };
            let put_back = setrlimit(resource, *before).is_ok();
            if !put_back {
                let _ = setrlimit(resource, highest);
            }
            let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
            let text = format!("set the limit of {name} to {}", shown(after.current));
            found.push(Difference::new(ProcessPart::Limits, text, put_back));
            if !put_back {
                *before = getrlimit(resource);
            }
        }
    }

    fn reconcile_streams(&mut self, found: &mut Vec<Difference>) {
        const NAMES: [&str; 3] = ["standard input", "standard output", "standard error"];
        let both = self.streams.iter_mut().zip(streams::files());
        for (number, (name, (before, after))) in NAMES.into_iter().zip(both).enumerate() {
            if *before == after {
                continue;
            }
            let put_back = after.is_none() && streams::reopen(number);
            let what = if after.is_none() { "closed" } else { "replaced" };
            let text = format!("{what} {name}");
            found.push(Difference::new(ProcessPart::StandardStreams, text, put_back));
            *before = streams::files()[number];
        }
    }
}

/// No limit is the highest.
fn lower(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// As the kernel shows it: asking by `umask(2)` would change it for a moment.
fn umask() -> Option<u32> {
    static STATUS: OnceLock<Option<File>> = OnceLock::new();
    let status = STATUS
        .get_or_init(|| File::open("/proc/self/status").ok())
        .as_ref()?;
    let mut text = [0; 256];
    let read = status.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(&text[..read]).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(value.trim(), 8).ok()
}

fn locale() -> Option<CString> {
    // SAFETY: with a null name this only tells the locale; the text is copied before anything else can change it here.
    let name = unsafe { libc::setlocale(libc::LC_ALL, std::ptr::null()) };
    // SAFETY: glibc's own NUL-terminated text.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_owned())
}

fn shown(text: Option<&CStr>) -> String {
    text.map_or_else(|| "none".to_owned(), |text| text.to_string_lossy().into_owned())
}

/// Names and no values, which may be secret.
fn environment_text(before: &BTreeMap<&OsStr, &OsStr>, after: &BTreeMap<&OsStr, &OsStr>) -> String {
    const NAMES_MAX: usize = 8;
    if after.is_empty() {
        return "cleared the environment".to_owned();
    }
    let changed = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value));
    let removed = before.keys().filter(|name| !after.contains_key(*name));
    let names: Vec<_> = changed.map(|(name, _)| name).chain(removed).collect();
    let shown: Vec<_> = names
        .iter()
        .take(NAMES_MAX)
        .map(|name| name.to_string_lossy())
        .collect();
    let more = if names.len() > NAMES_MAX { ", …" } else { "" };
    format!("changed the environment: {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_of_two_limits_counts_no_limit_as_the_highest() {
        assert_eq!(lower(Some(2), Some(1)), Some(1));
        assert_eq!(lower(None, Some(1)), Some(1));
        assert_eq!(lower(Some(2), None), Some(2));
        assert_eq!(lower(None, None), None);
    }

    #[test]
    fn environment_is_told_by_names_without_values() {
        let of = |pairs: [(&'static str, &'static str); 3]| {
            let pairs = pairs.map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
            BTreeMap::from(pairs)
        };
        let before = of([("KEPT", "1"), ("GONE", "2"), ("OTHER", "3")]);
        let after = of([("KEPT", "1"), ("NEW", "secret"), ("OTHER", "4")]);
        assert_eq!(
            environment_text(&before, &after),
            "changed the environment: NEW, OTHER, GONE"
        );
    }

    #[test]
    fn umask_and_locale_of_this_process_are_read() {
        assert!(umask().is_some());
        assert!(locale().is_some());
    }
}
