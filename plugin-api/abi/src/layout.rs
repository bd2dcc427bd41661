//! How the pointers in the tables' signatures are compared.
//!
//! The tables pass plain C pointers (`*const Request`), and abi_stable checks what a pointer points to. But it knows a
//! struct that may grow only behind its own `PrefixRef`, which is no C pointer. So each such struct stands in signatures
//! as an opaque type of its name, and is compared field by field as a phantom field of the root module.

pub use crate::values::{
    Answer_Ref, Check_Ref, CheckRequest_Ref, ConfigureRequest_Ref, CreateRequest_Ref, LogRecord_Ref,
    Outcome_Ref, Report_Ref, Request_Ref, RestoreRequest_Ref, Snapshot_Ref, StepRequest_Ref,
};
pub use crate::vtables::{
    AsyncVtable_Ref, CallTable_Ref, CapabilityVtable_Ref, HealthVtable_Ref, HostTable_Ref,
    LifecycleVtable_Ref, Receiver_Ref,
};

macro_rules! opaque_in_signatures {
    ($($name:ident),* $(,)?) => {$(
        const _: () = {
            mod opaque {
                /// Stands for the struct of the same name.
                #[repr(C)]
                #[derive(abi_stable::StableAbi)]
                pub struct $name(u8);
            }
            // SAFETY: the associated type is the type itself, which has no lifetime parameter.
            unsafe impl abi_stable::abi_stability::GetStaticEquivalent_ for crate::$name {
                type StaticEquivalent = crate::$name;
            }
            // SAFETY: the type only ever stands behind a pointer in a signature; its fields are checked as a phantom field
            // of the root module.
            unsafe impl abi_stable::StableAbi for crate::$name {
                type IsNonZeroType = abi_stable::reexports::False;
                const LAYOUT: &'static abi_stable::type_layout::TypeLayout =
                    <opaque::$name as abi_stable::StableAbi>::LAYOUT;
            }
        };
    )*};
}

opaque_in_signatures!(
    CreateRequest,
    StepRequest,
    ConfigureRequest,
    Snapshot,
    RestoreRequest,
    Request,
    Outcome,
    CheckRequest,
    Report,
    Check,
    LogRecord,
    HostTable,
    LifecycleVtable,
    CapabilityVtable,
    HealthVtable,
    AsyncVtable,
    Answer,
    Receiver,
    CallTable,
);
