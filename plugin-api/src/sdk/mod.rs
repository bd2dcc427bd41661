//! What an author uses: traits to implement, values to read and write, all safe. The C ABI behind it is served in [`gateway`].

pub mod alloc;
mod call;
mod create;
mod error;
#[doc(hidden)]
pub mod export;
pub mod gateway;
mod health;
mod outgoing;
mod plugin;
mod step;
mod submitted;

pub use call::{Call, CallId, InputPart, Sink, Usage};
pub use create::Create;
pub use error::{Error, ErrorKind, Result};
pub use gateway::host::{Host, Level};
pub use health::{CheckKind, Connection, Health, Part, Probe};
pub use outgoing::{CallRequest, Caller, Outgoing, Reply};
pub use plugin::{AsyncCapability, Capability, Plugin};
pub use step::{Restore, Snapshot, Step};
pub use submitted::{OwnedRequest, Submitted};
