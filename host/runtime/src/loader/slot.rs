//! Slots: what a plugin's tokens stand for while a call, a check or a step is under way.
//!
//! A token is a slot's number and its generation. The generation is odd while the slot is open and moves on when it is closed, so
//! a token that was kept too long no longer fits and harms nobody. Slots are never freed, only used again: a plugin
//! that holds a token for ever holds a number, not memory. What a plugin does with its token is in `sink`.
//!
//! A slot belongs to one thread, which alone opens and closes it; that costs one locked instruction a call. Whoever has a token comes
//! to the output by the same word that holds the generation, so a stale token never gets hold of it, and an open one costs
//! one locked instruction a write. The output is held for a copy between the host's own buffers at most: what a plugin lends is
//! copied before, so that memory of it which never comes stalls the call that lent it and nobody else.
//!
//! A call that is handed over to its plugin (`submit`) keeps its place when the thread goes on: the slot takes another one, and whoever
//! ends the call, by `complete` or by giving it up, closes the place and frees it.

use super::sink::{Completed, Completion, Output, OutputLimits, Writing};
use extman_abi as abi;
use extman_model::Usage;
use extman_model::clock::{self, Monotonic};
use extman_model::frames::Frames;
use std::cell::{Cell, UnsafeCell};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// A place for one call or check at a time, and the right to open and close it. Dropping it gives it back.
pub struct Slot {
    // A cell: the slot may be moved to another thread, but not shared with one.
    place: Cell<&'static Place>,
}

/// What tokens lead to. Aligned, so that the calls of two threads never write to one cache line.
#[repr(align(128))]
pub(super) struct Place {
    number: u32,
    /// Twice the generation, and `BUSY` while somebody is at the output.
    state: AtomicU64,
    cancelled: AtomicBool,
    deadline: AtomicU64,
    instance: AtomicU64,
    output: UnsafeCell<Writing>,
}

// SAFETY: the output is only touched by who holds `BUSY`, and while the slot is closed by the one thread that owns the `Slot`.
unsafe impl Sync for Place {}

const BUSY: u64 = 1;
const NUMBER_BITS: u32 = 20;
const SEGMENT: usize = 1024;
const SEGMENTS: usize = 1024;
const _: () = assert!(SEGMENT * SEGMENTS == 1 << NUMBER_BITS);

static PLACES: [OnceLock<Box<[Place]>>; SEGMENTS] = [const { OnceLock::new() }; SEGMENTS];
static FREE: Mutex<Free> = Mutex::new(Free {
    returned: Vec::new(),
    made: 0,
});

struct Free {
    returned: Vec<u32>,
    made: u32,
}

impl Slot {
    /// A slot that nobody else has; `None` if all 2^20 are taken.
    pub fn acquire() -> Option<Slot> {
        Place::take().map(|place| Slot {
            place: Cell::new(place),
        })
    }

    /// Opens the slot for one call and returns its token.
    #[inline]
    pub fn open(
        &self,
        deadline: Option<Monotonic>,
        stream: Option<Arc<Frames>>,
        limits: OutputLimits,
    ) -> u64 {
        if self.open_generation().is_some() {
            self.close();
        }
        let place = self.place.get();
        // SAFETY: the slot is closed, so no token fits; and only this thread could open it.
        unsafe { (*place.output.get()).restart(stream, limits) };
        place.cancelled.store(false, Relaxed);
        place.instance.store(0, Relaxed);
        place
            .deadline
            .store(deadline.map_or(u64::MAX, Monotonic::as_nanos), Relaxed);
        let generation = (place.state.load(Relaxed) >> 1) + 1;
        place.state.store(generation << 1, Release);
        generation << NUMBER_BITS | u64::from(place.number)
    }

    /// Closes the slot: the token of the call is stale from here on. Returns what was written.
    #[inline]
    pub fn close(&self) -> Output {
        let entered = self
            .open_generation()
            .and_then(|generation| self.place.get().enter(generation));
        let Some(mut writing) = entered else {
            return Output::default();
        };
        writing.leave_as += 2;
        let (output, stream) = writing.take();
        drop(writing);
        if let Some(stream) = stream {
            stream.finish();
        }
        output
    }

