//! Closing a library: on a thread that ends right after it, and where it is not gone at once, looking again
//! from another one, since the closing thread's own thread-locals may be the last thing that holds the library.
//! Of one that is gone at once no code is left for that thread's end, so nobody waits for it.
//!
//! ```text
//!   close ──▶ under way ──▶ closed ──▶ look ──▶ under way ──▶ verdict
//! ```
//!
//! Either thread may hang in a finaliser, then it may come back later; and where no thread can be made, that can be tried again.

use super::ModuleBudgets;
use crate::loader::{Closed, CodeOwner, Mapped, NotClosed, join_within};
use crate::process_guard;
use extman_model::{ResidentReason, Verdict, clock};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

/// What came of it.
pub(super) enum CloseOutcome {
    /// It was closed.
    Closed(Verdict),
    /// Something of it is alive: it was not touched.
    NotClosed(NotClosed),
    /// It has not come to its end, and may be looked at again.
    Hangs(Closing, Verdict),
}

/// A close that has begun.
pub(super) enum Closing {
    /// It is being closed.
    Close(Running<CameOfClosing>),
    /// It is closed, and whether it is gone is to be looked at.
    Unseen(Box<Closed>),
    /// That is being looked at.
    Look(Running<Result<Verdict, Box<Closed>>>),
}

/// `None` for a library that was gone as soon as it was closed.
type CameOfClosing = Result<Option<Box<Closed>>, NotClosed>;

/// What a closing thread is, whichever it is.
#[derive(Clone, Copy)]
pub(super) struct Closer<'a> {
    /// The library's name.
    pub name: &'a str,
    pub stack_bytes: usize,
    pub budgets: ModuleBudgets,
}

impl Closer<'_> {
    /// Closes what nobody holds any more.
    pub(super) fn close(self, mapped: Box<Mapped>) -> CloseOutcome {
        let settle = self.budgets.settle;
        let owner = self.name.to_owned();
        let close = move |mapped: Box<Mapped>, answer: &dyn Fn(CameOfClosing)| {
            let window = process_guard::window(&owner, "unload", CodeOwner::UNKNOWN);
            let closed = mapped.close(settle);
            drop(window);
            match closed {
                Ok(gone) if gone.is_gone() => {
                    answer(Ok(None));
                    // Nobody waits for the memory of its copy to be freed.
                    drop(gone);
                }
                Ok(unseen) => answer(Ok(Some(Box::new(unseen)))),
                Err(not_closed) => answer(Err(not_closed)),
            }
        };
        match self.start("close", mapped, close) {
            // What is just ending has its own time, before the finalisers have theirs.
            Ok(running) => self.closed(running, settle.saturating_add(self.budgets.close)),
            Err(mapped) => CloseOutcome::NotClosed(NotClosed {
                verdict: hangs(NO_THREAD),
                mapped,
            }),
        }
    }

    /// What has become of it meanwhile.
    pub(super) fn again(self, closing: Closing) -> CloseOutcome {
        match closing {
            Closing::Close(running) => self.closed(running, Duration::ZERO),
            Closing::Unseen(closed) => self.look(closed),
            Closing::Look(running) => self.looked(running, Duration::ZERO),
        }
    }

    fn closed(self, running: Running<CameOfClosing>, patience: Duration) -> CloseOutcome {
        match running.end_within(patience, |came| matches!(came, Ok(None))) {
            Ok(Some(Ok(None))) => CloseOutcome::Closed(Verdict::Unmapped),
            Ok(Some(Ok(Some(closed)))) => self.look(closed),
            Ok(Some(Err(not_closed))) => CloseOutcome::NotClosed(not_closed),
            Ok(None) => CloseOutcome::Closed(hangs("a finaliser that ended its thread")),
            Err(running) => CloseOutcome::Hangs(
                Closing::Close(running),
                hangs("a finaliser or a thread-local destructor"),
            ),
        }
    }

    fn look(self, closed: Box<Closed>) -> CloseOutcome {
        let look = |closed: Box<Closed>, answer: &dyn Fn(_)| answer(closed.verdict());
        match self.start("look", closed, look) {
            Ok(running) => self.looked(running, self.budgets.close),
            Err(closed) => CloseOutcome::Hangs(Closing::Unseen(closed), hangs(NO_THREAD)),
        }
    }

    fn looked(self, running: Running<Result<Verdict, Box<Closed>>>, patience: Duration) -> CloseOutcome {
        match running.end_within(patience, |_| false) {
            Ok(Some(Ok(verdict))) => CloseOutcome::Closed(verdict),
            Ok(Some(Err(closed))) => CloseOutcome::Hangs(
                Closing::Unseen(closed),
                hangs("another library is being opened or closed"),
            ),
            Ok(None) => CloseOutcome::Closed(hangs("a finaliser that ended its thread")),
            Err(running) => CloseOutcome::Hangs(Closing::Look(running), hangs("a deferred finaliser")),
        }
    }

    /// Gives what was to be run on back if no thread could be started. `run` answers once.
    fn start<I: Send + 'static, T: Send + 'static>(
        self,
        act: &str,
        on: I,
        run: impl FnOnce(I, &dyn Fn(T)) + Send + 'static,
    ) -> Result<Running<T>, I> {
        let (give, given) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("x-{act}-{}", self.name))
            .stack_size(self.stack_bytes)
            .spawn(move || {
                if let Ok(on) = given.recv() {
                    run(on, &|came| drop(answer.send(came)));
                }
            });
        match thread {
            Ok(thread) => {
                let _ = give.send(on);
                Ok(Running {
                    thread,
                    answered,
                    answer: None,
                })
            }
            Err(_) => Err(on),
        }
    }
}

