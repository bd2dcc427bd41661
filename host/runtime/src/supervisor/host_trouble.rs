//! Whether the host is at fault when instances fail: more than half of those that are to run fail within a [`WINDOW`]. Then they are restarted one
//! after the other, so that all at once do not make worse what ails the host, and for [`EXCUSED`] their budgets of restarts are left alone: one
//! that fails for longer is quarantined in the end, whoever is at fault. One that is down but serves is not stopped for that meanwhile.
//! Pure: it is told the time.
//!
//! ```text
//!   its restart is due ─▶ held ─▶ restarted, one at a time ─▶ serves: the next at once
//!                                                         └─▶ failed: the next after a rest
//! ```

use extman_model::clock::Monotonic;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Failures within this time count as one event.
const WINDOW: Duration = Duration::from_secs(60);
/// With fewer instances, that most of them fail may be chance.
const INSTANCES_MIN: usize = 3;
/// Instances that an announcement names.
const NAMED: usize = 3;
/// For how long failures spend no budget, once the host is in trouble.
const EXCUSED: Duration = Duration::from_secs(600);
/// How long no instance is restarted after one has failed again.
pub(super) const REST: Duration = Duration::from_secs(5);

/// What follows from the host's trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Consequence {
    /// The moment that this instance waited for has come.
    Due(Arc<str>, Monotonic),
    /// The same, but the instance goes on serving and waits as long again.
    PutOff(Arc<str>, Monotonic),
    /// This instance's failures do not count against it.
    Excuse(Arc<str>),
    /// After [`REST`], [`rest_over`](HostTrouble::rest_over) is to be called.
    Rest,
    /// The host's trouble begins, or is over.
    Announce {
        begins: bool,
        failed: usize,
        of: usize,
        names: Vec<String>,
    },
}

/// Which instances are in trouble, and which of them is being restarted.
#[derive(Debug, Default)]
pub(super) struct HostTrouble {
    failed: BTreeMap<Arc<str>, Failed>,
    /// Since when the host is in trouble, if it is.
    begun: Option<Monotonic>,
    /// Instances whose restart is due.
    held: VecDeque<(Arc<str>, Monotonic)>,
    restarting: Option<Arc<str>>,
    resting: bool,
}

#[derive(Debug)]
struct Failed {
    at: Monotonic,
    /// It is being started again.
    starting: bool,
}

impl HostTrouble {
    /// How an instance is after something has happened to it. `trouble`: whether it is in trouble; one that is stopped or gone is not, and `None`
    /// while it is being started. `of`: how many instances are to run.
    pub(super) fn note(
        &mut self,
        name: &Arc<str>,
        trouble: Option<bool>,
        of: usize,
        now: Monotonic,
    ) -> Vec<Consequence> {
        let mut out = Vec::new();
        match trouble {
            None => {
                if let Some(failed) = self.failed.get_mut(name) {
                    failed.starting = true;
                }
            }
            Some(true) => self.fails(name, now, &mut out),
            Some(false) => {
                self.failed.remove(name);
            }
        }
        if let Some(in_trouble) = trouble
            && self
                .restarting
                .take_if(|restarting| *restarting == *name)
                .is_some()
            && in_trouble
        {
            self.resting = true;
            out.push(Consequence::Rest);
        }
        self.begin(of, now, &mut out);
        self.restart_next(&mut out);
        self.end(of, &mut out);
        out
    }

    /// The moment that an instance waited for has come: to be restarted, or, if it `serves`, to be stopped as it has been down for too long.
    pub(super) fn due(&mut self, name: Arc<str>, due: Monotonic, serves: bool) -> Vec<Consequence> {
        if self.begun.is_none() {
            return vec![Consequence::Due(name, due)];
        }
        if serves {
            return vec![Consequence::PutOff(name, due)];
        }
        let mut out = Vec::new();
        self.held.push_back((name, due));
        self.restart_next(&mut out);
        out
    }

    /// The rest is over.
    pub(super) fn rest_over(&mut self) -> Vec<Consequence> {
        let mut out = Vec::new();
        self.resting = false;
        self.restart_next(&mut out);
        out
    }

    fn fails(&mut self, name: &Arc<str>, now: Monotonic, out: &mut Vec<Consequence>) {
        let is_new = self.failed.get(name).is_none_or(|failed| failed.starting);
        if !is_new {
            return;
        }
        let failed = Failed {
            at: now,
            starting: false,
        };
        self.failed.insert(name.clone(), failed);
        if self.begun.is_some_and(|begun| now.since(begun) < EXCUSED) {
            out.push(Consequence::Excuse(name.clone()));
        }
    }

    fn begin(&mut self, of: usize, now: Monotonic, out: &mut Vec<Consequence>) {
        let are_most = |failed: usize| of >= INSTANCES_MIN && failed * 2 > of;
        if self.begun.is_some() || !are_most(self.failed.len()) {
            return;
        }
        let lately = |failed: &&Failed| now.since(failed.at) < WINDOW;
        let failed = self.failed.values().filter(lately).count();
        if are_most(failed) {
            self.begun = Some(now);
            out.extend(self.failed.keys().cloned().map(Consequence::Excuse));
            out.push(self.announcement(of));
        }
    }