    /// Whether a call is open in it.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.open_generation().is_some()
    }

    fn open_generation(&self) -> Option<u64> {
        // Only this thread changes it.
        let generation = self.place.get().state.load(Relaxed) >> 1;
        (generation & 1 == 1).then_some(generation)
    }

    /// Hands the open call over: from here on it is ended by whoever completes it or gives it up, and `completion` hears of that. The
    /// slot takes another place. `false`, and nothing is handed over, if there is none.
    pub(super) fn hand_over(&self, completion: Completion) -> bool {
        let entered = self
            .open_generation()
            .and_then(|generation| self.place.get().enter(generation));
        let Some(mut writing) = entered else { return false };
        let Some(place) = Place::take() else { return false };
        writing.hand_over(completion);
        drop(writing);
        self.place.set(place);
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.close();
        self.place.get().give_back();
    }
}

impl Place {
    /// One that nobody else has.
    fn take() -> Option<&'static Place> {
        let mut free = lock(&FREE);
        let number = match free.returned.pop() {
            Some(number) => number,
            None if (free.made as usize) < SEGMENT * SEGMENTS => {
                free.made += 1;
                free.made - 1
            }
            None => return None,
        };
        let segment = PLACES[number as usize / SEGMENT].get_or_init(|| {
            let first = number / SEGMENT as u32 * SEGMENT as u32;
            (first..first + SEGMENT as u32).map(Place::new).collect()
        });
        Some(&segment[number as usize % SEGMENT])
    }

    /// Nobody has it any more, and it is closed.
    fn give_back(&self) {
        lock(&FREE).returned.push(self.number);
    }

    fn new(number: u32) -> Place {
        Place {
            number,
            state: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            deadline: AtomicU64::new(u64::MAX),
            instance: AtomicU64::new(0),
            output: UnsafeCell::default(),
        }
    }

    /// Gets hold of the output of the call under this token; `None` if that is over. Held for a copy at most, never while
    /// anybody is waited for.
    #[inline]
    pub(super) fn enter_by(&self, token: u64) -> Option<Entered<'_>> {
        self.enter(token >> NUMBER_BITS)
    }

    #[inline]
    fn enter(&self, generation: u64) -> Option<Entered<'_>> {
        let open = generation << 1;
        let mut looks = 0;
        loop {
            match self.state.compare_exchange(open, open | BUSY, Acquire, Relaxed) {
                Ok(_) => {
                    return Some(Entered {
                        place: self,
                        leave_as: open,
                    });
                }
                Err(now) if now & !BUSY != open => return None,
                Err(_) => pause(&mut looks),
            }
        }
    }

    pub(super) fn is(&self, token: u64) -> bool {
        self.state.load(Acquire) >> 1 == token >> NUMBER_BITS
    }

    /// Whether the call was cancelled or its deadline has passed.
    #[inline]
    pub(super) fn stopping(&self) -> bool {
        self.cancelled.load(Acquire) || clock::has_come(self.deadline())
    }

    /// The instance that the call is inside, once it is.
    pub(super) fn instance(&self) -> &AtomicU64 {
        &self.instance
    }

    /// The deadline; far in the future if there is none.
    pub(super) fn deadline(&self) -> Monotonic {
        Monotonic::from_nanos(self.deadline.load(Relaxed))
    }
}

/// The output in hand.
pub(super) struct Entered<'a> {
    place: &'a Place,
    leave_as: u64,
}

impl Deref for Entered<'_> {
    type Target = Writing;

    fn deref(&self) -> &Writing {
        // SAFETY: whoever holds `BUSY` has the output for itself.
        unsafe { &*self.place.output.get() }
    }
}

impl DerefMut for Entered<'_> {
    fn deref_mut(&mut self) -> &mut Writing {
        // SAFETY: as above.
        unsafe { &mut *self.place.output.get() }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.place.state.store(self.leave_as, Release);
    }
}

/// Waits a little for who is at the output: two threads of one plugin that write to one call, which is rare, and then for a copy.
fn pause(looks: &mut u32) {
    match *looks {
        0..32 => std::hint::spin_loop(),
        32..64 => std::thread::yield_now(),
        _ => std::thread::sleep(Duration::from_micros(50)),
    }
    *looks = looks.saturating_add(1);
}

