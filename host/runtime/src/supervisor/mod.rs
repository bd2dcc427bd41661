//! What should run, runs: one actor for each instance decides what follows what (`stage`), and one task feeds them all, has the long
//! steps run beside it (`start`, `stop`), and publishes what has changed.

mod barred;
mod blueprint;
mod calls;
mod chosen;
mod configure;
mod departures;
mod dependencies;
mod events;
mod handover;
mod host_trouble;
mod judging;
mod kept;
mod listener;
mod mirroring;
mod requests;
mod residents;
mod restart;
mod secrets;
mod spec;
mod stage;
mod start;
mod stop;
mod task;

pub use barred::Barred;
pub use blueprint::Blueprint;
pub use calls::{CallRouter, Caller};
pub use chosen::Chosen;
pub use configure::NotConfigured;
pub use events::Events;
pub use requests::{Outcome, Policies, Request, Requests, UpdateRequest};
pub use restart::{Restart, SupervisionConfig};
pub use secrets::{ResolvedConfig, SecretFingerprints, Secrets};
pub use spec::{Configured, InstanceConfig, resolved};
pub use start::{Hopeless, NotStarted, Running, Services, SharedModules, unfit};
pub use stop::{Complaint, PendingUnload, Stopped, Unload};
pub use task::Supervisor;
