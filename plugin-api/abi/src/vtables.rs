//! Who may call what: three tables that a plugin fills, and the one that the host lends.
//!
//! Lifecycle calls of one instance never overlap each other. `start`, `stop` and `destroy` never overlap an `invoke` or a
//! `check`; `configure` and `drain` may. What else may overlap is the manifest's `threads.model`.

use crate::{
    Bytes, CallToken, Check, CheckRequest, CreateRequest, InstanceHandle, InstanceToken, LogLevel, Outcome,
    ProbeToken, Report, Request, Status, TextBuffer,
};
use abi_stable::StableAbi;
use core::ffi::c_void;

/// What the host lends to a plugin. Valid from `create` until the library is unloaded, from any thread.
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
    /// Writes one log record. `fields` is empty or a JSON object. Rate and size are limited by the host.
    ///
    /// \[state] any. \[thread] any. \[owner] the caller keeps every slice.
    pub log: unsafe extern "C" fn(
        instance: InstanceToken,
        level: LogLevel,
        target: Bytes,
        text: Bytes,
        fields: Bytes,
    ) -> Status,
    /// 1 if the call or check should stop as soon as it can, or is no longer known to the host; else 0.
    ///
    /// \[state] any. \[thread] any.
    pub cancelled: unsafe extern "C" fn(token: CallToken) -> u32,
    /// Monotonic nanoseconds left until the call's or check's deadline; 0 when it has passed or the token is stale;
    /// `NO_DEADLINE` when there is none.
    ///
    /// \[state] any. \[thread] any.
    pub deadline_ns: unsafe extern "C" fn(token: CallToken) -> u64,
    /// Names the media type of the output. At most once, before the first write.
    ///
    /// \[state] inside `invoke` or `snapshot`. \[thread] any. \[owner] the caller keeps the slice.
    pub sink_begin: unsafe extern "C" fn(call: CallToken, content_type: Bytes) -> Status,
    /// Copies `data` to the call's output before it returns. In a streamed call one write is one frame, else writes are
    /// concatenated. Blocks while the reader is behind, until the deadline or a cancellation; then `STATUS_CANCELLED`.
    /// `STATUS_EXHAUSTED` past the host's limit on bytes or frames; `STATUS_CLOSED` after the call.
    ///
    /// \[state] inside `invoke` or `snapshot`. \[thread] any. \[owner] the caller keeps the slice.
    pub sink_write: unsafe extern "C" fn(call: CallToken, data: Bytes) -> Status,
    /// Adds a named part to the check under way.
    ///
    /// \[state] inside `check`. \[thread] any. \[owner] the caller keeps the struct and its slices.
    pub emit_check: unsafe extern "C" fn(probe: ProbeToken, check: *const Check) -> Status,
    /// Tells of a change of health without being asked. `text` may be empty.
    ///
    /// \[state] from the end of `create` to the start of `destroy`. \[thread] any. \[owner] the caller keeps both.
    pub push_health:
        unsafe extern "C" fn(instance: InstanceToken, report: *const Report, text: Bytes) -> Status,
    /// A table of functions by name, such as `extman.async-invoke/1`; null if the host does not have it.
    ///
    /// \[state] inside `create`. \[thread] the caller's. \[owner] the host, until the library is unloaded.
    #[sabi(last_prefix_field)]
    pub extension: unsafe extern "C" fn(instance: InstanceToken, id: Bytes) -> *const c_void,
}

/// Making, running and ending an instance. A null entry means "nothing to do", except `create` and `destroy`, which are
/// required, and `configure`, `snapshot` and `restore`, where it means "not supported".
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix))]
pub struct LifecycleVtable {
    /// Size of this struct as the plugin knew it, in bytes.
    pub struct_size: usize,
    /// Makes an instance and writes its handle to `instance`. On any other status than `STATUS_OK` nothing was made.
    ///
    /// \[state] none → created. \[thread] a lane. \[owner] the host keeps the request; the plugin owns the handle until
    /// `destroy`; the host table stays valid until the library is unloaded.
    pub create: Option<
        unsafe extern "C" fn(
            host: *const HostTable,
            request: *const CreateRequest,
            instance: *mut InstanceHandle,
            error: *mut TextBuffer,
        ) -> Status,
    >,
    /// Gets ready to serve: connect, load the model, warm up.
    ///
    /// \[state] created or stopped → started. \[thread] a lane.
    pub start: Option<unsafe extern "C" fn(instance: InstanceHandle, error: *mut TextBuffer) -> Status>,
    /// Takes a new configuration, whole, or refuses it and goes on with the old one.
    ///
    /// \[state] created or started. \[thread] a lane; may overlap `invoke` and `check`. \[owner] the host keeps the slice.
    pub configure: Option<
        unsafe extern "C" fn(instance: InstanceHandle, config: Bytes, error: *mut TextBuffer) -> Status,
    >,
    /// No new calls will come: finish or flush what is under way.
    ///
    /// \[state] started → draining. \[thread] a lane; may overlap `invoke` and `check`.
    pub drain: Option<unsafe extern "C" fn(instance: InstanceHandle, error: *mut TextBuffer) -> Status>,
    /// Ends serving: disconnect, join threads.
    ///
    /// \[state] started or draining → stopped. \[thread] a lane.
    pub stop: Option<unsafe extern "C" fn(instance: InstanceHandle, error: *mut TextBuffer) -> Status>,
    /// Writes the state that a successor should start from to the call's sink.
    ///
    /// \[state] draining or stopped. \[thread] a lane.
    pub snapshot: Option<
        unsafe extern "C" fn(instance: InstanceHandle, call: CallToken, error: *mut TextBuffer) -> Status,
    >,
    /// Takes the state that a predecessor wrote.
    ///
    /// \[state] created. \[thread] a lane. \[owner] the host keeps the slice.
    pub restore: Option<
        unsafe extern "C" fn(instance: InstanceHandle, state: Bytes, error: *mut TextBuffer) -> Status,
    >,
    /// Frees the instance. All threads that it started are joined and all thread-locals dropped when this returns.
    ///
    /// \[state] created, stopped or failed → none. \[thread] a lane.
    #[sabi(last_prefix_field)]
    pub destroy: Option<unsafe extern "C" fn(instance: InstanceHandle)>,
}

/// Serving.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix))]
pub struct CapabilityVtable {
    /// Size of this struct as the plugin knew it, in bytes.
    pub struct_size: usize,
    /// Serves one call. Required.
    ///
    /// \[state] started. \[thread] a lane; overlaps other calls as the manifest's `threads.model` allows. \[owner] the
    /// host keeps all four; they stay valid until this returns, however long it takes.
    #[sabi(last_prefix_field)]
    pub invoke: Option<
        unsafe extern "C" fn(
            instance: InstanceHandle,
            request: *const Request,
            outcome: *mut Outcome,
            error: *mut TextBuffer,
        ) -> Status,
    >,
}

/// Being asked how one is.
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
            instance: InstanceHandle,
            request: *const CheckRequest,
            report: *mut Report,
            text: *mut TextBuffer,
        ) -> Status,
    >,
}
