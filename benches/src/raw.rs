//! A plugin called as carelessly as possible: pointers held, nothing checked, counted, limited or caught. What the host's own
//! paths cost more than this is the price of what they promise.
#![allow(unsafe_code)]

use extman_abi::{self as abi, Bytes, HostTable, PluginModule, TextBuffer};
use libloading::Library;
use std::ffi::c_void;
use std::path::Path;

type Invoke = unsafe extern "C" fn(
    abi::InstanceHandle,
    *const abi::Request,
    *mut abi::Outcome,
    *mut TextBuffer,
) -> abi::Status;
type Check = unsafe extern "C" fn(
    abi::InstanceHandle,
    *const abi::CheckRequest,
    *mut abi::Report,
    *mut TextBuffer,
) -> abi::Status;

type Step =
    unsafe extern "C" fn(abi::InstanceHandle, *const abi::StepRequest, *mut TextBuffer) -> abi::Status;

type Create = unsafe extern "C" fn(
    *const HostTable,
    *const abi::CreateRequest,
    *mut abi::InstanceHandle,
    *mut TextBuffer,
) -> abi::Status;

/// An instance of `bench-plugin` with its pointers.
pub struct Raw {
    handle: abi::InstanceHandle,
    create: Create,
    invoke: Invoke,
    check: Check,
    destroy: Step,
    small: extern "C" fn() -> u64,
    // Never closed while the pointers are held.
    library: Library,
}

// SAFETY: the ABI lets any thread pass the handle to the plugin.
unsafe impl Send for Raw {}
// SAFETY: as above, and the bench plugin lets its calls overlap.
unsafe impl Sync for Raw {}

/// Maps a library and unmaps it.
///
/// # Panics
/// The dynamic loader refuses it.
pub fn open_and_close(library: &Path) {
    close(open(library));
}

/// Maps a library.
///
/// # Panics
/// The dynamic loader refuses it.
pub fn open(library: &Path) -> Library {
    // SAFETY: the workspace's own plugin; nothing of it is called but its constructors.
    unsafe { Library::new(library) }.expect("the library is mapped")
}

/// Unmaps a library.
///
/// # Panics
/// The dynamic loader refuses it.
pub fn close(library: Library) {
    library.close().expect("the library is unmapped");
}

impl Raw {
    /// Maps the library and makes an instance.
    ///
    /// # Panics
    /// It is not `bench-plugin`.
    pub fn open(path: &Path) -> Self {
        let library = open(path);
        // SAFETY: every plugin exports a function of this name and type.
        let entry = unsafe { library.get::<abi::EntryFn>(abi::ENTRY_SYMBOL.as_bytes()) }.expect("an entry");
        // SAFETY: `bench-plugin` exports a function of this name and type.
        let small = unsafe { library.get::<extern "C" fn() -> u64>(b"bench_small") }.expect("bench_small");
        let small = *small;
        // SAFETY: it returns a pointer to a static, whose tables are statics too.
        let (lifecycle, capability, health) = unsafe {
            let module: &PluginModule = &*entry();
            (&*module.lifecycle, &*module.capability, &*module.health)
        };
        let (create, invoke) = (
            lifecycle.create.expect("create"),
            capability.invoke.expect("invoke"),
        );
        let check = health.check.expect("check");
        let destroy = lifecycle.destroy.expect("destroy");
        Raw {
            handle: made_by(create),
            create,
            invoke,
            check,
            destroy,
            small,
            library,
        }
    }

    /// More instances of its library, which stay.
    ///
    /// # Panics
    /// The plugin makes none.
    pub fn more(&self, count: usize) -> Vec<RawCheck<'_>> {
        let one = |_| RawCheck {
            handle: made_by(self.create),
            of: self,
        };
        (0..count).map(one).collect()
    }

    /// Frees the instance; its library is still mapped.
    pub fn destroy(self) -> Library {
        let request = abi::StepRequest {
            struct_size: size_of::<abi::StepRequest>(),
            call: 1,
        };
        // SAFETY: a live handle and a pointer to a local; nothing is called on the handle afterwards.
        let destroyed = unsafe { (self.destroy)(self.handle, &request, std::ptr::null_mut()) };
        assert_eq!(destroyed, abi::STATUS_OK);
        self.library
    }

    /// Eight bytes by a plain C function.
    pub fn small(&self) -> u64 {
        (self.small)()
    }

    /// One call, whose output is appended to `output`.
    pub fn invoke(&self, capability: &str, body: &[u8], output: &mut Vec<u8>) -> abi::Status {
        let request = abi::Request {
            struct_size: size_of::<abi::Request>(),
            call: std::ptr::from_mut(output).expose_provenance() as u64,
            capability: Bytes::of(capability.as_bytes()),
            capability_version: Bytes::EMPTY,
            content_type: Bytes::of(b"application/json"),
            accept: Bytes::EMPTY,
            input: Bytes::of(body),
            metadata: std::ptr::null(),
            metadata_len: 0,
            parts: std::ptr::null(),
            parts_len: 0,
            flags: 0,
            reserved: 0,
        };
        let mut outcome = abi::Outcome::BLANK;
        // SAFETY: a live handle and pointers to locals; the token is what `write` takes it for.
        unsafe { (self.invoke)(self.handle, &request, &mut outcome, std::ptr::null_mut()) }
    }

    /// One check; the 96 bytes that it fills.
    pub fn check(&self) -> abi::Report {
        self.check_of(self.handle)
    }

    fn check_of(&self, handle: abi::InstanceHandle) -> abi::Report {
        let request = abi::CheckRequest {
            struct_size: size_of::<abi::CheckRequest>(),
            call: 1,
            kind: abi::CHECK_READINESS,
            reserved: 0,
        };
        let mut report = abi::Report::BLANK;
        // SAFETY: a live handle and pointers to locals.
        unsafe { (self.check)(handle, &request, &mut report, std::ptr::null_mut()) };
        report
    }
}

