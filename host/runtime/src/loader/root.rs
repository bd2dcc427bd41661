//! From an open library to its tables, and nothing called before all checks have passed.
//!
//! A Rust plugin is compared field by field by abi_stable. Only functions of abi_stable are used that keep nothing of the plugin
//! after the check: its usual ones cache references into the library, which would dangle once it is gone. A C plugin has no
//! layout to compare; magic, ABI major, and the sizes that it declares are its gate.

use super::library::OpenError;
use super::sized::{self, Grows, Unreadable};
use crate::sync::lock;
use extman_abi::checked::{
    AbiHeaderRef, CheckingGlobals, LibHeader, ROOT_MODULE_LOADER_NAME_WITH_NUL, RootModule, StableAbi,
    check_layout_compatibility_with_globals,
};
use extman_abi::{
    self as abi, AsyncVtable, CapabilityVtable, ENTRY_SYMBOL, EntryFn, HealthVtable, LifecycleVtable,
    PluginModule, PluginModule_Ref,
};
use extman_model::Digest;
use libloading::os::unix::Library;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// A plugin's tables, copied out: an entry that is not there is `None`. Beside them stand the entries that every plugin has.
pub(super) struct Tables {
    pub module: PluginModule,
    pub lifecycle: LifecycleVtable,
    pub capability: CapabilityVtable,
    /// Not every plugin has one.
    pub health: Option<HealthVtable>,
    pub create: Create,
    pub destroy: Step,
    pub invoke: Invoke,
    /// Of `extman.async/1`; a call is handed over by the types of `invoke`.
    pub submit: Option<Invoke>,
}

pub(super) type Create = unsafe extern "C" fn(
    *const abi::HostTable,
    *const abi::CreateRequest,
    *mut abi::InstanceHandle,
    *mut abi::TextBuffer,
) -> abi::Status;
pub(super) type Step =
    unsafe extern "C" fn(abi::InstanceHandle, *const abi::StepRequest, *mut abi::TextBuffer) -> abi::Status;
pub(super) type Invoke = unsafe extern "C" fn(
    abi::InstanceHandle,
    *const abi::Request,
    *mut abi::Outcome,
    *mut abi::TextBuffer,
) -> abi::Status;

/// Checks the library of these bytes and reads its tables. `rust` says that the manifest frame was made by the Rust SDK.
///
/// # Safety
/// `library` is open and stays so while the tables are used.
pub(super) unsafe fn tables(library: &Library, digest: Digest, rust: bool) -> Result<Tables, OpenError> {
    // SAFETY: the caller's contract.
    let module = match unsafe { layout_checked(library, digest)? } {
        Some(module) => module,
        None if rust => return Err(OpenError::NoRoot),
        // SAFETY: the caller's contract.
        None => unsafe { by_entry(library)? },
    };
    // SAFETY: a module of an open library, whose size and magic are checked first.
    unsafe { read_module(module) }
}

/// The root of a Rust plugin, after abi_stable's comparison. `None` if the library has no such root.
unsafe fn layout_checked(
    library: &Library,
    digest: Digest,
) -> Result<Option<*const PluginModule>, OpenError> {
    let name = ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes();
    // SAFETY: the symbol is a static that starts with abi_stable's header; its magic is checked before anything else is read.
    let Ok(symbol) = (unsafe { library.get::<AbiHeaderRef>(name) }) else {
        return Ok(None);
    };
    // A static's symbol is its address, and the reference type is that address.
    let header: AbiHeaderRef = *symbol;
    if !header.is_valid() {
        return Err(OpenError::RootHeader);
    }
    let header = header.upgrade().map_err(|_| OpenError::RootHeader)?;
    let theirs = semver_of(header.version_strings().version.as_str())?;
    let ours = semver_of(PluginModule_Ref::VERSION_STRINGS.version.as_str())?;
    if theirs.major != ours.major {
        return Err(OpenError::AbiMajor {
            plugin: theirs.major,
            host: ours.major,
        });
    }
    if !has_passed(digest) {
        compare_layouts(header, &theirs, &ours)?;
        note_passed(digest);
    }
    // SAFETY: the layout has been compared, now or when the same bytes were loaded before.
    let module =
        unsafe { header.unchecked_layout::<PluginModule_Ref>() }.map_err(|_| OpenError::RootHeader)?;
    Ok(Some(std::ptr::from_ref(module.0.prefix()).cast()))
}

/// Digests of libraries whose layout this process has compared: the same bytes have the same layout, and comparing takes as long as
/// mapping them.
static PASSED: Mutex<BTreeSet<Digest>> = Mutex::new(BTreeSet::new());
const PASSED_MAX: usize = 4096;

fn has_passed(digest: Digest) -> bool {
    lock(&PASSED).contains(&digest)
}

