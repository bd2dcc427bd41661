//! Where events are told. When thousands of instances change at once, the first are told one by one and the rest is summed up: nobody
//! could hear so many, and what matters would be pushed out by them.

use extman_model::clock::{self, Monotonic};
use extman_model::{Event, Health, Lifecycle, What};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;

/// Changes of instances that are told one by one within a [`WINDOW`].
const TOLD_MAX: usize = 512;
const WINDOW: Duration = Duration::from_secs(1);
/// Instances that a sum names.
const NAMED: usize = 3;

/// Where events are told. Cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<Inner>);

struct Inner {
    sender: broadcast::Sender<Event>,
    on_told: OnceLock<OnTold>,
    window: Mutex<Window>,
}

type OnTold = Box<dyn Fn(&str, u64, Health) + Send + Sync>;

/// What was told and what was not since a moment.
struct Window {
    since: Monotonic,
    told: usize,
    moved: BTreeMap<(Lifecycle, Lifecycle), Sum>,
    health: BTreeMap<(&'static str, &'static str), (Health, Health, Sum)>,
}

#[derive(Default)]
struct Sum {
    count: usize,
    names: Vec<String>,
}

impl Events {
    /// With room for this many that a slow listener has not heard yet.
    pub fn new(capacity: usize) -> Self {
        Events(Arc::new(Inner {
            sender: broadcast::channel(capacity).0,
            on_told: OnceLock::new(),
            window: Mutex::new(Window::new(clock::monotonic())),
        }))
    }

    /// Everything from here on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.0.sender.subscribe()
    }

    /// Has somebody hear at once, on whatever thread it is, when an instance of a generation tells of its health unasked. One
    /// listener; later ones are not heard.
    pub fn on_told(&self, listener: impl Fn(&str, u64, Health) + Send + Sync + 'static) {
        let _ = self.0.on_told.set(Box::new(listener));
    }

    pub(super) fn told(&self, name: &str, generation: u64, health: Health) {
        if let Some(listener) = self.0.on_told.get() {
            listener(name, generation, health);
        }
    }

    /// Tells, or adds it to what is told together later.
    pub fn tell(&self, what: What) {
        let one_of_many = match &what {
            What::Health { .. } => true,
            // Why it is so is told of each.
            What::Moved { to, .. } => {
                let of_each = [
                    Lifecycle::Failed,
                    Lifecycle::Backoff,
                    Lifecycle::Quarantined,
                    Lifecycle::Wedged,
                ];
                !of_each.contains(to)
            }
            _ => false,
        };
        if !one_of_many {
            return self.send(what);
        }
        let now = clock::monotonic();
        let mut window = self.0.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(window.since) >= WINDOW {
            std::mem::replace(&mut *window, Window::new(now)).sums(|sum| self.send(sum));
        }
        window.told += 1;
        match window.told <= TOLD_MAX {
            true => self.send(what),
            false => window.add(what),
        }
    }

    /// Tells what was put off. `now`: also of the window that is not over.
    pub(super) fn flush(&self, now: bool) {
        let mut window = self.0.window.lock().unwrap_or_else(PoisonError::into_inner);
        let at = clock::monotonic();
        if now || at.since(window.since) >= WINDOW {
            std::mem::replace(&mut *window, Window::new(at)).sums(|sum| self.send(sum));
        }
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
            told: 0,
            moved: BTreeMap::new(),
            health: BTreeMap::new(),
        }
    }

    fn add(&mut self, what: What) {
        match what {
            What::Moved { name, from, to, .. } => self.moved.entry((from, to)).or_default().add(name),
            What::Health { name, from, to, .. } => {
                let key = (from.as_str(), to.as_str());
                let (_, _, sum) = self.health.entry(key).or_insert((from, to, Sum::default()));
                sum.add(name);
            }
            _ => {}
        }
    }

    fn sums(self, mut tell: impl FnMut(What)) {
        for ((from, to), Sum { count, names }) in self.moved {
            tell(What::MovedMany {
                from,
                to,
                count,
                names,
            });
        }
        for (from, to, Sum { count, names }) in self.health.into_values() {
            tell(What::HealthMany {
                from,
                to,
                count,
                names,
            });
        }
    }
}

impl Sum {
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
    fn thousands_of_moves_are_told_one_by_one_up_to_a_limit_and_then_together() {
        let events = Events::new(4096);
        let mut heard = events.listen();
        for number in 0..10_000 {
            events.tell(moved(number, Lifecycle::Running));
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
        assert!(single >= TOLD_MAX && summed > 0, "{single} {summed}");
    }

    #[test]
    fn each_failure_is_told_whatever_else_happens() {
        let events = Events::new(4096);
        let mut heard = events.listen();
        for number in 0..2 * TOLD_MAX {
            events.tell(moved(number, Lifecycle::Failed));
        }
        events.flush(true);
        let mut count = 0;
        while let Ok(event) = heard.try_recv() {
            assert!(matches!(event.what, What::Moved { .. }), "{event:?}");
            count += 1;
        }
        assert_eq!(count, 2 * TOLD_MAX);
    }
}
