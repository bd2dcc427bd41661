//! What happens when a child process ends.

/// Has children of this process kept until they are waited for. A parent that ignores SIGCHLD hands that on to what it starts, and
/// then nobody can learn how a child ended.
pub(crate) fn default_child_signal() {
    // SAFETY: no handler is installed, so nothing of this process can be entered by it.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}
