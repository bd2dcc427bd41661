//! Sizes, offsets and values, by this compiler. The lists are complete: a field that is missing here does not compile, and
//! a struct or constant that is missing fails the tests.

use extman_plugin_api::abi;
use std::mem::offset_of;

pub struct Measured {
    pub name: &'static str,
    pub size: usize,
    pub align: usize,
    /// Name, size, offset.
    pub fields: Vec<(&'static str, usize, usize)>,
}

macro_rules! measured {
    ($($name:ident { $($field:ident),* $(,)? })*) => {
        pub fn structs() -> Vec<Measured> {
            vec![$({
                // No `..` in the pattern: a field that is not listed stops the build.
                #[allow(dead_code)]
                fn every_field_is_listed(abi::$name { $($field: _),* }: abi::$name) {}
                Measured {
                    name: stringify!($name),
                    size: size_of::<abi::$name>(),
                    align: align_of::<abi::$name>(),
                    fields: vec![$((
                        stringify!($field),
                        size_of_field(|s: &abi::$name| &s.$field),
                        offset_of!(abi::$name, $field),
                    )),*],
                }
            }),*]
        }
    };
}

fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! values {
    ($($name:ident),* $(,)?) => {
        pub fn constants() -> Vec<(&'static str, String)> {
            vec![$((stringify!($name), abi::$name.to_string())),*]
        }
    };
}

measured! {
    Bytes { data, len }
    TextBuffer { data, capacity, len }
    Metadata { key, value }
    InputPart { name, content_type, data }
    CreateRequest { struct_size, instance, call, name, config, data_dir, cache_dir, resource_dir }
    StepRequest { struct_size, call }
    ConfigureRequest { struct_size, call, config }
    Snapshot { struct_size, format, reserved }
    RestoreRequest { struct_size, call, plugin_version, state, format, reserved }
    Request { struct_size, call, capability, capability_version, content_type, accept, input, metadata, metadata_len, parts, parts_len, flags, reserved }
    Outcome { struct_size, valid, retryable, reserved, retry_after_ms, tokens_in, tokens_out, tokens_cached, tokens_reasoning }
    Answer { struct_size, status, reserved, content_type, output, error, served_by, metadata, metadata_len, outcome }
    CheckRequest { struct_size, call, kind, reserved }
    Report { struct_size, valid, health, connection, connection_rtt_ns, connection_age_ms, queue_depth, queue_capacity, in_flight, heap_bytes, heap_peak_bytes, heap_limit_bytes }
    Check { struct_size, valid, name, message, health, reserved, duration_ns, value }
    LogRecord { struct_size, level, reserved, target, text, fields }
    HostTable { struct_size, abi_major, abi_minor, log, log_enabled, cancelled, deadline_ns, progress, sink_begin, sink_write, emit_metadata, emit_check, push_health, complete, extension }
    LifecycleVtable { struct_size, create, start, configure, drain, stop, snapshot, restore, destroy }
    CapabilityVtable { struct_size, invoke, cancel }
    HealthVtable { struct_size, check }
    AsyncVtable { struct_size, submit }
    Receiver { struct_size, context, frame, answer }
    CallTable { struct_size, call, submit, cancel }
    PluginModule { struct_size, magic, abi_major, abi_minor, lifecycle, capability, health, extension, thread_attach, thread_detach }
}

values!(
    MODULE_MAGIC,
    ABI_MAJOR,
    ABI_MINOR,
    STATUS_OK,
    STATUS_CLASS_CALLER,
    STATUS_INVALID_INPUT,
    STATUS_NOT_FOUND,
    STATUS_ALREADY_EXISTS,
    STATUS_FAILED_PRECONDITION,
    STATUS_PERMISSION_DENIED,
    STATUS_UNAUTHENTICATED,
    STATUS_CANCELLED,
    STATUS_CLASS_ENVIRONMENT,
    STATUS_UNAVAILABLE,
    STATUS_RATE_LIMITED,
    STATUS_DEADLINE_EXCEEDED,
    STATUS_RESOURCE_EXHAUSTED,
    STATUS_ABORTED,
    STATUS_CLASS_PLUGIN,
    STATUS_INTERNAL,
    STATUS_CONFIGURATION,
    STATUS_UNIMPLEMENTED,
    STATUS_DATA_LOSS,
    STATUS_PANICKED,
    STATUS_CLASS_HOST,
    STATUS_CLOSED,
    STATUS_HOST_INTERNAL,
    LOG_ERROR,
    LOG_WARN,
    LOG_INFO,
    LOG_DEBUG,
    LOG_TRACE,
    HEALTH_UNKNOWN,
    HEALTH_UP,
    HEALTH_DEGRADED,
    HEALTH_DOWN,
    CHECK_LIVENESS,
    CHECK_READINESS,
    CHECK_DEEP,
    CONNECTION_NONE,
    CONNECTION_CONNECTING,
    CONNECTION_CONNECTED,
    CONNECTION_BROKEN,
    REQUEST_STREAM,
    OUTCOME_RETRYABLE,
    OUTCOME_RETRY_AFTER,
    OUTCOME_TOKENS_IN,
    OUTCOME_TOKENS_OUT,
    OUTCOME_TOKENS_CACHED,
    OUTCOME_TOKENS_REASONING,
    REPORT_HEALTH,
    REPORT_CONNECTION,
    REPORT_CONNECTION_RTT,
    REPORT_CONNECTION_AGE,
    REPORT_QUEUE_DEPTH,
    REPORT_QUEUE_CAPACITY,
    REPORT_IN_FLIGHT,
    REPORT_HEAP,
    REPORT_HEAP_PEAK,
    REPORT_HEAP_LIMIT,
    CHECK_VALID_DURATION,
    CHECK_VALID_VALUE,
    NO_DEADLINE,
    EXTENSION_ASYNC,
    EXTENSION_CALL,
    ENTRY_SYMBOL,
);
