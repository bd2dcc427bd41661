//! Call contexts: what a plugin's tokens stand for while a call, a check or a lifecycle step is under way.
//!
//! A token is the number of a slot and the slot's generation, and is looked up at each use: one that was made up or kept too long fits no
//! slot's generation and gets an error. Slots are never freed, only used again by the next call, so that looking one up needs no lock and
//! no reference count: a plugin that keeps a token for ever keeps a number, not memory.
//!
//! A [`CallContext`] is the right to one slot. Whoever makes a call takes one from the free ones and gives it back with the call's end; an
//! attached thread and a lane that goes through checks keep theirs from one call to the next. What a plugin does with its token is in
//! `output`; the words that decide are in `call_words`.
//!
//! A call that is handed over to its plugin (`submit`) has no owner any more: it is ended by its token, by `complete` or by giving it up.

use super::call_words::{CallState, Cancelled, Held, OutputLock};
use super::chain::{Chain, Late};
use super::output::{Completed, Completion, Output, OutputBuffer, OutputLimits};
use crate::free_numbers::FreeNumbers;
use crate::sync::lock;
use extman_abi::CallToken;
use extman_model::Usage;
use extman_model::clock::{self, Monotonic};
use extman_model::frames::Frames;
use std::cell::{Cell, UnsafeCell};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, OnceLock};

/// The right to make one call at a time under a token. Dropping it ends the call that is open.
#[derive(Debug)]
pub struct CallContext {
    slot: &'static Slot,
    /// Of the slot. A cell: a context may be moved to another thread, but not shared with one.
    generation: Cell<u64>,
}

/// What tokens lead to. Aligned, so that the calls of two threads never write to one cache line.
#[repr(align(128))]
pub(super) struct Slot {
    number: u32,
    state: CallState,
    lock: OutputLock,
    deadline: AtomicU64,
    /// The instance that the call is inside; 0 before it is.
    pub(super) instance: AtomicU64,
    /// Bytes that may still be written. Changed by who holds the output.
    pub(super) bytes_left: AtomicUsize,
    output: UnsafeCell<OutputBuffer>,
}

// SAFETY: the output is touched only by who holds `lock`, and while no call is open by the one `CallContext` of the slot.
unsafe impl Sync for Slot {}

const NUMBER_BITS: u32 = 20;
const SEGMENT: usize = 1024;
const SEGMENTS: usize = 1024;
const _: () = assert!(SEGMENT * SEGMENTS == 1 << NUMBER_BITS);

static SLOTS: [OnceLock<Box<[Slot]>>; SEGMENTS] = [const { OnceLock::new() }; SEGMENTS];
static FREE: Mutex<FreeNumbers> = Mutex::new(FreeNumbers::new());

impl CallContext {
    /// A context that nobody else has; `None` if all 2^20 are taken.
    pub fn acquire() -> Option<CallContext> {
        Slot::take().map(|slot| CallContext {
            slot,
            generation: Cell::new(slot.lock.generation()),
        })
    }

    /// Opens a call that begins at once, and returns its token.
    #[inline]
    pub fn open(
        &self,
        deadline: Option<Monotonic>,
        stream: Option<Arc<Frames>>,
        limits: OutputLimits,
    ) -> CallToken {
        let generation = self.prepare(deadline, stream, limits);
        self.slot.lock.open(generation);
        token(generation, self.slot.number)
    }

    /// Opens a call that begins with [`begin`](Self::begin), unless it is cancelled before.
    pub(crate) fn open_waiting(
        &self,
        deadline: Monotonic,
        stream: Option<Arc<Frames>>,
        limits: OutputLimits,
    ) -> CallToken {
        let generation = self.prepare(Some(deadline), stream, limits);
        self.slot.state.open(generation);
        self.slot.lock.open(generation);
        token(generation, self.slot.number)
    }

    /// The open call was made in another one, as this link of the chain.
    pub(crate) fn set_chain(&self, chain: Arc<Chain>) {
        if let Some(mut output) = self.slot.enter(self.generation.get()) {
            output.so_far.chain = Some(chain);
        }
    }

