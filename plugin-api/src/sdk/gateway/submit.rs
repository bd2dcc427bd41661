//! `submit`: a call is handed over to the author's code, which ends it whenever it likes.

use super::Export;
use super::entry::{Instance, enter};
use super::incoming::Incoming;
use crate::abi::{self, InstanceHandle, Outcome, Request, Status, TextBuffer};
use crate::sdk::{Error, Submitted};

pub(super) unsafe extern "C" fn submit<P: Export>(
    handle: InstanceHandle,
    request: *const Request,
    _outcome: *mut Outcome,
    error: *mut TextBuffer,
) -> Status {
    if request.is_null() {
        return abi::STATUS_INTERNAL;
    }
    let run = |instance: &Instance<P>| {
        // SAFETY: not null; the host's request is valid until this returns, and nothing of it is kept.
        let request = unsafe { Incoming::new(request) };
        let call = Submitted::new(&instance.host, &request);
        if let Some(call) = instance.plugin().dispatch_submitted(call) {
            let failure = Error::unimplemented(format_args!(
                "this plugin has no asynchronous capability {:?}",
                request.capability()
            ));
            call.complete(Err(failure));
        }
        Ok(())
    };
    // SAFETY: the host passes a live handle and its lent buffer.
    unsafe { enter::<P>(handle, error, run) }
}
