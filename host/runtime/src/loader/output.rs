//! What a plugin writes under a token, and what it may ask under it: the far side of the host table.

use super::call_context::{self, enter, find};
use super::chain::Chain;
use extman_abi::{self as abi, CallToken, InstanceToken};
use extman_model::clock;
use extman_model::frames::Frames;
use extman_model::{CallError, Part, Usage};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What a call may write.
#[derive(Debug, Clone, Copy)]
pub struct OutputLimits {
    /// Bytes in all.
    pub bytes_max: usize,
    /// Writes in all.
    pub frames_max: usize,
}

impl Default for OutputLimits {
    fn default() -> Self {
        OutputLimits {
            bytes_max: 64 << 20,
            frames_max: 1 << 20,
        }
    }
}

/// What a call has written.
#[derive(Debug, Default)]
pub struct Output {
    /// Media type, if the plugin named one.
    pub content_type: Option<Cow<'static, str>>,
    /// The concatenated writes, unless they were streamed.
    pub body: Vec<u8>,
    /// Parts of a check.
    pub parts: Vec<Part>,
    /// What is said beside the body.
    pub metadata: Vec<(String, String)>,
    /// A write was refused: what was written is not the whole.
    pub is_cut: bool,
    /// The calls that were made in it; `None` if its plugin may make none.
    pub(crate) chain: Option<Arc<Chain>>,
}

/// What a call has written so far, and what it may still write.
#[derive(Default)]
pub(super) struct OutputBuffer {
    pub so_far: Output,
    frames_left: usize,
    has_written: bool,
    /// Where writes go as they come, if the caller wants that.
    pub stream: Option<Arc<Frames>>,
    /// Of a call that was handed over.
    pub completion: Option<Completion>,
}

/// Hears once what a call that was handed over came to.
pub type Completion = Box<dyn FnOnce(Completed) + Send>;

/// What a call that was handed over came to.
pub struct Completed {
    /// Why there is no answer, as its plugin says; `None` also if the host gave it up.
    pub failure: Option<CallError>,
    /// What the plugin said of its use of a model.
    pub usage: Usage,
    /// What was written.
    pub output: Output,
}

const CHECK_PARTS_MAX: usize = 64;
const MEDIA_TYPE_BYTES_MAX: usize = 256;
const METADATA_MAX: usize = 64;
const METADATA_KEY_BYTES_MAX: usize = 128;
const METADATA_VALUE_BYTES_MAX: usize = 4 * 1024;
/// Media types that are not copied for each call.
const USUAL: [&str; 3] = ["application/json", "application/octet-stream", "text/plain"];

impl OutputBuffer {
    /// For the next call; what the last one had written was taken.
    pub(super) fn restart(&mut self, stream: Option<Arc<Frames>>, limits: OutputLimits) {
        self.frames_left = limits.frames_max;
        self.has_written = false;
        self.stream = stream;
    }

    pub(super) fn take(&mut self) -> (Output, Option<Arc<Frames>>) {
        (std::mem::take(&mut self.so_far), self.stream.take())
    }
}

/// Whether the call of a token should stop; a stale token should, and one whose reader has gone away.
pub(super) fn cancelled(token: CallToken) -> bool {
    let Some(slot) = find(token) else { return true };
    slot.is_to_stop(token)
        || slot.enter_by(token).is_none_or(|output| {
            let stream = output.stream.as_ref();
            stream.is_some_and(|stream| stream.is_abandoned())
        })
}

/// Nanoseconds until the deadline of a token's call.
pub(super) fn deadline_ns(token: CallToken) -> u64 {
    match call_context::deadline(token) {
        None => 0,
        Some(None) => abi::NO_DEADLINE,
        Some(Some(at)) => at.since(clock::monotonic()).as_nanos() as u64,
    }
}

/// Names the media type of a token's output.
pub(super) fn begin(token: CallToken, content_type: &[u8]) -> abi::Status {
    if content_type.len() > MEDIA_TYPE_BYTES_MAX {
        return abi::STATUS_INVALID_INPUT;
    }
    // Read before anything is held: the bytes are the plugin's, and may never come.
    let usual = USUAL.iter().find(|usual| usual.as_bytes() == content_type);
    let content_type = match usual {
        Some(usual) => Cow::Borrowed(*usual),
        None => Cow::Owned(String::from_utf8_lossy(content_type).into_owned()),
    };
    let Some(mut output) = enter(token) else {
        return abi::STATUS_CLOSED;
    };
    if output.has_written || output.so_far.content_type.is_some() {
        return abi::STATUS_INVALID_INPUT;
    }
    if let Some(stream) = &output.stream {
        stream.begin(&content_type);
    }
    output.so_far.content_type = Some(content_type);
    abi::STATUS_OK
}

