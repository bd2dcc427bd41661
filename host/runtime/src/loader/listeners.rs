//! Who hears what an instance says unasked: instance tokens.

use super::outgoing::{OutgoingCalls, OutgoingRouter};
use extman_abi::InstanceToken;
use extman_model::clock::Monotonic;
use extman_model::{LogLevel, Progress, Report};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

/// Hears log records and pushed health of one instance. Called on whatever thread the plugin calls from: be quick.
pub trait Listener: Send + Sync {
    /// A log record; `fields` is empty or JSON text, not checked.
    fn log(&self, level: LogLevel, target: &str, text: &str, fields: &str);

    /// Whether log records of this level are kept by anybody.
    fn keeps(&self, level: LogLevel) -> bool;

    /// A call or a step of the lifecycle tells how far it is.
    fn progress(&self, progress: Progress);

    /// The instance tells of a change of health.
    fn health(&self, report: Report);

    /// Who carries out the calls that the instance makes of other plugins' capabilities; by default nobody, so that they fail.
    fn calls(&self) -> Option<Arc<dyn OutgoingRouter>> {
        None
    }
}

/// Instances that were made and not destroyed, by their tokens. A token is given once: a stale one fits no other instance.
static INSTANCES: RwLock<BTreeMap<InstanceToken, Registered>> = RwLock::new(BTreeMap::new());

/// An instance as those see it who hear of it by its token.
struct Registered {
    listener: Arc<dyn Listener>,
    outgoing: Arc<OutgoingCalls>,
    /// The second of the last pushed health, and how many there were in it.
    pushes: AtomicU64,
}

/// Of one instance, under its token.
pub(super) const REGISTERED_BYTES: usize = size_of::<(InstanceToken, Registered)>();

/// Reports that one instance may push in a second.
const PUSHES_PER_SECOND: u64 = 20;
const COUNT_BITS: u32 = 16;

/// Registers a listener, with the calls that the instance makes, and returns its token.
pub(super) fn register(listener: Arc<dyn Listener>, outgoing: Arc<OutgoingCalls>) -> InstanceToken {
    // 0 stands for no instance.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let token = NEXT.fetch_add(1, Relaxed);
    let registered = Registered {
        listener,
        outgoing,
        pushes: AtomicU64::new(0),
    };
    let mut instances = INSTANCES.write().unwrap_or_else(PoisonError::into_inner);
    instances.insert(token, registered);
    token
}

/// Forgets a token: from here on it is stale.
pub(super) fn unregister(token: InstanceToken) {
    let mut instances = INSTANCES.write().unwrap_or_else(PoisonError::into_inner);
    let gone = instances.remove(&token);
    // Not under the lock: it may be the last who has the listener.
    drop(instances);
    drop(gone);
}

fn of<T>(token: InstanceToken, ask: impl FnOnce(&Registered) -> T) -> Option<T> {
    let instances = INSTANCES.read().unwrap_or_else(PoisonError::into_inner);
    instances.get(&token).map(ask)
}

/// Whether the instance of a token may push health now; `None` if the token is stale.
pub(super) fn admits_push(token: InstanceToken, now: Monotonic) -> Option<bool> {
    let second = now.as_nanos() / 1_000_000_000;
    let next = |before: u64| match before >> COUNT_BITS == second {
        true if before & ((1 << COUNT_BITS) - 1) >= PUSHES_PER_SECOND => None,
        true => Some(before + 1),
        false => Some(second << COUNT_BITS | 1),
    };
    of(token, |registered| {
        registered.pushes.fetch_update(Relaxed, Relaxed, next).is_ok()
    })
}

/// The listener of a token, if it is not stale.
pub(super) fn find(token: InstanceToken) -> Option<Arc<dyn Listener>> {
    of(token, |registered| registered.listener.clone())
}

/// The calls that the instance of a token makes, if it is not stale.
pub(super) fn outgoing(token: InstanceToken) -> Option<Arc<OutgoingCalls>> {
    of(token, |registered| registered.outgoing.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Deaf;

    impl Listener for Deaf {
        fn log(&self, _: LogLevel, _: &str, _: &str, _: &str) {}
        fn keeps(&self, _: LogLevel) -> bool {
            false
        }
        fn progress(&self, _: Progress) {}
        fn health(&self, _: Report) {}
    }

    #[test]
    fn pushes_of_one_instance_are_limited_by_the_second() {
        let registered = || register(Arc::new(Deaf), OutgoingCalls::new("test".into(), None));
        let (one, other) = (registered(), registered());
        let at = |second: u64| Monotonic::from_nanos(second * 1_000_000_000 + 5);
        let admitted = |token, second| {
            (0..100)
                .filter(|_| admits_push(token, at(second)) == Some(true))
                .count()
        };
        assert_eq!(admitted(one, 1), PUSHES_PER_SECOND as usize);
        assert_eq!(admitted(other, 1), PUSHES_PER_SECOND as usize);
        assert_eq!(admitted(one, 2), PUSHES_PER_SECOND as usize);
        unregister(one);
        let next = registered();
        assert_eq!(admits_push(one, at(3)), None, "stale");
        assert_eq!(admitted(next, 2), PUSHES_PER_SECOND as usize);
        unregister(next);
        unregister(other);
    }
}
