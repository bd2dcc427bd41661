//! Instances that failed and come back, and those that an operator enables and disables.

use super::super::dependencies::Lack;
use super::super::host_trouble::{Consequence, REST};
use super::super::requests::Request;
use super::super::stage::{Actor, Input, Next};
use super::super::start::{Hopeless, Running};
use super::{Supervisor, Waiter, configured};
use extman_model::clock::{self, Monotonic};
use extman_model::{Lifecycle, WayBack, What, moment};
use std::sync::Arc;
use std::time::Duration;

impl Supervisor {
    /// An instance is no longer disabled.
    pub(super) fn enable(&mut self, name: &str, reply: Waiter) {
        self.disabled.remove(name);
        match self.instances.get(name).filter(|_| self.shutdown.is_none()) {
            Some(record) => {
                let desired = configured(&record.actor.build().config);
                self.feed(name, Input::Enable(reply, desired));
            }
            None => self.batch.answers.push((reply, Ok(()))),
        }
    }

    /// An instance is disabled. One that does not exist yet is not started when its file comes.
    pub(super) fn disable(&mut self, name: &str, reply: Waiter) {
        self.disabled.insert(name.into());
        match self.instances.contains_key(name) {
            true => self.feed(name, Input::Disable(reply)),
            false => self.batch.answers.push((reply, Ok(()))),
        }
    }

    /// Has an instance told when this moment has come.
    pub(super) fn wake(&self, name: &Arc<str>, due: Monotonic) {
        let after = due.since(clock::monotonic());
        self.requests.make_later(after, Request::Due(name.clone(), due));
    }

    /// A moment that an instance waits for has come.
    pub(super) fn due(&mut self, name: Arc<str>, due: Monotonic) {
        let serves = self
            .instances
            .get(&name)
            .is_some_and(|record| record.actor.serving().is_some());
        self.consequences.extend(self.trouble.due(name, due, serves));
    }

    /// Something has happened to an instance: whether it is in trouble counts for whether the host is.
    pub(super) fn note_trouble(&mut self, name: &Arc<str>, now: Monotonic) {
        if self.shutdown.is_some() {
            return;
        }
        let record = self.instances.get(name).filter(|record| record.is_to_run());
        let trouble = record.map_or(Some(false), |record| record.actor.is_in_trouble());
        let consequences = self.trouble.note(name, trouble, self.to_run, now);
        self.consequences.extend(consequences);
    }

    /// Carries out what the host's trouble means for instances.
    pub(super) fn follow_consequences(&mut self) {
        if self.shutdown.is_some() {
            // Nothing is started any more.
            return self.consequences.clear();
        }
        while let Some(consequence) = self.consequences.pop_front() {
            match consequence {
                Consequence::Due(name, due) => {
                    self.feed(&name, Input::Due(due));
                    // An instance that is gone is not fed, and would hold up the next one.
                    self.note_trouble(&name, clock::monotonic());
                }
                Consequence::PutOff(name, due) => self.feed(&name, Input::PutOff(due)),
                Consequence::Excuse(name) => self.feed(&name, Input::Excused),
                Consequence::Rest => self.requests.make_later(REST, Request::RestOver),
                Consequence::Announce {
                    begins,
                    failed,
                    of,
                    names,
                } => self.batch.events.push(What::HostTrouble {
                    begins,
                    failed,
                    of,
                    names,
                }),
            }
        }
    }
}

/// How an instance that failed comes back: by itself, by a change, and by hand.
pub(super) fn way_back(
    name: &str,
    actor: &Actor<Running, Waiter>,
    awaits_files: bool,
    lack: Option<&Lack>,
) -> Option<WayBack> {
    if actor.lifecycle() == Lifecycle::Waiting {
        let until = match lack.filter(|_| !awaits_files) {
            Some(lack) => format!("as soon as {} serves", lack.root),
            None => "once all files in the plugin directories are known".to_owned(),
        };
        let text = format!("it is started {until}; `extman load {name}` starts it at once");
        return Some(WayBack {
            next_try_unix_ms: None,
            text,
        });
    }
    let config = actor.supervision();
    let (most, window) = (
        config.max_restarts,
        moment::in_words(Duration::from_millis(config.within_ms)),
    );
    let mut next_try_unix_ms = None;
    let text = match actor.next_step()? {
        Next::Restart { due, number } => {
            let wait = due.since(clock::monotonic()).as_millis() as u64;
            next_try_unix_ms = Some(clock::unix_ms(clock::wall()) + wait);
            format!(
                "it is started again by itself, {number} of {most} times within {window}; `extman load {name}` starts it at once"
            )
        }
        Next::BudgetSpent => format!(
            "it was started again {most} times within {window}, and is no longer started by itself; `extman load {name}`, another \
             configuration or library file, or the next start of the host, starts it"
        ),
        Next::Hopeless(Hopeless::Bytes) => {
            format!("another library file is tried at once; `extman load {name}` tries this one again")
        }
        Next::Hopeless(Hopeless::Configuration) => format!(
            "another configuration is tried at once (extman.toml, or `extman config set {name}`), and so is another library file; \
             `extman load {name}` tries again"
        ),
        Next::Stays => format!(
            "it is not started again by itself (restart = \"never\"); `extman load {name}` or another library file starts it"
        ),
    };
    Some(WayBack {
        next_try_unix_ms,
        text,
    })
}
