//! Bytes on a disk become verified plugins. Nothing here opens a library with the loader or runs a plugin's code.
//!
//! ```text
//! Discovery::scan → FoundFile → Store::take → StoredPlugin → inspect → InspectedPlugin → verify → VerifiedPlugin
//! ```
//!
//! Each type can be made only from the one before it, so code that takes a [`VerifiedPlugin`] can't be handed anything
//! less.
#![forbid(unsafe_code)]

mod arrivals;
mod config;
mod discovery;
mod files;
mod inspect;
mod lock;
mod resolve;
mod schema;
mod store;
mod trust;
mod watch;

pub use arrivals::{Arrivals, Arrived};
pub use config::{DiscoveryConfig, IntakeConfig, StoreConfig, TrustConfig, WatchConfig};
pub use discovery::{DirError, DirProblem, Discovery, FoundFile, Refused, Scan, find};
pub use files::{FileIdentity, Unfit, write_whole};
pub use inspect::{
    Build, Exports, Facts, FileFormat, InspectError, InspectedPlugin, Inspection, Note, Panics, Problem, Sdk,
    inspect, inspect_bytes, inspect_file,
};
pub use lock::{LOCK_FILE, Lock, LockError, LockUse, Locked};
pub use resolve::{Candidate, Request, Wish, resolve};
pub use schema::{ConfigMisfit, InputSchema, SchemaError, check_config, check_schema};
pub use store::{
    OpenedCopy, PruneLimits, Pruned, Store, StoreError, StoreOutcome, StoredCopy, StoredPlugin, hash_chunks,
};
pub use trust::{TrustError, VerifiedPlugin, verify};
pub use watch::Watch;
