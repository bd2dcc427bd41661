//! Which files in the plugin directories are whole enough to be read. Looks at metadata only and opens no file.
//!
//! Time is passed in: a file that was changed a moment ago waits in [`Scan::pending`] for a later scan.

use super::config::DiscoveryConfig;
use super::files::{FileIdentity, Unfit};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A regular file with a library's name that has stopped changing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    path: PathBuf,
    resolved: PathBuf,
    identity: FileIdentity,
}

impl FoundFile {
    /// The path in the plugin directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same file with every symbolic link resolved.
    pub fn resolved(&self) -> &Path {
        &self.resolved
    }

    /// What was at the path; another identity later means another content.
    pub fn identity(&self) -> FileIdentity {
        self.identity
    }
}

/// What one scan of the directories gave. Every list is in the order of the directories, then by name.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files that can be taken.
    pub found: Vec<FoundFile>,
    /// Files that may still be written to. Scan again after `settle`.
    pub pending: Vec<PathBuf>,
    /// What has a library's name and is none.
    pub refused: Vec<Refused>,
    /// Further paths to files that are already in `found` or `pending`.
    pub aliases: Vec<PathBuf>,
    /// Directories that could not be read, or not all of them.
    pub dirs: Vec<DirError>,
}

/// Something with a library's name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {reason}", path.display())]
pub struct Refused {
    /// Where it is.
    pub path: PathBuf,
    /// Why it is not taken.
    pub reason: Unfit,
}

/// A directory that could not be read, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plugin directory {} {problem}", path.display())]
pub struct DirError {
    /// The directory.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: DirProblem,
}

/// What is wrong with a directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirProblem {
    /// It is not there.
    #[error("is not there; the host waits for it: create it, or take it out of intake.discovery.dirs")]
    Missing,
    /// It can't be listed.
    #[error("can't be listed: {0}; let the host's user read it")]
    Unreadable(String),
    /// It holds more libraries than the limit.
    #[error(
        "holds {found} libraries; only the first {max} by name are used; move some, or raise \
             intake.discovery.files_per_dir_max"
    )]
    TooMany {
        /// Libraries that are there.
        found: u64,
        /// The limit.
        max: usize,
    },
}

impl DirProblem {
    /// A short name that does not change between versions.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "directory-missing",
            Self::Unreadable(_) => "directory-unreadable",
            Self::TooMany { .. } => "directory-too-full",
        }
    }
}

/// Scans plugin directories and remembers what it observed, to know which files have stopped changing.
#[derive(Debug)]
pub struct Discovery {
    config: DiscoveryConfig,
    unsettled: HashMap<PathBuf, Observation>,
}

#[derive(Debug, Clone, Copy)]
struct Observation {
    identity: FileIdentity,
    since: SystemTime,
}

impl Discovery {
    /// Over the directories of `config`.
    pub fn new(config: DiscoveryConfig) -> Self {
        Discovery {
            config,
            unsettled: HashMap::new(),
        }
    }

    /// Scans all directories. `now` is the time of the file systems' clock.
    ///
    /// A file is settled once its last change is older than `settle`, or once it was seen with the same inode, size and
    /// change time for that long: the latter alone counts for a change time in the future.
    pub fn scan(&mut self, now: SystemTime) -> Scan {
        let mut scan = Scan::default();
        // By device and inode, whatever path leads there.
        let mut seen = HashSet::new();
        let mut unsettled = HashMap::new();
        for dir in &self.config.dirs {
            for name in list(dir, self.config.files_per_dir_max, &mut scan.dirs) {
                let path = dir.join(name);
                let file = match examine(&path, self.config.file_bytes_max) {
                    Ok(file) => file,
                    // Listed a moment ago: somebody removed it since, which is no fault.
                    Err(Unfit::Gone) => continue,
                    Err(reason) => {
                        scan.refused.push(Refused { path, reason });
                        continue;
                    }
                };
                let which = (file.identity.device, file.identity.inode);
                if !seen.insert(which) {
                    scan.aliases.push(path);
                    continue;
                }
                let before = self.unsettled.get(&path).filter(|s| s.identity == file.identity);
                let observation = before.copied().unwrap_or(Observation {
                    identity: file.identity,
                    since: now,
                });
                if is_settled(&observation, before.is_some(), now, self.config.settle()) {
                    scan.found.push(file);
                } else {
                    scan.pending.push(path.clone());
                }
                unsettled.insert(path, observation);
            }
        }
        self.unsettled = unsettled;
        scan
    }
}

/// Looks at one file that somebody named, whatever its extension. Does not wait for it to settle.
///
/// # Errors
/// What is at the path is not a file that can be read as a library.
pub fn find(path: &Path, config: &DiscoveryConfig) -> Result<FoundFile, Refused> {
    examine(path, config.file_bytes_max).map_err(|reason| Refused {
        path: path.to_owned(),
        reason,
    })
}

pub(super) fn examine(path: &Path, bytes_max: u64) -> Result<FoundFile, Unfit> {
    let own = std::fs::symlink_metadata(path).map_err(|e| Unfit::from_io(&e))?;
    let resolved = path.canonicalize().map_err(|e| match Unfit::from_io(&e) {
        Unfit::Gone if own.is_symlink() => Unfit::DanglingLink,
        unfit => unfit,
    })?;
    let metadata = std::fs::symlink_metadata(&resolved).map_err(|e| Unfit::from_io(&e))?;
    match Unfit::by_metadata(&metadata, bytes_max) {
        Some(unfit) => Err(unfit),
        None => Ok(FoundFile {
            path: path.to_owned(),
            resolved,
            identity: FileIdentity::of(&metadata),
        }),
    }
}

fn is_settled(observation: &Observation, seen_before: bool, now: SystemTime, settle: Duration) -> bool {
    let old_enough = |since: SystemTime| now.duration_since(since).is_ok_and(|age| age >= settle);
    // A clock that was set back says nothing about age: then two equal observations have to do.
    let clock_went_back = seen_before && now < observation.since;
    old_enough(observation.identity.modified)
        || (seen_before && old_enough(observation.since))
        || clock_went_back
}

/// The first `max` names of libraries, sorted. Never holds more than that in memory.
fn list(dir: &Path, max: usize, errors: &mut Vec<DirError>) -> BTreeSet<OsString> {
    let mut report = |problem| {
        errors.push(DirError {
            path: dir.to_owned(),
            problem,
        })
    };
    let mut names = BTreeSet::new();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            report(DirProblem::Missing);
            return names;
        }
        Err(e) => {
            report(DirProblem::Unreadable(e.to_string()));
            return names;
        }
    };
    let mut found = 0;
    for entry in entries {
        let name = match entry {
            Ok(entry) => entry.file_name(),
            Err(e) => {
                report(DirProblem::Unreadable(e.to_string()));
                break;
            }
        };
        if !is_library_name(&name) {
            continue;
        }
        found += 1;
        names.insert(name);
        if names.len() > max {
            names.pop_last();
        }
    }
    if found > max as u64 {
        report(DirProblem::TooMany { found, max });
    }
    names
}

fn is_library_name(name: &std::ffi::OsStr) -> bool {
    !name.as_encoded_bytes().starts_with(b".")
        && Path::new(name)
            .extension()
            .is_some_and(|extension| extension == std::env::consts::DLL_EXTENSION)
}

#[cfg(test)]
mod tests;
