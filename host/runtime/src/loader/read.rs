//! Reading what a plugin passes: nothing beyond the size that it declares (`sized`), nothing that is not marked as measured.

use super::sized;
use extman_abi::{self as abi, Bytes};
use extman_model::{CallError, Connection, Figures, Health, InputPart, Part, Report, RequestExtras, Usage};
use std::borrow::Cow;

/// Lent bytes.
///
/// # Safety
/// `bytes` is valid for `'a`.
pub(super) unsafe fn slice<'a>(bytes: Bytes) -> &'a [u8] {
    if bytes.data.is_null() || bytes.len == 0 || bytes.len > isize::MAX as usize {
        return &[];
    }
    // SAFETY: not null, of a possible length, and the caller's contract.
    unsafe { std::slice::from_raw_parts(bytes.data, bytes.len) }
}

/// As [`slice`], of what an argument's pointer and length lend.
///
/// # Safety
/// As there.
pub(super) unsafe fn lent<'a>(data: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: the caller's contract.
    unsafe { slice(Bytes { data, len }) }
}

/// As [`text`], of what an argument's pointer and length lend: a copy.
///
/// # Safety
/// Valid for the call.
pub(super) unsafe fn lent_text(data: *const u8, len: usize, max: usize) -> String {
    // SAFETY: the caller's contract.
    unsafe { text(Bytes { data, len }, max) }.into_owned()
}

/// Lent text, cut to `max` bytes; what is not UTF-8 is replaced.
///
/// # Safety
/// `bytes` is valid for `'a`.
pub(super) unsafe fn text<'a>(bytes: Bytes, max: usize) -> Cow<'a, str> {
    // SAFETY: the caller's contract.
    let all = unsafe { slice(bytes) };
    let mut end = all.len().min(max);
    while end > 0 && end < all.len() && all[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    String::from_utf8_lossy(&all[..end])
}

pub(super) fn health(code: abi::Health) -> Health {
    match code {
        abi::HEALTH_UP => Health::Up,
        abi::HEALTH_DEGRADED => Health::Degraded,
        abi::HEALTH_DOWN => Health::Down,
        _ => Health::Unknown,
    }
}

/// A part of a check. `None` if it is unreadable or has no name.
///
/// # Safety
/// `check` is null or lent for the call with its slices.
pub(super) unsafe fn check(check: *const abi::Check, text_max: usize) -> Option<Part> {
    // SAFETY: the caller's contract.
    let check = unsafe { sized::read(check) }.ok()?;
    // SAFETY: the caller's contract.
    let (name, message) = unsafe { (text(check.name, 256), text(check.message, text_max)) };
    (!name.is_empty()).then(|| Part {
        name: name.into_owned(),
        health: health(check.health),
        message: message.into_owned(),
        duration_ns: (check.valid & abi::CHECK_VALID_DURATION != 0).then_some(check.duration_ns),
        // JSON has neither infinities nor NaN.
        value: (check.valid & abi::CHECK_VALID_VALUE != 0 && check.value.is_finite()).then_some(check.value),
    })
}

/// A log record, cut to size.
pub(super) struct Record<'a> {
    pub level: abi::LogLevel,
    pub target: Cow<'a, str>,
    pub text: Cow<'a, str>,
    pub fields: Cow<'a, str>,
}

/// A log record. `None` if it is unreadable.
///
/// # Safety
/// `record` is null or lent for `'a` with its slices.
pub(super) unsafe fn log_record<'a>(record: *const abi::LogRecord, text_max: usize) -> Option<Record<'a>> {
    // SAFETY: the caller's contract.
    let record = unsafe { sized::read(record) }.ok()?;
    // SAFETY: the caller's contract.
    unsafe {
        Some(Record {
            level: record.level,
            target: text(record.target, 256),
            text: text(record.text, text_max),
            fields: text(record.fields, text_max),
        })
    }
}

/// A report, with only what is marked as measured.
///
/// # Safety
/// `report` is null or lent for the call.
pub(super) unsafe fn report(report: *const abi::Report) -> Option<Report> {
    // SAFETY: the caller's contract.
    let report = unsafe { sized::read(report) }.ok()?;
    Some(figures(&report).report())
}

