//! The tables, filled for one plugin type.

use super::{entry, submit};
use crate::abi::{self, AsyncVtable, CapabilityVtable, HealthVtable, LifecycleVtable, PluginModule};
use crate::sdk::{Call, Plugin, Result, Submitted};
use std::ffi::c_void;

/// A plugin with its capabilities. Only [`export_plugin!`](crate::export_plugin) implements it.
pub trait Export: Plugin {
    /// Whether the counting allocator is in place in this library.
    const COUNTS_HEAP: bool;

    /// Serves a call; `None` if there is no such capability.
    fn dispatch(&self, call: &mut Call<'_>) -> Option<Result<()>>;

    /// Takes a call; gives it back if there is no such capability.
    fn dispatch_submitted(&self, call: Submitted) -> Option<Submitted>;
}

/// The lifecycle table.
pub const fn lifecycle_table<P: Export>() -> LifecycleVtable {
    LifecycleVtable {
        struct_size: size_of::<LifecycleVtable>(),
        create: Some(entry::create::<P>),
        start: Some(entry::start::<P>),
        configure: Some(entry::configure::<P>),
        drain: Some(entry::drain::<P>),
        stop: Some(entry::stop::<P>),
        snapshot: Some(entry::snapshot::<P>),
        restore: Some(entry::restore::<P>),
        destroy: Some(entry::destroy::<P>),
    }
}

/// The capability table.
pub const fn capability_table<P: Export>() -> CapabilityVtable {
    CapabilityVtable {
        struct_size: size_of::<CapabilityVtable>(),
        invoke: Some(entry::invoke::<P>),
        cancel: if P::HANDLES_CANCEL {
            Some(entry::cancel::<P>)
        } else {
            None
        },
    }
}

/// The health table.
pub const fn health_table<P: Export>() -> HealthVtable {
    HealthVtable {
        struct_size: size_of::<HealthVtable>(),
        check: Some(entry::check::<P>),
    }
}

/// The table of asynchronous calls.
pub const fn async_table<P: Export>() -> AsyncVtable {
    AsyncVtable {
        struct_size: size_of::<AsyncVtable>(),
        submit: Some(submit::submit::<P>),
    }
}

/// What `PluginModule::extension` answers: `table` for the id of asynchronous calls.
///
/// # Safety
/// `id` is null or points to `id_len` bytes that are valid for the call.
pub unsafe fn extension(id: *const u8, id_len: usize, table: &'static AsyncVtable) -> *const c_void {
    // SAFETY: the caller's contract.
    let id = unsafe {
        super::guard::slice(abi::Bytes {
            data: id,
            len: id_len,
        })
    };
    if id == abi::EXTENSION_ASYNC.as_bytes() {
        std::ptr::from_ref(table).cast()
    } else {
        std::ptr::null()
    }
}

/// `PluginModule::extension`, as its field has it.
pub type ExtensionFn = unsafe extern "C" fn(id: *const u8, id_len: usize) -> *const c_void;

/// The root.
pub const fn module<P: Export>(
    lifecycle: &'static LifecycleVtable,
    capability: &'static CapabilityVtable,
    health: &'static HealthVtable,
    extension: Option<ExtensionFn>,
) -> PluginModule {
    PluginModule {
        struct_size: size_of::<PluginModule>(),
        magic: abi::MODULE_MAGIC,
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        lifecycle,
        capability,
        health,
        extension,
        thread_attach: if P::ATTACHES_THREADS {
            Some(entry::thread_attach::<P>)
        } else {
            None
        },
        thread_detach: if P::ATTACHES_THREADS {
            Some(entry::thread_detach::<P>)
        } else {
            None
        },
    }
}