    #[inline]
    fn prepare(&self, deadline: Option<Monotonic>, stream: Option<Arc<Frames>>, limits: OutputLimits) -> u64 {
        if self.is_open() {
            self.close();
        }
        let slot = self.slot;
        // SAFETY: no call is open, so no token fits; and this is the slot's only `CallContext`.
        unsafe { (*slot.output.get()).restart(stream, limits) };
        slot.bytes_left.store(limits.bytes_max, Relaxed);
        slot.instance.store(0, Relaxed);
        slot.deadline
            .store(deadline.map_or(u64::MAX, Monotonic::as_nanos), Relaxed);
        let generation = self.generation.get() + 1;
        self.generation.set(generation);
        generation
    }

    /// The call that waits begins. `false` if it was cancelled before.
    pub(crate) fn begin(&self) -> bool {
        self.slot.state.begin(self.generation.get())
    }

    /// For a call whose time runs from when its code begins.
    pub(crate) fn set_deadline(&self, deadline: Monotonic) {
        self.slot.deadline.store(deadline.as_nanos(), Relaxed);
    }

    /// The token of the call that is open.
    pub fn token(&self) -> CallToken {
        token(self.generation.get(), self.slot.number)
    }

    /// Ends the call: its token is stale from here on. Returns what was written.
    #[inline]
    pub fn close(&self) -> Output {
        if !self.is_open() {
            return Output::default();
        }
        match self.slot.enter(self.generation.get()) {
            Some(output) => {
                self.generation.set(self.generation.get() + 1);
                output.close()
            }
            None => Output::default(),
        }
    }

    /// Whether a call is open in it.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.generation.get() & 1 == 1
    }

    /// Hands the open call over: from here on it is ended by whoever completes it or gives it up, and `completion` hears of that.
    pub(super) fn hand_over(self, completion: Completion) {
        if let Some(mut output) = self.slot.enter(self.generation.get()) {
            output.completion = Some(completion);
            drop(output);
            // The slot is given back by who ends the call.
            std::mem::forget(self);
        }
    }
}

impl Drop for CallContext {
    fn drop(&mut self) {
        self.close();
        self.slot.give_back();
    }
}

impl Slot {
    /// One that nobody else has.
    fn take() -> Option<&'static Slot> {
        let number = lock(&FREE).take(SEGMENT * SEGMENTS)?;
        let segment = SLOTS[number as usize / SEGMENT].get_or_init(|| {
            let first = number / SEGMENT as u32 * SEGMENT as u32;
            (first..first + SEGMENT as u32).map(Slot::new).collect()
        });
        Some(&segment[number as usize % SEGMENT])
    }

    /// Nobody has it any more, and no call is open.
    fn give_back(&self) {
        lock(&FREE).give_back(self.number);
    }

    fn new(number: u32) -> Slot {
        Slot {
            number,
            state: CallState::new(),
            lock: OutputLock::new(),
            deadline: AtomicU64::new(u64::MAX),
            instance: AtomicU64::new(0),
            bytes_left: AtomicUsize::new(0),
            output: UnsafeCell::default(),
        }
    }

    /// Gets hold of the output of the call under this token; `None` if that has ended.
    #[inline]
    pub(super) fn enter_by(&self, token: CallToken) -> Option<OutputGuard<'_>> {
        self.enter(generation_of(token))
    }

    #[inline]
    fn enter(&self, generation: u64) -> Option<OutputGuard<'_>> {
        let held = self.lock.lock(generation)?;
        Some(OutputGuard { slot: self, held })
    }

    pub(super) fn is(&self, token: CallToken) -> bool {
        self.lock.generation() == generation_of(token)
    }

    /// Whether the token's call is to stop: it has ended, it was cancelled, or its deadline has passed.
    #[inline]
    pub(super) fn is_to_stop(&self, token: CallToken) -> bool {
        !self.is(token) || self.state.is_cancelled(generation_of(token)) || clock::has_come(self.deadline())
    }

    /// The deadline; far in the future if there is none.
    pub(super) fn deadline(&self) -> Monotonic {
        Monotonic::from_nanos(self.deadline.load(Relaxed))
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (number, state) = (self.number, &self.state);
        write!(f, "slot {number}: {state:?}")
    }
}

