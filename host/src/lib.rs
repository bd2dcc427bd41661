//! ExtManager as a library: a host for native plugins.
//!
//! The public interface is:
//!
//! * [`Host`]: build one, call capabilities, listen to events, load, unload, shut down;
//! * [`model`]: the plain data that it speaks;
//! * [`config`]: what it can be configured with;
//! * [`control`]: its commands as one enum, for adapters such as HTTP;
//! * [`intake`]: finding and inspecting plugins without running them;
//! * `http`, `app` and `cli`, behind features: the API, the composition root, the command line;
//! * [`health`]: how plugins are, and how the host knows; [`sketch`]: quantiles of durations;
//! * [`runtime`]: the parts that run plugin code, for those who need less than a whole host.

#![deny(unsafe_code)]

#[cfg(feature = "cli")]
pub mod app;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod health;
mod host;
#[cfg(feature = "http")]
pub mod http;
pub mod intake;
pub mod model;
pub mod runtime;
pub mod sketch;

pub use host::{BuildError, Host, HostBuilder, TypedError};
pub use runtime::lanes::Attached;
pub use runtime::supervisor::InstanceConfig;