/// Writes to a token's output.
pub(super) fn write(token: CallToken, data: &[u8]) -> abi::Status {
    let Some(slot) = find(token).filter(|slot| slot.is(token)) else {
        return abi::STATUS_CLOSED;
    };
    // Before it is copied: a length that is nonsense must not be allocated.
    if data.len() > slot.bytes_left.load(Relaxed) {
        if let Some(mut output) = slot.enter_by(token) {
            output.so_far.is_cut = true;
        }
        return match slot.is_to_stop(token) {
            true if slot.is(token) => abi::STATUS_CANCELLED,
            true => abi::STATUS_CLOSED,
            false => abi::STATUS_RESOURCE_EXHAUSTED,
        };
    }
    // Read before anything is held: the bytes are the plugin's, and may never come.
    let data = data.to_vec();
    let stream = {
        let Some(mut output) = slot.enter_by(token) else {
            return abi::STATUS_CLOSED;
        };
        if slot.is_to_stop(token) {
            output.so_far.is_cut = true;
            return abi::STATUS_CANCELLED;
        }
        let bytes_left = slot.bytes_left.load(Relaxed);
        if data.len() > bytes_left || output.frames_left == 0 {
            output.so_far.is_cut = true;
            return abi::STATUS_RESOURCE_EXHAUSTED;
        }
        slot.bytes_left.store(bytes_left - data.len(), Relaxed);
        output.frames_left -= 1;
        output.has_written = true;
        match &output.stream {
            Some(stream) => stream.clone(),
            None if output.so_far.body.is_empty() => {
                output.so_far.body = data;
                return abi::STATUS_OK;
            }
            None => {
                output.so_far.body.extend_from_slice(&data);
                return abi::STATUS_OK;
            }
        }
    };
    // With nothing in hand: it may wait for the reader.
    if stream.push(data, || slot.is_to_stop(token)) {
        abi::STATUS_OK
    } else {
        abi::STATUS_CANCELLED
    }
}

/// Says something beside a token's output: a key that was there gets the new value.
pub(super) fn emit_metadata(token: CallToken, key: &[u8], value: &[u8]) -> abi::Status {
    let is_key = !key.is_empty()
        && key
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(b));
    let Some(value) = std::str::from_utf8(value).ok().filter(|_| is_key) else {
        return abi::STATUS_INVALID_INPUT;
    };
    if key.len() > METADATA_KEY_BYTES_MAX || value.len() > METADATA_VALUE_BYTES_MAX {
        return abi::STATUS_RESOURCE_EXHAUSTED;
    }
    let (key, value) = (String::from_utf8_lossy(key).into_owned(), value.to_owned());
    let Some(mut output) = enter(token) else {
        return abi::STATUS_CLOSED;
    };
    let metadata = &mut output.so_far.metadata;
    let is_full = metadata.len() >= METADATA_MAX;
    match metadata.iter_mut().find(|(k, _)| *k == key) {
        Some(pair) => pair.1 = value,
        None if is_full => return abi::STATUS_RESOURCE_EXHAUSTED,
        None => metadata.push((key, value)),
    }
    abi::STATUS_OK
}

/// Others may be made in the call of a token: `outermost` begins a chain, unless it is in one.
pub(super) fn begin_chain(token: CallToken, outermost: impl FnOnce() -> Arc<Chain>) {
    if let Some(mut output) = enter(token) {
        output.so_far.chain.get_or_insert_with(outermost);
    }
}

/// What is made in the call of a token is made in this; `None` if the token is stale, or its plugin may make no calls.
pub(super) fn chain(token: CallToken) -> Option<Arc<Chain>> {
    enter(token)?.so_far.chain.clone()
}

/// Whether the output of a token's call is streamed: then its reader may go away without a word.
pub(super) fn streams(token: CallToken) -> bool {
    let output = enter(token);
    output.is_some_and(|output| output.stream.is_some())
}

/// The call of a token is inside this instance.
pub(super) fn of_instance(token: CallToken, instance: InstanceToken) {
    if let Some(slot) = find(token).filter(|slot| slot.is(token)) {
        slot.instance.store(instance, Relaxed);
    }
}

