//! Waiting for a thread's real end.

use extman_model::clock;
use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;
use std::time::Duration;

unsafe extern "C" {
    // glibc 2.31; the libc crate does not have it.
    fn pthread_clockjoin_np(
        thread: libc::pthread_t,
        result: *mut *mut libc::c_void,
        clock: libc::clockid_t,
        until: *const libc::timespec,
    ) -> libc::c_int;
}

/// Waits until the thread is gone, its thread-local destructors included, which may be a plugin's.
///
/// # Errors
/// The handle again, if the thread has not ended within `patience`.
pub fn join_within(thread: JoinHandle<()>, patience: Duration) -> Result<(), JoinHandle<()>> {
    let until = clock::monotonic().after(patience).as_nanos();
    let until = libc::timespec {
        tv_sec: libc::time_t::try_from(until / 1_000_000_000).unwrap_or(libc::time_t::MAX),
        tv_nsec: (until % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: the handle is owned, so the thread is neither joined nor detached; no result is asked for.
    let joined = unsafe {
        pthread_clockjoin_np(
            thread.as_pthread_t(),
            std::ptr::null_mut(),
            libc::CLOCK_MONOTONIC,
            &until,
        )
    };
    if joined != 0 {
        return Err(thread);
    }
    // It is joined, so the handle must neither join nor detach it again.
    let _ = thread.into_pthread_t();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::sync::mpsc;

    static DROPPED: AtomicBool = AtomicBool::new(false);

    struct Slow(mpsc::Receiver<()>);

    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.0.recv();
            DROPPED.store(true, SeqCst);
        }
    }

    thread_local! {
        static SLOW: std::cell::RefCell<Option<Slow>> = const { std::cell::RefCell::new(None) };
    }

    #[test]
    fn a_thread_has_ended_only_after_its_thread_locals() {
        let (go_on, wait) = mpsc::channel();
        let thread = std::thread::spawn(move || SLOW.set(Some(Slow(wait))));
        let thread = join_within(thread, Duration::from_millis(20)).unwrap_err();
        assert!(!DROPPED.load(SeqCst));
        go_on.send(()).unwrap();
        join_within(thread, Duration::from_secs(60)).unwrap();
        assert!(DROPPED.load(SeqCst));
    }
}
