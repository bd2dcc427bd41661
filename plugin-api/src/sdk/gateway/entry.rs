//! One function for each entry of the tables.
//!
//! What the host passes may be shorter than this crate knows it, so it is read field by field and never through a reference to
//! the whole struct. The fields read here are of ABI 1.0, which every host has.

use super::Export;
use super::guard::{caught, copy_out, slice, text, write_text};
use super::host::Host;
use crate::abi::{
    self, Bytes, CallToken, CheckRequest, CreateRequest, HostTable, InstanceHandle, Outcome, Report, Request,
    Status, TextBuffer,
};
use crate::sdk::health::EMPTY_REPORT;
use crate::sdk::{Call, CheckKind, Create, Error, Probe, Result, alloc};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a handle points to.
struct Instance<P> {
    plugin: P,
    host: Host,
    panicked: AtomicBool,
}

pub(super) unsafe extern "C" fn create<P: Export>(
    host: *const HostTable,
    request: *const CreateRequest,
    out: *mut InstanceHandle,
    error: *mut TextBuffer,
) -> Status {
    if host.is_null() || request.is_null() {
        return abi::STATUS_INTERNAL;
    }
    // SAFETY: not null, so valid for the call; a field of ABI 1.0.
    let host_major = unsafe { (*host).abi_major };
    if host_major != abi::ABI_MAJOR || out.is_null() {
        return abi::STATUS_UNSUPPORTED;
    }
    // SAFETY: not null, and the table stays valid until the library is unloaded (contract of `create`).
    let host = unsafe { Host::new(host, (*request).instance) };
    // SAFETY: not null; fields of ABI 1.0, whose slices are borrowed for the call.
    let (name, config) = unsafe { (text((*request).name), text((*request).config)) };
    match caught(|| {
        P::create(&Create {
            name,
            config,
            host: &host,
        })
    }) {
        Ok(Ok(plugin)) => {
            let instance = Box::new(Instance {
                plugin,
                host,
                panicked: AtomicBool::new(false),
            });
            // SAFETY: not null, and the host's to write to.
            unsafe { out.write(Box::into_raw(instance).cast()) };
            abi::STATUS_OK
        }
        // SAFETY: `error` is the host's lent buffer.
        Ok(Err(failure)) => unsafe { failed(&failure, error) },
        Err(panic) => {
            // SAFETY: as above.
            unsafe { write_text(error, &panic) };
            abi::STATUS_PANICKED
        }
    }
}

pub(super) unsafe extern "C" fn destroy<P: Export>(handle: InstanceHandle) {
    if handle.is_null() {
        return;
    }
    // SAFETY: made by `create` from a Box of this type; the host calls this once and never overlapping anything.
    let instance = unsafe { Box::from_raw(handle.cast::<Instance<P>>()) };
    let host = instance.host.clone();
    if let Err(panic) = caught(|| drop(instance)) {
        host.log(
            super::host::Level::Error,
            "extman.gateway",
            &format!("destroy {panic}"),
        );
    }
}

pub(super) unsafe extern "C" fn start<P: Export>(handle: InstanceHandle, error: *mut TextBuffer) -> Status {
    // SAFETY: the host passes a live handle and its lent buffer.
    unsafe { enter::<P>(handle, error, |instance| instance.plugin.start()) }
}

pub(super) unsafe extern "C" fn configure<P: Export>(
    handle: InstanceHandle,
    config: Bytes,
    error: *mut TextBuffer,
) -> Status {
    // SAFETY: the slice is borrowed for the call.
    let config = unsafe { text(config) };
    // SAFETY: as in `start`.
    unsafe { enter::<P>(handle, error, |instance| instance.plugin.configure(config)) }
}

pub(super) unsafe extern "C" fn drain<P: Export>(handle: InstanceHandle, error: *mut TextBuffer) -> Status {
    // SAFETY: as in `start`.
    unsafe { enter::<P>(handle, error, |instance| instance.plugin.drain()) }
}

pub(super) unsafe extern "C" fn stop<P: Export>(handle: InstanceHandle, error: *mut TextBuffer) -> Status {
    // SAFETY: as in `start`.
    unsafe { enter::<P>(handle, error, |instance| instance.plugin.stop()) }
}

pub(super) unsafe extern "C" fn snapshot<P: Export>(
    handle: InstanceHandle,
    call: CallToken,
    error: *mut TextBuffer,
) -> Status {
    let run = |instance: &Instance<P>| {
        let state = instance.plugin.snapshot()?;
        instance.host.sink_write(call, &state)
    };
    // SAFETY: as in `start`.
    unsafe { enter::<P>(handle, error, run) }
}

pub(super) unsafe extern "C" fn restore<P: Export>(
    handle: InstanceHandle,
    state: Bytes,
    error: *mut TextBuffer,
) -> Status {
    // SAFETY: the slice is borrowed for the call.
    let state = unsafe { slice(state) };
    // SAFETY: as in `start`.
    unsafe { enter::<P>(handle, error, |instance| instance.plugin.restore(state)) }
}

