//! Calls on the caller's own thread, which an embedder has attached.

use super::{CallFailure, Inside, Instance, serve};
use crate::lanes::Attached;
use crate::loader::{CallContext, Input};
use crate::pending_call::TOO_MANY_CALLS;
use extman_model::clock;
use extman_model::{CallError, ErrorKind, Reply, RequestExtras};
use extman_plugin_api::manifest::schema::ThreadModel;

impl Instance {
    /// Serves one call inline, on a thread that the embedder has attached.
    ///
    /// # Errors
    /// As [`invoke`](Self::invoke); and that the instance does not run in this process or needs a thread of its own.
    pub fn invoke_attached(
        &self,
        attached: &Attached,
        capability: &str,
        body: &[u8],
    ) -> Result<Reply, CallError> {
        let served = self.serve_inline(attached, capability, body);
        served.map_err(|failure| failure.error)
    }

    /// As [`invoke_attached`](Self::invoke_attached), for callers who know somebody else to ask.
    ///
    /// # Errors
    /// As there, and whether that counts against the plugin.
    #[inline]
    pub fn serve_inline(
        &self,
        attached: &Attached,
        capability: &str,
        body: &[u8],
    ) -> Result<Reply, CallFailure> {
        if self.threads == ThreadModel::Affine {
            let text = "this plugin runs on one thread of the host's own; call it through a lane";
            let error = CallError::new(ErrorKind::Unsupported, text);
            return Err(CallFailure::refused(error));
        }
        let Some(permit) = self.concurrency.try_enter_uncounted() else {
            return self.wait_and_serve(attached, capability, body);
        };
        let _inside = Inside::new(permit, &self.pool);
        self.serve_attached(attached, capability, body)
    }

    /// For a call that finds no room: one that is let in is served, though the instance be closed while it waits.
    #[cold]
    fn wait_and_serve(
        &self,
        attached: &Attached,
        capability: &str,
        body: &[u8],
    ) -> Result<Reply, CallFailure> {
        let counted = self.metrics.begin();
        self.admit().map_err(CallFailure::refused)?;
        let Some(permit) = self.concurrency.enter_within(self.settings.call_timeout()) else {
            let text = format!(
                "all {} places of this instance are taken",
                self.concurrency.limit()
            );
            let error = CallError::new(ErrorKind::Exhausted, text);
            // That others are inside says nothing of the plugin.
            counted.end(Some(&error), true);
            return Err(CallFailure::refused(error));
        };
        let _inside = Inside::new(permit, &self.pool);
        // The thread's own account has it; until then `counted` tells of it.
        self.serve_attached(attached, capability, body)
    }

    fn serve_attached(
        &self,
        attached: &Attached,
        capability: &str,
        body: &[u8],
    ) -> Result<Reply, CallFailure> {
        attached.note(self.module.generation(), self.module.attached());
        let nested;
        let context = match attached.context() {
            own if !own.is_open() => own,
            // This thread is inside a call already, and came back by way of its embedder.
            _ => {
                let none_left = || CallFailure::refused(CallError::new(ErrorKind::Exhausted, TOO_MANY_CALLS));
                nested = CallContext::acquire().ok_or_else(none_left)?;
                &nested
            }
        };
        let began = clock::monotonic();
        let deadline = began.after(self.settings.call_timeout());
        context.open(Some(deadline), None, self.output_limits());
        let input = Input {
            capability,
            content_type: "application/json",
            body,
            stream: false,
            extras: &RequestExtras::NONE,
        };
        let served = serve(&self.plugin, context, input, (began, deadline), |ran, failure| {
            let is_passed_on = failure.is_some_and(|failure| failure.is_passed_on);
            let failure = failure.map(|failure| &failure.error);
            self.metrics.ended_attached(attached, failure, is_passed_on, ran);
        });
        served.map_err(|failure| {
            let is_passed_on = failure.is_passed_on;
            CallFailure::entered(self.redacted(failure.error), is_passed_on, !is_passed_on)
        })
    }
}
