//! ExtManager as a library: a host for native plugins.
//!
//! The public interface is:
//!
//! * [`Host`]: build one, call capabilities, listen to events, load, unload, shut down;
//! * [`config`]: what it can be configured with;
//! * [`model`]: the plain data that it speaks, and [`control`], its commands as one enum, for adapters such as HTTP;
//! * [`intake`]: finding and inspecting plugins without running them;
//! * [`check`]: one library tried in a throwaway process; [`store`]: the host's copies, listed and pruned; [`dependencies`]: which
//!   version of each plugin a host would use;
//! * [`probing`] and [`deep`]: who asks plugins how they are, and when.
//!
//! Plugin code runs in `extman-runtime` alone; what health is decided by is in `extman-health`, and what is written down of it in
//! `extman-history`. HTTP and the command line are crates of their own, `extman-http` and `extman-cli`.
#![forbid(unsafe_code)]

mod check;
pub mod config;
pub mod deep;
pub mod dependencies;
mod host;
pub mod probing;
pub mod store;

pub use check::{CheckError, check};
pub use extman_intake as intake;
pub use extman_model as model;
pub use extman_model::control;
pub use extman_runtime::lanes::Attached;
pub use extman_runtime::loader::{Interposition, exit_now, interposition};
pub use extman_runtime::process_guard;
pub use extman_runtime::supervisor::{InstanceConfig, Restart, SupervisionConfig};
pub use host::{BuildError, Host, HostBuilder, TypedError};
