//! A host of a few lines: it keeps the output of each call, and which tokens are closed.
#![allow(unsafe_code)]

use extman_plugin_api::abi::{self, Bytes, HostTable, Outcome, PluginModule, Report, Status, TextBuffer};
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

extern "C" fn log(_: u64, _: u32, _: Bytes, _: Bytes, _: Bytes) -> Status {
    abi::STATUS_OK
}
extern "C" fn cancelled(token: u64) -> u32 {
    is_closed(token).into()
}
extern "C" fn deadline_ns(token: u64) -> u64 {
    if is_closed(token) { 0 } else { abi::NO_DEADLINE }
}
extern "C" fn sink_begin(token: u64, _: Bytes) -> Status {
    ok_unless_closed(token)
}
unsafe extern "C" fn sink_write(token: u64, data: Bytes) -> Status {
    // SAFETY: the plugin's slice is valid for the call.
    let data = unsafe { std::slice::from_raw_parts(data.data, data.len) };
    OUTPUT.lock().unwrap().entry(token).or_default().extend(data);
    ok_unless_closed(token)
}
extern "C" fn emit_check(token: u64, _: *const abi::Check) -> Status {
    ok_unless_closed(token)
}
extern "C" fn push_health(instance: u64, _: *const Report, _: Bytes) -> Status {
    ok_unless_closed(instance)
}
extern "C" fn extension(_: u64, _: Bytes) -> *const c_void {
    std::ptr::null()
}

static HOST: HostTable = HostTable {
    struct_size: size_of::<HostTable>(),
    abi_major: abi::ABI_MAJOR,
    abi_minor: abi::ABI_MINOR,
    log,
    cancelled,
    deadline_ns,
    sink_begin,
    sink_write,
    emit_check,
    push_health,
    extension,
};

fn bytes(of: &[u8]) -> Bytes {
    Bytes {
        data: of.as_ptr(),
        len: of.len(),
    }
}

/// An instance, destroyed when dropped.
pub struct Instance {
    module: &'static PluginModule,
    handle: *mut c_void,
    token: u64,
}

/// What came of a call.
pub struct Answer {
    pub status: Status,
    pub output: Vec<u8>,
    pub outcome: Outcome,
}

type Simple = unsafe extern "C" fn(*mut c_void, *mut TextBuffer) -> Status;

impl Instance {
    pub fn create(config: &str) -> Result<Self, (Status, String)> {
        // SAFETY: the root is a static of this very binary, and so are its tables.
        let module = unsafe { &*extman_plugin_entry() };
        let mut made = Instance {
            module,
            handle: std::ptr::null_mut(),
            token: new_token(),
        };
        let request = abi::CreateRequest {
            struct_size: size_of::<abi::CreateRequest>(),
            instance: made.token,
            name: bytes(b"test"),
            config: bytes(config.as_bytes()),
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
        let mut text = [0; 500];
        // SAFETY: the handle is live and the arguments outlive the call.
        unsafe {
            self.lifecycle().configure.unwrap()(self.handle, bytes(config.as_bytes()), &mut buffer(&mut text))
        }
    }

    pub fn check(&self, token: u64) -> (Status, abi::Health) {
        self.check_as(token, abi::CHECK_READINESS)
    }

    pub fn check_as(&self, token: u64, kind: abi::CheckKind) -> (Status, abi::Health) {
        let request = abi::CheckRequest {
            struct_size: size_of::<abi::CheckRequest>(),
            probe: token,
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
            capability: bytes(capability.as_bytes()),
            content_type: bytes(b"application/json"),
            input: bytes(input),
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

    fn simple(&self, call: Option<Simple>) -> Status {
        let mut text = [0; 500];
        // SAFETY: the handle is live and the buffer outlives the call.
        unsafe { call.unwrap()(self.handle, &mut buffer(&mut text)) }
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
        close(self.token);
        // SAFETY: made by create and destroyed once.
        unsafe { self.lifecycle().destroy.unwrap()(self.handle) };
    }
}

fn buffer(text: &mut [u8]) -> TextBuffer {
    TextBuffer {
        data: text.as_mut_ptr(),
        capacity: text.len(),
        len: 0,
    }
}