/// Where a token leads to that could be an open one; whether it still is, the place tells.
pub(super) fn find(token: u64) -> Option<&'static Place> {
    let number = (token & ((1 << NUMBER_BITS) - 1)) as usize;
    let place = PLACES.get(number / SEGMENT)?.get()?.get(number % SEGMENT)?;
    ((token >> NUMBER_BITS) & 1 == 1).then_some(place)
}

/// Ends a call that was handed over, once: its completion hears what `ended` says of it. `false` if it has ended, or is none.
pub(super) fn complete(token: u64, ended: impl FnOnce(Output) -> Completed) -> bool {
    let Some(place) = find(token) else { return false };
    let Some(mut writing) = place.enter_by(token) else {
        return false;
    };
    let Some(completion) = writing.completion() else {
        return false;
    };
    writing.leave_as += 2;
    let (output, stream) = writing.take();
    drop(writing);
    place.give_back();
    if let Some(stream) = stream {
        stream.finish();
    }
    completion(ended(output));
    true
}

/// The host ends a call that was handed over: nobody waits for it any more. Whatever its plugin still does under its token is refused.
pub fn give_up(token: u64) -> bool {
    complete(token, |output| Completed {
        status: abi::STATUS_CANCELLED,
        failure: None,
        usage: Usage::default(),
        output,
    })
}

/// Asks the call of a token to stop; nothing if it has ended.
pub fn cancel(token: u64) {
    let Some(place) = find(token) else { return };
    // Held, or the slot could be another call's by the time that the mark is set.
    let Some(writing) = place.enter_by(token) else {
        return;
    };
    place.cancelled.store(true, Release);
    let stream = writing.stream().cloned();
    drop(writing);
    if let Some(stream) = stream {
        stream.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::sink::{begin, cancelled, write};
    use super::*;
    use std::sync::atomic::AtomicUsize;

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
        assert_eq!(begin(old, b"text/plain"), abi::STATUS_CLOSED);
        cancel(old);
        assert!(!cancelled(new));
        assert_eq!(slot.close().body, b"");
    }

    #[test]
    fn a_slot_that_was_left_open_starts_anew() {
        let slot = Slot::acquire().unwrap();
        let left = slot.open(None, None, OutputLimits::default());
        assert_eq!(write(left, b"a"), abi::STATUS_OK);
        let new = slot.open(None, None, OutputLimits::default());
        assert_eq!(write(left, b"b"), abi::STATUS_CLOSED);
        assert_eq!(write(new, b"c"), abi::STATUS_OK);
        assert_eq!(slot.close().body, b"c");
        assert_eq!(slot.close().body, b"");
    }

    #[test]
    fn what_many_threads_write_is_all_there_and_nothing_comes_after_the_close() {
        let slot = Slot::acquire().unwrap();
        for _ in 0..50 {
            let token = slot.open(None, None, OutputLimits::default());
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
                slot.close()
            });
            assert_eq!(output.body.len(), 5 * taken.load(Relaxed));
            assert!(output.body.chunks(5).all(|chunk| chunk == b"12345"));
        }
    }

    #[test]
    fn a_call_that_was_handed_over_ends_once_and_by_anybody() {
        let slot = Slot::acquire().unwrap();
        let token = slot.open(None, None, OutputLimits::default());
        let (told, hears) = std::sync::mpsc::channel();
        assert!(slot.hand_over(Box::new(move |completed: Completed| {
            let _ = told.send(completed.output.body);
        })));
        let other = slot.open(None, None, OutputLimits::default());
        assert_ne!(token, other, "the slot goes on with another place");
        let end = |token| {
            complete(token, |output| Completed {
                status: abi::STATUS_OK,
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
    fn nonsense_tokens_are_closed() {
        for token in [0, 1, u64::MAX, 1 << 32 | 4095, 5 << 32 | 70_000] {
            assert_eq!(write(token, b""), abi::STATUS_CLOSED, "{token:#x}");
        }
    }
}
