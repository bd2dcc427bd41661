//! What is passed between host and plugin: borrowed bytes, lent buffers, requests, outcomes, reports.

use crate::{CheckKind, Connection, Health, LogLevel, Status};
use abi_stable::StableAbi;
use core::ffi::c_void;

/// Names one call into the plugin while it lasts: an `invoke`, a `submit`, a `check`, a step of the lifecycle. Made by the
/// host; 0 is never one.
pub type CallToken = u64;
/// Names one call that an instance makes of another plugin's capability, until its answer was received; 0 is never one.
pub type OutgoingToken = u64;
/// Names one instance; made by the host, and given once. 0 is never one.
pub type InstanceToken = u64;
/// The plugin's own state for one instance. The host passes it back and never looks inside.
pub type InstanceHandle = *mut c_void;

/// Borrowed bytes. `data` may be null only when `len` is 0. Text is UTF-8 without a terminator.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct Bytes {
    /// First byte.
    pub data: *const u8,
    /// Number of bytes.
    pub len: usize,
}

/// A buffer that the caller lends for a text. The callee writes at most `capacity` bytes of UTF-8, sets `len` to what it
/// wrote, and cuts at a character's boundary.
#[repr(C)]
#[derive(Debug, StableAbi)]
pub struct TextBuffer {
    /// First byte.
    pub data: *mut u8,
    /// Bytes that may be written.
    pub capacity: usize,
    /// Bytes that were written.
    pub len: usize,
}

/// A key with its value. Keys are lowercase ASCII: `traceparent`, `idempotency-key`, `tenant`, `finish-reason`, `model`.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct Metadata {
    /// The key.
    pub key: Bytes,
    /// The value: text.
    pub value: Bytes,
}

/// A further part of a call's input: an image beside a prompt, a file beside a question.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct InputPart {
    /// Its name; may be empty.
    pub name: Bytes,
    /// Its media type.
    pub content_type: Bytes,
    /// Its bytes.
    pub data: Bytes,
}

/// What an instance is made from.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct CreateRequest {
    /// Size of this struct as the host knew it, in bytes.
    pub struct_size: usize,
    /// Names the instance in host functions that ask for one, for as long as it lives.
    pub instance: InstanceToken,
    /// Names this step in host functions that ask for a call.
    pub call: CallToken,
    /// The instance's name.
    pub name: Bytes,
    /// The instance's configuration: a JSON object.
    pub config: Bytes,
    /// Folder that is the instance's own and stays; empty if the host gives none.
    pub data_dir: Bytes,
    /// Folder that is the instance's own and may be emptied while it does not run; empty if the host gives none.
    pub cache_dir: Bytes,
    /// Folder of the files that were installed with the plugin, to be read only; empty if the host gives none. The library
    /// itself may be loaded from memory, where `$ORIGIN` is nothing.
    #[sabi(last_prefix_field)]
    pub resource_dir: Bytes,
}

/// A step of the lifecycle that needs nothing else.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct StepRequest {
    /// Size of this struct as the host knew it, in bytes.
    pub struct_size: usize,
    /// Names this step in host functions that ask for a call.
    #[sabi(last_prefix_field)]
    pub call: CallToken,
}

/// A new configuration.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct ConfigureRequest {
    /// Size of this struct as the host knew it, in bytes.
    pub struct_size: usize,
    /// Names this step in host functions that ask for a call.
    pub call: CallToken,
    /// The configuration, whole: a JSON object.
    #[sabi(last_prefix_field)]
    pub config: Bytes,
}

/// What a snapshot says of itself; the state goes to the step's sink. The callee fills a struct of its own and copies it onto the
/// caller's: as many bytes as the smaller `struct_size` says, and never `struct_size` itself.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct Snapshot {
    /// Size of this struct as its maker knew it, in bytes.
    pub struct_size: usize,
    /// Version of the state's format, counted by the plugin; 0 is "not given".
    pub format: u32,
    /// Zero.
    #[sabi(last_prefix_field)]
    pub reserved: u32,
}

/// A predecessor's state.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct RestoreRequest {
    /// Size of this struct as the host knew it, in bytes.
    pub struct_size: usize,
    /// Names this step in host functions that ask for a call.
    pub call: CallToken,
    /// Version of the plugin that wrote the state.
    pub plugin_version: Bytes,
    /// The state.
    pub state: Bytes,
    /// The `format` that the snapshot gave.
    pub format: u32,
    /// Zero.
    #[sabi(last_prefix_field)]
    pub reserved: u32,
}

/// One call of a capability.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct Request {
    /// Size of this struct as the host knew it, in bytes.
    pub struct_size: usize,
    /// Names the call in host functions that ask for one.
    pub call: CallToken,
    /// The capability's name, as in the manifest.
    pub capability: Bytes,
    /// The version of the capability's contract that the caller was made for; empty if it does not say.
    pub capability_version: Bytes,
    /// Media type of `input`.
    pub content_type: Bytes,
    /// Media types that the caller takes, as HTTP's `Accept`; empty for any.
    pub accept: Bytes,
    /// The input.
    pub input: Bytes,
    /// What the caller says beside the input: trace context, idempotency key, tenant, priority.
    pub metadata: *const Metadata,
    /// How many `metadata` are.
    pub metadata_len: usize,
    /// Further parts of the input.
    pub parts: *const InputPart,
    /// How many `parts` are.
    pub parts_len: usize,
    /// `REQUEST_` bits; unknown ones are ignored.
    pub flags: u32,
    /// Zero.
    #[sabi(last_prefix_field)]
    pub reserved: u32,
}

