//! A host of a few lines: it keeps the output of each call, and which tokens are closed.
#![allow(unsafe_code)]

use extman_plugin_api::abi::{self, Bytes, HostTable, Outcome, PluginModule, Report, Status, TextBuffer};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};

unsafe extern "C" {
    fn extman_plugin_entry() -> *const PluginModule;
}

static OUTPUT: LazyLock<Mutex<HashMap<u64, Vec<u8>>>> = LazyLock::new(Mutex::default);
static CLOSED: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);

/// A token that nobody has had.
pub fn new_token() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// From now on it reads as cancelled and takes no output.
pub fn close(token: u64) {
    CLOSED.lock().unwrap().insert(token);
}

fn is_closed(token: u64) -> bool {
    CLOSED.lock().unwrap().contains(&token)
}

fn ok_unless_closed(token: u64) -> Status {
    if is_closed(token) {
        abi::STATUS_CLOSED
    } else {
        abi::STATUS_OK
    }
}

type Host = *const HostTable;

extern "C" fn log(_: Host, _: u64, _: *const abi::LogRecord) -> Status {
    abi::STATUS_OK
}
extern "C" fn log_enabled(_: Host, _: u64, _: u32) -> u32 {
    1
}
extern "C" fn cancelled(_: Host, call: u64) -> u32 {
    is_closed(call).into()
}
extern "C" fn deadline_ns(_: Host, call: u64) -> u64 {
    if is_closed(call) { 0 } else { abi::NO_DEADLINE }
}
extern "C" fn progress(_: Host, call: u64, _: u64, _: u64, _: *const u8, _: usize) -> Status {
    ok_unless_closed(call)
}
extern "C" fn sink_begin(_: Host, call: u64, _: *const u8, _: usize) -> Status {
    ok_unless_closed(call)
}
unsafe extern "C" fn sink_write(_: Host, call: u64, data: *const u8, len: usize) -> Status {
    // SAFETY: the plugin's slice is valid for the call.
    let data = unsafe { std::slice::from_raw_parts(data, len) };
    OUTPUT.lock().unwrap().entry(call).or_default().extend(data);
    ok_unless_closed(call)
}
extern "C" fn emit_metadata(_: Host, call: u64, _: *const u8, _: usize, _: *const u8, _: usize) -> Status {
    ok_unless_closed(call)
}
extern "C" fn emit_check(_: Host, call: u64, _: *const abi::Check) -> Status {
    ok_unless_closed(call)
}
extern "C" fn push_health(_: Host, instance: u64, _: *const Report, _: *const u8, _: usize) -> Status {
    ok_unless_closed(instance)
}
extern "C" fn complete(_: Host, call: u64, _: Status, _: *const Outcome, _: *const u8, _: usize) -> Status {
    ok_unless_closed(call)
}
extern "C" fn extension(_: Host, _: *const u8, _: usize) -> *const c_void {
    std::ptr::null()
}

