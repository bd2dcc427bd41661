//! Memory that is taken and not given back, or late.

use extman_plugin_api::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Where an order names no limit.
pub const LIMIT_BYTES_DEFAULT: u64 = 256 << 20;

/// Never gives it back.
pub fn leak(bytes: usize) {
    std::mem::forget(filled(bytes));
}

/// Memory that an instance keeps until it is destroyed.
#[derive(Default)]
pub struct Held(Mutex<Vec<Vec<u8>>>);

impl Held {
    /// Takes more, up to the limit in all.
    pub fn add(&self, bytes: usize, limit: Option<u64>) -> Result<()> {
        let limit = limit.unwrap_or(LIMIT_BYTES_DEFAULT);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let already: usize = held.iter().map(Vec::len).sum();
        if (already + bytes) as u64 > limit {
            return Err(Error::exhausted(format_args!(
                "{already} bytes are held, {bytes} more would pass the limit of {limit}"
            )));
        }
        held.push(filled(bytes));
        Ok(())
    }
}

/// Written to, so that the system must really give it.
fn filled(bytes: usize) -> Vec<u8> {
    vec![0xa5; bytes]
}
