//! One instance as the supervisor keeps it.

use super::flow::Running;
use super::spec::InstanceConfig;
use crate::instance::Tally;
use crate::lifecycle::{self, Event, Refusal};
use crate::registry::Entry;
use extman_intake::VerifiedPlugin;
use extman_model::{Lifecycle, Verdict};
use std::sync::Arc;

/// What an instance should come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Serving.
    Running,
    /// Stopped, and known.
    Stopped,
    /// Forgotten.
    Gone,
}

/// One instance.
pub(super) struct Record {
    pub config: Arc<InstanceConfig>,
    pub plugin: VerifiedPlugin,
    pub lifecycle: Lifecycle,
    pub since_unix_ms: u64,
    pub cause: Option<String>,
    pub goal: Goal,
    /// An operator has said so, and a start-up does not change it.
    pub held: bool,
    /// A long step is under way.
    pub busy: bool,
    /// That step is a vetting that takes long: nobody else's readiness waits for it.
    pub slow_vetting: bool,
    pub running: Option<Running>,
    /// The plugin that `running` was made from.
    pub serves: Option<VerifiedPlugin>,
    /// What became of its library when it was last unloaded, and which load that was.
    pub unload: Option<(u64, Verdict)>,
    /// Calls of all its generations.
    pub tally: Tally,
    /// A call into what is being started or stopped has come back late: of which load, and what is said of it.
    pub late: Option<(u64, String)>,
    pub wedged_calls: usize,
    /// The lowest generation whose lanes still matter: those of older ones were given up with them.
    pub generation_min: u64,
}

impl Record {
    pub(super) fn new(
        config: InstanceConfig,
        plugin: VerifiedPlugin,
        tally: Tally,
        now_unix_ms: u64,
    ) -> Self {
        Record {
            goal: if config.autostart {
                Goal::Running
            } else {
                Goal::Stopped
            },
            config: Arc::new(config),
            plugin,
            lifecycle: Lifecycle::Verified,
            since_unix_ms: now_unix_ms,
            cause: None,
            held: false,
            busy: false,
            slow_vetting: false,
            running: None,
            serves: None,
            unload: None,
            tally,
            late: None,
            wedged_calls: 0,
            generation_min: 0,
        }
    }

    /// Moves on, if the lifecycle allows it; gives where it was.
    pub(super) fn move_on(
        &mut self,
        event: Event,
        cause: Option<String>,
        now_unix_ms: u64,
    ) -> Result<Lifecycle, Refusal> {
        let to = lifecycle::next(self.lifecycle, event)?;
        let from = std::mem::replace(&mut self.lifecycle, to);
        self.since_unix_ms = now_unix_ms;
        self.cause = cause;
        Ok(from)
    }

    /// Whether a library of this generation is what runs here, or what is being started or stopped here.
    pub(super) fn is_of_mine(&self, generation: u64) -> bool {
        match &self.running {
            Some(running) => running.module.generation() == generation,
            None => generation >= self.generation_min,
        }
    }

    /// Whether a library of this generation is what was last unloaded here, or what is being started or stopped.
    pub(super) fn is_of_mine_no_more(&self, generation: u64) -> bool {
        let ended = self.unload.as_ref().is_some_and(|(of, _)| *of == generation);
        self.running.is_none() && (ended || (self.busy && generation >= self.generation_min))
    }

    /// Says one thing more of why it is where it is.
    pub(super) fn add_to_cause(&mut self, text: &str) {
        match &mut self.cause {
            Some(cause) => {
                cause.push_str("; ");
                cause.push_str(text);
            }
            None => self.cause = Some(text.to_owned()),
        }
    }

    /// Whether what runs is not what should.
    pub(super) fn is_outdated(&self) -> bool {
        self.serves
            .as_ref()
            .is_some_and(|serves| serves.digest() != self.plugin.digest())
    }

    pub(super) fn entry(&self) -> Entry {
        let serving = match (&self.running, self.lifecycle) {
            (Some(running), Lifecycle::Running) => {
                Some((running.instance.clone(), running.module.generation()))
            }
            _ => None,
        };
        Entry {
            name: self.config.instance_name().to_owned(),
            plugin: self.serves.clone().unwrap_or_else(|| self.plugin.clone()),
            config: self.config.clone(),
            lifecycle: self.lifecycle,
            since_unix_ms: self.since_unix_ms,
            cause: self.cause.clone(),
            serving,
            tally: self.tally.clone(),
            unload: self.unload.clone(),
        }
    }
}
