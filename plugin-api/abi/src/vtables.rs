//! Who may call what: the tables that a plugin fills, and the one that the host lends.
//!
//! Steps of one instance's lifecycle never overlap each other. `start`, `stop` and `destroy` never overlap an `invoke` or a
//! `check`; `configure` and `drain` may. What else may overlap is the manifest's `threads.model`. No signature holds a
//! struct by value, so that foreign-function interfaces can serve every entry by a callback of their own.

use crate::{
    Answer, CallToken, Check, CheckRequest, ConfigureRequest, CreateRequest, InstanceHandle, InstanceToken,
    LogLevel, LogRecord, Outcome, OutgoingToken, Report, Request, RestoreRequest, Snapshot, Status,
    StepRequest, TextBuffer,
};
use abi_stable::StableAbi;
use core::ffi::c_void;

/// What the host lends to a plugin. Valid from `create` until the library is unloaded, from any thread. Each function takes the
/// table that it was read from as its first argument.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix))]
pub struct HostTable {
    /// Size of this struct as the host knew it, in bytes.
    pub struct_size: usize,
    /// Major version of the host's ABI.
    pub abi_major: u32,
    /// Minor version of the host's ABI.
    pub abi_minor: u32,
    /// Writes one log record. Rate and size are limited by the host.
    ///
    /// \[state] any. \[thread] any. \[owner] the caller keeps the record and its slices.
    pub log: unsafe extern "C" fn(
        host: *const HostTable,
        instance: InstanceToken,
        record: *const LogRecord,
    ) -> Status,
    /// 1 if records of this level are kept, 0 if writing one is wasted work.
    ///
    /// \[state] any. \[thread] any.
    pub log_enabled:
        unsafe extern "C" fn(host: *const HostTable, instance: InstanceToken, level: LogLevel) -> u32,
    /// 1 if the call should stop as soon as it can, or is no longer known to the host; else 0.
    ///
    /// \[state] any. \[thread] any.
    pub cancelled: unsafe extern "C" fn(host: *const HostTable, call: CallToken) -> u32,
    /// Monotonic nanoseconds left until the call's deadline; 0 when it has passed or the token is stale; `NO_DEADLINE` when
    /// there is none.
    ///
    /// \[state] any. \[thread] any.
    pub deadline_ns: unsafe extern "C" fn(host: *const HostTable, call: CallToken) -> u64,
    /// Reports how far a call is: `done` of `total` of whatever the plugin counts, `total` 0 if that is not known. `text` may be
    /// empty. Only the last one is kept.
    ///
    /// \[state] inside a step of the lifecycle, an `invoke` or a `submit`ted call. \[thread] any. \[owner] the caller keeps `text`.
    pub progress: unsafe extern "C" fn(
        host: *const HostTable,
        call: CallToken,
        done: u64,
        total: u64,
        text: *const u8,
        text_len: usize,
    ) -> Status,
    /// Names the media type of the output. At most once, before the first write.
    ///
    /// \[state] inside `invoke`, `snapshot` or a `submit`ted call. \[thread] any. \[owner] the caller keeps `content_type`.
    pub sink_begin: unsafe extern "C" fn(
        host: *const HostTable,
        call: CallToken,
        content_type: *const u8,
        content_type_len: usize,
    ) -> Status,
    /// Copies `data` to the call's output before it returns. In a streamed call one write is one frame, else writes are
    /// concatenated. Blocks while the reader is behind, until the deadline or a cancellation; then `STATUS_CANCELLED`.
    /// `STATUS_RESOURCE_EXHAUSTED` past the host's limit on bytes or frames; `STATUS_CLOSED` after the call.
    ///
    /// \[state] inside `invoke`, `snapshot` or a `submit`ted call. \[thread] any. \[owner] the caller keeps `data`.
    pub sink_write: unsafe extern "C" fn(
        host: *const HostTable,
        call: CallToken,
        data: *const u8,
        data_len: usize,
    ) -> Status,
    /// Adds a key with its value to what the call's caller gets beside the output: `finish-reason`, `model`. A key that was
    /// there gets the new value. `STATUS_RESOURCE_EXHAUSTED` past the host's limit on their number or size.
    ///
    /// \[state] inside `invoke` or a `submit`ted call. \[thread] any. \[owner] the caller keeps both texts.
    pub emit_metadata: unsafe extern "C" fn(
        host: *const HostTable,
        call: CallToken,
        key: *const u8,
        key_len: usize,
        value: *const u8,
        value_len: usize,
    ) -> Status,
    /// Adds a named part to the check under way.
    ///
    /// \[state] inside `check`. \[thread] any. \[owner] the caller keeps the struct and its slices.
    pub emit_check:
        unsafe extern "C" fn(host: *const HostTable, call: CallToken, check: *const Check) -> Status,
    /// Reports a change of health that no check asked for. `text` may be empty. `STATUS_RATE_LIMITED` if reports come too often: this
    /// one is dropped, and may be sent again later.
    ///
    /// \[state] from the end of `create` to the start of `destroy`. \[thread] any. \[owner] the caller keeps both.
    pub push_health: unsafe extern "C" fn(
        host: *const HostTable,
        instance: InstanceToken,
        report: *const Report,
        text: *const u8,
        text_len: usize,
    ) -> Status,
    /// Ends a call that was `submit`ted, once: a second time, and after the host has given the call up, it is `STATUS_CLOSED`.
    /// `outcome` may be null, `error` empty.
    ///
    /// \[state] after the start of `submit`. \[thread] any, also inside `submit`. \[owner] the caller keeps both.
    pub complete: unsafe extern "C" fn(
        host: *const HostTable,
        call: CallToken,
        status: Status,
        outcome: *const Outcome,
        error: *const u8,
        error_len: usize,
    ) -> Status,
    /// A table of functions by its id, whose first argument is this table too; null if the host does not have it.
    ///
    /// \[state] any. \[thread] any. \[owner] the host, until the library is unloaded.
    #[sabi(last_prefix_field)]
    pub extension:
        unsafe extern "C" fn(host: *const HostTable, id: *const u8, id_len: usize) -> *const c_void,
}

