//! Streamed output: a bounded queue between a plugin that writes and a caller that reads.

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
                return false;
            }
            state = self
                .room
                .wait_timeout(state, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if state.abandoned || state.finished || stop() {
            return false;
        }
        state.queue.push_back(data);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        true
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

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
