//! The end of the process, without the finalisers of libraries.

/// Ends the process at once. Nothing is run for that: no finaliser of a library that is still mapped, which may hang or run
/// into a thread of its own, and nothing waits for the dynamic loader, whose lock a finaliser that hangs still holds.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: it takes a number, touches no memory, and does not return.
    unsafe { libc::_exit(code) }
}
