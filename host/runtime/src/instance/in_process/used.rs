//! What an instance has used of the processor, as far as it can be told from what others used.

use super::Instance;
use crate::loader::{OwnThreads, Unattributed};
use crate::module::Used;
use extman_plugin_api::manifest::schema::ThreadModel;
use std::collections::HashMap;

/// What an instance has used, or its library where several instances share that. Nothing is apportioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceUsed {
    /// Processor time of the lanes that its calls and steps run on, in nanoseconds, since its library was loaded.
    pub lanes_ns: u64,
    /// Instances that run on those lanes.
    pub lanes_shared_by: usize,
    /// Threads that its library made, or why it is not known which they are.
    pub threads: Result<OwnThreads, Unattributed>,
    /// Instances of its library: the threads and the heap are theirs together.
    pub instances: usize,
    /// Calls and steps that wait for those lanes.
    pub queued: usize,
    /// Threads of an embedder have called it: what they used for that is in none of this.
    pub attached: bool,
}

/// What modules have used, by their generations: of many instances that share one it is measured once.
#[derive(Debug, Default)]
pub struct ModulesUsed(HashMap<u64, Used>);

impl Instance {
    /// What it has used. Measured now unless `modules` has it: half a microsecond for each lane and each thread.
    pub fn used(&self, modules: &mut ModulesUsed) -> InstanceUsed {
        let measured = modules.0.entry(self.module.generation());
        let module = *measured.or_insert_with(|| self.module.used());
        let (lanes_ns, lanes_shared_by) = match self.threads {
            // It has a lane of its own.
            ThreadModel::Affine if module.instances > 1 => (self.pool.cpu_ns(), 1),
            _ => (module.lanes_ns, module.instances),
        };
        InstanceUsed {
            lanes_ns,
            lanes_shared_by,
            threads: module.threads,
            instances: module.instances,
            queued: self.pool.queued(),
            attached: self.metrics.was_attached(),
        }
    }

    /// Processor time of its lanes and threads since somebody asked for it last, in nanoseconds; `None` if others have a share in it,
    /// or if it can't be measured.
    pub fn take_cpu(&self) -> Option<u64> {
        self.module.take_cpu()
    }
}
