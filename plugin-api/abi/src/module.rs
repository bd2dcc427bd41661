//! The root: what the host finds first in a plugin.

use crate::layout::*;
use crate::{CapabilityVtable, HealthVtable, HostTable, LifecycleVtable, Status};
use abi_stable::{StableAbi, library::RootModule, package_version_strings, sabi_types::VersionStrings};
use core::ffi::c_void;

/// A plugin's root module. A C plugin returns a pointer to one from [`ENTRY_SYMBOL`]; a Rust plugin also hands it out
/// through abi_stable, which compares every struct of this crate with the host's before anything is called.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(
    kind(Prefix),
    phantom_field(create_request: CreateRequest_Ref),
    phantom_field(step_request: StepRequest_Ref),
    phantom_field(configure_request: ConfigureRequest_Ref),
    phantom_field(snapshot: Snapshot_Ref),
    phantom_field(restore_request: RestoreRequest_Ref),
    phantom_field(request: Request_Ref),
    phantom_field(outcome: Outcome_Ref),
    phantom_field(check_request: CheckRequest_Ref),
    phantom_field(report: Report_Ref),
    phantom_field(check: Check_Ref),
    phantom_field(log_record: LogRecord_Ref),
    phantom_field(host: HostTable_Ref),
    phantom_field(lifecycle_table: LifecycleVtable_Ref),
    phantom_field(capability_table: CapabilityVtable_Ref),
    phantom_field(health_table: HealthVtable_Ref),
    phantom_field(async_table: AsyncVtable_Ref),
    phantom_field(answer: Answer_Ref),
    phantom_field(receiver: Receiver_Ref),
    phantom_field(call_table: CallTable_Ref)
)]
pub struct PluginModule {
    /// Size of this struct as the plugin knew it, in bytes.
    pub struct_size: usize,
    /// `MODULE_MAGIC`.
    pub magic: u64,
    /// The `ABI_MAJOR` that the plugin was built with.
    pub abi_major: u32,
    /// The `ABI_MINOR` that the plugin was built with.
    pub abi_minor: u32,
    /// Required.
    pub lifecycle: *const LifecycleVtable,
    /// Required.
    pub capability: *const CapabilityVtable,
    /// May be null.
    pub health: *const HealthVtable,
    /// A table of functions by its id, such as `EXTENSION_ASYNC`; null if the plugin does not have it. A null entry means that it has
    /// none.
    ///
    /// \[state] loaded. \[thread] any. \[owner] the plugin, until it is unloaded.
    pub extension: Option<unsafe extern "C" fn(id: *const u8, id_len: usize) -> *const c_void>,
    /// Prepares a thread for calls into this library: attach it to an interpreter or a virtual machine, choose a device. Comes
    /// before the first other entry on that thread, and again only after `thread_detach`. On any other status than `STATUS_OK`
    /// nothing else is called on it. A null entry means that there is nothing to prepare.
    ///
    /// \[state] loaded. \[thread] the one that is meant. \[owner] the host table stays valid until the library is unloaded.
    pub thread_attach: Option<unsafe extern "C" fn(host: *const HostTable) -> Status>,
    /// Undoes `thread_attach`: nothing more is called on this thread.
    ///
    /// \[state] loaded. \[thread] the one that is meant.
    #[sabi(last_prefix_field)]
    pub thread_detach: Option<unsafe extern "C" fn(host: *const HostTable)>,
}

// SAFETY: the pointers are to immutable statics of the plugin.
unsafe impl Sync for PluginModule {}
// SAFETY: as above.
unsafe impl Send for PluginModule {}
// SAFETY: as above; these are the same fields as abi_stable sees them.
unsafe impl Sync for PluginModule_Prefix {}
// SAFETY: as above.
unsafe impl Send for PluginModule_Prefix {}

impl RootModule for PluginModule_Ref {
    abi_stable::declare_root_module_statics! {PluginModule_Ref}
    const BASE_NAME: &'static str = "extman_plugin";
    const NAME: &'static str = "extman plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// What every plugin exports: `const ExtmanPluginModule *extman_plugin_entry(void)`. It only returns a pointer to a
/// static; it runs nothing else.
///
/// \[state] loaded. \[thread] a lane. \[owner] the plugin, until it is unloaded.
pub type EntryFn = unsafe extern "C" fn() -> *const PluginModule;
/// Name of the exported [`EntryFn`].
pub const ENTRY_SYMBOL: &str = "extman_plugin_entry";
