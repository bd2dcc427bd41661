//! One function for each entry of the tables.
//!
//! What the host passes may be shorter than this crate knows it, so it is read field by field and never through a reference to
//! the whole struct. The fields read here are of ABI 1.0, which every host has.

use super::Export;
use super::guard::{caught, copy_out, path, slice, text, write_text};
use super::host::Host;
use super::incoming::Incoming;
use crate::abi::{
    self, CallToken, CheckRequest, ConfigureRequest, CreateRequest, HostTable, InstanceHandle, Outcome,
    Report, Request, RestoreRequest, Status, StepRequest, TextBuffer,
};
use crate::sdk::{Call, CallId, CheckKind, Create, Error, Probe, Restore, Result, Step, Usage, alloc};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a handle points to.
pub(super) struct Instance<P> {
    plugin: P,
    pub(super) host: Host,
    panicked: AtomicBool,
}

impl<P> Instance<P> {
    pub(super) fn plugin(&self) -> &P {
        &self.plugin
    }

    fn step(&self, call: CallToken) -> Step {
        Step::new(self.host.clone(), call)
    }
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
        return abi::STATUS_UNIMPLEMENTED;
    }
    // SAFETY: not null, and the table stays valid until the library is unloaded (contract of `create`).
    let host = unsafe { Host::new(host, (*request).instance) };
    // SAFETY: not null; a field of ABI 1.0.
    let step = Step::new(host.clone(), unsafe { (*request).call });
    // SAFETY: not null; fields of ABI 1.0, whose slices are borrowed for the call.
    let create = unsafe {
        Create {
            name: text((*request).name),
            config: text((*request).config),
            data_dir: path((*request).data_dir),
            cache_dir: path((*request).cache_dir),
            resource_dir: path((*request).resource_dir),
            host: &host,
            step: &step,
        }
    };
    let created = caught(|| P::create(&create)).map(|created| {
        let instance = Box::new(Instance {
            plugin: created?,
            host,
            panicked: AtomicBool::new(false),
        });
        // SAFETY: not null, and the host's to write to.
        unsafe { out.write(Box::into_raw(instance).cast()) };
        Ok(())
    });
    // SAFETY: `error` is the host's lent buffer.
    unsafe { status_of(created, error) }
}

pub(super) unsafe extern "C" fn destroy<P: Export>(
    handle: InstanceHandle,
    request: *const StepRequest,
    error: *mut TextBuffer,
) -> Status {
    if handle.is_null() || request.is_null() {
        return abi::STATUS_INTERNAL;
    }
    // SAFETY: made by `create` from a Box of this type; the host calls this once and never overlapping anything.
    let instance = unsafe { Box::from_raw(handle.cast::<Instance<P>>()) };
    // SAFETY: not null; a field of ABI 1.0.
    let step = instance.step(unsafe { (*request).call });
    let Instance { plugin, .. } = *instance;
    // SAFETY: `error` is the host's lent buffer.
    unsafe { status_of(caught(|| plugin.destroy(&step)), error) }
}

macro_rules! steps {
    ($($name:ident),*) => {$(
        pub(super) unsafe extern "C" fn $name<P: Export>(
            handle: InstanceHandle,
            request: *const StepRequest,
            error: *mut TextBuffer,
        ) -> Status {
            if request.is_null() {
                return abi::STATUS_INTERNAL;
            }
            // SAFETY: not null; a field of ABI 1.0.
            let call = unsafe { (*request).call };
            let run = |instance: &Instance<P>| instance.plugin.$name(&instance.step(call));
            // SAFETY: the host passes a live handle and its lent buffer.
            unsafe { enter::<P>(handle, error, run) }
        }
    )*};
}

steps!(start, drain, stop);

