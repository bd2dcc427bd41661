//! What an instance has used of the processor, as far as it can be told from what others used.

use super::{Backing, Instance};
use crate::loader::{OwnThreads, Unattributed};

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

impl Instance {
    /// What it has used. Measured now: half a microsecond for each lane and each thread.
    pub fn used(&self) -> InstanceUsed {
        let Backing::InProcess(inner) = &self.backing;
        let mut used = inner.used();
        used.attached = self.accounts.was_attached();
        used
    }

    /// Processor time of its lanes and threads since somebody asked for it last, in nanoseconds; `None` if others have a share in it,
    /// or if it can't be measured.
    pub fn take_cpu(&self) -> Option<u64> {
        let Backing::InProcess(inner) = &self.backing;
        inner.take_cpu()
    }
}
