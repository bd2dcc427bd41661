//! The C ABI between an ExtManager host and its plugins.
//!
//! Everything that crosses the boundary is declared here and nowhere else, as `repr(C)` structs that Rust plugins
//! share with C ones. `include/extman_plugin.h` is generated from this crate; abi_stable checks the same structs, field
//! by field, when a Rust plugin is loaded.
//!
//! # Rules
//!
//! * **Growth.** A struct that may grow starts with `struct_size`, the size that its maker knew. Fields are appended in a
//!   minor version, never removed, reordered or retyped within a major. Read a field only if `struct_size` covers it.
//! * **No ownership crosses.** A [`Bytes`] is borrowed for the call. Output goes through the host's sink. Error text
//!   goes into a [`TextBuffer`] that the caller lent.
//! * **Contexts are tokens.** [`CallToken`] and [`InstanceToken`] are numbers that the host makes and checks on every use,
//!   from any thread. A stale one is answered with [`STATUS_CLOSED`] and harms nobody. An [`InstanceHandle`] is the
//!   plugin's, a token the host's; neither looks inside the other's.
//! * **Functions have their context.** A host function's first argument is the table that it was read from. No signature
//!   holds a struct by value.
//! * **No enums, bools or chars.** Only `u32` constants, each family with a stated meaning for a value that the reader
//!   does not know.
//! * **No unwinding.** No panic and no C++ exception may leave an entry point.
//!
//! # How to read the tags
//!
//! Each function says `[state]` when it may be called, `[thread]` by whom, and `[owner]` who owns what it is given.
#![allow(unsafe_code)]

mod blank;
mod constants;
mod layout;
mod module;
mod values;
mod vtables;

pub use constants::*;
pub use module::*;
pub use values::*;
pub use vtables::*;

/// This minor's constants, structs and offsets, as the tests write them down.
#[doc(hidden)]
pub const fn golden() -> &'static str {
    include_str!("../golden/abi-1.0.txt")
}

#[doc(hidden)]
pub mod checked {
    //! What the loader and the SDK's export macro need of abi_stable.
    pub use abi_stable::abi_stability::abi_checking::{
        CheckingGlobals, check_layout_compatibility_with_globals,
    };
    pub use abi_stable::library::{
        AbiHeaderRef, CheckTypeLayout, LibHeader, ROOT_MODULE_LOADER_NAME, ROOT_MODULE_LOADER_NAME_WITH_NUL,
        RootModule, RootModuleResult,
    };
    pub use abi_stable::prefix_type::{PrefixRefTrait, PrefixTypeTrait, WithMetadata};
    pub use abi_stable::std_types::{ROk, RResult};
    pub use abi_stable::{StableAbi, type_layout::TypeLayout};
}
