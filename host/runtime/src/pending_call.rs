//! A call and its caller, apart: the caller may go away, by deadline or by being dropped, and the call is cancelled then.

use super::deadlines::{self, Deadline};
use super::lanes::{Pool, Priority, Refused, Work};
use super::loader::{self, CallContext, Cancelled, Chain, Frames, Late, OutputLimits};
use extman_abi::CallToken;
use extman_model::clock::{self, Monotonic};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot::{self, Receiver, error::RecvError};

/// A call that has a token and waits for a lane. Dropped, it is cancelled.
pub(super) struct PendingCall {
    /// `None` if there was no token left for it.
    context: Option<CallContext>,
    cancel: CancelOnDrop,
}

/// What is said where there is no token left.
pub(super) const TOO_MANY_CALLS: &str = "there are too many calls in flight in this host";

/// Why a lane has brought no answer.
#[derive(Debug)]
pub(super) enum DispatchError {
    /// As many calls are in flight in this host as it has tokens for.
    TooManyCalls,
    /// It was not taken.
    Refused(Refused),
    /// The deadline passed. The lane may still be in it.
    Deadline(Late),
    /// The deadline passed before a lane took it, and none will.
    NotBegun,
    /// The pool was shut down before it ran.
    Dropped,
}

/// How long the answer of a call that ended as its deadline came is waited for.
const ON_ITS_WAY_MAX: Duration = Duration::from_millis(100);

impl DispatchError {
    /// Whether the host kept it from the plugin: the plugin's code was never entered, and not for what it did before.
    pub(super) fn is_hosts(&self) -> bool {
        match self {
            DispatchError::TooManyCalls | DispatchError::NotBegun | DispatchError::Dropped => true,
            DispatchError::Refused(refused) => {
                matches!(
                    refused,
                    Refused::QueueFull(_) | Refused::NoThread(_) | Refused::Closing
                )
            }
            DispatchError::Deadline(_) => false,
        }
    }
}

impl PendingCall {
    /// A call that is open from here on, under a deadline, and has not begun.
    pub(super) fn open(deadline: Monotonic, stream: Option<Arc<Frames>>, limits: OutputLimits) -> Self {
        let context = CallContext::acquire();
        let token = context
            .as_ref()
            .map(|context| context.open_waiting(deadline, stream, limits));
        let cancel = CancelOnDrop { token, notify: None };
        PendingCall { context, cancel }
    }

    /// It was made in another call, as this link of the chain.
    pub(super) fn in_chain(self, chain: Option<Arc<Chain>>) -> Self {
        if let (Some(context), Some(chain)) = (&self.context, chain) {
            context.set_chain(chain);
        }
        self
    }

    /// A lifecycle step.
    pub(super) fn step(deadline: Monotonic) -> Self {
        PendingCall::open(deadline, None, OutputLimits::default())
    }

    /// `notify` is called once the call is cancelled while its code runs, on whatever thread that happens: it must be quick.
    pub(super) fn on_cancel(mut self, notify: Option<impl Fn(CallToken) + Send + 'static>) -> Self {
        self.cancel.notify = notify.map(|notify| Box::new(notify) as Box<_>);
        self
    }

    /// Runs `run` on a lane of `pool` and waits until `work.deadline`. Past it, or if this future is dropped, the call is cancelled; if
    /// it has not begun it does not begin.
    pub(super) async fn dispatch<T: Send + 'static>(
        self,
        pool: &Pool,
        work: Work,
        priority: Priority,
        run: impl FnOnce(CallContext) -> T + Send + 'static,
    ) -> Result<T, DispatchError> {
        deadlines::make_ready();
        let PendingCall { context, mut cancel } = self;
        let context = context.ok_or(DispatchError::TooManyCalls)?;
        let (reply, mut replied) = oneshot::channel();
        let deadline = work.deadline;
        let run = move || context.begin().then(|| run(context));
        let answer = move |value: Option<T>| {
            if let Some(value) = value {
                let _ = reply.send(value);
            }
        };
        pool.submit(work, priority, run, answer)
            .map_err(DispatchError::Refused)?;
        match answer_by(deadline, &mut replied).await {
            Some(Ok(value)) => {
                cancel.token = None;
                Ok(value)
            }
            Some(Err(_)) => Err(DispatchError::Dropped),
            None => {
                // Before it is cancelled, and with it what it waits in.
                let late = cancel.token.map_or(Late::ALONE, loader::late);
                match cancel.cancel() {
                    Cancelled::BeforeItBegan => Err(DispatchError::NotBegun),
                    Cancelled::Running => Err(DispatchError::Deadline(late)),
                    Cancelled::Ended => on_its_way(&mut replied, late).await,
                }
            }
        }
    }
}