/// The output of an open call, held for a copy between the host's own buffers at most: what a plugin lends is copied before, so that
/// memory of it that never comes stalls the call that lent it and nobody else.
pub(super) struct OutputGuard<'a> {
    slot: &'a Slot,
    held: Held<'a>,
}

impl OutputGuard<'_> {
    /// Ends the call, and returns what was written.
    #[inline]
    fn close(mut self) -> Output {
        self.slot.state.close(self.held.generation());
        self.held.close();
        let (output, stream) = self.take();
        drop(self);
        if let Some(stream) = stream {
            stream.finish();
        }
        if let Some(chain) = &output.chain {
            chain.end();
        }
        output
    }
}

impl Deref for OutputGuard<'_> {
    type Target = OutputBuffer;

    fn deref(&self) -> &OutputBuffer {
        // SAFETY: whoever holds the slot's lock has the output for itself.
        unsafe { &*self.slot.output.get() }
    }
}

impl DerefMut for OutputGuard<'_> {
    fn deref_mut(&mut self) -> &mut OutputBuffer {
        // SAFETY: as above.
        unsafe { &mut *self.slot.output.get() }
    }
}

fn token(generation: u64, number: u32) -> CallToken {
    generation << NUMBER_BITS | u64::from(number)
}

fn generation_of(token: CallToken) -> u64 {
    token >> NUMBER_BITS
}

/// Where a token leads to that could be an open call's; whether it still is, the slot tells.
pub(super) fn find(token: CallToken) -> Option<&'static Slot> {
    let number = (token & ((1 << NUMBER_BITS) - 1)) as usize;
    let slot = SLOTS.get(number / SEGMENT)?.get()?.get(number % SEGMENT)?;
    (generation_of(token) & 1 == 1).then_some(slot)
}

/// Gets hold of the output of a token's call; `None` if the token is stale.
pub(super) fn enter(token: CallToken) -> Option<OutputGuard<'static>> {
    find(token)?.enter_by(token)
}

/// Ends a call that was handed over, once: its completion hears what `ended` says of it. `false` if it has ended, or is none.
pub(super) fn complete(token: CallToken, ended: impl FnOnce(Output) -> Completed) -> bool {
    let Some(mut output) = enter(token) else {
        return false;
    };
    let Some(completion) = output.completion.take() else {
        return false;
    };
    let slot = output.slot;
    let output = output.close();
    slot.give_back();
    completion(ended(output));
    true
}

/// The host ends a call that was handed over: nobody waits for it any more. Whatever its plugin still does under its token is refused.
pub(crate) fn give_up(token: CallToken) -> bool {
    complete(token, |output| Completed {
        failure: None,
        usage: Usage::default(),
        output,
    })
}

/// Has the call of a token stop.
pub(crate) fn cancel(token: CallToken) -> Cancelled {
    let Some(slot) = find(token) else {
        return Cancelled::Ended;
    };
    let was = slot.state.cancel(generation_of(token));
    if was == Cancelled::Running {
        // A writer may be waiting for its reader, and whoever made a call in it for the answer.
        let waits = enter(token).map(|output| (output.stream.clone(), output.so_far.chain.clone()));
        let (stream, chain) = waits.unwrap_or_default();
        if let Some(stream) = stream {
            stream.wake();
        }
        if let Some(chain) = chain {
            chain.stop();
        }
    }
    was
}

/// When the call of a token is over its time, if ever; `None` if the token is stale.
pub(super) fn deadline(token: CallToken) -> Option<Option<Monotonic>> {
    let slot = find(token).filter(|slot| slot.is(token))?;
    let at = slot.deadline();
    Some((at.as_nanos() != u64::MAX).then_some(at))
}

/// What the call of a token is in, as its time is over.
pub(crate) fn late(token: CallToken) -> Late {
    let chain = enter(token).and_then(|output| output.so_far.chain.clone());
    chain.map_or(Late::ALONE, |chain| chain.late())
}

