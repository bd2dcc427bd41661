//! Who hears what an instance says unasked: instance tokens.

use extman_model::{LogLevel, Progress, Report};
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
}

/// Registers a listener and returns its token.
pub(super) fn register(listener: Arc<dyn Listener>) -> u64 {
    let mut listeners = LISTENERS.write().unwrap_or_else(PoisonError::into_inner);
    let Listeners { entries, free } = &mut *listeners;
    let number = free.pop().unwrap_or_else(|| {
        entries.push(Entry::default());
        (entries.len() - 1) as u32
    });
    let entry = &mut entries[number as usize];
    entry.generation = entry.generation.wrapping_add(1).max(1);
    entry.listener = Some(listener);
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
        free.push(token as u32);
    }
}

/// The listener of a token, if it is not stale.
pub(super) fn find(token: u64) -> Option<Arc<dyn Listener>> {
    let listeners = LISTENERS.read().unwrap_or_else(PoisonError::into_inner);
    let entry = listeners.entries.get(token as u32 as usize)?;
    (entry.generation == (token >> 32) as u32).then(|| entry.listener.clone())?
}