/// Cancels a call, once: when it is dropped at the latest, unless the call was answered.
struct CancelOnDrop {
    /// `None` once there is nothing to cancel any more.
    token: Option<CallToken>,
    /// Called if the call's code runs when it is cancelled.
    notify: Option<Box<dyn Fn(CallToken) + Send>>,
}

impl CancelOnDrop {
    fn cancel(&mut self) -> Cancelled {
        let Some(token) = self.token.take() else {
            return Cancelled::Ended;
        };
        let was = loader::cancel(token);
        if was == Cancelled::Running
            && let Some(notify) = &self.notify
        {
            notify(token);
        }
        was
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The answer, or `None` once the deadline has come.
pub(super) async fn answer_by<T>(at: Monotonic, replied: &mut Receiver<T>) -> Option<Result<T, RecvError>> {
    let mut deadline = Deadline::new(at);
    let first = poll_fn(|context| {
        if let Poll::Ready(answer) = pin!(&mut *replied).poll(context) {
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

/// What a call says that ended as its deadline came: that tells more than that it was late.
pub(super) async fn on_its_way<T>(replied: &mut Receiver<T>, late: Late) -> Result<T, DispatchError> {
    // Not without end: what has ended the call may be stopped before it sends. From now on, and not from the deadline: who waits may be late itself.
    let until = clock::monotonic().after(ON_ITS_WAY_MAX);
    match answer_by(until, replied).await {
        Some(Ok(answer)) => Ok(answer),
        _ => Err(DispatchError::Deadline(late)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[tokio::test]
    async fn answer_of_a_call_that_has_ended_is_taken_however_late_its_caller_is() {
        deadlines::make_ready();
        let (reply, mut replied) = oneshot::channel();
        let sends = async {
            tokio::task::yield_now().await;
            reply.send(7).expect("somebody waits for it");
        };
        let (answer, ()) = tokio::join!(on_its_way(&mut replied, Late::ALONE), sends);
        assert_eq!(answer.ok(), Some(7));
        let (_kept, mut replied) = oneshot::channel::<()>();
        let answer = on_its_way(&mut replied, Late::ALONE).await;
        assert!(matches!(answer, Err(DispatchError::Deadline(_))));
    }

    #[test]
    fn call_that_is_cancelled_as_it_begins_is_told_once_if_it_runs_and_never_if_not() {
        const CALLS: usize = 20_000;
        let told = Arc::new(AtomicUsize::new(0));
        let deadline = clock::monotonic().after(Duration::from_secs(600));
        let (mut contexts, mut cancels) = (Vec::new(), Vec::new());
        for _ in 0..CALLS {
            let told = told.clone();
            let tell = move |_| {
                told.fetch_add(1, SeqCst);
            };
            let call = PendingCall::step(deadline).on_cancel(Some(tell));
            contexts.push(call.context.unwrap());
            cancels.push(call.cancel);
        }
        let (one, other) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let together = |mine: &AtomicUsize, others: &AtomicUsize, at: usize| {
            mine.store(at, SeqCst);
            let mut looks = 0;
            while others.load(SeqCst) < at {
                crate::sync::pause(&mut looks);
            }
        };
        let begun = std::thread::scope(|scope| {
            let (one, other) = (&one, &other);
            scope.spawn(move || {
                for (at, mut cancel) in cancels.into_iter().enumerate() {
                    together(one, other, at);
                    cancel.cancel();
                }
            });
            let begin = |(at, context): (usize, &CallContext)| {
                together(other, one, at);
                context.begin()
            };
            contexts
                .iter()
                .enumerate()
                .map(begin)
                .filter(|begun| *begun)
                .count()
        });
        assert_eq!(told.load(SeqCst), begun, "of {CALLS}");
    }
}
