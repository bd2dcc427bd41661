//! A signal handler that stays.

use extman_plugin_api::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering};

static SEEN: AtomicU32 = AtomicU32::new(0);

#[cfg(unix)]
extern "C" fn on_signal(_: libc::c_int) {
    SEEN.fetch_add(1, Ordering::Relaxed);
}

/// Handles SIGUSR2 from now on, with code of this library.
#[cfg(unix)]
#[allow(unsafe_code)]
pub fn leave_handler() -> Result<()> {
    let handler: extern "C" fn(libc::c_int) = on_signal;
    // SAFETY: an all-zero sigaction is a valid one. The handler touches one atomic; that it outlives the library is the
    // point.
    let installed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut())
    };
    if installed == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error().into())
    }
}

/// There are none here.
#[cfg(not(unix))]
pub fn leave_handler() -> Result<()> {
    Err(Error::unimplemented("this system has no signals"))
}
