//! Watches `extman.toml` and the files of secrets.

use super::Current;
use crate::config::{ConfigError, ConfigText};
use crate::host::{Host, Inner};
use extman_intake::{Watch, WatchConfig};
use extman_runtime::supervisor::SecretFingerprints;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// A look without a reported change: behind links and on network file systems, changes are not reported.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);
/// A file that never stays the same for long is taken in as it is then.
const LOOKS_MAX: usize = 10;

/// What was seen at a look.
struct Seen {
    /// What stood in the file, or why it could not be read.
    text: Result<ConfigText, String>,
    marks: Vec<SecretFingerprints>,
}

impl Seen {
    /// Blocking: it reads files.
    fn now(path: &Path, current: &Current) -> Self {
        Seen {
            text: ConfigText::read(path).map_err(|error| match error {
                ConfigError::Read { error, .. } => error.to_string(),
                other => other.to_string(),
            }),
            marks: current
                .all()
                .map(|config| SecretFingerprints::of(&config.config))
                .collect(),
        }
    }

    fn is(&self, other: &Seen) -> bool {
        let same_text = match (&self.text, &other.text) {
            (Ok(one), Ok(two)) => one.is(two),
            (Err(one), Err(two)) => one == two,
            _ => false,
        };
        same_text && self.marks == other.marks
    }

    /// Whether the host goes by this already.
    fn is_in(&self, current: &Current) -> bool {
        let same_text = match (&self.text, &current.file.text) {
            (Ok(one), Some(two)) => one.is(two),
            _ => false,
        };
        same_text && current.all().map(|config| &config.secrets).eq(&self.marks)
    }
}

/// Takes in what has changed, until the host ends.
pub(in crate::host) async fn watch(host: Weak<Inner>) {
    let changed = Arc::new(Notify::new());
    let mut watched: Option<(BTreeSet<PathBuf>, WatchConfig, std::io::Result<Watch>)> = None;
    // What was told of, and can't be used.
    let mut refused: Option<Seen> = None;
    loop {
        let Some(inner) = host
            .upgrade()
            .filter(|inner| !inner.ending.load(Ordering::Acquire))
        else {
            return;
        };
        let current = inner.current();
        if inner.configuration.source.is_none() {
            return;
        }
        let Some(path) = current.file.text.as_ref().map(|text| text.path().to_owned()) else {
            return;
        };
        let (dirs, how) = (directories(&path, &current), current.config.intake.watch.clone());
        if watched
            .as_ref()
            .is_none_or(|(known, by, _)| (known, by) != (&dirs, &how))
        {
            let list: Vec<PathBuf> = dirs.iter().cloned().collect();
            let notify = changed.clone();
            let watch = Watch::start(&list, &how, move || notify.notify_one());
            if let Err(error) = &watch {
                tracing::warn!(%error, "the configuration can't be watched; it is looked at every {LOOK_ANYWAY:?}");
            }
            watched = Some((dirs, how, watch));
        }
        let settle = current.config.intake.discovery.settle();
        if let Some(seen) = settled(&path, &current, refused.as_ref(), settle).await {
            let host = Host { inner: inner.clone() };
            host.reread_config(seen.text.clone()).await;
            refused = (!seen.is_in(&inner.current())).then_some(seen);
        }
        // The host may end while nobody changes anything.
        drop((inner, current));
        let _ = tokio::time::timeout(LOOK_ANYWAY, changed.notified()).await;
    }
}

/// What has changed, once it has stayed the same for a while: a file may be in the midst of being written.
async fn settled(
    path: &Path,
    current: &Arc<Current>,
    refused: Option<&Seen>,
    settle: Duration,
) -> Option<Seen> {
    let look = || {
        let (path, current) = (path.to_owned(), current.clone());
        tokio::task::spawn_blocking(move || Seen::now(&path, &current))
    };
    let mut seen = look().await.ok()?;
    for _ in 0..LOOKS_MAX {
        if seen.is_in(current) && refused.is_none() || refused.is_some_and(|refused| refused.is(&seen)) {
            return None;
        }
        tokio::time::sleep(settle).await;
        let again = look().await.ok()?;
        if again.is(&seen) {
            return Some(again);
        }
        seen = again;
    }
    Some(seen)
}

/// Where the file lies, and the secrets.
fn directories(path: &Path, current: &Current) -> BTreeSet<PathBuf> {
    let secrets = current
        .all()
        .flat_map(|config| SecretFingerprints::files(&config.config));
    let files = std::iter::once(path.to_owned()).chain(secrets);
    let parent = |file: PathBuf| file.parent().map(Path::to_owned);
    files.filter_map(parent).collect()
}
