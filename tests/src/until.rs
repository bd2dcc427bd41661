//! Waiting for a condition. The limit is generous: a test that meets it has failed.

use std::time::{Duration, Instant};

/// How long a condition may take to come true.
pub const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until `condition` holds.
///
/// # Panics
/// It does not within [`LIMIT`].
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let give_up = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < give_up, "not within {LIMIT:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `condition` holds, and lets other tasks run meanwhile.
///
/// # Panics
/// It does not within [`LIMIT`].
pub async fn until_async(what: &str, mut condition: impl FnMut() -> bool) {
    let give_up = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < give_up, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