/// The figures of a report that are marked as measured.
#[inline]
pub(super) fn figures(raw: &abi::Report) -> Figures {
    let is_given = |bit: u64| raw.valid & bit != 0;
    // The order is that of the bits below.
    let values = [
        raw.connection_rtt_ns,
        raw.connection_age_ms,
        raw.queue_depth,
        raw.queue_capacity,
        raw.in_flight,
        raw.heap_bytes,
        raw.heap_peak_bytes,
        raw.heap_limit_bytes,
    ];
    let bits = [
        abi::REPORT_CONNECTION_RTT,
        abi::REPORT_CONNECTION_AGE,
        abi::REPORT_QUEUE_DEPTH,
        abi::REPORT_QUEUE_CAPACITY,
        abi::REPORT_IN_FLIGHT,
        abi::REPORT_HEAP,
        abi::REPORT_HEAP_PEAK,
        abi::REPORT_HEAP_LIMIT,
    ];
    let mut measured = 0;
    for (at, bit) in bits.into_iter().enumerate() {
        measured |= u16::from(is_given(bit)) << at;
    }
    let connection = is_given(abi::REPORT_CONNECTION).then_some(match raw.connection {
        abi::CONNECTION_CONNECTING => Connection::Connecting,
        abi::CONNECTION_CONNECTED => Connection::Connected,
        abi::CONNECTION_BROKEN => Connection::Broken,
        _ => Connection::None,
    });
    let health = is_given(abi::REPORT_HEALTH).then(|| health(raw.health));
    Figures::new(health, connection, values, measured)
}

/// A call that a plugin makes of another one's capability.
///
/// # Errors
/// It is unreadable, names no capability, or is larger than `bytes_max`.
///
/// # Safety
/// `request` is null or lent for the call with all that it points to.
pub(super) unsafe fn request(
    request: *const abi::Request,
    bytes_max: usize,
) -> Result<OutgoingRequest, abi::Status> {
    // SAFETY: the caller's contract.
    let raw = unsafe { sized::read(request) }.map_err(|_| abi::STATUS_INVALID_INPUT)?;
    if raw.metadata_len > LISTED_MAX || raw.parts_len > LISTED_MAX || raw.input.len > bytes_max {
        return Err(abi::STATUS_RESOURCE_EXHAUSTED);
    }
    // SAFETY: the caller's contract.
    let (metadata, parts) = unsafe {
        (
            array(raw.metadata, raw.metadata_len),
            array(raw.parts, raw.parts_len),
        )
    };
    let in_parts = parts.iter().map(|part| part.data.len);
    if in_parts.fold(raw.input.len, usize::saturating_add) > bytes_max {
        return Err(abi::STATUS_RESOURCE_EXHAUSTED);
    }
    // SAFETY: the caller's contract.
    let text = |bytes| unsafe { text(bytes, WORD_BYTES_MAX) }.into_owned();
    let part = |part: &abi::InputPart| InputPart {
        name: text(part.name),
        content_type: text(part.content_type),
        // SAFETY: the caller's contract.
        data: unsafe { slice(part.data) }.to_vec(),
    };
    let request = OutgoingRequest {
        within: raw.call,
        capability: text(raw.capability),
        content_type: text(raw.content_type),
        // SAFETY: the caller's contract.
        input: unsafe { slice(raw.input) }.to_vec(),
        extras: RequestExtras {
            capability_version: text(raw.capability_version),
            accept: text(raw.accept),
            metadata: metadata
                .iter()
                .map(|pair| (text(pair.key), text(pair.value)))
                .collect(),
            parts: parts.iter().map(part).collect(),
        },
        streams: raw.flags & abi::REQUEST_STREAM != 0,
    };
    match request.capability.is_empty() {
        true => Err(abi::STATUS_INVALID_INPUT),
        false => Ok(request),
    }
}

/// Where a plugin wants the answer to a call. `None` if it is unreadable, or lacks a function that is needed.
///
/// # Safety
/// `receiver` is null or lent for the call.
pub(super) unsafe fn receiver(receiver: *const abi::Receiver, streams: bool) -> Option<abi::Receiver> {
    // SAFETY: the caller's contract.
    let receiver = unsafe { sized::read(receiver) }.ok()?;
    let is_whole = receiver.answer.is_some() && (receiver.frame.is_some() || !streams);
    is_whole.then_some(receiver)
}

/// Most pairs of metadata, and most parts, of a call that a plugin makes.
const LISTED_MAX: usize = 1024;
/// Longest name, media type, key or value of a call that a plugin makes; the rest is cut.
const WORD_BYTES_MAX: usize = 8 * 1024;

