//! Instances that lack what they require: their actors are told, and they are shown so.

use super::Supervisor;
use crate::supervisor::stage::{Input, Loaded};
use std::sync::Arc;

impl Supervisor {
    /// An instance may be available to those that require its plugin, or no longer.
    pub(super) fn note_availability(&mut self, name: &Arc<str>) {
        // While the host ends, nobody waits for anybody.
        if self.shutdown.is_some() {
            return;
        }
        if let Some(record) = self.instances.get(name) {
            let serving = record.actor.serving().map(Loaded::generation);
            let is_down = serving.is_some() && serving == record.down;
            let id = &record.actor.build().plugin.manifest().plugin.id;
            self.dependencies
                .note(id, name, record.actor.availability(is_down));
        }
    }

    /// A generation of an instance is down by its checks or calls, or no longer.
    pub(super) fn note_down(&mut self, name: &Arc<str>, generation: u64, is_down: bool) {
        if let Some(record) = self.instances.get_mut(name) {
            record.down = is_down.then_some(generation);
        }
    }

    /// What an instance is to be made from may be among the files that are not known yet, or is known.
    pub(super) fn note_files_awaited(&mut self, name: &Arc<str>, awaits_files: bool) {
        if let Some(record) = self.instances.get_mut(name)
            && std::mem::replace(&mut record.awaits_files, awaits_files) != awaits_files
        {
            let why = record.why_waits();
            self.feed(name, Input::Lacks(why));
        }
    }

    /// Tells actors what their instances lack now, until that changes nothing any more.
    pub(super) fn follow_dependencies(&mut self) {
        loop {
            let changes = self.dependencies.take_changes();
            if changes.is_empty() {
                return;
            }
            for (name, lack) in changes {
                if let Some(record) = self.instances.get_mut(&name) {
                    record.lack = lack;
                    let why = record.why_waits();
                    self.feed(&name, Input::Lacks(why));
                }
            }
        }
    }
}
