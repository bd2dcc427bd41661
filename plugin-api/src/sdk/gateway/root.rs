//! The library's root, in the two forms that a host looks for: abi_stable's header and a plain C pointer.

use extman_abi::checked::{CheckTypeLayout, LibHeader, RootModuleResult};
use extman_abi::{PluginModule, PluginModule_Ref};

/// Name under which abi_stable looks for a library's root; `export_plugin!` repeats it as a literal.
pub const ROOT_SYMBOL: &str = "_1as_0lib_1header_0root_bmodule_bloader";

/// abi_stable's header for a library whose root `constructor` returns.
pub const fn root(constructor: extern "C" fn() -> RootModuleResult) -> LibHeader {
    // SAFETY: the macro's constructor returns a `PluginModule_Ref` and nothing else.
    unsafe { LibHeader::from_constructor::<PluginModule_Ref>(constructor, CheckTypeLayout::Yes) }
}

/// The root as abi_stable's header hands it out.
///
/// abi_stable's own export goes through a cache that it never frees; a static needs none.
pub fn constructed(module: PluginModule_Ref) -> RootModuleResult {
    // SAFETY: the header's reader casts it back to the same type, which `root` named.
    RootModuleResult::ROk(unsafe { module.0.cast() })
}

/// The root as a C pointer.
pub fn prefix(module: PluginModule_Ref) -> *const PluginModule {
    std::ptr::from_ref(module.0.prefix()).cast()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_root_has_the_name_that_abi_stable_looks_for() {
        assert_eq!(super::ROOT_SYMBOL, extman_abi::checked::ROOT_MODULE_LOADER_NAME);
        let source = include_str!("../export.rs");
        assert!(source.contains(&format!("export_name = \"{}\"", super::ROOT_SYMBOL)));
    }
}
