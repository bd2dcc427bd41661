//! What is passed: borrowed bytes, lent buffers, requests, outcomes, reports.

use crate::{CheckKind, Connection, Health};
use abi_stable::StableAbi;
use core::ffi::c_void;

/// Names one call in flight: slot and generation, made by the host.
pub type CallToken = u64;
/// Names one running check: slot and generation, made by the host.
pub type ProbeToken = u64;
/// Names one instance: slot and generation, made by the host.
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

/// What an instance is made from.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct CreateRequest {
    /// Size of this struct as the host knew it, in bytes.
    pub struct_size: usize,
    /// Names the instance in host functions that ask for one.
    pub instance: InstanceToken,
    /// The instance's name.
    pub name: Bytes,
    /// The instance's configuration: a JSON object.
    #[sabi(last_prefix_field)]
    pub config: Bytes,
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
    /// Media type of `input`.
    pub content_type: Bytes,
    /// The input.
    pub input: Bytes,
    /// `REQUEST_` bits; unknown ones are ignored.
    pub flags: u32,
    /// Zero.
    #[sabi(last_prefix_field)]
    pub reserved: u32,
}

/// What a call says of itself besides its status and its output. The callee fills one of its own and copies the smaller of
/// the two sizes; the copy leaves the caller's `struct_size` as it was.
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
    #[sabi(last_prefix_field)]
    pub tokens_out: u64,
}

/// What a check asks.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix))]
pub struct CheckRequest {
    /// Size of this struct as the host knew it, in bytes.
    pub struct_size: usize,
    /// Names the check in host functions that ask for one.
    pub probe: ProbeToken,
    /// One of the `CHECK_` kinds.
    pub kind: CheckKind,
    /// Zero.
    #[sabi(last_prefix_field)]
    pub reserved: u32,
}

/// What a plugin says of its health. The callee fills one of its own and copies the smaller of the two sizes; the copy
/// leaves the caller's `struct_size` as it was.
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
    /// `MEASURED_` bits: which of `duration_ns` and `value` were measured.
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