/// Making, running and ending an instance. A null entry means "nothing to do", except `create` and `destroy`, which are
/// required, and `configure`, `snapshot` and `restore`, where it means "not supported". In each, the request's `call` has a deadline,
/// can be cancelled, and takes `progress`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix))]
pub struct LifecycleVtable {
    /// Size of this struct as the plugin knew it, in bytes.
    pub struct_size: usize,
    /// Makes an instance and writes its handle. On any other status than `STATUS_OK` nothing was made.
    ///
    /// \[state] none → created. \[thread] a lane. \[owner] the host keeps the request; the plugin owns the handle until
    /// `destroy`; the host table stays valid until the library is unloaded.
    pub create: Option<
        unsafe extern "C" fn(
            host: *const HostTable,
            request: *const CreateRequest,
            handle: *mut InstanceHandle,
            error: *mut TextBuffer,
        ) -> Status,
    >,
    /// Gets ready to serve: connect, load the model, warm up.
    ///
    /// \[state] created or stopped → started. \[thread] a lane. \[owner] the host keeps the request.
    pub start: Option<
        unsafe extern "C" fn(
            handle: InstanceHandle,
            request: *const StepRequest,
            error: *mut TextBuffer,
        ) -> Status,
    >,
    /// Takes a new configuration, whole, or refuses it and goes on with the old one.
    ///
    /// \[state] created or started. \[thread] a lane; may overlap `invoke` and `check`. \[owner] the host keeps the request.
    pub configure: Option<
        unsafe extern "C" fn(
            handle: InstanceHandle,
            request: *const ConfigureRequest,
            error: *mut TextBuffer,
        ) -> Status,
    >,
    /// No new calls will come: finish or flush what is under way.
    ///
    /// \[state] started → draining. \[thread] a lane; may overlap `invoke` and `check`. \[owner] the host keeps the request.
    pub drain: Option<
        unsafe extern "C" fn(
            handle: InstanceHandle,
            request: *const StepRequest,
            error: *mut TextBuffer,
        ) -> Status,
    >,
    /// Ends serving: disconnect, join threads.
    ///
    /// \[state] started or draining → stopped. \[thread] a lane. \[owner] the host keeps the request.
    pub stop: Option<
        unsafe extern "C" fn(
            handle: InstanceHandle,
            request: *const StepRequest,
            error: *mut TextBuffer,
        ) -> Status,
    >,
    /// Writes the state that a successor should start from to the call's sink, and its format to `snapshot`.
    ///
    /// \[state] started, draining or stopped. \[thread] a lane; may overlap `invoke` and `check`. \[owner] the host keeps
    /// request and snapshot.
    pub snapshot: Option<
        unsafe extern "C" fn(
            handle: InstanceHandle,
            request: *const StepRequest,
            snapshot: *mut Snapshot,
            error: *mut TextBuffer,
        ) -> Status,
    >,
    /// Takes the state that a predecessor wrote, or refuses it and stays as it was made.
    ///
    /// \[state] created. \[thread] a lane. \[owner] the host keeps the request.
    pub restore: Option<
        unsafe extern "C" fn(
            handle: InstanceHandle,
            request: *const RestoreRequest,
            error: *mut TextBuffer,
        ) -> Status,
    >,
    /// Frees the instance. All threads that it started are joined and all thread-locals dropped when this returns. Whatever it
    /// returns, the handle is gone; another status than `STATUS_OK` says that something of it may be left.
    ///
    /// \[state] created, stopped or failed → none. \[thread] a lane. \[owner] the host keeps the request.
    #[sabi(last_prefix_field)]
    pub destroy: Option<
        unsafe extern "C" fn(
            handle: InstanceHandle,
            request: *const StepRequest,
            error: *mut TextBuffer,
        ) -> Status,
    >,
}