/// Another instance of a library, to be checked.
pub struct RawCheck<'a> {
    handle: abi::InstanceHandle,
    of: &'a Raw,
}

// SAFETY: as for `Raw`.
unsafe impl Send for RawCheck<'_> {}
// SAFETY: as for `Raw`.
unsafe impl Sync for RawCheck<'_> {}

impl RawCheck<'_> {
    /// As [`Raw::check`].
    pub fn check(&self) -> abi::Report {
        self.of.check_of(self.handle)
    }
}

fn made_by(create: Create) -> abi::InstanceHandle {
    let request = abi::CreateRequest {
        struct_size: size_of::<abi::CreateRequest>(),
        instance: 1,
        call: 1,
        name: Bytes::of(b"raw"),
        config: Bytes::of(b"{}"),
        data_dir: Bytes::EMPTY,
        cache_dir: Bytes::EMPTY,
        resource_dir: Bytes::EMPTY,
    };
    let mut handle = std::ptr::null_mut();
    // SAFETY: an entry of a library that stays, and pointers to a static and to locals.
    let made = unsafe { create(&TABLE, &request, &mut handle, std::ptr::null_mut()) };
    assert_eq!(made, abi::STATUS_OK);
    handle
}

static TABLE: HostTable = HostTable {
    struct_size: size_of::<HostTable>(),
    abi_major: abi::ABI_MAJOR,
    abi_minor: abi::ABI_MINOR,
    log,
    log_enabled,
    cancelled,
    deadline_ns,
    progress,
    sink_begin,
    sink_write,
    emit_metadata,
    emit_check,
    push_health,
    complete,
    extension,
};

type Host = *const HostTable;

unsafe extern "C" fn log(_: Host, _: u64, _: *const abi::LogRecord) -> abi::Status {
    abi::STATUS_OK
}

unsafe extern "C" fn log_enabled(_: Host, _: u64, _: u32) -> u32 {
    0
}

unsafe extern "C" fn cancelled(_: Host, _: u64) -> u32 {
    0
}

unsafe extern "C" fn deadline_ns(_: Host, _: u64) -> u64 {
    abi::NO_DEADLINE
}

unsafe extern "C" fn progress(_: Host, _: u64, _: u64, _: u64, _: *const u8, _: usize) -> abi::Status {
    abi::STATUS_OK
}

unsafe extern "C" fn sink_begin(_: Host, _: u64, _: *const u8, _: usize) -> abi::Status {
    abi::STATUS_OK
}

unsafe extern "C" fn sink_write(_: Host, call: u64, data: *const u8, len: usize) -> abi::Status {
    let output = std::ptr::with_exposed_provenance_mut::<Vec<u8>>(call as usize);
    // SAFETY: `Raw::invoke` made the token of an exclusive reference, and waits; the plugin lends the slice.
    unsafe { (*output).extend_from_slice(std::slice::from_raw_parts(data, len)) };
    abi::STATUS_OK
}

unsafe extern "C" fn emit_metadata(
    _: Host,
    _: u64,
    _: *const u8,
    _: usize,
    _: *const u8,
    _: usize,
) -> abi::Status {
    abi::STATUS_OK
}

unsafe extern "C" fn emit_check(_: Host, _: u64, _: *const abi::Check) -> abi::Status {
    abi::STATUS_OK
}

unsafe extern "C" fn push_health(
    _: Host,
    _: u64,
    _: *const abi::Report,
    _: *const u8,
    _: usize,
) -> abi::Status {
    abi::STATUS_OK
}

unsafe extern "C" fn complete(
    _: Host,
    _: u64,
    _: abi::Status,
    _: *const abi::Outcome,
    _: *const u8,
    _: usize,
) -> abi::Status {
    abi::STATUS_CLOSED
}

unsafe extern "C" fn extension(_: Host, _: *const u8, _: usize) -> *const c_void {
    std::ptr::null()
}
