//! The tables, filled for one plugin type.

use super::entry;
use crate::abi::{self, CapabilityVtable, HealthVtable, LifecycleVtable, PluginModule};
use crate::sdk::{Call, Plugin, Result};

/// A plugin with its capabilities. Only [`export_plugin!`](crate::export_plugin) implements it.
pub trait Export: Plugin {
    /// Whether the counting allocator is in place in this library.
    const COUNTS_HEAP: bool;

    /// Serves a call; `None` if there is no such capability.
    fn dispatch(&self, call: &mut Call<'_>) -> Option<Result<()>>;
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
    }
}

/// The health table.
pub const fn health_table<P: Export>() -> HealthVtable {
    HealthVtable {
        struct_size: size_of::<HealthVtable>(),
        check: Some(entry::check::<P>),
    }
}

/// The root.
pub const fn module(
    lifecycle: &'static LifecycleVtable,
    capability: &'static CapabilityVtable,
    health: &'static HealthVtable,
) -> PluginModule {
    PluginModule {
        struct_size: size_of::<PluginModule>(),
        magic: abi::MODULE_MAGIC,
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        lifecycle,
        capability,
        health,
    }
}
