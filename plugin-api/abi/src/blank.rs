//! Values to begin with, for Rust on both sides of the boundary: borrowed bytes, and structs in which nothing is given or measured yet.

use crate::{Bytes, CONNECTION_NONE, HEALTH_UNKNOWN, Outcome, Report};

impl Bytes {
    /// No bytes.
    pub const EMPTY: Bytes = Bytes {
        data: core::ptr::null(),
        len: 0,
    };

    /// These bytes, for as long as they are borrowed.
    pub const fn of(bytes: &[u8]) -> Bytes {
        Bytes {
            data: bytes.as_ptr(),
            len: bytes.len(),
        }
    }
}

impl Outcome {
    /// Nothing is given.
    pub const BLANK: Outcome = Outcome {
        struct_size: size_of::<Outcome>(),
        valid: 0,
        retryable: 0,
        reserved: 0,
        retry_after_ms: 0,
        tokens_in: 0,
        tokens_out: 0,
        tokens_cached: 0,
        tokens_reasoning: 0,
    };
}

impl Report {
    /// Nothing is measured.
    pub const BLANK: Report = Report {
        struct_size: size_of::<Report>(),
        valid: 0,
        health: HEALTH_UNKNOWN,
        connection: CONNECTION_NONE,
        connection_rtt_ns: 0,
        connection_age_ms: 0,
        queue_depth: 0,
        queue_capacity: 0,
        in_flight: 0,
        heap_bytes: 0,
        heap_peak_bytes: 0,
        heap_limit_bytes: 0,
    };
}