static HOST: HostTable = HostTable {
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

/// An instance, destroyed when dropped.
pub struct Instance {
    module: &'static PluginModule,
    handle: *mut c_void,
    token: u64,
    cancels: Cell<bool>,
}

/// What came of a call.
pub struct Answer {
    pub status: Status,
    pub output: Vec<u8>,
    pub outcome: Outcome,
}

type Simple = unsafe extern "C" fn(*mut c_void, *const abi::StepRequest, *mut TextBuffer) -> Status;

impl Instance {
    pub fn create(config: &str) -> Result<Self, (Status, String)> {
        Self::create_as(config, new_token())
    }

    pub fn create_as(config: &str, call: u64) -> Result<Self, (Status, String)> {
        // SAFETY: the root is a static of this very binary, and so are its tables.
        let module = unsafe { &*extman_plugin_entry() };
        let mut made = Instance {
            module,
            handle: std::ptr::null_mut(),
            token: new_token(),
            cancels: Cell::new(false),
        };
        let request = abi::CreateRequest {
            struct_size: size_of::<abi::CreateRequest>(),
            instance: made.token,
            call,
            name: Bytes::of(b"test"),
            config: Bytes::of(config.as_bytes()),
            data_dir: Bytes::EMPTY,
            cache_dir: Bytes::EMPTY,
            resource_dir: Bytes::EMPTY,
        };
        let mut text = [0; 500];
        let mut error = buffer(&mut text);
        // SAFETY: all four live until the call returns; the table is a static.
        let status =
            unsafe { made.lifecycle().create.unwrap()(&HOST, &request, &mut made.handle, &mut error) };
        match status {
            abi::STATUS_OK => Ok(made),
            _ => Err((status, String::from_utf8_lossy(&text[..error.len]).into_owned())),
        }
    }

    pub fn start(&self) -> Status {
        self.simple(self.lifecycle().start)
    }

    pub fn drain(&self) -> Status {
        self.simple(self.lifecycle().drain)
    }

    pub fn stop(&self) -> Status {
        self.simple(self.lifecycle().stop)
    }

    pub fn configure(&self, config: &str) -> Status {
        let request = abi::ConfigureRequest {
            struct_size: size_of::<abi::ConfigureRequest>(),
            call: self.step().call,
            config: Bytes::of(config.as_bytes()),
        };
        let mut text = [0; 500];
        // SAFETY: the handle is live and the arguments outlive the call.
        unsafe { self.lifecycle().configure.unwrap()(self.handle, &request, &mut buffer(&mut text)) }
    }

    pub fn check(&self, token: u64) -> (Status, abi::Health) {
        self.check_as(token, abi::CHECK_READINESS)
    }

    pub fn check_as(&self, token: u64, kind: abi::CheckKind) -> (Status, abi::Health) {
        let request = abi::CheckRequest {
            struct_size: size_of::<abi::CheckRequest>(),
            call: token,
            kind,
            reserved: 0,
        };
        // SAFETY: a report of zeros is a valid one.
        let mut report: Report = unsafe { std::mem::zeroed() };
        report.struct_size = size_of::<Report>();
        let mut text = [0; 500];
        // SAFETY: the table is a static, the handle is live and the arguments outlive the call.
        let status = unsafe {
            let health = &*self.module.health;
            health.check.unwrap()(self.handle, &request, &mut report, &mut buffer(&mut text))
        };
        (status, report.health)
    }

    pub fn invoke(&self, capability: &str, input: &[u8]) -> Answer {
        self.invoke_as(new_token(), capability, input)
    }

    pub fn invoke_as(&self, token: u64, capability: &str, input: &[u8]) -> Answer {
        let request = abi::Request {
            struct_size: size_of::<abi::Request>(),
            call: token,
            capability: Bytes::of(capability.as_bytes()),
            capability_version: Bytes::EMPTY,
            content_type: Bytes::of(b"application/json"),
            accept: Bytes::EMPTY,
            input: Bytes::of(input),
            metadata: std::ptr::null(),
            metadata_len: 0,
            parts: std::ptr::null(),
            parts_len: 0,
            flags: 0,
            reserved: 0,
        };
        // SAFETY: an outcome of zeros is a valid one.
        let mut outcome: Outcome = unsafe { std::mem::zeroed() };
        outcome.struct_size = size_of::<Outcome>();
        let mut text = [0; 500];
        // SAFETY: the table is a static, the handle is live and the arguments outlive the call.
        let status = unsafe {
            let table = &*self.module.capability;
            table.invoke.unwrap()(self.handle, &request, &mut outcome, &mut buffer(&mut text))
        };
        Answer {
            status,
            output: OUTPUT.lock().unwrap().remove(&token).unwrap_or_default(),
            outcome,
        }
    }

    /// The last thing that is done.
    pub fn destroy(&mut self) -> Status {
        close(self.token);
        let status = self.simple(self.lifecycle().destroy);
        self.handle = std::ptr::null_mut();
        status
    }

    fn simple(&self, call: Option<Simple>) -> Status {
        let mut text = [0; 500];
        // SAFETY: the handle is live and the arguments outlive the call.
        unsafe { call.unwrap()(self.handle, &self.step(), &mut buffer(&mut text)) }
    }

    /// From now on, each step finds itself cancelled.
    pub fn cancel_steps(&self) {
        self.cancels.set(true);
    }

    fn step(&self) -> abi::StepRequest {
        let call = new_token();
        if self.cancels.get() {
            close(call);
        }
        abi::StepRequest {
            struct_size: size_of::<abi::StepRequest>(),
            call,
        }
    }

    fn lifecycle(&self) -> &'static abi::LifecycleVtable {
        // SAFETY: a static of this very binary.
        unsafe { &*self.module.lifecycle }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.handle.is_null() {
            return;
        }
        self.destroy();
    }
}

fn buffer(text: &mut [u8]) -> TextBuffer {
    TextBuffer {
        data: text.as_mut_ptr(),
        capacity: text.len(),
        len: 0,
    }
}
