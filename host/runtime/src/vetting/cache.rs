//! Results of vetting, kept on disk: one small file a key, written whole or not at all.

use super::key::VettingKey;
use extman_intake::write_whole;
use extman_model::clock::unix_ms;
use extman_model::{Digest, VettingReport};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Most results that are kept of one library: each configuration has one of its own.
const RESULTS_PER_DIGEST_MAX: usize = 1024;

/// Results by key.
#[derive(Debug)]
pub(super) struct VettingCache {
    dir: PathBuf,
}

/// One result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct VettingRecord {
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// What was seen.
    pub report: VettingReport,
}

impl VettingCache {
    /// In this directory, which is made when the first result comes.
    pub fn new(dir: PathBuf) -> Self {
        VettingCache { dir }
    }

    /// What was seen under this key, unless it is a refusal older than `expires`. What can't be read counts as not seen.
    pub fn look_up(&self, key: &VettingKey, now: SystemTime, expires: Duration) -> Option<VettingReport> {
        let record = read(&self.path(key))?;
        // A clock that was set back makes a refusal look as if it came from the future: then it has expired as well.
        let age = unix_ms(now).checked_sub(record.at_unix_ms);
        let fresh = age.is_some_and(|age| u128::from(age) < expires.as_millis());
        (record.report.passed() || fresh).then_some(record.report)
    }

    /// Keeps a result. A failure to write is logged: the plugin is then vetted again next time.
    pub fn enter(&self, key: &VettingKey, now: SystemTime, report: &VettingReport) {
        let record = VettingRecord {
            at_unix_ms: unix_ms(now),
            report: report.clone(),
        };
        if let Err(error) = self.write(key, &record) {
            let digest = key.digest();
            tracing::warn!(%digest, %error, "the result of vetting could not be kept");
        }
    }

    /// Forgets a digest under whatever circumstances it was seen, or where it was refused alone. `false` if there was nothing to forget.
    pub fn release(&self, digest: Digest, refusals_alone: bool) -> bool {
        let is_meant =
            |path: &Path| !refusals_alone || read(path).is_none_or(|record| !record.report.passed());
        let known = self.of(digest).into_iter();
        let removed = known.filter(|path| is_meant(path) && std::fs::remove_file(path).is_ok());
        removed.count() > 0
    }

    /// Files with results of a digest.
    fn of(&self, digest: Digest) -> Vec<PathBuf> {
        let prefix = format!("{digest}-");
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let named = entries.filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(prefix.as_bytes())
        });
        named.map(|entry| entry.path()).collect()
    }

    fn write(&self, key: &VettingKey, record: &VettingRecord) -> io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let known = self.of(key.digest());
        if known.len() >= RESULTS_PER_DIGEST_MAX && !known.contains(&self.path(key)) {
            self.remove_oldest(known);
        }
        write_whole(&self.path(key), &serde_json::to_vec(record)?, 0o600)
    }

    fn remove_oldest(&self, paths: Vec<PathBuf>) {
        let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|m| m.modified()).ok();
        if let Some(oldest) = paths.into_iter().min_by_key(modified) {
            let _ = std::fs::remove_file(oldest);
        }
    }

    fn path(&self, key: &VettingKey) -> PathBuf {
        self.dir.join(format!("{key}.json"))
    }
}

fn read(path: &Path) -> Option<VettingRecord> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::{VettingDepth, VettingFailure, VettingPhase, VettingRefusal};

    fn report(refused: bool) -> VettingReport {
        let why = VettingFailure::Exited { code: 3 };
        VettingReport {
            refusal: refused.then_some(VettingRefusal {
                phase: VettingPhase::Open,
                why,
            }),
            ..VettingReport::new(VettingDepth::Open)
        }
    }

    fn key(digest: u8, circumstances: u8) -> VettingKey {
        VettingKey::for_test(Digest::new([digest; 32]), circumstances)
    }

    #[test]
    fn refusals_expire_and_are_released_and_passes_stay() {
        let dir = tempfile::tempdir().unwrap();
        let cache = VettingCache::new(dir.path().join("vetting"));
        let (good, bad) = (key(1, 0), key(2, 0));
        let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
        assert!(cache.look_up(&bad, now, day).is_none());
        cache.enter(&good, now, &report(false));
        cache.enter(&bad, now, &report(true));
        let later = now + day * 2;
        assert!(cache.look_up(&good, later, day).is_some());
        assert!(cache.look_up(&bad, now + day / 2, day).is_some());
        assert!(cache.look_up(&bad, later, day).is_none());
        assert!(
            cache.look_up(&bad, now - day, day).is_none(),
            "the clock was set back"
        );
        assert!(!cache.release(good.digest(), true));
        assert!(cache.release(bad.digest(), true));
        cache.enter(&bad, now, &report(true));
        assert!(cache.release(bad.digest(), false));
        assert!(cache.look_up(&bad, now, day).is_none());
        assert!(!cache.release(bad.digest(), false));
    }

    #[test]
    fn one_digest_under_other_circumstances_is_another_result_and_all_are_released_together() {
        let dir = tempfile::tempdir().unwrap();
        let cache = VettingCache::new(dir.path().to_owned());
        let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
        cache.enter(&key(1, 1), now, &report(false));
        assert!(cache.look_up(&key(1, 2), now, day).is_none());
        cache.enter(&key(1, 2), now, &report(true));
        assert!(cache.look_up(&key(1, 1), now, day).unwrap().passed());
        assert!(!cache.look_up(&key(1, 2), now, day).unwrap().passed());
        assert!(cache.release(key(1, 1).digest(), false));
        assert!(
            cache.look_up(&key(1, 1), now, day).is_none() && cache.look_up(&key(1, 2), now, day).is_none()
        );
    }

    #[test]
    fn a_damaged_record_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let cache = VettingCache::new(dir.path().to_owned());
        let key = key(3, 0);
        cache.enter(&key, SystemTime::now(), &report(false));
        std::fs::write(cache.path(&key), b"{\"at").unwrap();
        assert!(cache.look_up(&key, SystemTime::now(), Duration::MAX).is_none());
    }

    #[test]
    fn results_written_at_once_are_all_kept_and_leave_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let cache = VettingCache::new(dir.path().to_owned());
        let write = |n: u8| cache.enter(&key(4, n % 4), SystemTime::now(), &report(false));
        std::thread::scope(|scope| {
            for n in 0..16 {
                scope.spawn(move || write(n));
            }
        });
        let names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 4, "{names:?}");
    }
}
