//! One task owns the state of every instance. Others send it requests; it decides by [`lifecycle`](super::lifecycle), has
//! the long steps run beside it, and publishes a new snapshot after every change.

mod ending;
mod flow;
mod leftovers;
mod listener;
mod record;
mod requests;
mod spec;
mod task;

pub use ending::{Complaint, Ended, Remains, Unload};
pub use flow::{Means, NotStarted, Running, unfit};
pub use requests::{Events, Outcome, Request, Requests};
pub use spec::{InstanceConfig, wanted};
pub use task::Supervisor;