pub(super) unsafe extern "C" fn configure<P: Export>(
    handle: InstanceHandle,
    request: *const ConfigureRequest,
    error: *mut TextBuffer,
) -> Status {
    if request.is_null() {
        return abi::STATUS_INTERNAL;
    }
    // SAFETY: not null; fields of ABI 1.0, whose slice is borrowed for the call.
    let (call, config) = unsafe { ((*request).call, text((*request).config)) };
    let run = |instance: &Instance<P>| instance.plugin.configure(config, &instance.step(call));
    // SAFETY: as in `start`.
    unsafe { enter::<P>(handle, error, run) }
}

pub(super) unsafe extern "C" fn snapshot<P: Export>(
    handle: InstanceHandle,
    request: *const StepRequest,
    snapshot: *mut abi::Snapshot,
    error: *mut TextBuffer,
) -> Status {
    if request.is_null() {
        return abi::STATUS_INTERNAL;
    }
    // SAFETY: not null; a field of ABI 1.0.
    let call = unsafe { (*request).call };
    let mut local = abi::Snapshot {
        struct_size: size_of::<abi::Snapshot>(),
        format: 0,
        reserved: 0,
    };
    let run = |instance: &Instance<P>| {
        let taken = instance.plugin.snapshot(&instance.step(call))?;
        local.format = taken.format;
        instance.host.sink_write(call, &taken.state)
    };
    // SAFETY: as in `start`.
    let status = unsafe { enter::<P>(handle, error, run) };
    // SAFETY: `snapshot` is null or the host's, with its size first.
    unsafe { copy_out(&local, snapshot) };
    status
}

pub(super) unsafe extern "C" fn restore<P: Export>(
    handle: InstanceHandle,
    request: *const RestoreRequest,
    error: *mut TextBuffer,
) -> Status {
    if request.is_null() {
        return abi::STATUS_INTERNAL;
    }
    // SAFETY: not null; fields of ABI 1.0, whose slices are borrowed for the call.
    let (call, from) = unsafe {
        (
            (*request).call,
            Restore {
                format: (*request).format,
                plugin_version: text((*request).plugin_version),
                state: slice((*request).state),
            },
        )
    };
    let run = |instance: &Instance<P>| instance.plugin.restore(&from, &instance.step(call));
    // SAFETY: as in `start`.
    unsafe { enter::<P>(handle, error, run) }
}

pub(super) unsafe extern "C" fn cancel<P: Export>(handle: InstanceHandle, call: CallToken) {
    let run = |instance: &Instance<P>| {
        instance.plugin.cancel(CallId(call));
        Ok(())
    };
    // SAFETY: as in `start`; there is no buffer.
    unsafe { enter::<P>(handle, std::ptr::null_mut(), run) };
}

pub(super) unsafe extern "C" fn thread_attach<P: Export>(_host: *const HostTable) -> Status {
    match caught(P::thread_attach) {
        Ok(Ok(())) => abi::STATUS_OK,
        Ok(Err(failure)) => failure.status(),
        Err(_) => abi::STATUS_PANICKED,
    }
}

