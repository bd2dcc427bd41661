//! Calls that are handed over to the plugin: a lane submits them, and none waits for their end.

use super::{Call, CallMetrics, Failure, Instance, Served, held_up, reply};
use crate::lanes::Priority;
use crate::loader::{self, CallContext, Cancelled, Completed, Frames};
use crate::pending_call::{DispatchError, PendingCall, answer_by, on_its_way};
use extman_abi::CallToken;
use extman_model::CallError;
use extman_model::clock::{self, Monotonic};
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::oneshot::{self, Receiver};

impl Instance {
    /// Whether the manifest says that calls of this capability hold no thread.
    pub(super) fn is_async(&self, capability: &str) -> bool {
        let mut declared = self.module.manifest().capabilities.iter();
        declared.any(|declared| declared.is_async && declared.name == capability)
    }

    /// The limit holds a call only while a lane submits it: as many may be in flight as the host has tokens.
    pub(super) async fn hand_over(
        &self,
        call: Call,
        stream: Option<Arc<Frames>>,
        counted: Option<&Arc<CallMetrics>>,
    ) -> Result<Served, DispatchError> {
        let reader = stream.clone();
        let timeout = call.timeout.unwrap_or(self.settings.call_timeout());
        let work = self.call_work(&call.capability, timeout);
        let deadline = work.deadline;
        let (plugin, limits) = (self.plugin.clone(), self.output_limits());
        let tell = self.tells_of_cancel();
        let (completed, mut completes) = oneshot::channel::<Completed>();
        let streams = stream.is_some();
        let pending = PendingCall::open(deadline, stream, limits).in_chain(call.chain.clone());
        let run = move |context: CallContext| {
            let token = context.token();
            let input = call.input(streams);
            let completion = move |outcome| {
                let _ = completed.send(outcome);
            };
            let handed_over = plugin.submit(context, input, Box::new(completion));
            handed_over.map(|()| InFlight {
                token,
                is_over: false,
                tell: tell.map(|tell| Box::new(tell) as Box<_>),
            })
        };
        let began = clock::monotonic();
        let priority = Priority::Call(Some(self.concurrency.clone()));
        let mut submitted = pin!(pending.dispatch(&self.pool, work, priority, run));
        // It may be completed in a `submit` that does not come back.
        let first = tokio::select! {
            biased;
            returned = &mut submitted => First::Submitted(returned?),
            Ok(completed) = &mut completes => First::Completed(completed),
        };
        let completed = match first {
            First::Completed(completed) => completed,
            First::Submitted(Ok(in_flight)) => in_flight.completed(deadline, completes).await?,
            First::Submitted(Err(error)) => {
                // It was not handed over, so that it made no calls.
                let is_passed_on = false;
                return Ok(Err(Failure { error, is_passed_on }));
            }
        };
        let ran = clock::monotonic().since(began);
        if let Some(counted) = counted {
            counted.returned(ran.saturating_sub(held_up(reader.as_ref())));
        }
        Ok(match completed.failure {
            Some(error) => Err(Failure::of(error, &completed.output)),
            None => Ok(reply(completed.output, completed.usage, ran)),
        })
    }
}

/// What came first of a call.
enum First {
    /// The plugin has taken it, or not.
    Submitted(Result<InFlight, CallError>),
    /// Its end.
    Completed(Completed),
}

/// A call that the plugin has. Dropped before its end, it is given up: what the plugin still does under its token is refused.
struct InFlight {
    token: CallToken,
    is_over: bool,
    /// Tells the plugin that the call is cancelled.
    tell: Option<Box<dyn Fn(CallToken) + Send>>,
}

impl InFlight {
    async fn completed(
        mut self,
        deadline: Monotonic,
        mut completes: Receiver<Completed>,
    ) -> Result<Completed, DispatchError> {
        let answer = match completes.is_terminated() {
            true => None,
            false => answer_by(deadline, &mut completes).await,
        };
        let completed = match answer {
            Some(Ok(completed)) => completed,
            _ => {
                // Before it is cancelled, and with it what it waits in.
                let late = loader::late(self.token);
                match loader::cancel(self.token) {
                    Cancelled::Ended if !completes.is_terminated() => {
                        on_its_way(&mut completes, late).await?
                    }
                    _ => return Err(DispatchError::Deadline(late)),
                }
            }
        };
        self.is_over = true;
        Ok(completed)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.is_over {
            loader::cancel(self.token);
            // In this order: what its plugin still completes is refused, whenever it hears. Of what it has completed it hears nothing.
            if loader::give_up(self.token)
                && let Some(tell) = &self.tell
            {
                tell(self.token);
            }
        }
    }
}