pub(super) unsafe extern "C" fn invoke<P: Export>(
    handle: InstanceHandle,
    request: *const Request,
    outcome: *mut Outcome,
    error: *mut TextBuffer,
) -> Status {
    if request.is_null() {
        return abi::STATUS_INTERNAL;
    }
    let mut said = Outcome {
        struct_size: size_of::<Outcome>(),
        valid: 0,
        retryable: 0,
        reserved: 0,
        retry_after_ms: 0,
        tokens_in: 0,
        tokens_out: 0,
    };
    let run = |instance: &Instance<P>| {
        // SAFETY: not null; fields of ABI 1.0, whose slices are borrowed for the call.
        let (token, flags, capability, content_type, input) = unsafe {
            (
                (*request).call,
                (*request).flags,
                text((*request).capability),
                text((*request).content_type),
                slice((*request).input),
            )
        };
        let mut call = Call {
            token,
            host: &instance.host,
            capability,
            content_type,
            input,
            flags,
            tokens_in: None,
            tokens_out: None,
        };
        let result = instance.plugin.dispatch(&mut call).unwrap_or_else(|| {
            Err(Error::unsupported(format_args!(
                "this plugin has no capability {capability:?}"
            )))
        });
        describe(&mut said, &call, result.as_ref().err());
        result
    };
    // SAFETY: as in `start`.
    let status = unsafe { enter::<P>(handle, error, run) };
    // SAFETY: `outcome` is null or the host's, with its size first.
    unsafe { copy_out(&said, outcome) };
    status
}

pub(super) unsafe extern "C" fn check<P: Export>(
    handle: InstanceHandle,
    request: *const CheckRequest,
    report: *mut Report,
    out_text: *mut TextBuffer,
) -> Status {
    if request.is_null() {
        return abi::STATUS_INTERNAL;
    }
    // SAFETY: not null, so valid for the call; fields of ABI 1.0.
    let (kind, token) = unsafe { ((*request).kind, (*request).probe) };
    let kind = match kind {
        abi::CHECK_LIVENESS => CheckKind::Liveness,
        abi::CHECK_READINESS => CheckKind::Readiness,
        abi::CHECK_DEEP => CheckKind::Deep,
        _ => return abi::STATUS_UNSUPPORTED,
    };
    let mut said = EMPTY_REPORT;
    let run = |instance: &Instance<P>| {
        let mut probe = Probe {
            kind,
            token,
            host: &instance.host,
            report: EMPTY_REPORT,
            text: String::new(),
        };
        let health = instance.plugin.check(&mut probe)?;
        said = probe.report;
        if health != crate::sdk::Health::Unknown {
            said.health = health.code();
            said.valid |= abi::REPORT_HEALTH;
        }
        // SAFETY: the host's lent buffer.
        unsafe { write_text(out_text, &probe.text) };
        Ok(())
    };
    // SAFETY: as in `start`.
    let status = unsafe { enter::<P>(handle, out_text, run) };
    if P::COUNTS_HEAP {
        let heap = alloc::usage();
        said.heap_bytes = heap.bytes;
        said.heap_peak_bytes = heap.peak_bytes;
        said.valid |= abi::REPORT_HEAP | abi::REPORT_HEAP_PEAK;
    }
    // SAFETY: `report` is null or the host's, with its size first.
    unsafe { copy_out(&said, report) };
    status
}

/// Runs the author's code for one instance.
///
/// # Safety
/// `handle` is null or was made by `create::<P>` and is not destroyed; `error` is null or a lent buffer.
unsafe fn enter<P: Export>(
    handle: InstanceHandle,
    error: *mut TextBuffer,
    run: impl FnOnce(&Instance<P>) -> Result<()>,
) -> Status {
    // SAFETY: the caller's contract.
    let Some(instance) = (unsafe { handle.cast::<Instance<P>>().as_ref() }) else {
        return abi::STATUS_INTERNAL;
    };
    if instance.panicked.load(Ordering::Relaxed) {
        // SAFETY: the caller's contract.
        unsafe { write_text(error, "this instance panicked before and serves no more") };
        return abi::STATUS_PANICKED;
    }
    match caught(|| run(instance)) {
        Ok(Ok(())) => abi::STATUS_OK,
        // SAFETY: the caller's contract.
        Ok(Err(failure)) => unsafe { failed(&failure, error) },
        Err(panic) => {
            instance.panicked.store(true, Ordering::Relaxed);
            // SAFETY: the caller's contract.
            unsafe { write_text(error, &panic) };
            abi::STATUS_PANICKED
        }
    }
}

/// # Safety
/// `error` is null or a lent buffer.
unsafe fn failed(failure: &Error, error: *mut TextBuffer) -> Status {
    // SAFETY: the caller's contract.
    unsafe { write_text(error, failure.text()) };
    failure.status()
}

fn describe(said: &mut Outcome, call: &Call<'_>, failure: Option<&Error>) {
    if let Some(tokens) = call.tokens_in {
        said.tokens_in = tokens;
        said.valid |= abi::OUTCOME_TOKENS_IN;
    }
    if let Some(tokens) = call.tokens_out {
        said.tokens_out = tokens;
        said.valid |= abi::OUTCOME_TOKENS_OUT;
    }
    let Some(failure) = failure else { return };
    if let Some(retryable) = failure.retryable {
        said.retryable = retryable.into();
        said.valid |= abi::OUTCOME_RETRYABLE;
    }
    if let Some(after) = failure.retry_after {
        said.retry_after_ms = after.as_millis().try_into().unwrap_or(u64::MAX);
        said.valid |= abi::OUTCOME_RETRY_AFTER;
    }
}
