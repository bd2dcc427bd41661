//! What is in the watched directories: intake, run again and again, with what changed since.
//!
//! Blocking: it reads and copies files. It runs no plugin code.

use super::config::{DiscoveryConfig, IntakeConfig};
use super::discovery::{DirError, DirProblem, Discovery, FoundFile, Scan, find};
use super::files::FileIdentity;
use super::inspect::inspect;
use super::store::{Store, StoreError, StoreOutcome};
use super::trust::{VerifiedPlugin, verify};
use extman_model::{Digest, RefusedView};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const DUPLICATE: &str = "duplicate";

/// Looks at the watched directories.
pub struct Arrivals {
    discovery: Discovery,
    store: Store,
    config: IntakeConfig,
    known: BTreeMap<PathBuf, Known>,
    refused: BTreeMap<PathBuf, RefusedView>,
}

struct Known {
    identity: FileIdentity,
    /// The last good plugin of this path. It is kept when the file is overwritten by something that is refused.
    plugin: Option<VerifiedPlugin>,
}

/// What a look has found.
#[derive(Default)]
pub struct Arrived {
    /// Every plugin that is there, by path.
    pub plugins: BTreeMap<PathBuf, VerifiedPlugin>,
    /// Those of them that were not there, or not these bytes, at the last look.
    pub new: Vec<PathBuf>,
    /// Files that are gone since the last look.
    pub vanished: Vec<PathBuf>,
    /// Everything that is refused now.
    pub refused: Vec<RefusedView>,
    /// Those of them that were not refused, or for another reason, at the last look.
    pub newly_refused: Vec<RefusedView>,
    /// Directories that were not there at the last look, and are now.
    pub appeared: Vec<PathBuf>,
    /// The directories that were looked at.
    pub directories: Vec<PathBuf>,
    /// Whether a file is still being written, so that another look is due soon.
    pub pending: bool,
}

impl Arrivals {
    /// Over the configured directories and store.
    ///
    /// # Errors
    /// The store can't be used.
    pub fn new(config: IntakeConfig) -> Result<Self, StoreError> {
        let store = Store::open(config.store.dir.clone())?;
        let discovery = Discovery::new(config.discovery.clone());
        Ok(Arrivals {
            discovery,
            store,
            config,
            known: BTreeMap::new(),
            refused: BTreeMap::new(),
        })
    }

    /// Whether the store can be written to.
    pub fn store_outcome(&self) -> StoreOutcome {
        self.store.outcome()
    }

    /// The plugin of these bytes, if the store still has them, and they are trusted: whatever became of the file that they came from.
    pub fn kept(&self, digest: Digest) -> Option<VerifiedPlugin> {
        let found = self.store.find(digest)?;
        let plugin = self.examine(found).ok()?;
        (plugin.digest() == digest).then_some(plugin)
    }

    /// The plugin in a file that somebody has named, wherever it lies.
    ///
    /// # Errors
    /// It is not there, is no plugin or is not trusted: the file, and why.
    pub fn named(&self, path: &Path) -> Result<VerifiedPlugin, String> {
        let found = find(path, &self.config.discovery).map_err(|refused| refused.reason.to_string());
        let plugin = found.and_then(|found| self.examine(found).map_err(|refusal| refusal.reason));
        plugin.map_err(|why| format!("{}: {why}", path.display()))
    }

    /// From here on it looks in these directories, and so.
    pub fn look_by(&mut self, config: DiscoveryConfig) {
        self.discovery = Discovery::new(config.clone());
        self.config.discovery = config;
    }

    /// Looks once.
    pub fn look(&mut self, now: SystemTime) -> Arrived {
        let scan = self.discovery.scan(now);
        let mut arrived = Arrived {
            pending: !scan.pending.is_empty(),
            directories: self.config.discovery.dirs.clone(),
            appeared: self.appeared(&scan),
            ..Arrived::default()
        };
        let mut refused = Refusals::of(&scan);
        let mut there = self.not_gone(&scan);
        for found in scan.found {
            // A file that has become unfit is gone as a plugin, but one that is being written again is not.
            there.insert(found.path().to_owned());
            self.take(found, &mut arrived, &mut refused);
        }
        self.known.retain(|path, known| {
            let stays = there.contains(path);
            if !stays && known.plugin.is_some() {
                arrived.vanished.push(path.clone());
            }
            stays
        });
        let plugins = self
            .known
            .iter()
            .filter_map(|(path, known)| Some((path.clone(), known.plugin.clone()?)));
        arrived.plugins = plugins.collect();
        leave_out_duplicates(&mut arrived, &mut refused);
        let newly = |view: &&RefusedView| self.refused.get(&view.path) != Some(*view);
        arrived.newly_refused = refused.0.values().filter(newly).cloned().collect();
        arrived.refused = refused.0.values().cloned().collect();
        self.refused = refused.0;
        arrived
    }

