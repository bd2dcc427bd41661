//! What goes on beside the supervisor: looking at directories.

use extman_intake::{Arrivals, IntakeConfig, Watch};
use extman_model::clock;
use extman_runtime::supervisor::{Request, Requests};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// A look without a reported change: behind links and on network file systems, changes are not reported.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);

/// Looks at the plugin directories whenever something has changed there.
pub(super) async fn look(
    mut arrivals: Arrivals,
    mut config: watch::Receiver<IntakeConfig>,
    requests: Requests,
    look: Arc<Notify>,
    ending: Arc<AtomicBool>,
) {
    let start_watch = |config: &IntakeConfig| {
        let changed = look.clone();
        let watch = Watch::start(&config.discovery.dirs, &config.watch, move || {
            changed.notify_one()
        });
        if let Err(error) = &watch {
            tracing::warn!(%error, "directories can't be watched; they are looked at every {LOOK_ANYWAY:?}");
        }
        watch
    };
    let mut now = config.borrow_and_update().clone();
    let mut watch = start_watch(&now);
    loop {
        if ending.load(Ordering::Acquire) {
            return;
        }
        if config.has_changed().is_ok_and(|changed| changed) {
            now = config.borrow_and_update().clone();
            // The one before it ends first: both would tell of the same change.
            drop(watch);
            watch = start_watch(&now);
            arrivals.look_by(now.discovery.clone());
        }
        // It copies and hashes files, so not on one of the async runtime's own threads.
        let looked = tokio::task::spawn_blocking(move || {
            let arrived = arrivals.look(clock::wall());
            (arrivals, arrived)
        });
        let Ok((back, arrived)) = looked.await else { return };
        arrivals = back;
        let pause = if arrived.pending {
            now.discovery.settle()
        } else {
            LOOK_ANYWAY
        };
        if !requests.make(Request::Arrived(Box::new(arrived))) {
            return;
        }
        let _ = tokio::time::timeout(pause, look.notified()).await;
    }
}