/// Serving calls, each on a thread of the host.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix))]
pub struct CapabilityVtable {
    /// Size of this struct as the plugin knew it, in bytes.
    pub struct_size: usize,
    /// Serves one call. Required.
    ///
    /// \[state] started. \[thread] a lane; overlaps other calls as the manifest's `threads.model` allows. \[owner] the
    /// host keeps all three; they stay valid until this returns, however long it takes.
    pub invoke: Option<
        unsafe extern "C" fn(
            handle: InstanceHandle,
            request: *const Request,
            outcome: *mut Outcome,
            error: *mut TextBuffer,
        ) -> Status,
    >,
    /// A call is cancelled. For plugins that can do better than look at the host's `cancelled`: wake a thread, close a
    /// connection. Must return at once. The call may have ended meanwhile: then there is nothing to do. A null entry means
    /// that the plugin looks at `cancelled`.
    ///
    /// \[state] created to stopped. \[thread] any but the call's; overlaps everything, whatever `threads.model` says.
    #[sabi(last_prefix_field)]
    pub cancel: Option<unsafe extern "C" fn(handle: InstanceHandle, call: CallToken)>,
}

/// Health checks.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix))]
pub struct HealthVtable {
    /// Size of this struct as the plugin knew it, in bytes.
    pub struct_size: usize,
    /// Fills `report`. `STATUS_OK` means that the question was answered, not that the answer is good. A null entry means
    /// that the plugin says nothing of itself.
    ///
    /// \[state] created or started. \[thread] a lane; overlaps calls as the manifest's `threads.model` allows.
    /// \[owner] the host keeps all three until this returns.
    #[sabi(last_prefix_field)]
    pub check: Option<
        unsafe extern "C" fn(
            handle: InstanceHandle,
            request: *const CheckRequest,
            report: *mut Report,
            text: *mut TextBuffer,
        ) -> Status,
    >,
}

/// Serving without a thread for each call: the plugin's `EXTENSION_ASYNC`. It serves those capabilities that the manifest
/// marks `async = true`; the others go to `invoke`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix))]
pub struct AsyncVtable {
    /// Size of this struct as the plugin knew it, in bytes.
    pub struct_size: usize,
    /// Takes one call, and copies of the request what it keeps. `STATUS_OK` means that the host's `complete` is or will be
    /// called with this call's token, from any thread; sink, metadata, progress, `cancelled` and `deadline_ns` work until then. On
    /// any other status the call has ended here, with `outcome` and `error` as from `invoke`. Required.
    ///
    /// \[state] started. \[thread] a lane; overlaps other calls as the manifest's `threads.model` allows. \[owner] the
    /// host keeps all three until this returns.
    #[sabi(last_prefix_field)]
    pub submit: Option<
        unsafe extern "C" fn(
            handle: InstanceHandle,
            request: *const Request,
            outcome: *mut Outcome,
            error: *mut TextBuffer,
        ) -> Status,
    >,
}