    /// Directories that were missing at the last look, and are there now.
    fn appeared(&self, scan: &Scan) -> Vec<PathBuf> {
        let was_missing = |dir: &&PathBuf| {
            let known = self.refused.get(*dir);
            known.is_some_and(|known| known.code == DirProblem::Missing.code())
        };
        let is_missing = |dir: &&PathBuf| {
            let missing = |e: &DirError| e.path == **dir && e.problem == DirProblem::Missing;
            scan.dirs.iter().any(missing)
        };
        let directories = self.config.discovery.dirs.iter();
        directories
            .filter(|dir| was_missing(dir) && !is_missing(dir))
            .cloned()
            .collect()
    }

    /// Files that are being written, and those that can't be looked at: a directory that is unreadable for a while takes nothing down.
    fn not_gone(&self, scan: &Scan) -> BTreeSet<PathBuf> {
        // What can't be looked at is not gone: a directory that is unreadable or not there takes nothing down.
        let unreadable: BTreeSet<&Path> = scan
            .dirs
            .iter()
            .filter(|error| matches!(error.problem, DirProblem::Unreadable(_) | DirProblem::Missing))
            .map(|error| error.path.as_path())
            .collect();
        let unread = |path: &&PathBuf| path.parent().is_some_and(|dir| unreadable.contains(dir));
        let unread = self.known.keys().filter(unread);
        scan.pending.iter().chain(unread).cloned().collect()
    }

    /// Takes in a file that was found, unless it is known as it is.
    fn take(&mut self, found: FoundFile, arrived: &mut Arrived, refused: &mut Refusals) {
        let (path, identity) = (found.path().to_owned(), found.identity());
        let known = self.known.get(&path);
        if known.is_some_and(|known| known.identity == identity) {
            // Whether it is still a duplicate depends on the other files.
            let earlier = self
                .refused
                .get(&path)
                .filter(|earlier| earlier.code != DUPLICATE);
            if let Some(earlier) = earlier {
                refused.0.insert(path, earlier.clone());
            }
            return;
        }
        let before = known.and_then(|known| known.plugin.clone());
        let plugin = match self.examine(found) {
            Ok(plugin) => {
                let same = before
                    .as_ref()
                    .is_some_and(|before| before.digest() == plugin.digest());
                if !same {
                    arrived.new.push(path.clone());
                }
                Some(plugin)
            }
            Err(Refusal { code, reason, again }) => {
                let goes_on = if before.is_some() {
                    "; what was loaded from it before goes on"
                } else {
                    ""
                };
                refused.add(path.clone(), code, format!("{reason}{goes_on}"));
                if again {
                    return;
                }
                before
            }
        };
        self.known.insert(path, Known { identity, plugin });
    }

    fn examine(&self, found: FoundFile) -> Result<VerifiedPlugin, Refusal> {
        // The store may be full or busy now and not later, whatever the file is.
        let stored = self
            .store
            .take(&found)
            .map_err(|e| Refusal::new(e.code(), &e, true))?;
        let inspected = inspect(stored).map_err(|e| Refusal::new(e.code(), &e, false))?;
        // The modes of the folders above are no part of a file's identity, so a mended one is only seen by asking again.
        verify(inspected, &self.config.trust).map_err(|e| Refusal::new(e.code(), &e, true))
    }
}

/// What is refused at this look, by path.
struct Refusals(BTreeMap<PathBuf, RefusedView>);

impl Refusals {
    /// What a scan has refused.
    fn of(scan: &Scan) -> Self {
        let mut refused = Refusals(BTreeMap::new());
        for entry in &scan.refused {
            refused.add(entry.path.clone(), entry.reason.code(), entry.reason.to_string());
        }
        for error in &scan.dirs {
            refused.add(
                error.path.clone(),
                error.problem.code(),
                error.problem.to_string(),
            );
        }
        refused
    }

    fn add(&mut self, path: PathBuf, code: &str, reason: String) {
        let view = RefusedView {
            path: path.clone(),
            code: code.to_owned(),
            reason,
        };
        self.0.insert(path, view);
    }
}

/// Of several files with one id and version, that of the earliest directory is used.
fn leave_out_duplicates(arrived: &mut Arrived, refused: &mut Refusals) {
    let position = |path: &Path| {
        let dirs = &arrived.directories;
        dirs.iter().position(|dir| path.parent() == Some(dir.as_path()))
    };
    let mut in_order: Vec<_> = arrived.plugins.values().collect();
    in_order.sort_by_key(|plugin| (position(plugin.origin()), plugin.origin()));
    let mut used: BTreeMap<_, &Path> = BTreeMap::new();
    let mut unused = Vec::new();
    for plugin in in_order {
        let about = &plugin.manifest().plugin;
        let first = *used.entry((&about.id, &about.version)).or_insert(plugin.origin());
        if first != plugin.origin() {
            let (id, version, first) = (&about.id, &about.version, first.display());
            let reason = format!("{id} {version} is there already, at {first}; remove one of the two");
            unused.push((plugin.origin().to_owned(), reason));
        }
    }
    for (path, reason) in unused {
        arrived.plugins.remove(&path);
        refused.add(path, DUPLICATE, reason);
    }
}

/// Why a file is not taken.
struct Refusal {
    code: &'static str,
    reason: String,
    /// The same file may be taken next time.
    again: bool,
}

impl Refusal {
    fn new(code: &'static str, error: &dyn std::error::Error, again: bool) -> Self {
        Refusal {
            code,
            reason: error.to_string(),
            again,
        }
    }
}
