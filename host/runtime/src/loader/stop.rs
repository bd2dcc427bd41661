//! Ends a wait from outside: the word that a call of another plugin waits at, beside its answer.

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::PoisonError;
use std::task::{Context, Waker};

/// Ends a wait from outside, once and for good.
#[derive(Debug)]
pub(crate) struct Stop {
    is_set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Stop {
            is_set: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    /// Ends it.
    pub(crate) fn set(&self) {
        self.is_set.store(true, SeqCst);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it was ended.
    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(SeqCst)
    }

    /// Whether it was ended; if not, the task is woken when it is. One task at a time.
    pub(crate) fn poll(&self, context: &Context<'_>) -> bool {
        if self.is_set() {
            return true;
        }
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
        drop(waker);
        // Again: whoever ended it between may have found no waker.
        self.is_set()
    }
}