pub(super) unsafe extern "C" fn thread_detach<P: Export>(_host: *const HostTable) {
    // The entry has no status in which a panic could be reported.
    let _ = caught(P::thread_detach);
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
    let mut local = Outcome::BLANK;
    let run = |instance: &Instance<P>| {
        let mut call = Call {
            // SAFETY: not null; the host's request is valid until this returns.
            request: unsafe { Incoming::new(request) },
            host: &instance.host,
            usage: Usage::default(),
        };
        let result = instance.plugin.dispatch(&mut call).unwrap_or_else(|| {
            Err(Error::unimplemented(format_args!(
                "this plugin has no capability {:?}",
                call.capability()
            )))
        });
        describe(&mut local, call.usage, result.as_ref().err());
        result
    };
    // SAFETY: as in `start`.
    let status = unsafe { enter::<P>(handle, error, run) };
    // SAFETY: `outcome` is null or the host's, with its size first.
    unsafe { copy_out(&local, outcome) };
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
    let (kind, call) = unsafe { ((*request).kind, (*request).call) };
    let kind = match kind {
        abi::CHECK_LIVENESS => CheckKind::Liveness,
        abi::CHECK_READINESS => CheckKind::Readiness,
        abi::CHECK_DEEP => CheckKind::Deep,
        _ => return abi::STATUS_UNIMPLEMENTED,
    };
    let mut local = Report::BLANK;
    let run = |instance: &Instance<P>| {
        let mut probe = Probe {
            kind,
            call,
            host: &instance.host,
            report: Report::BLANK,
            text: String::new(),
        };
        let health = instance.plugin.check(&mut probe)?;
        local = probe.report;
        // Without a word it is the default's answer, which reports nothing.
        if health != crate::sdk::Health::Unknown || !probe.text.is_empty() {
            local.health = health.code();
            local.valid |= abi::REPORT_HEALTH;
        }
        // SAFETY: the host's lent buffer.
        unsafe { write_text(out_text, &probe.text) };
        Ok(())
    };
    // SAFETY: as in `start`.
    let status = unsafe { enter::<P>(handle, out_text, run) };
    if P::COUNTS_HEAP {
        let heap = alloc::usage();
        local.heap_bytes = heap.bytes;
        local.heap_peak_bytes = heap.peak_bytes;
        local.valid |= abi::REPORT_HEAP | abi::REPORT_HEAP_PEAK;
    }
    // SAFETY: `report` is null or the host's, with its size first.
    unsafe { copy_out(&local, report) };
    status
}

/// Runs the author's code for one instance.
///
/// # Safety
/// `handle` is null or was made by `create::<P>` and is not destroyed; `error` is null or a lent buffer.
pub(super) unsafe fn enter<P: Export>(
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
    let ran = caught(|| run(instance));
    if ran.is_err() {
        instance.panicked.store(true, Ordering::Relaxed);
    }
    // SAFETY: the caller's contract.
    unsafe { status_of(ran, error) }
}

/// The status of what was run under [`caught`]; the text of a failure or a panic goes into the lent buffer.
///
/// # Safety
/// `error` is null or a lent buffer.
unsafe fn status_of(ran: Result<Result<()>, String>, error: *mut TextBuffer) -> Status {
    let (status, text) = match &ran {
        Ok(Ok(())) => return abi::STATUS_OK,
        Ok(Err(failure)) => (failure.status(), failure.text()),
        Err(panic) => (abi::STATUS_PANICKED, &**panic),
    };
    // SAFETY: the caller's contract.
    unsafe { write_text(error, text) };
    status
}

/// Fills an outcome: what a call used, and whether trying again makes sense after a failure.
pub(super) fn describe(outcome: &mut Outcome, usage: Usage, failure: Option<&Error>) {
    let mut set = |field: fn(&mut Outcome) -> &mut u64, bit: u64, value: Option<u64>| {
        if let Some(value) = value {
            *field(outcome) = value;
            outcome.valid |= bit;
        }
    };
    set(|o| &mut o.tokens_in, abi::OUTCOME_TOKENS_IN, usage.tokens_in);
    set(|o| &mut o.tokens_out, abi::OUTCOME_TOKENS_OUT, usage.tokens_out);
    set(
        |o| &mut o.tokens_cached,
        abi::OUTCOME_TOKENS_CACHED,
        usage.tokens_cached,
    );
    set(
        |o| &mut o.tokens_reasoning,
        abi::OUTCOME_TOKENS_REASONING,
        usage.tokens_reasoning,
    );
    let Some(failure) = failure else { return };
    if let Some(retryable) = failure.retryable {
        outcome.retryable = retryable.into();
        outcome.valid |= abi::OUTCOME_RETRYABLE;
    }
    if let Some(after) = failure.retry_after {
        outcome.retry_after_ms = after.as_millis().try_into().unwrap_or(u64::MAX);
        outcome.valid |= abi::OUTCOME_RETRY_AFTER;
    }
}