/// A call that a plugin makes, as it is read.
pub(super) struct OutgoingRequest {
    pub within: abi::CallToken,
    pub capability: String,
    pub content_type: String,
    pub input: Vec<u8>,
    pub extras: RequestExtras,
    pub streams: bool,
}

/// # Safety
/// `first` is null or points to `len` structs that are valid for `'a`.
unsafe fn array<'a, T>(first: *const T, len: usize) -> &'a [T] {
    if first.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: not null, and the caller's contract.
    unsafe { std::slice::from_raw_parts(first, len) }
}

/// These pairs, lent for as long as they are borrowed.
pub(super) fn lent_pairs(pairs: &[(String, String)]) -> Vec<abi::Metadata> {
    let lent = pairs.iter().map(|(key, value)| abi::Metadata {
        key: Bytes::of(key.as_bytes()),
        value: Bytes::of(value.as_bytes()),
    });
    lent.collect()
}

/// An outcome; one that says nothing if it is null.
///
/// # Safety
/// `outcome` is null or lent for the call.
pub(super) unsafe fn outcome(outcome: *const abi::Outcome) -> abi::Outcome {
    // SAFETY: the caller's contract.
    unsafe { sized::read(outcome) }.unwrap_or(abi::Outcome::BLANK)
}

/// What an outcome says of a failure.
#[cold]
pub(super) fn failed(outcome: &abi::Outcome, mut failure: CallError) -> CallError {
    let given = |bit: u64| outcome.valid & bit != 0;
    failure.retryable = given(abi::OUTCOME_RETRYABLE).then_some(outcome.retryable != 0);
    failure.retry_after_ms = given(abi::OUTCOME_RETRY_AFTER).then_some(outcome.retry_after_ms);
    failure
}

/// An outcome that says this of an answer.
pub(super) fn outcome_of(usage: Usage, failure: Option<&CallError>) -> abi::Outcome {
    let mut outcome = abi::Outcome::BLANK;
    let mut given = |bit: u64, value: Option<u64>| {
        outcome.valid |= if value.is_some() { bit } else { 0 };
        value.unwrap_or_default()
    };
    let tokens_in = given(abi::OUTCOME_TOKENS_IN, usage.tokens_in);
    let tokens_out = given(abi::OUTCOME_TOKENS_OUT, usage.tokens_out);
    let tokens_cached = given(abi::OUTCOME_TOKENS_CACHED, usage.tokens_cached);
    let tokens_reasoning = given(abi::OUTCOME_TOKENS_REASONING, usage.tokens_reasoning);
    let retryable = failure.and_then(|failure| failure.retryable);
    let retryable = given(abi::OUTCOME_RETRYABLE, retryable.map(u64::from)) as u32;
    let retry_after_ms = given(
        abi::OUTCOME_RETRY_AFTER,
        failure.and_then(|failure| failure.retry_after_ms),
    );
    abi::Outcome {
        retryable,
        retry_after_ms,
        tokens_in,
        tokens_out,
        tokens_cached,
        tokens_reasoning,
        ..outcome
    }
}

/// What an outcome says of the use of a model.
pub(super) fn usage(outcome: &abi::Outcome) -> Usage {
    let given = |bit: u64, value: u64| (outcome.valid & bit != 0).then_some(value);
    Usage {
        tokens_in: given(abi::OUTCOME_TOKENS_IN, outcome.tokens_in),
        tokens_out: given(abi::OUTCOME_TOKENS_OUT, outcome.tokens_out),
        tokens_cached: given(abi::OUTCOME_TOKENS_CACHED, outcome.tokens_cached),
        tokens_reasoning: given(abi::OUTCOME_TOKENS_REASONING, outcome.tokens_reasoning),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_marked_is_read() {
        let mut raw = abi::Report::BLANK;
        raw.health = abi::HEALTH_DOWN;
        raw.heap_bytes = 7;
        assert_eq!(figures(&raw).report(), Report::default());
        raw.valid = abi::REPORT_HEAP;
        assert_eq!(
            figures(&raw).report(),
            Report {
                heap_bytes: Some(7),
                ..Report::default()
            }
        );
    }

    #[test]
    fn text_is_cut_between_characters() {
        let bytes = Bytes::of("añb".as_bytes());
        // SAFETY: a literal.
        assert_eq!(unsafe { text(bytes, 2) }, "a");
    }
}
