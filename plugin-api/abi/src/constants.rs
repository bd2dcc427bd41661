//! Numbers with a meaning. Each family says what a reader does with a value that it does not know.

/// First field of the root module after its size: the bytes `EXTMANPL`, read as a little-endian number.
pub const MODULE_MAGIC: u64 = u64::from_le_bytes(*b"EXTMANPL");
/// Major version of this ABI. Host and plugin must agree on it.
pub const ABI_MAJOR: u32 = 1;
/// Minor version of this ABI. A host takes plugins of older and of newer minors.
pub const ABI_MINOR: u32 = 0;

/// What an entry point or a host function returns: one of the `STATUS_` constants. They stand in classes of a hundred, by
/// who has to act: an unknown value counts as its class, and as the plugin's if it is in none.
pub type Status = u32;
/// It worked.
pub const STATUS_OK: Status = 0;

/// The first status of the caller's class: the call itself has to change. Not counted against the plugin.
pub const STATUS_CLASS_CALLER: Status = 100;
/// The caller's input is wrong; the same input will fail again.
pub const STATUS_INVALID_INPUT: Status = 100;
/// What the call names does not exist.
pub const STATUS_NOT_FOUND: Status = 101;
/// What the call would make exists already.
pub const STATUS_ALREADY_EXISTS: Status = 102;
/// What the call works on is not in a state that allows it.
pub const STATUS_FAILED_PRECONDITION: Status = 103;
/// The caller may not do this. For credentials that the plugin itself holds, see `STATUS_CONFIGURATION`.
pub const STATUS_PERMISSION_DENIED: Status = 104;
/// The caller has not said who it is, or is not believed.
pub const STATUS_UNAUTHENTICATED: Status = 105;
/// The call was cancelled.
pub const STATUS_CANCELLED: Status = 106;

/// The first status of the environment's class: something around the plugin has to change; the same call may succeed later.
pub const STATUS_CLASS_ENVIRONMENT: Status = 200;
/// Something that the plugin needs can't be reached now.
pub const STATUS_UNAVAILABLE: Status = 200;
/// The plugin or its provider refuses for a while; see `retry_after_ms`.
pub const STATUS_RATE_LIMITED: Status = 201;
/// The call's deadline passed.
pub const STATUS_DEADLINE_EXCEEDED: Status = 202;
/// A limit was reached: memory, disk, a device, a quota, a queue, bytes or frames of output.
pub const STATUS_RESOURCE_EXHAUSTED: Status = 203;
/// Another operation got in between; the whole of it may succeed when tried again.
pub const STATUS_ABORTED: Status = 204;

/// The first status of the plugin's class: the plugin, its configuration or its data has to be mended.
pub const STATUS_CLASS_PLUGIN: Status = 300;
/// The plugin failed in a way that it did not foresee.
pub const STATUS_INTERNAL: Status = 300;
/// The configuration is wrong or incomplete, or credentials in it are refused.
pub const STATUS_CONFIGURATION: Status = 301;
/// The plugin does not do what it was asked.
pub const STATUS_UNIMPLEMENTED: Status = 302;
/// Data is lost or damaged.
pub const STATUS_DATA_LOSS: Status = 303;
/// The plugin panicked, now or earlier; the instance fails closed. Only the SDK's gateway returns it.
pub const STATUS_PANICKED: Status = 304;

/// The first status of the host's class. Only host functions return these.
pub const STATUS_CLASS_HOST: Status = 400;
/// The token is not, or no longer, valid.
pub const STATUS_CLOSED: Status = 400;
/// The host failed in a way that it did not foresee.
pub const STATUS_HOST_INTERNAL: Status = 401;

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

/// What a check asks: one of the `CHECK_` constants. An unknown kind is answered with [`STATUS_UNIMPLEMENTED`].
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
/// [`Outcome::valid`](crate::Outcome): `tokens_cached` was given.
pub const OUTCOME_TOKENS_CACHED: u64 = 1 << 4;
/// [`Outcome::valid`](crate::Outcome): `tokens_reasoning` was given.
pub const OUTCOME_TOKENS_REASONING: u64 = 1 << 5;

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
pub const CHECK_VALID_DURATION: u64 = 1;
/// [`Check::valid`](crate::Check): `value` was measured.
pub const CHECK_VALID_VALUE: u64 = 1 << 1;

/// [`HostTable::deadline_ns`](crate::HostTable): the call has no deadline.
pub const NO_DEADLINE: u64 = u64::MAX;

/// Id under which a plugin's [`PluginModule::extension`](crate::PluginModule) gives its [`AsyncVtable`](crate::AsyncVtable).
pub const EXTENSION_ASYNC: &str = "extman.async/1";

/// Id under which the host's [`HostTable::extension`](crate::HostTable) gives its [`CallTable`](crate::CallTable).
pub const EXTENSION_CALL: &str = "extman.call/1";
