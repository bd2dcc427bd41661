//! Streamed output: a bounded queue between a plugin that writes and a caller that reads.

use crate::clock::{self, Monotonic};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Frames on their way from a call to its reader.
#[derive(Debug)]
pub struct Frames {
    state: Mutex<State>,
    room: Condvar,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    content_type: Option<String>,
    queue: VecDeque<Vec<u8>>,
    finished: bool,
    abandoned: bool,
    reader: Option<Waker>,
    /// For how long the writer has waited for room, and since when it does.
    held_up: Duration,
    held_up_since: Option<Monotonic>,
}

/// How often a blocked writer looks whether it should stop.
const LOOK: Duration = Duration::from_millis(20);

impl Frames {
    /// A queue of this many frames.
    pub fn new(capacity: usize) -> Self {
        Frames {
            state: Mutex::default(),
            room: Condvar::new(),
            capacity: capacity.max(1),
        }
    }

    /// The next frame, once there is one; `None` at the end.
    pub async fn next(&self) -> Option<Vec<u8>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// Media type, once the plugin has named one.
    pub fn content_type(&self) -> Option<String> {
        self.lock().content_type.clone()
    }

    /// The reader is gone: writers are told to stop.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        state.queue.clear();
        self.room.notify_all();
    }

    /// Whether the reader is gone.
    pub fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let mut state = self.lock();
        if let Some(frame) = state.queue.pop_front() {
            self.room.notify_one();
            return Poll::Ready(Some(frame));
        }
        if state.finished || state.abandoned {
            return Poll::Ready(None);
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// Names the media type of what follows.
    pub fn begin(&self, content_type: &str) {
        self.lock().content_type = Some(content_type.to_owned());
    }

    /// Waits for room until `stop` says otherwise. `false` if the frame was not taken.
    pub fn push(&self, data: Vec<u8>, stop: impl Fn() -> bool) -> bool {
        let mut state = self.lock();
        while state.queue.len() >= self.capacity {
            if state.abandoned || stop() {
                state.go_on();
                return false;
            }
            state.held_up_since.get_or_insert_with(clock::monotonic);
            state = self
                .room
                .wait_timeout(state, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.go_on();
        if state.abandoned || state.finished || stop() {
            return false;
        }
        state.queue.push_back(data);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        true
    }

    /// For how long its writer has waited for the reader so far.
    pub fn held_up(&self) -> Duration {
        let state = self.lock();
        let now = state.held_up_since.map(|since| clock::monotonic().since(since));
        state.held_up + now.unwrap_or_default()
    }

    /// No more frames come: what is queued can still be read, and writers are told to stop.
    pub fn finish(&self) {
        let mut state = self.lock();
        state.finished = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// Has writers look whether they should stop.
    pub fn wake(&self) {
        self.room.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The writer waits no longer.
    fn go_on(&mut self) {
        if let Some(since) = self.held_up_since.take() {
            self.held_up += clock::monotonic().since(since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn time_that_a_writer_waits_for_its_reader_is_counted_while_it_waits_and_after() {
        let frames = Arc::new(Frames::new(1));
        assert!(frames.push(b"1".to_vec(), || false));
        assert_eq!(frames.held_up(), Duration::ZERO);
        let writer = std::thread::spawn({
            let frames = frames.clone();
            move || frames.push(b"2".to_vec(), || false)
        });
        while frames.held_up() < Duration::from_millis(5) {
            std::thread::yield_now();
        }
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(frames.poll_next(&mut context), Poll::Ready(Some(b"1".to_vec())));
        assert!(writer.join().unwrap());
        let waited = frames.held_up();
        assert!(waited >= Duration::from_millis(5));
        assert_eq!(frames.held_up(), waited, "it waits no longer");
    }

    #[test]
    fn a_full_queue_blocks_until_it_is_read_or_abandoned() {
        let frames = Arc::new(Frames::new(1));
        assert!(frames.push(b"1".to_vec(), || false));
        assert!(!frames.push(b"2".to_vec(), || true), "full, and told to stop");
        let writer = std::thread::spawn({
            let frames = frames.clone();
            move || frames.push(b"2".to_vec(), || false)
        });
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(frames.poll_next(&mut context), Poll::Ready(Some(b"1".to_vec())));
        assert!(writer.join().unwrap());
        frames.abandon();
        assert!(!frames.push(b"3".to_vec(), || false));
        assert_eq!(frames.poll_next(&mut context), Poll::Ready(None));
    }
}