/// What a call says of itself besides its status, its output and its metadata. The callee fills a struct of its own and copies it onto
/// the caller's: as many bytes as the smaller `struct_size` says, and never `struct_size` itself.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct Outcome {
    /// Size of this struct as its maker knew it, in bytes.
    pub struct_size: usize,
    /// `OUTCOME_` bits: which of the fields below were given. None by default.
    pub valid: u64,
    /// 1 if the same call may succeed later, 0 if not.
    pub retryable: u32,
    /// Zero.
    pub reserved: u32,
    /// Milliseconds to wait before trying again.
    pub retry_after_ms: u64,
    /// Tokens that a model read.
    pub tokens_in: u64,
    /// Tokens that a model wrote.
    pub tokens_out: u64,
    /// Of `tokens_in`, those that came from a cache.
    pub tokens_cached: u64,
    /// Of `tokens_out`, those that a model spent on reasoning.
    #[sabi(last_prefix_field)]
    pub tokens_reasoning: u64,
}

/// What a call of another plugin's capability came to.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct Answer {
    /// Size of this struct as the host knew it, in bytes.
    pub struct_size: usize,
    /// `STATUS_OK`, or what sort of failure it was: whoever was called fails with the same status here, but a panic there is
    /// `STATUS_INTERNAL`.
    pub status: Status,
    /// Zero.
    pub reserved: u32,
    /// Media type of the output.
    pub content_type: Bytes,
    /// The output; empty if it came in frames.
    pub output: Bytes,
    /// Why there is no output; empty with `STATUS_OK`.
    pub error: Bytes,
    /// The instance that has served the call; empty if none has.
    pub served_by: Bytes,
    /// What whoever served it says beside the output: finish reason, model.
    pub metadata: *const Metadata,
    /// How many `metadata` are.
    pub metadata_len: usize,
    /// What else it says of the call. Never null.
    #[sabi(last_prefix_field)]
    pub outcome: *const Outcome,
}

/// What a check asks.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct CheckRequest {
    /// Size of this struct as the host knew it, in bytes.
    pub struct_size: usize,
    /// Names the check in host functions that ask for a call.
    pub call: CallToken,
    /// One of the `CHECK_` kinds.
    pub kind: CheckKind,
    /// Zero.
    #[sabi(last_prefix_field)]
    pub reserved: u32,
}

/// What a plugin says of its health. The callee fills a struct of its own and copies it onto the caller's: as many bytes as the
/// smaller `struct_size` says, and never `struct_size` itself.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct Report {
    /// Size of this struct as its maker knew it, in bytes.
    pub struct_size: usize,
    /// `REPORT_` bits: which of the fields below were measured or given. Zero means that nothing was.
    pub valid: u64,
    /// One of the `HEALTH_` constants.
    pub health: Health,
    /// One of the `CONNECTION_` constants.
    pub connection: Connection,
    /// Last measured round trip over the connection, in nanoseconds.
    pub connection_rtt_ns: u64,
    /// How long the connection has been in its state, in milliseconds.
    pub connection_age_ms: u64,
    /// Work waiting inside the plugin.
    pub queue_depth: u64,
    /// How much work may wait.
    pub queue_capacity: u64,
    /// Work under way inside the plugin.
    pub in_flight: u64,
    /// Bytes in use on the plugin's own heap.
    pub heap_bytes: u64,
    /// The most that were in use.
    pub heap_peak_bytes: u64,
    /// The most that may be in use.
    #[sabi(last_prefix_field)]
    pub heap_limit_bytes: u64,
}

/// One named part of a check: "connection to the provider", "model loaded".
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct Check {
    /// Size of this struct as its maker knew it, in bytes.
    pub struct_size: usize,
    /// `CHECK_VALID_` bits: which of `duration_ns` and `value` were measured.
    pub valid: u64,
    /// Which part.
    pub name: Bytes,
    /// What was seen, for people.
    pub message: Bytes,
    /// One of the `HEALTH_` constants.
    pub health: Health,
    /// Zero.
    pub reserved: u32,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// A figure that belongs to it; the name says which, and its unit.
    #[sabi(last_prefix_field)]
    pub value: f64,
}

/// One log record.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct LogRecord {
    /// Size of this struct as its maker knew it, in bytes.
    pub struct_size: usize,
    /// One of the `LOG_` levels.
    pub level: LogLevel,
    /// Zero.
    pub reserved: u32,
    /// Which part of the plugin speaks.
    pub target: Bytes,
    /// What it says.
    pub text: Bytes,
    /// Empty, or a JSON object.
    #[sabi(last_prefix_field)]
    pub fields: Bytes,
}
