//! Who hears what an instance says unasked: instance tokens.

use super::outgoing::{OutgoingCalls, OutgoingRouter};
use extman_model::clock::Monotonic;
use extman_model::{LogLevel, Progress, Report};
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

static LISTENERS: RwLock<Listeners> = RwLock::new(Listeners {
    entries: Vec::new(),
    free: Vec::new(),
});

struct Listeners {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Entry {
    generation: u32,
    listener: Option<Arc<dyn Listener>>,
    outgoing: Option<Arc<OutgoingCalls>>,
    /// The second of the last pushed health, and how many there were in it.
    pushes: AtomicU64,
}

/// Reports that one instance may push in a second.
const PUSHES_PER_SECOND: u64 = 20;
const COUNT_BITS: u32 = 16;

/// Registers a listener, with the calls that the instance makes, and returns its token.
pub(super) fn register(listener: Arc<dyn Listener>, outgoing: Option<Arc<OutgoingCalls>>) -> u64 {
    let mut listeners = LISTENERS.write().unwrap_or_else(PoisonError::into_inner);
    let Listeners { entries, free } = &mut *listeners;
    let number = free.pop().unwrap_or_else(|| {
        entries.push(Entry::default());
        (entries.len() - 1) as u32
    });
    let entry = &mut entries[number as usize];
    entry.generation = entry.generation.wrapping_add(1).max(1);
    entry.listener = Some(listener);
    entry.outgoing = outgoing;
    entry.pushes = AtomicU64::new(0);
    u64::from(entry.generation) << 32 | u64::from(number)
}

/// Forgets a token: from here on it is stale.
pub(super) fn unregister(token: u64) {
    let mut listeners = LISTENERS.write().unwrap_or_else(PoisonError::into_inner);
    let Listeners { entries, free } = &mut *listeners;
    if let Some(entry) = entries.get_mut(token as u32 as usize)
        && entry.generation == (token >> 32) as u32
        && entry.listener.take().is_some()
    {
        entry.outgoing = None;
        free.push(token as u32);
    }
}

/// Whether the instance of a token may push health now; `None` if the token is stale.
pub(super) fn admits_push(token: u64, now: Monotonic) -> Option<bool> {
    let listeners = LISTENERS.read().unwrap_or_else(PoisonError::into_inner);
    let entry = listeners.entries.get(token as u32 as usize)?;
    if entry.generation != (token >> 32) as u32 {
        return None;
    }
    let second = now.as_nanos() / 1_000_000_000;
    let next = |before: u64| match before >> COUNT_BITS == second {
        true if before & ((1 << COUNT_BITS) - 1) >= PUSHES_PER_SECOND => None,
        true => Some(before + 1),
        false => Some(second << COUNT_BITS | 1),
    };
    Some(entry.pushes.fetch_update(Relaxed, Relaxed, next).is_ok())
}

/// The listener of a token, if it is not stale.
pub(super) fn find(token: u64) -> Option<Arc<dyn Listener>> {
    let listeners = LISTENERS.read().unwrap_or_else(PoisonError::into_inner);
    let entry = listeners.entries.get(token as u32 as usize)?;
    (entry.generation == (token >> 32) as u32).then(|| entry.listener.clone())?
}

/// The calls that the instance of a token makes, if it is not stale.
pub(super) fn outgoing(token: u64) -> Option<Arc<OutgoingCalls>> {
    let listeners = LISTENERS.read().unwrap_or_else(PoisonError::into_inner);
    let entry = listeners.entries.get(token as u32 as usize)?;
    (entry.generation == (token >> 32) as u32).then(|| entry.outgoing.clone())?
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
        let (one, other) = (register(Arc::new(Deaf), None), register(Arc::new(Deaf), None));
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
        let next = register(Arc::new(Deaf), None);
        assert_eq!(admits_push(one, at(3)), None, "stale");
        assert_eq!(
            admitted(next, 2),
            PUSHES_PER_SECOND as usize,
            "nothing is left of who had the number before"
        );
        unregister(next);
        unregister(other);
    }
}