/// The instance that a token's call is inside; `None` if the token is stale.
pub(super) fn instance(token: CallToken) -> Option<InstanceToken> {
    let slot = find(token)?;
    let instance = slot.instance.load(Relaxed);
    slot.is(token).then_some(instance)
}

/// Adds a part to a token's check.
pub(super) fn emit(token: CallToken, part: Part) -> abi::Status {
    let Some(mut output) = enter(token) else {
        return abi::STATUS_CLOSED;
    };
    if output.so_far.parts.len() >= CHECK_PARTS_MAX {
        return abi::STATUS_RESOURCE_EXHAUSTED;
    }
    output.so_far.parts.push(part);
    abi::STATUS_OK
}

#[cfg(test)]
mod tests {
    use super::super::call_context::CallContext;
    use super::*;
    use extman_model::clock::Monotonic;
    use std::time::Duration;

    #[test]
    fn limits_and_deadlines_hold() {
        let context = CallContext::acquire().unwrap();
        let limits = OutputLimits {
            bytes_max: 4,
            frames_max: 3,
        };
        let open = context.open(None, None, limits);
        assert_eq!(deadline_ns(open), abi::NO_DEADLINE);
        assert_eq!(write(open, b"abc"), abi::STATUS_OK);
        assert_eq!(write(open, b"de"), abi::STATUS_RESOURCE_EXHAUSTED);
        assert_eq!(write(open, b"d"), abi::STATUS_OK);
        assert_eq!(write(open, b""), abi::STATUS_OK);
        assert_eq!(write(open, b""), abi::STATUS_RESOURCE_EXHAUSTED);
        assert!(context.close().is_cut);
        for (data, is_cut) in [(&b"abcd"[..], false), (b"abcde", true)] {
            write(context.open(None, None, limits), data);
            assert_eq!(context.close().is_cut, is_cut, "{data:?}");
        }
        let past = context.open(Some(Monotonic::from_nanos(1)), None, limits);
        assert!(cancelled(past));
        assert_eq!(write(past, b"a"), abi::STATUS_CANCELLED);
        context.close();
        let ahead = context.open(
            Some(clock::monotonic().after(Duration::from_secs(60))),
            None,
            limits,
        );
        assert!(!cancelled(ahead));
        assert!(deadline_ns(ahead) > 1_000_000_000);
    }

    #[test]
    fn metadata_is_kept_by_key_within_limits() {
        let context = CallContext::acquire().unwrap();
        let token = context.open(None, None, OutputLimits::default());
        assert_eq!(emit_metadata(token, b"model", b"a"), abi::STATUS_OK);
        assert_eq!(emit_metadata(token, b"model", b"b"), abi::STATUS_OK);
        for bad in [&b""[..], b"Model", b"a b", b"a\nb", "\u{e4}".as_bytes()] {
            assert_eq!(
                emit_metadata(token, bad, b"x"),
                abi::STATUS_INVALID_INPUT,
                "{bad:?}"
            );
        }
        assert_eq!(emit_metadata(token, b"k", &[0xff]), abi::STATUS_INVALID_INPUT);
        assert_eq!(
            emit_metadata(token, b"k", &[b'x'; 5000]),
            abi::STATUS_RESOURCE_EXHAUSTED
        );
        let more = (0..100).map(|n| emit_metadata(token, format!("k{n}").as_bytes(), b""));
        assert_eq!(
            more.filter(|status| *status == abi::STATUS_OK).count(),
            METADATA_MAX - 1
        );
        let metadata = context.close().metadata;
        assert_eq!(metadata[0], ("model".to_owned(), "b".to_owned()));
        assert_eq!(emit_metadata(token, b"model", b"c"), abi::STATUS_CLOSED);
    }

    #[test]
    fn a_media_type_is_named_once_and_before_the_first_write() {
        let context = CallContext::acquire().unwrap();
        for named in ["application/json", "text/x-unusual"] {
            let token = context.open(None, None, OutputLimits::default());
            assert_eq!(begin(token, named.as_bytes()), abi::STATUS_OK);
            assert_eq!(begin(token, named.as_bytes()), abi::STATUS_INVALID_INPUT);
            assert_eq!(context.close().content_type.as_deref(), Some(named));
        }
        let token = context.open(None, None, OutputLimits::default());
        assert_eq!(write(token, b""), abi::STATUS_OK);
        assert_eq!(begin(token, b"text/plain"), abi::STATUS_INVALID_INPUT);
    }
}
