//! Limits of the process.

use rustix::process::{Resource, getrlimit, setrlimit};

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
