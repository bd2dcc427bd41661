//! Slots: what a plugin's tokens stand for while a call or a check is under way.
//!
//! A token is a slot's number and its generation. The generation is odd while the slot is open and moves on when it is closed, so
//! a token that was kept too long no longer fits and harms nobody. Slots are never freed, only used again: a plugin
//! that holds a token for ever holds a number, not memory.

use super::frames::Frames;
use crate::clock::{self, Monotonic};
use crate::model::Part;
use extman_abi as abi;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

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
    pub content_type: Option<String>,
    /// The concatenated writes, unless they were streamed.
    pub body: Vec<u8>,
    /// Parts of a check.
    pub parts: Vec<Part>,
    limits: Option<OutputLimits>,
    bytes: usize,
    frames: usize,
    stream: Option<Arc<Frames>>,
}

/// One place for a call or a check under way.
#[derive(Debug)]
pub struct Slot {
    number: u32,
    generation: AtomicU32,
    cancelled: AtomicBool,
    deadline: AtomicU64,
    output: Mutex<Output>,
}

const SEGMENT: usize = 64;
const SEGMENTS: usize = 64;
const CHECK_PARTS_MAX: usize = 64;

static SLOTS: [OnceLock<Box<[Slot]>>; SEGMENTS] = [const { OnceLock::new() }; SEGMENTS];
static FREE: Mutex<Free> = Mutex::new(Free {
    returned: Vec::new(),
    made: 0,
});

struct Free {
    returned: Vec<u32>,
    made: u32,
}

impl Slot {
    /// A slot that nobody else has; `None` if all 4096 are taken.
    pub fn acquire() -> Option<&'static Slot> {
        let mut free = lock(&FREE);
        let number = match free.returned.pop() {
            Some(number) => number,
            None if (free.made as usize) < SEGMENT * SEGMENTS => {
                free.made += 1;
                free.made - 1
            }
            None => return None,
        };
        let segment = SLOTS[number as usize / SEGMENT].get_or_init(|| {
            let first = number / SEGMENT as u32 * SEGMENT as u32;
            (first..first + SEGMENT as u32).map(Slot::new).collect()
        });
        Some(&segment[number as usize % SEGMENT])
    }

    /// Gives the slot back. Nothing runs in it any more.
    pub fn release(&'static self) {
        self.close();
        lock(&FREE).returned.push(self.number);
    }

    fn new(number: u32) -> Slot {
        Slot {
            number,
            generation: AtomicU32::new(0),
            cancelled: AtomicBool::new(false),
            deadline: AtomicU64::new(u64::MAX),
            output: Mutex::new(Output::default()),
        }
    }

    /// Opens the slot for one call and returns its token.
    pub fn open(
        &self,
        deadline: Option<Monotonic>,
        stream: Option<Arc<Frames>>,
        limits: OutputLimits,
    ) -> u64 {
        let mut output = lock(&self.output);
        self.cancelled.store(false, Relaxed);
        self.deadline
            .store(deadline.map_or(u64::MAX, Monotonic::as_nanos), Relaxed);
        output.stream = stream;
        output.limits = Some(limits);
        let generation = self.generation.load(Relaxed) | 1;
        self.generation.store(generation, Release);
        token(self.number, generation)
    }

    /// Closes the slot: the token of the call is stale from here on. Returns what was written.
    pub fn close(&self) -> Output {
        let mut output = lock(&self.output);
        let generation = self.generation.load(Relaxed);
        if generation & 1 == 1 {
            self.generation.store(generation.wrapping_add(1), Release);
        }
        if let Some(stream) = &output.stream {
            stream.finish();
        }
        std::mem::take(&mut *output)
    }

    /// Asks the call under this token to stop, if it is still that call.
    pub fn cancel(&self, token: u64) {
        // Under the lock, or the slot could be another call's by the time that the mark is set.
        let output = lock(&self.output);
        if self.is(token) {
            self.cancelled.store(true, Release);
            if let Some(stream) = &output.stream {
                stream.wake();
            }
        }
    }

    fn is(&self, token: u64) -> bool {
        self.generation.load(Acquire) == generation_of(token)
    }

    /// Whether the reader of a streamed call has gone away.
    fn is_unread(&self) -> bool {
        lock(&self.output)
            .stream
            .as_ref()
            .is_some_and(|stream| stream.is_abandoned())
    }

    fn stopping(&self) -> bool {
        self.cancelled.load(Acquire) || clock::monotonic().as_nanos() >= self.deadline.load(Relaxed)
    }
}

fn token(number: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(number)
}

fn generation_of(token: u64) -> u32 {
    (token >> 32) as u32
}

/// The open slot of a token.
fn find(token: u64) -> Option<&'static Slot> {
    let number = token as u32 as usize;
    let slot = SLOTS.get(number / SEGMENT)?.get()?.get(number % SEGMENT)?;
    (generation_of(token) & 1 == 1 && slot.is(token)).then_some(slot)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks the call of a token to stop; nothing if it has ended.
pub fn cancel(token: u64) {
    if let Some(slot) = find(token) {
        slot.cancel(token);
    }
}

