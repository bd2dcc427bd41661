//! Publishes events to whoever listens. When thousands of instances change at once, the first changes are published one by one and the rest as
//! summaries: no listener could keep up, and they would push out what matters.

use crate::sync::lock;
use extman_model::clock::{self, Monotonic};
use extman_model::{Event, Health, Lifecycle, What};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;
use tokio::sync::broadcast;

/// Most changes of instances that are published one by one within a [`WINDOW`].
const SINGLE_MAX: usize = 512;
const WINDOW: Duration = Duration::from_secs(1);
/// Instances that a summary names.
const NAMED: usize = 3;

/// Publishes events. Cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<Inner>);

struct Inner {
    sender: broadcast::Sender<Event>,
    on_pushed_health: OnceLock<OnPushedHealth>,
    window: Mutex<Window>,
}

type OnPushedHealth = Box<dyn Fn(&str, u64, Health) + Send + Sync>;

/// Changes of instances since a moment: how many there were, and summaries of those that were not published.
struct Window {
    since: Monotonic,
    changes: usize,
    moved: BTreeMap<(Lifecycle, Lifecycle), Summary>,
    health: BTreeMap<(Health, Health), Summary>,
}

#[derive(Default)]
struct Summary {
    count: usize,
    names: Vec<String>,
}

impl Events {
    /// With room for this many events that a slow listener has not received yet.
    pub fn new(capacity: usize) -> Self {
        Events(Arc::new(Inner {
            sender: broadcast::channel(capacity).0,
            on_pushed_health: OnceLock::new(),
            window: Mutex::new(Window::new(clock::monotonic())),
        }))
    }

    /// Everything from here on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.0.sender.subscribe()
    }

    /// Has this called at once, on the same thread, when a generation of an instance pushes a report of its health. Only the first listener counts.
    pub fn on_pushed_health(&self, listener: impl Fn(&str, u64, Health) + Send + Sync + 'static) {
        let _ = self.0.on_pushed_health.set(Box::new(listener));
    }

    pub(super) fn pushed_health(&self, name: &str, generation: u64, health: Health) {
        if let Some(listener) = self.0.on_pushed_health.get() {
            listener(name, generation, health);
        }
    }

    /// Publishes an event, or adds it to a summary that is published later.
    pub fn publish(&self, what: What) {
        let may_be_summed_up = match &what {
            What::Health { .. } => true,
            // A failure is always published with its cause.
            What::Moved { to, .. } => !matches!(
                to,
                Lifecycle::Failed | Lifecycle::Backoff | Lifecycle::Quarantined | Lifecycle::Wedged
            ),
            _ => false,
        };
        if !may_be_summed_up {
            return self.send(what);
        }
        let mut window = self.window(false);
        window.changes += 1;
        match window.changes <= SINGLE_MAX {
            true => self.send(what),
            false => window.add(what),
        }
    }

    /// Publishes the summaries of the last window if that is over. `is_last`: also if it is not.
    pub(super) fn flush(&self, is_last: bool) {
        drop(self.window(is_last));
    }

    /// The window that is under way, once the summaries of the one before are published. `anew`: that one ends now.
    fn window(&self, anew: bool) -> MutexGuard<'_, Window> {
        let mut window = lock(&self.0.window);
        let now = clock::monotonic();
        if anew || now.since(window.since) >= WINDOW {
            std::mem::replace(&mut *window, Window::new(now)).summaries(|summary| self.send(summary));
        }
        window
    }

    fn send(&self, what: What) {
        let _ = self.0.sender.send(Event {
            at_unix_ms: clock::unix_ms(clock::wall()),
            what,
        });
    }
}

impl Window {
    fn new(since: Monotonic) -> Self {
        Window {
            since,
            changes: 0,
            moved: BTreeMap::new(),
            health: BTreeMap::new(),
        }
    }

    fn add(&mut self, what: What) {
        match what {
            What::Moved { name, from, to, .. } => self.moved.entry((from, to)).or_default().add(name),
            What::Health { name, from, to, .. } => self.health.entry((from, to)).or_default().add(name),
            _ => {}
        }
    }

    fn summaries(self, mut publish: impl FnMut(What)) {
        for ((from, to), Summary { count, names }) in self.moved {
            publish(What::MovedMany {
                from,
                to,
                count,
                names,
            });
        }
        for ((from, to), Summary { count, names }) in self.health {
            publish(What::HealthMany {
                from,
                to,
                count,
                names,
            });
        }
    }
}

impl Summary {
    fn add(&mut self, name: String) {
        self.count += 1;
        if self.names.len() < NAMED {
            self.names.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(number: usize, to: Lifecycle) -> What {
        What::Moved {
            name: format!("plugin-{number}"),
            from: Lifecycle::Starting,
            to,
            cause: None,
        }
    }

    #[test]
    fn thousands_of_moves_are_published_one_by_one_up_to_a_limit_and_then_summed_up() {
        let events = Events::new(4096);
        let mut heard = events.listen();
        for number in 0..10_000 {
            events.publish(moved(number, Lifecycle::Running));
        }
        events.flush(true);
        let (mut single, mut summed) = (0, 0);
        while let Ok(event) = heard.try_recv() {
            match event.what {
                What::Moved { .. } => single += 1,
                What::MovedMany { count, names, to, .. } => {
                    assert_eq!((names.len(), to), (NAMED.min(count), Lifecycle::Running));
                    summed += count;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(single + summed, 10_000);
        assert!(single >= SINGLE_MAX && summed > 0, "{single} {summed}");
    }

    #[test]
    fn each_failure_is_published_whatever_else_happens() {
        let events = Events::new(4096);
        let mut heard = events.listen();
        for number in 0..2 * SINGLE_MAX {
            events.publish(moved(number, Lifecycle::Failed));
        }
        events.flush(true);
        let mut count = 0;
        while let Ok(event) = heard.try_recv() {
            assert!(matches!(event.what, What::Moved { .. }), "{event:?}");
            count += 1;
        }
        assert_eq!(count, 2 * SINGLE_MAX);
    }
}
