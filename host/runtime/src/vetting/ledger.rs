//! What was seen of each digest, on disk: one small file a digest, written whole or not at all.

use extman_model::clock::unix_ms;
use extman_model::{Digest, VettingReport};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Results of vetting by digest.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
}

/// One result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The host that saw it: another one tries again.
    pub host_version: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// What was seen.
    pub report: VettingReport,
}

impl Ledger {
    /// In this directory, which is made when the first result comes.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Ledger { dir: dir.into() }
    }

    /// What was seen of a digest, unless it is a refusal older than `expires`. What can't be read counts as not seen.
    pub fn look_up(&self, digest: Digest, now: SystemTime, expires: Duration) -> Option<LedgerEntry> {
        let entry = self.read(digest)?;
        if entry.host_version != env!("CARGO_PKG_VERSION") {
            return None;
        }
        // A clock that was set back makes a refusal look as if it came from the future: then it has expired as well.
        let age = unix_ms(now).checked_sub(entry.at_unix_ms);
        let fresh = age.is_some_and(|age| u128::from(age) < expires.as_millis());
        (entry.report.passed() || fresh).then_some(entry)
    }

    /// Keeps a result. A failure to write is logged: the plugin is then vetted again next time.
    pub fn enter(&self, digest: Digest, now: SystemTime, report: &VettingReport) {
        let entry = LedgerEntry {
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            at_unix_ms: unix_ms(now),
            report: report.clone(),
        };
        if let Err(error) = self.write(digest, &entry) {
            tracing::warn!(%digest, %error, "the result of vetting could not be kept");
        }
    }

    /// Forgets a digest. `false` if nothing was known.
    pub fn release(&self, digest: Digest) -> bool {
        std::fs::remove_file(self.path(digest)).is_ok()
    }

    /// Forgets a digest if it was refused. `false` if it was not.
    pub fn release_refusal(&self, digest: Digest) -> bool {
        self.read(digest).is_some_and(|entry| !entry.report.passed()) && self.release(digest)
    }

    fn read(&self, digest: Digest) -> Option<LedgerEntry> {
        let text = std::fs::read(self.path(digest)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn write(&self, digest: Digest, entry: &LedgerEntry) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let partial = self.dir.join(format!(".{digest}.{}", std::process::id()));
        let written = std::fs::File::create(&partial).and_then(|mut file| {
            file.write_all(&serde_json::to_vec(entry)?)?;
            file.sync_all()
        });
        match written.and_then(|()| std::fs::rename(&partial, self.path(digest))) {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = std::fs::remove_file(&partial);
                Err(error)
            }
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{digest}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::{VettingDepth, VettingFailure, VettingPhase, VettingRefusal};

    fn report(refused: bool) -> VettingReport {
        let why = VettingFailure::Exited { code: 3 };
        VettingReport {
            depth: VettingDepth::Open,
            steps: Vec::new(),
            refusal: refused.then_some(VettingRefusal {
                phase: VettingPhase::Open,
                why,
            }),
            report: None,
            process_changes: Vec::new(),
            unload: None,
            stderr_tail: String::new(),
        }
    }

    #[test]
    fn refusals_expire_and_are_released_and_passes_stay() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(dir.path().join("vetting"));
        let (good, bad) = (Digest::new([1; 32]), Digest::new([2; 32]));
        let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
        assert!(ledger.look_up(bad, now, day).is_none());
        ledger.enter(good, now, &report(false));
        ledger.enter(bad, now, &report(true));
        let later = now + day * 2;
        assert!(ledger.look_up(good, later, day).is_some());
        assert!(ledger.look_up(bad, now + day / 2, day).is_some());
        assert!(ledger.look_up(bad, later, day).is_none());
        assert!(
            ledger.look_up(bad, now - day, day).is_none(),
            "the clock was set back"
        );
        assert!(!ledger.release_refusal(good));
        assert!(ledger.release_refusal(bad));
        ledger.enter(bad, now, &report(true));
        assert!(ledger.release(bad));
        assert!(ledger.look_up(bad, now, day).is_none());
        assert!(!ledger.release(bad));
    }

    #[test]
    fn a_damaged_entry_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(dir.path());
        let digest = Digest::new([3; 32]);
        ledger.enter(digest, SystemTime::now(), &report(false));
        std::fs::write(ledger.path(digest), b"{\"host").unwrap();
        assert!(ledger.look_up(digest, SystemTime::now(), Duration::MAX).is_none());
    }
}