    fn end(&mut self, of: usize, out: &mut Vec<Consequence>) {
        let is_over = self.failed.len() * 2 <= of && self.held.is_empty() && self.restarting.is_none();
        if self.begun.is_some() && is_over {
            self.begun = None;
            out.push(self.announcement(of));
        }
    }

    fn restart_next(&mut self, out: &mut Vec<Consequence>) {
        if self.restarting.is_none()
            && !self.resting
            && let Some((name, due)) = self.held.pop_front()
        {
            self.restarting = Some(name.clone());
            out.push(Consequence::Due(name, due));
        }
    }

    fn announcement(&self, of: usize) -> Consequence {
        Consequence::Announce {
            begins: self.begun.is_some(),
            failed: self.failed.len(),
            of,
            names: self.failed.keys().take(NAMED).map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(1).after(Duration::from_secs(seconds))
    }

    fn name(number: usize) -> Arc<str> {
        format!("plugin-{number}").into()
    }

    /// Of `of` instances, `failed` fail at this moment.
    fn after(failed: usize, of: usize) -> (HostTrouble, Vec<Consequence>) {
        let mut trouble = HostTrouble::default();
        let mut out = Vec::new();
        for number in 0..failed {
            out.extend(trouble.note(&name(number), Some(true), of, at(0)));
        }
        (trouble, out)
    }

    fn told(out: &[Consequence]) -> Vec<(bool, usize, usize)> {
        let told = |consequence: &Consequence| match consequence {
            Consequence::Announce {
                begins, failed, of, ..
            } => Some((*begins, *failed, *of)),
            _ => None,
        };
        out.iter().filter_map(told).collect()
    }

    #[test]
    fn more_than_half_is_told_once_and_half_is_not() {
        assert_eq!(told(&after(5, 10).1), []);
        assert_eq!(told(&after(9, 10).1), [(true, 6, 10)]);
    }

    #[test]
    fn one_and_two_instances_are_restarted_as_always() {
        for of in [1, 2] {
            let (mut trouble, out) = after(of, of);
            assert_eq!(out, []);
            assert_eq!(
                trouble.due(name(0), at(1), false),
                [Consequence::Due(name(0), at(1))]
            );
        }
    }

    #[test]
    fn failures_that_are_far_apart_are_no_trouble_of_the_host() {
        let mut trouble = HostTrouble::default();
        for number in 0..10 {
            assert_eq!(
                trouble.note(&name(number), Some(true), 10, at(61 * number as u64)),
                []
            );
        }
    }

    #[test]
    fn instances_are_tried_one_after_the_other_until_most_are_well() {
        let (mut trouble, _) = after(3, 4);
        let first = trouble.due(name(0), at(1), false);
        assert_eq!(first, [Consequence::Due(name(0), at(1))]);
        assert_eq!(trouble.due(name(1), at(1), false), [], "one is tried already");
        assert_eq!(trouble.due(name(2), at(1), false), []);
        assert_eq!(trouble.note(&name(0), None, 4, at(2)), []);
        // It fails again: it is excused, and nobody is tried for a while.
        let again = trouble.note(&name(0), Some(true), 4, at(3));
        assert_eq!(again, [Consequence::Excuse(name(0)), Consequence::Rest]);
        assert_eq!(trouble.rest_over(), [Consequence::Due(name(1), at(1))]);
        let well = trouble.note(&name(1), Some(false), 4, at(9));
        assert_eq!(well, [Consequence::Due(name(2), at(1))], "the next at once");
        let over = trouble.note(&name(2), Some(false), 4, at(10));
        assert_eq!(told(&over), [(false, 1, 4)]);
        assert_eq!(
            trouble.due(name(0), at(11), false),
            [Consequence::Due(name(0), at(11))]
        );
    }

    #[test]
    fn one_that_is_down_and_serves_is_not_stopped_while_the_host_is_at_fault() {
        let (mut trouble, _) = after(2, 4);
        assert_eq!(
            trouble.due(name(0), at(1), true),
            [Consequence::Due(name(0), at(1))]
        );
        let (mut trouble, _) = after(3, 4);
        assert_eq!(
            trouble.due(name(0), at(1), true),
            [Consequence::PutOff(name(0), at(1))]
        );
        let next = trouble.due(name(1), at(1), false);
        assert_eq!(next, [Consequence::Due(name(1), at(1))], "it holds up nobody");
    }

    #[test]
    fn one_that_goes_while_it_is_tried_holds_up_nobody() {
        let (mut trouble, _) = after(3, 3);
        trouble.due(name(0), at(1), false);
        trouble.due(name(1), at(1), false);
        let next = trouble.note(&name(0), Some(false), 2, at(2));
        assert_eq!(next, [Consequence::Due(name(1), at(1))]);
    }

    #[test]
    fn who_fails_on_and_on_is_excused_for_a_while_only() {
        let (mut trouble, _) = after(3, 4);
        let is_excused = |trouble: &mut HostTrouble, seconds| {
            trouble.note(&name(0), None, 4, at(seconds));
            let out = trouble.note(&name(0), Some(true), 4, at(seconds));
            out.contains(&Consequence::Excuse(name(0)))
        };
        assert!(is_excused(&mut trouble, 599));
        assert!(!is_excused(&mut trouble, 600));
    }
}
