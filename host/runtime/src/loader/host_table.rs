//! The table that the host lends to plugins. Each function checks its token and its pointers, and never unwinds.

use super::code_owner::outside;
use super::outgoing::ReceiverOf;
use super::output::Completed;
use super::{call_context, listeners, outgoing, output, read, status};
use crate::process_guard::end_if_forked;
use extman_abi::{
    self as abi, CallTable, CallToken, Check, HostTable, InstanceToken, LogRecord, Outcome, OutgoingToken,
    Receiver, Report, Request, Status,
};
use extman_model::{LogLevel, Progress, clock};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The one table of this process.
pub(super) static HOST_TABLE: HostTable = HostTable {
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

/// Longest log text, check message or health text that is taken, in bytes; the rest is cut.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Longest text of a progress that is taken, in bytes; the rest is cut.
const PROGRESS_BYTES_MAX: usize = 256;

fn guarded(run: impl FnOnce() -> Status) -> Status {
    end_if_forked();
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(abi::STATUS_HOST_INTERNAL)
}

fn level(code: abi::LogLevel) -> LogLevel {
    match code {
        abi::LOG_ERROR => LogLevel::Error,
        abi::LOG_WARN => LogLevel::Warn,
        abi::LOG_DEBUG => LogLevel::Debug,
        abi::LOG_TRACE => LogLevel::Trace,
        _ => LogLevel::Info,
    }
}

unsafe extern "C" fn log(_: *const HostTable, instance: InstanceToken, record: *const LogRecord) -> Status {
    guarded(|| {
        let Some(listener) = listeners::find(instance) else {
            return abi::STATUS_CLOSED;
        };
        // SAFETY: the plugin lends the record and its slices for the call.
        let Some(record) = (unsafe { read::log_record(record, TEXT_BYTES_MAX) }) else {
            return abi::STATUS_INVALID_INPUT;
        };
        let level = level(record.level);
        // Copied: whoever writes it down holds locks meanwhile, and memory of the plugin may never come.
        let (target, text, fields) = (
            record.target.into_owned(),
            record.text.into_owned(),
            record.fields.into_owned(),
        );
        outside(|| listener.log(level, &target, &text, &fields));
        abi::STATUS_OK
    })
}

unsafe extern "C" fn log_enabled(_: *const HostTable, instance: InstanceToken, code: abi::LogLevel) -> u32 {
    let enabled = || {
        let listener = listeners::find(instance)?;
        Some(outside(|| listener.keeps(level(code))))
    };
    u32::from(
        catch_unwind(AssertUnwindSafe(enabled))
            .ok()
            .flatten()
            .unwrap_or(false),
    )
}

unsafe extern "C" fn cancelled(_: *const HostTable, call: CallToken) -> u32 {
    u32::from(output::cancelled(call))
}

unsafe extern "C" fn deadline_ns(_: *const HostTable, call: CallToken) -> u64 {
    output::deadline_ns(call)
}

unsafe extern "C" fn progress(
    _: *const HostTable,
    call: CallToken,
    done: u64,
    total: u64,
    text: *const u8,
    text_len: usize,
) -> Status {
    guarded(|| {
        // SAFETY: the plugin lends the text for the call.
        let text = unsafe { read::lent_text(text, text_len, PROGRESS_BYTES_MAX) };
        let total = (total > 0).then_some(total);
        let Some(instance) = output::instance(call) else {
            return abi::STATUS_CLOSED;
        };
        if let Some(listener) = listeners::find(instance) {
            outside(|| listener.progress(Progress { done, total, text }));
        }
        abi::STATUS_OK
    })
}

unsafe extern "C" fn sink_begin(
    _: *const HostTable,
    call: CallToken,
    content_type: *const u8,
    content_type_len: usize,
) -> Status {
    guarded(|| {
        // SAFETY: the plugin lends the slice for the call.
        let content_type = unsafe { read::lent(content_type, content_type_len) };
        output::begin(call, content_type)
    })
}

unsafe extern "C" fn sink_write(
    _: *const HostTable,
    call: CallToken,
    data: *const u8,
    data_len: usize,
) -> Status {
    // SAFETY: the plugin lends the slice for the call.
    guarded(|| output::write(call, unsafe { read::lent(data, data_len) }))
}

unsafe extern "C" fn emit_metadata(
    _: *const HostTable,
    call: CallToken,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
) -> Status {
    guarded(|| {
        // SAFETY: the plugin lends both slices for the call.
        let (key, value) = unsafe { (read::lent(key, key_len), read::lent(value, value_len)) };
        output::emit_metadata(call, key, value)
    })
}

unsafe extern "C" fn emit_check(_: *const HostTable, call: CallToken, check: *const Check) -> Status {
    guarded(|| {
        // SAFETY: the plugin lends the struct and its slices for the call.
        match unsafe { read::check(check, TEXT_BYTES_MAX) } {
            Some(part) => output::emit(call, part),
            None => abi::STATUS_INVALID_INPUT,
        }
    })
}

unsafe extern "C" fn push_health(
    _: *const HostTable,
    instance: InstanceToken,
    report: *const Report,
    text: *const u8,
    text_len: usize,
) -> Status {
    guarded(|| {
        match listeners::admits_push(instance, clock::monotonic()) {
            None => return abi::STATUS_CLOSED,
            Some(false) => return abi::STATUS_RATE_LIMITED,
            Some(true) => {}
        }
        let Some(listener) = listeners::find(instance) else {
            return abi::STATUS_CLOSED;
        };
        // SAFETY: the plugin lends the struct and the slice for the call.
        let (report, text) = unsafe {
            (
                read::report(report),
                read::lent_text(text, text_len, TEXT_BYTES_MAX),
            )
        };
        let Some(mut report) = report else {
            return abi::STATUS_INVALID_INPUT;
        };
        report.text = (!text.is_empty()).then_some(text);
        outside(|| listener.health(report));
        abi::STATUS_OK
    })
}

unsafe extern "C" fn complete(
    _: *const HostTable,
    call: CallToken,
    status: Status,
    outcome: *const Outcome,
    error: *const u8,
    error_len: usize,
) -> Status {
    guarded(|| {
        // SAFETY: the plugin lends the struct and the text for the call.
        let (outcome, text) = unsafe {
            (
                read::outcome(outcome),
                read::lent_text(error, error_len, TEXT_BYTES_MAX),
            )
        };
        let failure = (status != abi::STATUS_OK)
            .then(|| read::failed(&outcome, status::failure(status, text, "the call")));
        let completed = |output| Completed {
            failure,
            usage: read::usage(&outcome),
            output,
        };
        match outside(|| call_context::complete(call, completed)) {
            true => abi::STATUS_OK,
            false => abi::STATUS_CLOSED,
        }
    })
}

unsafe extern "C" fn extension(_: *const HostTable, id: *const u8, id_len: usize) -> *const c_void {
    // SAFETY: the plugin lends the id for the call.
    let id = unsafe { read::lent(id, id_len) };
    if id == abi::EXTENSION_CALL.as_bytes() {
        std::ptr::from_ref(&CALL_TABLE).cast()
    } else {
        std::ptr::null()
    }
}

/// What `extension` answers for `extman.call/1`.
static CALL_TABLE: CallTable = CallTable {
    struct_size: size_of::<CallTable>(),
    call,
    submit,
    cancel,
};

/// The largest input of a call that a plugin makes, its parts included.
const INPUT_BYTES_MAX: usize = 64 << 20;

unsafe extern "C" fn call(
    _: *const HostTable,
    instance: InstanceToken,
    request: *const Request,
    timeout_ns: u64,
    receiver: *const Receiver,
) -> Status {
    // SAFETY: the plugin lends request and receiver for the call.
    guarded(|| match unsafe { outgoing_request(request, receiver) } {
        Ok((request, receiver)) => outgoing::call(instance, request, timeout_ns, receiver),
        Err(status) => status,
    })
}

unsafe extern "C" fn submit(
    _: *const HostTable,
    instance: InstanceToken,
    request: *const Request,
    timeout_ns: u64,
    receiver: *const Receiver,
    token: *mut OutgoingToken,
) -> Status {
    let name = |number| {
        if !token.is_null() {
            // SAFETY: not null, and the plugin's to be written to.
            unsafe { token.write(number) };
        }
    };
    // SAFETY: the plugin lends request and receiver for the call.
    guarded(|| match unsafe { outgoing_request(request, receiver) } {
        Ok((request, receiver)) => outgoing::submit(instance, request, timeout_ns, receiver, name),
        Err(status) => status,
    })
}

/// # Safety
/// Both are null or lent for the call, with all that the request points to.
unsafe fn outgoing_request(
    request: *const Request,
    receiver: *const Receiver,
) -> Result<(read::OutgoingRequest, ReceiverOf), Status> {
    // SAFETY: the caller's contract.
    let request = unsafe { read::request(request, INPUT_BYTES_MAX) }?;
    // SAFETY: the caller's contract.
    let receiver = unsafe { read::receiver(receiver, request.streams) }.ok_or(abi::STATUS_INVALID_INPUT)?;
    // SAFETY: the plugin vouches for its functions and its context until `answer` has returned, from any thread.
    Ok((request, unsafe { ReceiverOf::new(receiver) }))
}

unsafe extern "C" fn cancel(_: *const HostTable, instance: InstanceToken, token: OutgoingToken) -> Status {
    guarded(|| match outside(|| outgoing::cancel(instance, token)) {
        true => abi::STATUS_OK,
        false => abi::STATUS_CLOSED,
    })
}
