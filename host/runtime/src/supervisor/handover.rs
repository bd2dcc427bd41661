//! State on its way from the generation of an instance that serves to the one that takes its place. The host copies the bytes, so that nothing of
//! the one is referred to by the other.

use super::stage::StateNotTaken;
use super::start::Running;
use crate::instance::Instance;
use crate::loader::Snapshot;
use crate::registry::Registry;
use extman_model::clock;
use extman_model::{CallError, ErrorKind, Lifecycle, What};
use semver::Version;
use std::sync::Arc;
use std::time::Duration;

/// The state that a generation has left for the next one.
#[derive(Debug, Clone)]
pub(super) struct LeftState {
    /// The version that wrote it.
    version: Version,
    snapshot: Arc<Snapshot>,
}

/// Whose state a start hands over.
pub(super) enum Predecessor {
    /// Nobody's.
    Nobody,
    /// That of the generation that serves meanwhile.
    Serving(Giver),
    /// That of one that has been stopped.
    Stopped(LeftState),
}

/// A generation whose state is to be taken.
pub(super) struct Giver {
    registry: Arc<Registry>,
    instance: Arc<Instance>,
    generation: u64,
    version: Version,
    bytes_max: usize,
}

/// Why a state was not handed over.
#[derive(Debug)]
pub(super) struct NotHandedOver {
    /// Why, for people.
    pub cause: String,
    /// Whether another try may hand it over.
    pub why: StateNotTaken,
    /// The generation that panicked when its state was to be taken, and the panic's text.
    pub panicked: Option<(u64, String)>,
}

/// What became of a predecessor's state.
pub(super) enum Inheritance {
    /// There was none.
    Nothing,
    /// It was taken.
    Taken(LeftState),
    /// The new generation takes none.
    LeftBehind(LeftState),
}

impl Giver {
    pub(super) fn of(running: &Running, registry: &Arc<Registry>) -> Self {
        Giver {
            registry: registry.clone(),
            instance: running.instance.clone(),
            generation: running.module.generation(),
            version: version_of(running),
            bytes_max: running.made_from.config.state_bytes_max(),
        }
    }

    /// Its state now; `None` if it keeps none.
    async fn give(&self) -> Result<Option<LeftState>, NotHandedOver> {
        match self.instance.snapshot(self.bytes_max).await {
            Ok(snapshot) => Ok(Some(LeftState {
                version: self.version.clone(),
                snapshot: Arc::new(snapshot),
            })),
            Err(error) if error.kind == ErrorKind::Unsupported => Ok(None),
            Err(error) => Err(self.not_given(error)),
        }
    }

    fn not_given(&self, error: CallError) -> NotHandedOver {
        let (version, is_panic) = (&self.version, error.kind == ErrorKind::Panicked);
        let remedy = match error.kind {
            ErrorKind::Exhausted => "; a larger state_bytes_max of its [[instance]] lets it through",
            _ => "",
        };
        NotHandedOver {
            why: StateNotTaken::Refused,
            cause: format!("the state of version {version} could not be taken: {error}{remedy}"),
            panicked: is_panic.then_some((self.generation, error.text)),
        }
    }

    /// Whether its code may still change its state for a caller.
    fn is_called(&self) -> bool {
        self.instance.call_metrics().in_flight() > 0 || self.instance.inside() > 0
    }

    async fn give_after_calls(&self, limit: Duration) -> Result<Option<LeftState>, NotHandedOver> {
        let is_called = self.is_called();
        // Also where it is called: what keeps no state, or can't give it, is waited for by nobody.
        let given = self.give().await?;
        if !is_called || given.is_none() {
            return Ok(given);
        }
        let give_up = clock::monotonic().after(limit);
        while self.is_called() && clock::monotonic() < give_up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if self.is_called() {
            let version = &self.version;
            return Err(NotHandedOver {
                why: StateNotTaken::Refused,
                cause: format!(
                    "calls are in version {version} that may still change its state, {limit:?} after the last one was let in"
                ),
                panicked: None,
            });
        }
        self.give().await
    }

    /// Its state, if it serves still: what has failed, or is being stopped, meanwhile gives none.
    async fn give_beside(&self) -> Result<Option<LeftState>, NotHandedOver> {
        if !self.serves() {
            return Ok(None);
        }
        let given = self.give().await;
        match self.serves() {
            true => given,
            false => Ok(None),
        }
    }

    fn serves(&self) -> bool {
        let current = self.registry.current();
        let entry = current.get(self.instance.name());
        entry.is_some_and(|entry| entry.lifecycle != Lifecycle::Wedged && entry.is_served_by(&self.instance))
    }
}

/// Takes the state of a generation that is to be stopped, as it is after its last call. It takes no more calls from here on, unless its state could
/// not be taken: then it goes on.
pub(super) async fn leave(
    running: &Running,
    registry: &Arc<Registry>,
) -> Result<Option<LeftState>, NotHandedOver> {
    running.instance.close();
    let left = Giver::of(running, registry)
        .give_after_calls(running.stop_budget)
        .await;
    if left.is_err() {
        running.instance.reopen();
    }
    left
}

/// Hands the state of its predecessor over to one that was created and is not started yet.
pub(super) async fn inherit(from: Predecessor, heir: &Running) -> Result<Inheritance, NotHandedOver> {
    let state = match from {
        Predecessor::Nobody => None,
        Predecessor::Serving(giver) => giver.give_beside().await?,
        Predecessor::Stopped(state) => Some(state),
    };
    let Some(state) = state else {
        return Ok(Inheritance::Nothing);
    };
    let LeftState { version, snapshot } = &state;
    let of = version.to_string();
    match heir.instance.restore(snapshot.clone(), &of).await {
        Ok(()) => Ok(Inheritance::Taken(state)),
        Err(error) if error.kind == ErrorKind::Unsupported => Ok(Inheritance::LeftBehind(state)),
        Err(error) => Err(NotHandedOver {
            why: may_be_taken_later(error.kind),
            cause: format!(
                "version {} did not take the state of version {version} (format {}, {} bytes): {error}",
                version_of(heir),
                snapshot.format,
                snapshot.state.len()
            ),
            panicked: None,
        }),
    }
}

impl Inheritance {
    /// What is told of it, once the heir has started.
    pub(super) fn event(self, heir: &Running) -> Option<What> {
        let (name, to) = (heir.instance.name().to_owned(), version_of(heir));
        match self {
            Inheritance::Nothing => None,
            Inheritance::Taken(LeftState { version, snapshot }) => Some(What::StateHandedOver {
                name,
                from: version,
                to,
                format: snapshot.format,
                bytes: snapshot.state.len() as u64,
            }),
            Inheritance::LeftBehind(LeftState { version, .. }) => Some(What::StateLost {
                name,
                text: format!("version {to} takes no state, and begins without what version {version} keeps"),
            }),
        }
    }
}

/// A plugin that is not ready, or a host that is busy, has not refused it.
fn may_be_taken_later(kind: ErrorKind) -> StateNotTaken {
    match kind {
        ErrorKind::Unavailable
        | ErrorKind::Exhausted
        | ErrorKind::RateLimited
        | ErrorKind::DeadlineExceeded => StateNotTaken::NotNow,
        _ => StateNotTaken::Refused,
    }
}

fn version_of(running: &Running) -> Version {
    running.made_from.plugin.manifest().plugin.version.clone()
}
