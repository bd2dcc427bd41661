//! `export_plugin!`: everything that a library must export, from one line.

/// What the macro's expansion needs; not for use by hand.
pub mod private {
    pub use crate::manifest::at_compile_time;
    pub use crate::manifest::frame::{FLAG_COUNTING_ALLOCATOR, Frame, padded};
    pub use crate::sdk::alloc::CountingAllocator;
    pub use crate::sdk::gateway::{
        Export, async_table, capability_table, constructed, extension, health_table, lifecycle_table, module,
        prefix, root,
    };
    pub use crate::sdk::{AsyncCapability, Call, Capability, Result, Submitted};
    pub use extman_abi::checked::{LibHeader, RootModuleResult, WithMetadata};
    pub use extman_abi::{
        AsyncVtable, CapabilityVtable, HealthVtable, LifecycleVtable, PluginModule, PluginModule_Ref,
    };

    /// Calls a capability. Compiles only if it is one of this plugin.
    pub fn invoke<P: crate::sdk::Plugin, C: Capability<Plugin = P>>(
        plugin: &P,
        call: &mut Call<'_>,
    ) -> Result<()> {
        C::invoke(plugin, call)
    }

    /// Calls an asynchronous capability. Compiles only if it is one of this plugin.
    pub fn submit<P: crate::sdk::Plugin, C: AsyncCapability<Plugin = P>>(plugin: &P, call: Submitted) {
        C::submit(plugin, call);
    }
}

/// Exports a plugin: once in the crate, which is a `cdylib` with a `plugin.toml` beside its Cargo.toml.
///
/// ```
/// # #[cfg(any())]
/// export_plugin!(LangDetect, capabilities: [DetectLanguage]);
/// ```
///
/// Capabilities whose calls hold no thread are listed by themselves:
///
/// ```
/// # #[cfg(any())]
/// export_plugin!(Connector, capabilities: [ListModels], asynchronous: [Chat]);
/// ```
///
/// Checked while compiling: the manifest is there, its id is well-formed, its version is semantic and equals the package's, an AI
/// plugin names its task, each `[[requires]]` and `[[conflicts]]` names another plugin or a capability, and the capabilities are the
/// ones listed. A counting allocator becomes the crate's global allocator, so that the host can show the plugin's heap;
/// `allocator: none` leaves the choice to the author.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty, capabilities: [] $(,)?) => {
        ::core::compile_error!("export_plugin!: list at least one capability, as in `capabilities: [DetectLanguage]`");
    };
    ($plugin:ty, capabilities: [$($capability:ty),* $(,)?] $(, asynchronous: [$($async:ty),+ $(,)?])? $(,)?) => {
        $crate::export_plugin!(
            $plugin, capabilities: [$($capability),*] $(, asynchronous: [$($async),+])?, allocator: counting
        );
    };
    (
        $plugin:ty,
        capabilities: [$($capability:ty),* $(,)?]
        $(, asynchronous: [$($async:ty),+ $(,)?])?,
        allocator: counting $(,)?
    ) => {
        #[global_allocator]
        static EXTMAN_ALLOCATOR: $crate::sdk::export::private::CountingAllocator =
            $crate::sdk::export::private::CountingAllocator;
        $crate::__export_plugin!($plugin, [$($capability),*], [$($($async),+)?], true);
    };
    (
        $plugin:ty,
        capabilities: [$($capability:ty),* $(,)?]
        $(, asynchronous: [$($async:ty),+ $(,)?])?,
        allocator: none $(,)?
    ) => {
        $crate::__export_plugin!($plugin, [$($capability),*], [$($($async),+)?], false);
    };
    ($($other:tt)*) => {
        ::core::compile_error!(
            "export_plugin! takes a plugin type and its capabilities: \
             `export_plugin!(LangDetect, capabilities: [DetectLanguage]);`, and optionally `asynchronous: [Chat]` and \
             `allocator: none`"
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_plugin {
    ($plugin:ty, [$($capability:ty),*], [$($async:ty),*], $counts:literal) => {
        const _: () = {
            use $crate::sdk::export::private as p;

            const TOML: &str =
                ::core::include_str!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/plugin.toml"));
            const _: &str = p::at_compile_time::id(TOML);
            const _: () = p::at_compile_time::check_version(TOML, ::core::env!("CARGO_PKG_VERSION"));
            const _: () = p::at_compile_time::check_task(TOML);
            const _: () = p::at_compile_time::check_relations(TOML);
            const ASYNC: &[&str] = &[$(<$async as p::AsyncCapability>::NAME),*];
            const _: () = p::at_compile_time::check_capabilities(
                TOML,
                &[
                    $(<$capability as p::Capability>::NAME,)*
                    $(<$async as p::AsyncCapability>::NAME,)*
                ],
            );
            const _: () = p::at_compile_time::check_async(TOML, ASYNC);

            impl p::Export for $plugin {
                const COUNTS_HEAP: bool = $counts;

                fn dispatch(&self, call: &mut p::Call<'_>) -> ::core::option::Option<p::Result<()>> {
                    $(if call.capability() == <$capability as p::Capability>::NAME {
                        return ::core::option::Option::Some(
                            p::invoke::<$plugin, $capability>(self, call),
                        );
                    })*
                    let _ = call;
                    ::core::option::Option::None
                }

                fn dispatch_submitted(&self, call: p::Submitted) -> ::core::option::Option<p::Submitted> {
                    $(if call.request.capability == <$async as p::AsyncCapability>::NAME {
                        p::submit::<$plugin, $async>(self, call);
                        return ::core::option::Option::None;
                    })*
                    ::core::option::Option::Some(call)
                }
            }

            const FLAGS: u32 = if $counts { p::FLAG_COUNTING_ALLOCATOR } else { 0 };
            #[used]
            #[allow(unsafe_code, non_upper_case_globals)]
            #[unsafe(no_mangle)]
            #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__extman"))]
            #[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".extman"))]
            pub static extman_manifest: p::Frame<{ p::padded(TOML.len()) }> = p::Frame::rust(TOML, FLAGS);

            static LIFECYCLE: p::LifecycleVtable = p::lifecycle_table::<$plugin>();
            static CAPABILITY: p::CapabilityVtable = p::capability_table::<$plugin>();
            static HEALTH: p::HealthVtable = p::health_table::<$plugin>();
            static ASYNC_TABLE: p::AsyncVtable = p::async_table::<$plugin>();
            static MODULE: p::WithMetadata<p::PluginModule> = p::WithMetadata::new(p::module::<$plugin>(
                &LIFECYCLE,
                &CAPABILITY,
                &HEALTH,
                if ASYNC.is_empty() { ::core::option::Option::None } else { ::core::option::Option::Some(extension) },
            ));

            #[allow(unsafe_code)]
            unsafe extern "C" fn extension(id: *const u8, id_len: usize) -> *const ::core::ffi::c_void {
                // SAFETY: the host lends the id for the call.
                unsafe { p::extension(id, id_len, &ASYNC_TABLE) }
            }

            fn module() -> p::PluginModule_Ref {
                p::PluginModule_Ref(MODULE.static_as_prefix())
            }

            extern "C" fn checked_module() -> p::RootModuleResult {
                p::constructed(module())
            }

            // The name under which abi_stable looks for a library's root.
            #[allow(unsafe_code)]
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static ROOT: p::LibHeader = p::root(checked_module);

            #[allow(unsafe_code)]
            #[unsafe(no_mangle)]
            extern "C" fn extman_plugin_entry() -> *const p::PluginModule {
                p::prefix(module())
            }
        };
    };
}
