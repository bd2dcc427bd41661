//! What the lanes and threads behind an instance have used.

use super::InProcess;
use crate::instance::InstanceUsed;
use extman_plugin_api::manifest::schema::ThreadModel;

impl InProcess {
    pub(in crate::instance) fn used(&self) -> InstanceUsed {
        let module = self.module.used();
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
            attached: false,
        }
    }

    pub(in crate::instance) fn take_cpu(&self) -> Option<u64> {
        self.module.take_cpu()
    }
}
