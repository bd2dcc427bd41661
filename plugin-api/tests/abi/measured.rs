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
    CreateRequest { struct_size, instance, name, config }
    Request { struct_size, call, capability, content_type, input, flags, reserved }
    Outcome { struct_size, valid, retryable, reserved, retry_after_ms, tokens_in, tokens_out }
    CheckRequest { struct_size, probe, kind, reserved }
    Report { struct_size, valid, health, connection, connection_rtt_ns, connection_age_ms, queue_depth, queue_capacity, in_flight, heap_bytes, heap_peak_bytes, heap_limit_bytes }
    Check { struct_size, valid, name, message, health, reserved, duration_ns, value }
    HostTable { struct_size, abi_major, abi_minor, log, cancelled, deadline_ns, sink_begin, sink_write, emit_check, push_health, extension }
    LifecycleVtable { struct_size, create, start, configure, drain, stop, snapshot, restore, destroy }
    CapabilityVtable { struct_size, invoke }
    HealthVtable { struct_size, check }
    PluginModule { struct_size, magic, abi_major, abi_minor, lifecycle, capability, health }
}

values!(
    MODULE_MAGIC,
    ABI_MAJOR,
    ABI_MINOR,
    STATUS_OK,
    STATUS_INVALID_INPUT,
    STATUS_UNAVAILABLE,
    STATUS_RATE_LIMITED,
    STATUS_CONFIGURATION,
    STATUS_INTERNAL,
    STATUS_CANCELLED,
    STATUS_DEADLINE_EXCEEDED,
    STATUS_UNSUPPORTED,
    STATUS_EXHAUSTED,
    STATUS_CLOSED,
    STATUS_PANICKED,
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
    MEASURED_DURATION,
    MEASURED_VALUE,
    NO_DEADLINE,
    ENTRY_SYMBOL,
);
