//! The table that the host lends to plugins. Each function checks its token and its pointers, and never unwinds.

use super::origin::outside;
use super::{listeners, read, sink};
use crate::process_guard::end_if_forked;
use extman_abi::{self as abi, Bytes, Check, HostTable, Report, Status};
use extman_model::LogLevel;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The one table of this process.
pub(super) static HOST_TABLE: HostTable = HostTable {
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

/// Longest log text, check message or health text that is taken, in bytes; the rest is cut.
const TEXT_BYTES_MAX: usize = 8 * 1024;

fn guarded(run: impl FnOnce() -> Status) -> Status {
    end_if_forked();
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(abi::STATUS_INTERNAL)
}

unsafe extern "C" fn log(instance: u64, level: u32, target: Bytes, text: Bytes, fields: Bytes) -> Status {
    guarded(|| {
        let Some(listener) = listeners::find(instance) else {
            return abi::STATUS_CLOSED;
        };
        let level = match level {
            abi::LOG_ERROR => LogLevel::Error,
            abi::LOG_WARN => LogLevel::Warn,
            abi::LOG_DEBUG => LogLevel::Debug,
            abi::LOG_TRACE => LogLevel::Trace,
            _ => LogLevel::Info,
        };
        // SAFETY: the plugin lends the slices for the call.
        let (target, text, fields) = unsafe {
            (
                read::text(target, 256),
                read::text(text, TEXT_BYTES_MAX),
                read::text(fields, TEXT_BYTES_MAX),
            )
        };
        outside(|| listener.log(level, &target, &text, &fields));
        abi::STATUS_OK
    })
}

unsafe extern "C" fn cancelled(token: u64) -> u32 {
    u32::from(sink::cancelled(token))
}

unsafe extern "C" fn deadline_ns(token: u64) -> u64 {
    sink::deadline_ns(token)
}

unsafe extern "C" fn sink_begin(token: u64, content_type: Bytes) -> Status {
    // SAFETY: the plugin lends the slice for the call.
    guarded(|| sink::begin(token, unsafe { read::slice(content_type) }))
}

unsafe extern "C" fn sink_write(token: u64, data: Bytes) -> Status {
    // SAFETY: the plugin lends the slice for the call.
    guarded(|| sink::write(token, unsafe { read::slice(data) }))
}

unsafe extern "C" fn emit_check(token: u64, check: *const Check) -> Status {
    guarded(|| {
        // SAFETY: the plugin lends the struct and its slices for the call.
        match unsafe { read::check(check, TEXT_BYTES_MAX) } {
            Some(part) => sink::emit(token, part),
            None => abi::STATUS_INVALID_INPUT,
        }
    })
}

unsafe extern "C" fn push_health(instance: u64, report: *const Report, text: Bytes) -> Status {
    guarded(|| {
        let Some(listener) = listeners::find(instance) else {
            return abi::STATUS_CLOSED;
        };
        // SAFETY: the plugin lends the struct and the slice for the call.
        let (report, text) = unsafe { (read::report(report), read::text(text, TEXT_BYTES_MAX)) };
        let Some(mut report) = report else {
            return abi::STATUS_INVALID_INPUT;
        };
        report.text = (!text.is_empty()).then(|| text.into_owned());
        outside(|| listener.health(report));
        abi::STATUS_OK
    })
}

unsafe extern "C" fn extension(_instance: u64, _id: Bytes) -> *const c_void {
    std::ptr::null()
}
