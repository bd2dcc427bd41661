//! Hanging, until something that a test decides.

use super::Scene;
use std::path::Path;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(2);

/// Until the host says "cancelled".
pub fn until_cancelled(scene: &Scene<'_, '_>) {
    while !scene.cancelled() {
        std::thread::sleep(PAUSE);
    }
}

/// Until the file is there; for ever without one.
pub fn for_release(release: Option<&Path>) {
    for_release_or(release, || false);
}

/// Until the file is there or `enough` says so.
pub fn for_release_or(release: Option<&Path>, enough: impl Fn() -> bool) {
    while !enough() && !release.is_some_and(Path::exists) {
        std::thread::sleep(PAUSE);
    }
}