/// Whether the call of a token should stop; a stale token should.
pub(super) fn cancelled(token: u64) -> bool {
    find(token).is_none_or(|slot| slot.stopping() || slot.is_unread())
}

/// Nanoseconds until the deadline of a token's call.
pub(super) fn deadline_ns(token: u64) -> u64 {
    let Some(slot) = find(token) else { return 0 };
    match slot.deadline.load(Relaxed) {
        u64::MAX => abi::NO_DEADLINE,
        at => at.saturating_sub(clock::monotonic().as_nanos()),
    }
}

/// Names the media type of a token's output.
pub(super) fn begin(token: u64, content_type: &str) -> abi::Status {
    let Some(slot) = find(token) else {
        return abi::STATUS_CLOSED;
    };
    let mut output = lock(&slot.output);
    if !slot.is(token) {
        return abi::STATUS_CLOSED;
    }
    if output.frames > 0 || output.content_type.is_some() || content_type.len() > 256 {
        return abi::STATUS_INVALID_INPUT;
    }
    if let Some(stream) = &output.stream {
        stream.begin(content_type);
    }
    output.content_type = Some(content_type.to_owned());
    abi::STATUS_OK
}

/// Writes to a token's output.
pub(super) fn write(token: u64, data: &[u8]) -> abi::Status {
    let Some(slot) = find(token) else {
        return abi::STATUS_CLOSED;
    };
    let stream = {
        let mut output = lock(&slot.output);
        if !slot.is(token) {
            return abi::STATUS_CLOSED;
        }
        if slot.stopping() {
            return abi::STATUS_CANCELLED;
        }
        let limits = output.limits.unwrap_or_default();
        if data.len() > limits.bytes_max - output.bytes.min(limits.bytes_max)
            || output.frames >= limits.frames_max
        {
            return abi::STATUS_EXHAUSTED;
        }
        output.bytes += data.len();
        output.frames += 1;
        match &output.stream {
            Some(stream) => stream.clone(),
            None => {
                output.body.extend_from_slice(data);
                return abi::STATUS_OK;
            }
        }
    };
    // Outside the lock: it may wait for the reader.
    let stop = || !slot.is(token) || slot.stopping();
    if stream.push(data, stop) {
        abi::STATUS_OK
    } else {
        abi::STATUS_CANCELLED
    }
}

/// Adds a part to a token's check.
pub(super) fn emit(token: u64, part: Part) -> abi::Status {
    let Some(slot) = find(token) else {
        return abi::STATUS_CLOSED;
    };
    let mut output = lock(&slot.output);
    if !slot.is(token) {
        return abi::STATUS_CLOSED;
    }
    if output.parts.len() >= CHECK_PARTS_MAX {
        return abi::STATUS_EXHAUSTED;
    }
    output.parts.push(part);
    abi::STATUS_OK
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_stale_token_does_nothing() {
        let slot = Slot::acquire().unwrap();
        let old = slot.open(None, None, OutputLimits::default());
        assert_eq!(write(old, b"a"), abi::STATUS_OK);
        assert_eq!(slot.close().body, b"a");
        assert_eq!(write(old, b"b"), abi::STATUS_CLOSED);
        assert!(cancelled(old));
        let new = slot.open(None, None, OutputLimits::default());
        assert_ne!(old, new);
        assert_eq!(write(old, b"b"), abi::STATUS_CLOSED);
        assert_eq!(begin(old, "text/plain"), abi::STATUS_CLOSED);
        cancel(old);
        assert!(!cancelled(new));
        assert_eq!(slot.close().body, b"");
        slot.release();
    }

    #[test]
    fn limits_and_deadlines_hold() {
        let slot = Slot::acquire().unwrap();
        let limits = OutputLimits {
            bytes_max: 4,
            frames_max: 3,
        };
        let open = slot.open(None, None, limits);
        assert_eq!(deadline_ns(open), abi::NO_DEADLINE);
        assert_eq!(write(open, b"abc"), abi::STATUS_OK);
        assert_eq!(write(open, b"de"), abi::STATUS_EXHAUSTED);
        assert_eq!(write(open, b"d"), abi::STATUS_OK);
        assert_eq!(write(open, b""), abi::STATUS_OK);
        assert_eq!(write(open, b""), abi::STATUS_EXHAUSTED);
        slot.close();
        let past = slot.open(Some(clock::monotonic()), None, limits);
        assert!(cancelled(past));
        assert_eq!(write(past, b"a"), abi::STATUS_CANCELLED);
        slot.close();
        let ahead = slot.open(
            Some(clock::monotonic().after(Duration::from_secs(60))),
            None,
            limits,
        );
        assert!(!cancelled(ahead));
        assert!(deadline_ns(ahead) > 1_000_000_000);
        slot.release();
    }

    #[test]
    fn nonsense_tokens_are_closed() {
        for token in [0, 1, u64::MAX, 1 << 32 | 4095, 5 << 32 | 70_000] {
            assert_eq!(write(token, b""), abi::STATUS_CLOSED, "{token:#x}");
        }
    }
}