#[cfg(test)]
mod tests {
    use super::super::output::{begin, cancelled, write};
    use super::*;
    use extman_abi as abi;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_stale_token_does_nothing() {
        let context = CallContext::acquire().unwrap();
        let old = context.open(None, None, OutputLimits::default());
        assert_eq!(write(old, b"a"), abi::STATUS_OK);
        assert_eq!(context.close().body, b"a");
        assert_eq!(write(old, b"b"), abi::STATUS_CLOSED);
        assert!(cancelled(old));
        let new = context.open(None, None, OutputLimits::default());
        assert_ne!(old, new);
        assert_eq!(write(old, b"b"), abi::STATUS_CLOSED);
        assert_eq!(begin(old, b"text/plain"), abi::STATUS_CLOSED);
        cancel(old);
        assert!(!cancelled(new));
        assert_eq!(context.close().body, b"");
    }

    #[test]
    fn a_slot_that_was_left_open_starts_anew() {
        let context = CallContext::acquire().unwrap();
        let left = context.open(None, None, OutputLimits::default());
        assert_eq!(write(left, b"a"), abi::STATUS_OK);
        let new = context.open(None, None, OutputLimits::default());
        assert_eq!(write(left, b"b"), abi::STATUS_CLOSED);
        assert_eq!(write(new, b"c"), abi::STATUS_OK);
        assert_eq!(context.close().body, b"c");
        assert_eq!(context.close().body, b"");
    }

    #[test]
    fn what_many_threads_write_is_all_there_and_nothing_comes_after_the_close() {
        let context = CallContext::acquire().unwrap();
        for _ in 0..50 {
            let token = context.open(None, None, OutputLimits::default());
            let (started, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let output = std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        while write(token, b"12345") == abi::STATUS_OK {
                            if taken.fetch_add(1, Relaxed) == 0 {
                                started.store(1, Release);
                            }
                        }
                    });
                }
                while started.load(Acquire) == 0 {
                    std::thread::yield_now();
                }
                context.close()
            });
            assert_eq!(output.body.len(), 5 * taken.load(Relaxed));
            assert!(output.body.chunks(5).all(|chunk| chunk == b"12345"));
        }
    }

    #[test]
    fn call_that_was_handed_over_ends_once_and_by_anybody() {
        let context = CallContext::acquire().unwrap();
        let token = context.open(None, None, OutputLimits::default());
        let (told, hears) = std::sync::mpsc::channel();
        context.hand_over(Box::new(move |completed: Completed| {
            let _ = told.send(completed.output.body);
        }));
        let context = CallContext::acquire().unwrap();
        let other = context.open(None, None, OutputLimits::default());
        assert_ne!(token, other, "the slot is the call's until it ends");
        let end = |token| {
            complete(token, |output| Completed {
                usage: Default::default(),
                failure: None,
                output,
            })
        };
        assert!(!end(other), "it was not handed over");
        let ended = std::thread::spawn(move || {
            assert_eq!(write(token, b"a"), abi::STATUS_OK);
            (end(token), end(token))
        });
        assert_eq!(ended.join().unwrap(), (true, false));
        assert_eq!(hears.recv().unwrap(), b"a");
        assert_eq!(write(token, b"b"), abi::STATUS_CLOSED);
        assert!(cancelled(token) && !cancelled(other));
    }

    #[test]
    fn call_that_is_cancelled_before_it_begins_never_begins() {
        let context = CallContext::acquire().unwrap();
        let deadline = clock::monotonic().after(std::time::Duration::from_secs(60));
        let open = || context.open_waiting(deadline, None, OutputLimits::default());
        let never = open();
        assert_eq!(cancel(never), Cancelled::BeforeItBegan);
        assert!(!context.begin());
        let begun = open();
        assert!(context.begin() && !cancelled(begun));
        assert_eq!(cancel(begun), Cancelled::Running);
        assert!(cancelled(begun));
        context.close();
        assert_eq!([never, begun].map(cancel), [Cancelled::Ended; 2]);
    }

    #[test]
    fn nonsense_tokens_are_closed() {
        for token in [0, 1, u64::MAX, 1 << 32 | 4095, 5 << 32 | 70_000] {
            assert_eq!(write(token, b""), abi::STATUS_CLOSED, "{token:#x}");
        }
    }
}