/// The functions of a calling plugin that receive the frames and the answer of its call of another plugin's capability. For one
/// call they never overlap each other, and all come before `destroy`. If the manifest's `threads.model` is `many`, they may
/// overlap everything else; if it is `serial` or `affine`, they overlap no call and come on the thread that such a plugin expects.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix))]
pub struct Receiver {
    /// Size of this struct as the plugin knew it, in bytes.
    pub struct_size: usize,
    /// Handed to both functions. The host never looks inside.
    pub context: *mut c_void,
    /// Takes one frame of a call with `REQUEST_STREAM`; the next one waits until this returns. On any other status than `STATUS_OK` the
    /// call is cancelled. Required with `REQUEST_STREAM`; else it is not called.
    ///
    /// \[state] created to stopped. \[thread] as `answer`. \[owner] the host keeps `data`.
    pub frame: Option<unsafe extern "C" fn(context: *mut c_void, data: *const u8, data_len: usize) -> Status>,
    /// Takes the call's answer or failure, once, after the last frame. Returns `STATUS_PANICKED` if it panicked; another status
    /// changes nothing. Required.
    ///
    /// \[state] created to stopped. \[thread] of `call`: the caller's own, before that returns; of `submit`: a lane. \[owner] the host
    /// keeps the answer and all that it points to.
    #[sabi(last_prefix_field)]
    pub answer: Option<unsafe extern "C" fn(context: *mut c_void, answer: *const Answer) -> Status>,
}

/// Calling capabilities of other plugins: the host's `EXTENSION_CALL`. A plugin may call what its manifest requires (`[[requires]]`, by
/// capability or by plugin), in the versions that it requires, and never itself; which instance serves is the host's choice as for any
/// call. The request's `call` names the call or the step that this one is made in; 0 for none. That one's deadline, cancellation and trace
/// context (`traceparent`, `tracestate`) are handed on. That call keeps counting against the concurrency limit of its instance: a nested
/// call that comes back to an instance whose limit is reached waits until its deadline. Calls are nested eight deep at most.
///
/// A call from `create`, where nothing is there yet to receive an answer, or from `check`, which is to tell how this instance is and not
/// how others are, is answered with `STATUS_FAILED_PRECONDITION`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix))]
pub struct CallTable {
    /// Size of this struct as the host knew it, in bytes.
    pub struct_size: usize,
    /// Calls a capability and waits for the answer. `timeout_ns` limits the time beside the deadline of the request's `call`;
    /// `NO_DEADLINE` for none. `STATUS_OK` means that `answer` was called, whatever it said. On any other status neither function was
    /// called: `STATUS_CLOSED` if the instance or the request's `call` has ended, `STATUS_INVALID_INPUT` if request or receiver can't
    /// be used, `STATUS_RESOURCE_EXHAUSTED` if the input is too large or too many calls are under way.
    ///
    /// \[state] from the end of `create` to the start of `destroy`. \[thread] any; not inside `submit`, `cancel`, or a `frame` or
    /// `answer` that came on a lane, which have to return at once. \[owner] the caller keeps request and receiver with all that they
    /// point to.
    pub call: unsafe extern "C" fn(
        host: *const HostTable,
        instance: InstanceToken,
        request: *const Request,
        timeout_ns: u64,
        receiver: *const Receiver,
    ) -> Status,
    /// The same without waiting: `STATUS_OK` means that `answer` was or will be called, once. If `outgoing` is not null, the call's
    /// token is written there before that. If the request's `call` ends before the answer is there, this call is cancelled.
    ///
    /// \[state] from the end of `create` to the start of `destroy`. \[thread] any. \[owner] the host copies request and receiver; what the
    /// receiver's `context` points to is the plugin's until `answer` has returned.
    pub submit: unsafe extern "C" fn(
        host: *const HostTable,
        instance: InstanceToken,
        request: *const Request,
        timeout_ns: u64,
        receiver: *const Receiver,
        outgoing: *mut OutgoingToken,
    ) -> Status,
    /// Cancels a `submit`ted call: `answer` is called soon, with `STATUS_CANCELLED` unless another answer was there. `STATUS_CLOSED` if it was
    /// called already.
    ///
    /// \[state] any. \[thread] any.
    #[sabi(last_prefix_field)]
    pub cancel: unsafe extern "C" fn(
        host: *const HostTable,
        instance: InstanceToken,
        outgoing: OutgoingToken,
    ) -> Status,
}
