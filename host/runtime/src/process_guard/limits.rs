//! Limits of the process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// What helps against this error, if it is for want of a descriptor: to be put after it.
pub(crate) fn remedy(error: &impl std::fmt::Display) -> &'static str {
    // The system's own words, as the dynamic loader hands them on.
    if error.to_string().contains("Too many open files") {
        "; the host has no descriptor left: raise the hard limit (ulimit -Hn, LimitNOFILE=) and start it again"
    } else {
        ""
    }
}

/// Raises the soft limit of open descriptors to the hard one. Each loaded library, each connection and each child holds some; the
/// usual soft limit of 1,024 is meant for programs that use `select(2)`.
///
/// # Errors
/// The system refuses it.
pub fn raise_descriptor_limit() -> std::io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Ok(());
    }
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
