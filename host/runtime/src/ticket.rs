//! A caller and a lane, apart: the caller may go away, by deadline or by being dropped, and the lane is told.

use super::deadlines::{self, Deadline};
use super::lanes::{Gate, Pool, Refused, Work};
use super::loader::{self, Slot};
use extman_model::clock::{self, Monotonic};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot::{self, Receiver, error::RecvError};

/// Shared by the caller and the lane.
#[derive(Default)]
pub(super) struct Ticket {
    token: AtomicU64,
    gave_up: AtomicBool,
    begun: AtomicBool,
    /// Hears of the token once its call is cancelled.
    on_cancel: OnceLock<Box<dyn Fn(u64) + Send + Sync>>,
}

impl Ticket {
    /// `tell` hears once the call that is opened next is cancelled, on whatever thread that happens: it must be quick.
    pub(super) fn on_cancel(&self, tell: impl Fn(u64) + Send + Sync + 'static) {
        let _ = self.on_cancel.set(Box::new(tell));
    }

    /// The lane has opened a slot for this.
    pub(super) fn opened(&self, token: u64) {
        self.token.store(token, SeqCst);
        if self.gave_up.load(SeqCst) {
            self.cancel(token);
        }
    }

    fn give_up(&self) {
        self.gave_up.store(true, SeqCst);
        match self.token.load(SeqCst) {
            0 => {}
            token => self.cancel(token),
        }
    }

    fn cancel(&self, token: u64) {
        loader::cancel(token);
        if let Some(tell) = self.on_cancel.get() {
            tell(token);
        }
    }
}

/// Why nothing came back from a lane.
#[derive(Debug)]
pub(super) enum NoReturn {
    /// It was not taken.
    Refused(Refused),
    /// The deadline passed. The lane may still be in it.
    Deadline,
    /// The deadline passed before a lane took it, and none will.
    NotBegun,
    /// The pool was shut down before it ran.
    Dropped,
}

impl NoReturn {
    /// Whether the host kept it from the plugin: the plugin's code was never entered, and not for what it did before.
    pub(super) fn is_hosts(&self) -> bool {
        match self {
            NoReturn::NotBegun | NoReturn::Dropped => true,
            NoReturn::Refused(refused) => {
                matches!(
                    refused,
                    Refused::QueueFull(_) | Refused::NoThread(_) | Refused::Closing
                )
            }
            NoReturn::Deadline => false,
        }
    }
}

/// Runs `run` on a lane of `pool` and waits until `work.deadline`. Past it, or if this future is dropped, the ticket's call is
/// cancelled; if it has not begun it is not begun.
pub(super) async fn on_lane<T: Send + 'static>(
    pool: &Pool,
    work: Work,
    how: How,
    run: impl FnOnce(&Slot, &Ticket) -> T + Send + 'static,
) -> Result<T, NoReturn> {
    deadlines::make_ready();
    let ticket = Arc::new(Ticket::default());
    let mut leaver = Leaver(Some(ticket.clone()));
    let (reply, replied) = oneshot::channel();
    let deadline = work.deadline;
    let run = move |slot: &Slot| {
        ticket.begun.store(true, SeqCst);
        (!ticket.gave_up.load(SeqCst)).then(|| run(slot, &ticket))
    };
    let answer = move |value: Option<T>| {
        if let Some(value) = value {
            let _ = reply.send(value);
        }
    };
    match how {
        How::Urgent => pool.submit_urgent(work, run, answer),
        How::Queued(gate) => pool.submit(work, gate, run, answer),
        How::Check(clock) => pool.submit_check(work, clock, run, answer),
    }
    .map_err(NoReturn::Refused)?;
    match answer_by(deadline, replied).await {
        Some(Ok(value)) => {
            leaver.0 = None;
            Ok(value)
        }
        Some(Err(_)) => Err(NoReturn::Dropped),
        None => {
            let Some(ticket) = leaver.0.take() else {
                return Err(NoReturn::Deadline);
            };
            // In this order: whoever begins after it sees that it was given up.
            ticket.give_up();
            let begun = ticket.begun.load(SeqCst);
            Err(if begun {
                NoReturn::Deadline
            } else {
                NoReturn::NotBegun
            })
        }
    }
}

/// The answer, or `None` once the deadline has come.
pub(super) async fn answer_by<T>(at: Monotonic, replied: Receiver<T>) -> Option<Result<T, RecvError>> {
    let (mut deadline, mut replied) = (Deadline::new(at), pin!(replied));
    let first = poll_fn(|context| {
        if let Poll::Ready(answer) = replied.as_mut().poll(context) {
            return Poll::Ready(Ok(Some(answer)));
        }
        deadline.poll(context).map(|reached| reached.map(|()| None))
    });
    match first.await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::error!(%error, "no thread for deadlines: the async runtime's timers are used");
            let left = at.since(clock::monotonic());
            tokio::time::timeout(left, replied).await.ok()
        }
    }
}

/// Where a job goes in the queue.
pub(super) enum How {
    /// Before all that waits.
    Urgent,
    /// Before calls; the lane is lost by this time, which runs from when the code begins.
    Check(Duration),
    /// Behind what waits, and only while the gate has room.
    Queued(Option<Arc<Gate>>),
}

/// Gives up the ticket that it still holds when it is dropped.
struct Leaver(Option<Arc<Ticket>>);

impl Drop for Leaver {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            ticket.give_up();
        }
    }
}
