//! Numbers with a meaning. Each family says what a reader does with a value that it does not know.

/// First field of the root module after its size: the bytes `EXTMANPL`, read as a little-endian number.
pub const MODULE_MAGIC: u64 = u64::from_le_bytes(*b"EXTMANPL");
/// Major version of this ABI. Host and plugin must agree on it.
pub const ABI_MAJOR: u32 = 1;
/// Minor version of this ABI. A host takes plugins of older and of newer minors.
pub const ABI_MINOR: u32 = 0;

/// What an entry point or a host function returns: one of the `STATUS_` constants. An unknown value is read as
/// [`STATUS_INTERNAL`].
pub type Status = u32;
/// It worked.
pub const STATUS_OK: Status = 0;
/// The caller's input is wrong; the same input will fail again. Not counted against the plugin.
pub const STATUS_INVALID_INPUT: Status = 1;
/// Something that the plugin needs can't be reached now.
pub const STATUS_UNAVAILABLE: Status = 2;
/// The plugin or its provider refuses for a while; see `retry_after_ms`.
pub const STATUS_RATE_LIMITED: Status = 3;
/// The configuration is wrong or incomplete.
pub const STATUS_CONFIGURATION: Status = 4;
/// The plugin failed in a way that it did not foresee.
pub const STATUS_INTERNAL: Status = 5;
/// The call was cancelled.
pub const STATUS_CANCELLED: Status = 6;
/// The call's deadline passed.
pub const STATUS_DEADLINE_EXCEEDED: Status = 7;
/// The plugin does not do what it was asked.
pub const STATUS_UNSUPPORTED: Status = 8;
/// A limit was reached: bytes, frames, memory, queue.
pub const STATUS_EXHAUSTED: Status = 9;
/// The token is not, or no longer, valid. Only host functions return it.
pub const STATUS_CLOSED: Status = 10;
/// The plugin panicked, now or earlier; the instance fails closed. Only the SDK's gateway returns it.
pub const STATUS_PANICKED: Status = 11;

/// A log level: one of the `LOG_` constants. An unknown value is read as [`LOG_INFO`].
pub type LogLevel = u32;
/// Something failed.
pub const LOG_ERROR: LogLevel = 1;
/// Something may fail soon, or did and was worked around.
pub const LOG_WARN: LogLevel = 2;
/// What an operator wants to see.
pub const LOG_INFO: LogLevel = 3;
/// What a developer wants to see.
pub const LOG_DEBUG: LogLevel = 4;
/// Everything.
pub const LOG_TRACE: LogLevel = 5;

/// Health as a plugin sees itself: one of the `HEALTH_` constants. An unknown value is read as [`HEALTH_UNKNOWN`].
pub type Health = u32;
/// Not known.
pub const HEALTH_UNKNOWN: Health = 0;
/// Able to serve.
pub const HEALTH_UP: Health = 1;
/// Able to serve, worse than usual.
pub const HEALTH_DEGRADED: Health = 2;
/// Not able to serve.
pub const HEALTH_DOWN: Health = 3;

/// What a check asks: one of the `CHECK_` constants. An unknown kind is answered with [`STATUS_UNSUPPORTED`].
pub type CheckKind = u32;
/// Does the plugin answer at all? Must return at once and touch no network.
pub const CHECK_LIVENESS: CheckKind = 1;
/// Can it serve now: connection, model, queue? Cheap; may read what the plugin already knows.
pub const CHECK_READINESS: CheckKind = 2;
/// One synthetic request through the capability itself. May cost; the host asks rarely and only where allowed.
pub const CHECK_DEEP: CheckKind = 3;

/// State of the connection that a plugin keeps: one of the `CONNECTION_` constants. An unknown value is read as
/// [`CONNECTION_NONE`].
pub type Connection = u32;
/// The plugin keeps no connection.
pub const CONNECTION_NONE: Connection = 0;
/// Being made.
pub const CONNECTION_CONNECTING: Connection = 1;
/// Made.
pub const CONNECTION_CONNECTED: Connection = 2;
/// Lost or refused.
pub const CONNECTION_BROKEN: Connection = 3;

/// [`Request::flags`](crate::Request): the caller wants frames as they come. One sink write is one frame.
pub const REQUEST_STREAM: u32 = 1;

/// [`Outcome::valid`](crate::Outcome): `retryable` was given.
pub const OUTCOME_RETRYABLE: u64 = 1;
/// [`Outcome::valid`](crate::Outcome): `retry_after_ms` was given.
pub const OUTCOME_RETRY_AFTER: u64 = 1 << 1;
/// [`Outcome::valid`](crate::Outcome): `tokens_in` was given.
pub const OUTCOME_TOKENS_IN: u64 = 1 << 2;
/// [`Outcome::valid`](crate::Outcome): `tokens_out` was given.
pub const OUTCOME_TOKENS_OUT: u64 = 1 << 3;

/// [`Report::valid`](crate::Report): `health` was given.
pub const REPORT_HEALTH: u64 = 1;
/// [`Report::valid`](crate::Report): `connection` was given.
pub const REPORT_CONNECTION: u64 = 1 << 1;
/// [`Report::valid`](crate::Report): `connection_rtt_ns` was measured.
pub const REPORT_CONNECTION_RTT: u64 = 1 << 2;
/// [`Report::valid`](crate::Report): `connection_age_ms` was measured.
pub const REPORT_CONNECTION_AGE: u64 = 1 << 3;
/// [`Report::valid`](crate::Report): `queue_depth` was measured.
pub const REPORT_QUEUE_DEPTH: u64 = 1 << 4;
/// [`Report::valid`](crate::Report): `queue_capacity` was given.
pub const REPORT_QUEUE_CAPACITY: u64 = 1 << 5;
/// [`Report::valid`](crate::Report): `in_flight` was measured.
pub const REPORT_IN_FLIGHT: u64 = 1 << 6;
/// [`Report::valid`](crate::Report): `heap_bytes` was counted by the SDK's allocator.
pub const REPORT_HEAP: u64 = 1 << 7;
/// [`Report::valid`](crate::Report): `heap_peak_bytes` was counted by the SDK's allocator.
pub const REPORT_HEAP_PEAK: u64 = 1 << 8;
/// [`Report::valid`](crate::Report): `heap_limit_bytes` was given.
pub const REPORT_HEAP_LIMIT: u64 = 1 << 9;

/// [`Check::valid`](crate::Check): `duration_ns` was measured.
pub const MEASURED_DURATION: u64 = 1;
/// [`Check::valid`](crate::Check): `value` was measured.
pub const MEASURED_VALUE: u64 = 1 << 1;

/// [`HostTable::deadline_ns`](crate::HostTable): the call has no deadline.
pub const NO_DEADLINE: u64 = u64::MAX;
