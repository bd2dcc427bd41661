//! Results of vetting, kept on disk: one small file a key, written whole or not at all.

use super::key::VettingKey;
use extman_model::clock::unix_ms;
use extman_model::{Digest, VettingReport};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
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
        let record: VettingRecord = serde_json::from_slice(&std::fs::read(self.path(key)).ok()?).ok()?;
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

    /// Forgets a digest under whatever circumstances it was seen. `false` if nothing was known.
    pub fn release(&self, digest: Digest) -> bool {
        let removed = self
            .of(digest)
            .into_iter()
            .filter(|path| std::fs::remove_file(path).is_ok());
        removed.count() > 0
    }

    /// Forgets where a digest was refused. `false` if it was not.
    pub fn release_refusals(&self, digest: Digest) -> bool {
        let refused = |path: &PathBuf| {
            let record = std::fs::read(path)
                .ok()
                .and_then(|text| serde_json::from_slice::<VettingRecord>(&text).ok());
            record.is_none_or(|record| !record.report.passed())
        };
        let removed = self
            .of(digest)
            .into_iter()
            .filter(|path| refused(path) && std::fs::remove_file(path).is_ok());
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
        let (partial, mut file) = self.create_partial()?;
        let written = serde_json::to_vec(record)
            .map_err(io::Error::from)
            .and_then(|json| file.write_all(&json))
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&partial, self.path(key)));
        if written.is_err() {
            let _ = std::fs::remove_file(&partial);
        }
        written
    }

    /// A file under a name that nobody else has: not another thread, not a process of the same id in another container.
    fn create_partial(&self) -> io::Result<(PathBuf, File)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        const ATTEMPTS_MAX: usize = 1 << 16;
        for _ in 0..ATTEMPTS_MAX {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = self.dir.join(format!(".partial-{}-{number}", std::process::id()));
            match File::create_new(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return Ok((path, created?)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
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
        assert!(!cache.release_refusals(good.digest()));
        assert!(cache.release_refusals(bad.digest()));
        cache.enter(&bad, now, &report(true));
        assert!(cache.release(bad.digest()));
        assert!(cache.look_up(&bad, now, day).is_none());
        assert!(!cache.release(bad.digest()));
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
        assert!(cache.release(key(1, 1).digest()));
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
