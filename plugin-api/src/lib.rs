//! Write plugins for ExtManager: native libraries that a running host finds, vets, loads, probes, calls, replaces and
//! unloads.
//!
//! A plugin is a `cdylib` with a `plugin.toml` beside its `Cargo.toml`:
//!
//! ```toml
//! [plugin]
//! id = "shout"
//! version = "1.0.0"       # the package's
//! kind = "general"
//!
//! [[capability]]
//! name = "text.shout"
//! ```
//!
//! and a `src/lib.rs`:
//!
//! ```
//! use extman_plugin_api::prelude::*;
//!
//! struct Shout;
//!
//! impl Plugin for Shout {
//!     fn create(_: &Create<'_>) -> Result<Self> {
//!         Ok(Shout)
//!     }
//! }
//!
//! struct TextShout;
//!
//! impl Capability for TextShout {
//!     type Plugin = Shout;
//!     const NAME: &'static str = "text.shout";
//!
//!     fn invoke(_: &Shout, call: &mut Call<'_>) -> Result<()> {
//!         let text = std::str::from_utf8(call.input()).map_err(Error::invalid_input)?;
//!         call.begin("text/plain")?;
//!         call.write(text.to_uppercase().as_bytes())
//!     }
//! }
//!
//! # // It wants a plugin.toml beside the Cargo.toml.
//! # #[cfg(any())]
//! export_plugin!(Shout, capabilities: [TextShout]);
//! ```
//!
//! # What to know
//!
//! * A panic becomes an error for the caller, and the instance serves no more: it is destroyed, its library is unloaded, and the host
//!   starts it again after a while, as `[supervision]` allows. Build with `panic = "unwind"` (the default); a plugin that aborts
//!   takes the host with it.
//! * The library is unloaded when the last instance is gone, and only if nothing of it is left: join the threads that you
//!   started when the plugin is dropped; keep no runtime in a `static`.
//! * Look at [`Call::cancelled`](sdk::Call::cancelled) in long loops. A caller whose deadline passes gets an error, and does not
//!   wait for you to return.
//! * What the manifest requires of other plugins can be called: [`Call::host`](sdk::Call::host).
//! * A capability that mostly waits for somebody else is an [`AsyncCapability`](sdk::AsyncCapability): its calls hold no thread.
//! * Features: `json` adds [`Call::json`](sdk::Call), `Call::reply_json`, `Create::config` and `Submitted::json`. `manifest` is for hosts
//!   and tools.

pub mod manifest;
pub mod sdk;

pub use extman_abi as abi;

/// What nearly every plugin needs.
pub mod prelude {
    pub use crate::export_plugin;
    pub use crate::sdk::{
        AsyncCapability, Call, CallId, CallRequest, Caller, Capability, CheckKind, Connection, Create, Error,
        ErrorKind, Health, Host, InputPart, Level, Outgoing, Part, Plugin, Probe, Reply, Restore, Result,
        Sink, Snapshot, Step, Submitted, Usage,
    };
}