fn hangs(culprit: &str) -> Verdict {
    Verdict::resident(ResidentReason::CloseHangs, culprit)
}

const NO_THREAD: &str = "no thread could be started to close it on";

/// Something that runs on a thread of its own.
pub(super) struct Running<T> {
    thread: JoinHandle<()>,
    answered: Receiver<T>,
    /// Given before its thread was gone.
    answer: Option<T>,
}

impl<T> Running<T> {
    /// What came of it, once its thread is gone, thread-local destructors included, or at once for what leaves these nothing to do. `None` if its
    /// thread was ended before; itself if it is not back in time.
    fn end_within(
        self,
        patience: Duration,
        leaves_nothing: impl FnOnce(&T) -> bool,
    ) -> Result<Option<T>, Self> {
        let give_up = clock::monotonic().after(patience);
        let Running {
            thread,
            answered,
            answer,
        } = self;
        let answer = answer.or_else(|| answered.recv_timeout(patience).ok());
        if answer.as_ref().is_some_and(leaves_nothing) {
            return Ok(answer);
        }
        match join_within(thread, give_up.since(clock::monotonic())) {
            Ok(()) => Ok(answer.or_else(|| answered.try_recv().ok())),
            Err(thread) => Err(Running {
                thread,
                answered,
                answer,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_thread_could_be_started_for_is_given_back() {
        let closer = |stack_bytes| Closer {
            name: "test",
            stack_bytes,
            budgets: ModuleBudgets::default(),
        };
        let run = |on: i32, answer: &dyn Fn(i32)| answer(on + 1);
        // No address space has room for that.
        let refused = closer(1 << 60).start("close", 7, run);
        let on = refused.err().expect("no thread");
        let running = closer(1 << 20).start("close", on, run);
        let running = running.unwrap_or_else(|_| panic!("a thread"));
        let came_to = running.end_within(Duration::from_secs(60), |_| false);
        assert_eq!(came_to.unwrap_or_else(|_| panic!("it has not ended")), Some(8));
    }

    #[test]
    fn answer_that_leaves_a_threads_end_nothing_to_do_is_not_held_up_by_it_and_any_other_is() {
        let closer = Closer {
            name: "test",
            stack_bytes: 1 << 20,
            budgets: ModuleBudgets::default(),
        };
        let (go_on, wait) = mpsc::channel::<()>();
        let run = |wait: Receiver<()>, answer: &dyn Fn(i32)| {
            answer(7);
            let _ = wait.recv();
        };
        let running = closer.start("close", wait, run);
        let running = running.unwrap_or_else(|_| panic!("a thread"));
        let Err(running) = running.end_within(Duration::from_millis(20), |_| false) else {
            panic!("its thread has not ended")
        };
        let Ok(answer) = running.end_within(Duration::ZERO, |_| true) else {
            panic!("it has answered")
        };
        assert_eq!(answer, Some(7));
        drop(go_on);
    }
}
