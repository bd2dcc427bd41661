//! The crash journal: in whose code a host was ended by a signal, noted as it happens and told by the next host.
//!
//! ```text
//!   lane, calling thread ── enter ──▶ journal (mapped file) ◀── handler of fatal signals: the note ── the process ends
//!                                                                                                        │
//!   next start: left journals ──▶ ledger (durable) ──▶ told; by policy its library is vetted anew or quarantined
//! ```
//!
//! A journal without a whole note names nobody: its process ended well, or was killed from outside, or power was lost. One journal a
//! process; the ledger is of all hosts on one state directory.

#![allow(unsafe_code)]

mod handler;
mod journal;
mod layout;
mod ledger;
mod left;
mod stack;
#[cfg(test)]
mod tests;

pub(crate) use journal::{Entry, InstanceEntry, Place, enter, leave};
pub use journal::{Identity, LibraryEntry, library};
pub(crate) use ledger::Standing;
pub(crate) use stack::AlternateStack;

use crate::durable;
use crate::sync::lock;
use extman_model::{Crash, Digest};
use ledger::Ledger;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// `[crash]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrashConfig {
    /// Whether the program notes in whose code it crashes. An embedder's program does so only if it asks for it as well. Default: true.
    pub enabled: bool,
    /// What follows for a library in whose code a host crashed: `quarantine` (at the second crash within `within_s` it is not loaded
    /// again), `vet` (as `quarantine`, and after the first one it must pass vetting at the deepest depth, whatever `vetting` says), or
    /// `ignore`. Default: `quarantine`.
    pub policy: CrashPolicy,
    /// Seconds between two crashes of one library, within which the second one has it quarantined. Default: 600.
    pub within_s: u64,
}

/// What follows for a library in whose code a host crashed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashPolicy {
    /// At the second crash within the window it is not loaded again.
    #[default]
    Quarantine,
    /// The same, and after the first one it must pass vetting.
    Vet,
    /// Nothing.
    Ignore,
}

impl Default for CrashConfig {
    fn default() -> Self {
        CrashConfig {
            enabled: true,
            policy: CrashPolicy::default(),
            within_s: 600,
        }
    }
}

/// Why crashes are not noted, or not kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be made, read or written.
    #[error("{what} in {}: {error}", .dir.display())]
    Files {
        /// What can't be done.
        what: &'static str,
        /// Where.
        dir: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A handler can't be set.
    #[error("no handler can be set for fatal signals: {0}")]
    Handler(io::Error),
}

impl Error {
    fn files(what: &'static str, dir: &Path) -> impl Fn(io::Error) -> Self {
        let dir = dir.to_owned();
        move |error| Error::Files {
            what,
            dir: dir.clone(),
            error,
        }
    }
}

/// Notes from here on, in a journal in this directory, in whose code this process crashes. Once for a process; its signals SIGSEGV,
/// SIGBUS, SIGILL, SIGFPE and SIGABRT get a handler, which calls what was there before.
///
/// # Errors
/// The journal can't be made, or a handler can't be set.
pub fn begin(dir: &Path) -> Result<(), Error> {
    journal::open(dir)?;
    handler::install().map_err(Error::Handler)
}

/// The work of the process has ended in good order: how it ends now is of interest only if that is by a fatal signal.
pub fn end() {
    if let Some(journal) = journal::journal() {
        journal.page.set_ended(true);
    }
}

/// The crashes of earlier hosts on one directory, and what follows from them.
#[derive(Debug)]
pub struct Crashes {
    policy: Mutex<CrashPolicy>,
    /// Nothing where none are kept.
    dir: Option<PathBuf>,
    ledger: Mutex<Ledger>,
    found: Vec<Crash>,
    silent: usize,
}

impl Crashes {
    /// None: every library is clear.
    pub fn none() -> Self {
        Crashes {
            policy: Mutex::default(),
            dir: None,
            ledger: Mutex::default(),
            found: Vec::new(),
            silent: 0,
        }
    }

