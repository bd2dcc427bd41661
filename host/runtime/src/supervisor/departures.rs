//! The order in which instances end with the host: each before those that it requires. Pure.
//!
//! ```text
//!   held ── nobody requires its plugin any more ──▶ told to end ── it has ended, or takes too long ──▶ what it requires has one user less
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// All instances of a host that is ending.
#[derive(Debug, Default)]
pub(super) struct Departures {
    /// Instances that are not told to end yet, by their plugin's id.
    held: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Of each plugin, the instances that require it and have not ended.
    users: BTreeMap<Arc<str>, usize>,
    /// Of each instance that has not ended, the plugins that it requires.
    requires: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Instances that were told to end and have not ended.
    under_way: BTreeSet<Arc<str>>,
    /// Instances that are to be told to end.
    ready: VecDeque<Arc<str>>,
}

/// An instance that is to be told to end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Departure {
    pub name: Arc<str>,
    /// Whether others wait for its end.
    pub holds_others: bool,
}

impl Departures {
    /// Takes all instances: each with its plugin's id, and the ids of the plugins that it requires.
    pub(super) fn new(instances: impl IntoIterator<Item = (Arc<str>, Arc<str>, Vec<Arc<str>>)>) -> Self {
        let mut departures = Departures::default();
        for (name, id, requires) in instances {
            for other in &requires {
                *departures.users.entry(other.clone()).or_default() += 1;
            }
            departures.held.entry(id).or_default().push(name.clone());
            departures.requires.insert(name, requires);
        }
        let unused = departures
            .held
            .keys()
            .filter(|id| !departures.users.contains_key(*id));
        for id in unused.cloned().collect::<Vec<_>>() {
            departures.release(&id);
        }
        departures
    }

    /// The next one that is to be told to end. Once no other one is ending, those that hold each other in a circle are told too.
    pub(super) fn next(&mut self) -> Option<Departure> {
        if self.ready.is_empty() && self.under_way.is_empty() {
            let all = std::mem::take(&mut self.held);
            self.ready.extend(all.into_values().flatten());
        }
        let name = self.ready.pop_front()?;
        let requires = self.requires.get(&name);
        let holds_others = requires.is_some_and(|ids| ids.iter().any(|id| self.held.contains_key(id)));
        self.under_way.insert(name.clone());
        Some(Departure { name, holds_others })
    }

    /// An instance has ended, or takes too long: it no longer holds what it requires.
    pub(super) fn ended(&mut self, name: &str) {
        self.under_way.remove(name);
        for id in self.requires.remove(name).into_iter().flatten() {
            if let Some(users) = self.users.get_mut(&id) {
                *users -= 1;
                if *users == 0 {
                    self.release(&id);
                }
            }
        }
    }

    fn release(&mut self, id: &str) {
        self.ready.extend(self.held.remove(id).into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn departures(of: &[(&str, &str, &[&str])]) -> Departures {
        let one = |(name, id, requires): &(&str, &str, &[&str])| {
            let requires = requires.iter().map(|id| Arc::from(*id)).collect();
            (Arc::from(*name), Arc::from(*id), requires)
        };
        Departures::new(of.iter().map(one))
    }

    /// Those that are told to end now.
    fn told(departures: &mut Departures) -> Vec<String> {
        let next = std::iter::from_fn(|| departures.next());
        next.map(|departure| departure.name.to_string()).collect()
    }

    #[test]
    fn whoever_requires_another_ends_before_it_and_others_at_once() {
        let mut chain = departures(&[
            ("base", "base", &["store"]),
            ("other", "other", &[]),
            ("rank-1", "rank", &["base"]),
            ("rank-2", "rank", &["base", "store"]),
            ("store", "store", &[]),
        ]);
        assert_eq!(told(&mut chain), ["other", "rank-1", "rank-2"]);
        chain.ended("other");
        chain.ended("rank-1");
        assert!(told(&mut chain).is_empty(), "one still requires it");
        chain.ended("rank-2");
        assert_eq!(told(&mut chain), ["base"]);
        chain.ended("base");
        assert_eq!(told(&mut chain), ["store"]);
        chain.ended("base");
        assert!(told(&mut chain).is_empty());
    }

    #[test]
    fn only_whoever_keeps_another_from_ending_is_given_a_time() {
        let mut chain = departures(&[("a", "a", &["b"]), ("b", "b", &[]), ("c", "c", &["gone"])]);
        let holds: Vec<_> = std::iter::from_fn(|| chain.next())
            .map(|departure| (departure.name.to_string(), departure.holds_others))
            .collect();
        assert_eq!(holds, [("a".to_owned(), true), ("c".to_owned(), false)]);
        chain.ended("a");
        assert!(!chain.next().unwrap().holds_others);
    }

    #[test]
    fn circle_ends_when_nobody_else_is_left() {
        let mut circle = departures(&[("a", "a", &["b"]), ("b", "b", &["a"]), ("top", "top", &["a"])]);
        assert_eq!(told(&mut circle), ["top"]);
        circle.ended("top");
        assert_eq!(told(&mut circle), ["a", "b"]);
    }
}