fn note_passed(digest: Digest) {
    let mut passed = lock(&PASSED);
    if passed.len() >= PASSED_MAX {
        passed.clear();
    }
    passed.insert(digest);
}

/// Compares the plugin's layout with the host's, field by field.
fn compare_layouts(
    header: &'static LibHeader,
    theirs: &semver::Version,
    ours: &semver::Version,
) -> Result<(), OpenError> {
    let layout = header.layout().ok_or(OpenError::RootHeader)?;
    let host = <PluginModule_Ref as StableAbi>::LAYOUT;
    // Of our own, and dropped right here: it holds references into the plugin.
    let globals = CheckingGlobals::new();
    let compare = |interface, implementation| {
        check_layout_compatibility_with_globals(interface, implementation, &globals)
            .map_err(|differences| differences.to_string())
    };
    let compared = match compare(host, layout) {
        // An older plugin has fewer fields than the host knows: then the plugin's layout is the one to be kept to.
        Err(_) if theirs.minor < ours.minor => compare(layout, host),
        compared => compared,
    };
    drop(globals);
    compared.map_err(|differences| OpenError::Layout {
        plugin: theirs.to_string(),
        host: ours.to_string(),
        differences,
    })
}

fn semver_of(text: &str) -> Result<semver::Version, OpenError> {
    text.parse().map_err(|_| OpenError::RootHeader)
}

/// The root of a C plugin.
unsafe fn by_entry(library: &Library) -> Result<*const PluginModule, OpenError> {
    // SAFETY: a function of this name and no other is what the ABI asks for.
    let entry = unsafe { library.get::<EntryFn>(ENTRY_SYMBOL) }.map_err(|_| OpenError::NoEntry)?;
    // SAFETY: the entry takes nothing and returns a pointer to a static.
    Ok(unsafe { entry() })
}

/// Reads a module and its tables, each no further than it says it reaches.
///
/// # Safety
/// `module` is null or points to readable memory that starts with a size and a magic.
unsafe fn read_module(module: *const PluginModule) -> Result<Tables, OpenError> {
    // SAFETY: the caller's contract.
    let module = unsafe { table(module, "module")? }
        .ok_or_else(|| OpenError::BadTable("the entry function returned null".to_owned()))?;
    if module.magic != abi::MODULE_MAGIC {
        let text = format!("the module's magic is {:#018x}", module.magic);
        return Err(OpenError::BadTable(text));
    }
    if module.abi_major != abi::ABI_MAJOR {
        return Err(OpenError::AbiMajor {
            plugin: module.abi_major.into(),
            host: abi::ABI_MAJOR.into(),
        });
    }
    // SAFETY: pointers to tables of the plugin that start with their size.
    let (lifecycle, capability, health) = unsafe {
        (
            table(module.lifecycle, "lifecycle table")?.ok_or_else(|| missing("lifecycle table"))?,
            table(module.capability, "capability table")?.ok_or_else(|| missing("capability table"))?,
            table(module.health, "health table")?,
        )
    };
    Ok(Tables {
        create: lifecycle.create.ok_or_else(|| missing("create"))?,
        destroy: lifecycle.destroy.ok_or_else(|| missing("destroy"))?,
        invoke: capability.invoke.ok_or_else(|| missing("invoke"))?,
        // SAFETY: the caller's contract.
        submit: unsafe { submit(&module)? },
        health,
        module,
        lifecycle,
        capability,
    })
}

/// The entry of `extman.async/1`.
///
/// # Safety
/// A module of an open library.
unsafe fn submit(module: &PluginModule) -> Result<Option<Invoke>, OpenError> {
    let Some(extension) = module.extension else {
        return Ok(None);
    };
    let id = abi::EXTENSION_ASYNC.as_bytes();
    // SAFETY: an entry of an open library, which takes a lent text and returns null or a table that starts with its size.
    let table =
        unsafe { table::<AsyncVtable>(extension(id.as_ptr(), id.len()).cast(), "extman.async/1 table")? };
    table
        .map(|table| table.submit.ok_or_else(|| missing("submit")))
        .transpose()
}

/// `None` if there is none.
///
/// # Safety
/// `at` is null or points to readable memory that starts with a size.
unsafe fn table<T: Grows>(at: *const T, name: &str) -> Result<Option<T>, OpenError> {
    // SAFETY: the caller's contract.
    let text = match unsafe { sized::read(at) } {
        Ok(table) => return Ok(Some(table)),
        Err(Unreadable::Null) => return Ok(None),
        Err(Unreadable::NotAligned) => format!("the {name} is not aligned"),
        Err(Unreadable::TooShort(size)) => format!(
            "the {name} says that it is {size} bytes long; ABI 1.0 has {}",
            T::NEEDED
        ),
    };
    Err(OpenError::BadTable(text))
}

fn missing(name: &str) -> OpenError {
    OpenError::BadTable(format!("the plugin has no {name}"))
}