    /// Takes in what earlier processes left in this directory, and what is kept there. What that says of libraries is durable when this
    /// returns, unless an error says that it holds for this process alone; the next one finds the same then.
    pub fn take_in(dir: &Path, config: &CrashConfig) -> (Self, Option<Error>) {
        let mut crashes = Crashes {
            policy: Mutex::new(config.policy),
            dir: Some(dir.to_owned()),
            ..Crashes::none()
        };
        let left = match left::look(dir) {
            Ok(left) => left,
            Err(error) => return (crashes, Some(error)),
        };
        (crashes.found, crashes.silent) = (left.crashes.clone(), left.silent);
        let add = |ledger: &mut Ledger| left.crashes.iter().for_each(|crash| ledger.add(crash, config));
        let (mut ledger, mut taken) = match read_ledger(&dir.join(LEDGER)) {
            Ok(kept) => (kept, Ok(())),
            Err(error) => (Ledger::default(), Err(error)),
        };
        add(&mut ledger);
        *lock(&crashes.ledger) = ledger;
        if taken.is_ok() && !left.crashes.is_empty() {
            taken = crashes.change(add);
        }
        if let Err(error) = taken {
            let failed = Error::files("what is kept of crashes can't be read or written", dir);
            return (crashes, Some(failed(error)));
        }
        left.remove();
        (crashes, None)
    }

    /// Those that this host found at its start, in the order of time.
    pub fn found(&self) -> &[Crash] {
        &self.found
    }

    /// Processes of which this host found at its start that they did not end in good order, and that no fatal signal was noted.
    pub fn silent(&self) -> usize {
        self.silent
    }

    /// All that are kept, in the order of time.
    pub fn kept(&self) -> Vec<Crash> {
        lock(&self.ledger).crashes.clone()
    }

    /// What follows for a library from here on, when it is loaded.
    pub fn set_policy(&self, policy: CrashPolicy) {
        *lock(&self.policy) = policy;
    }

    pub(crate) fn standing(&self, digest: Digest) -> Standing {
        let policy = *lock(&self.policy);
        lock(&self.ledger).standing(digest, policy)
    }

    /// A person has the library loaded again. `false` if there was nothing against it. What can't be written down holds until the
    /// host ends.
    pub(crate) fn release(&self, digest: Digest) -> bool {
        self.change_if(digest, |ledger| ledger.release(digest))
    }

    /// The library has passed vetting at the deepest depth.
    pub(crate) fn passed(&self, digest: Digest) {
        self.change_if(digest, |ledger| ledger.passed(digest));
    }

    fn change_if(&self, digest: Digest, change: impl Fn(&mut Ledger) -> bool) -> bool {
        let changes = change(&mut lock(&self.ledger));
        if changes && let Err(error) = self.change(|ledger| _ = change(ledger)) {
            let digest = digest.short();
            tracing::warn!(
                digest,
                "what follows from crashes is as it was at the next start: it can't be written down: {error}"
            );
        }
        changes
    }

    /// Changes what is kept, also by other hosts, and writes it.
    fn change(&self, change: impl FnOnce(&mut Ledger)) -> io::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let path = dir.join(LEDGER);
        let _alone = durable::lock(&path)?;
        let mut ledger = read_ledger(&path)?;
        change(&mut ledger);
        durable::write(&path, &serde_json::to_string_pretty(&ledger)?)?;
        *lock(&self.ledger) = ledger;
        Ok(())
    }
}

const LEDGER: &str = "ledger.json";

/// One that is not there is empty. One that can't be understood is put aside: no library is blamed for what nobody can read.
fn read_ledger(path: &Path) -> io::Result<Ledger> {
    let understood = match durable::read(path) {
        Ok(None) => return Ok(Ledger::default()),
        Ok(Some(text)) => serde_json::from_str(&text).map_err(io::Error::from),
        Err(error) => Err(error),
    };
    understood.or_else(|error| {
        if !matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        ) {
            return Err(error);
        }
        let aside = path.with_extension("json.unreadable");
        tracing::warn!(
            "{} can't be understood ({error}): it is put aside as {}",
            path.display(),
            aside.display()
        );
        std::fs::rename(path, &aside)?;
        Ok(Ledger::default())
    })
}
