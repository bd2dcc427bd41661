//! The crash journal as a host uses it: begun where it is asked for, and what earlier hosts left.

use crate::config::Config;
use extman_model::Crash;
use extman_runtime::crash::{self, Crashes};
use std::sync::Arc;

/// Takes in what earlier hosts left, then has this process note. Without a journal the host runs all the same; why there is none is given
/// back.
pub(super) fn start(config: &Config, asked: bool) -> (Arc<Crashes>, Option<String>) {
    let none = |why: String| (Arc::new(Crashes::none()), Some(why));
    if !asked {
        return none("its program does not ask for it".to_owned());
    }
    if !config.crash.enabled {
        return none("crash.enabled is false".to_owned());
    }
    let Some(state) = &config.state.dir else {
        return none(
            "no state directory is given, and nothing else outlives the process; name one by state.dir"
                .to_owned(),
        );
    };
    let dir = state.join("crash");
    let (crashes, failure) = Crashes::take_in(&dir, &config.crash);
    if let Some(error) = failure {
        tracing::warn!("what is known of earlier hosts' crashes holds for this one alone: {error}");
    }
    let not_noted = crash::begin(&dir).err().map(|error| error.to_string());
    if let Some(why) = &not_noted {
        tracing::warn!("nobody will learn in whose code this host crashes: {why}");
    }
    // Here and not as events are: this host may be ended the same way before those are written.
    for crash in crashes.found() {
        let culprit = crash.culprit.as_ref();
        let plugin = culprit.map(|culprit| culprit.instance.as_ref().unwrap_or(&culprit.id));
        tracing::error!(plugin, "{crash}");
    }
    if crashes.silent() > 0 {
        tracing::info!(
            hosts = crashes.silent(),
            "an earlier host did not end in good order, and no fatal signal was noted: it was killed from outside, or power was lost"
        );
    }
    (Arc::new(crashes), not_noted)
}

/// As they are shown: the newest first.
pub(super) fn newest_first(crashes: &[Crash]) -> Vec<Crash> {
    crashes.iter().rev().cloned().collect()
}
