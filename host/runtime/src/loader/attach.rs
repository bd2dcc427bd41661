//! Threads that a library prepares before it is called on them: `thread_attach` and `thread_detach`.
//!
//! Whoever keeps a thread for one library (a lane) holds an `Attached` for as long; an entry on any other thread holds one for its
//! own time. On one thread they nest, and only the outermost calls the library.

use super::host_table::HOST_TABLE;
use super::origin::Origin;
use super::root::{Detach, Tables};
use super::status;
use extman_abi as abi;
use extman_model::CallError;
use std::cell::RefCell;

thread_local! {
    /// Libraries that this thread is attached to, and how many hold it so. Only libraries with the hooks are here.
    static ATTACHED: RefCell<Vec<(Origin, u32)>> = const { RefCell::new(Vec::new()) };
}

/// This thread is attached to a library until this is dropped.
pub(super) struct Attached {
    origin: Origin,
    detach: Option<Detach>,
}

/// Attaches this thread to a library, if that asks for it. The library stays open while the result lives.
///
/// # Errors
/// What the plugin says: nothing of it may be called here.
pub(super) fn thread(tables: &Tables, origin: Origin) -> Result<Option<Attached>, CallError> {
    let Some(attach) = tables.attach else {
        return Ok(None);
    };
    let is_attached = ATTACHED.with_borrow_mut(|list| {
        let held = list.iter_mut().find(|(of, _)| *of == origin);
        held.map(|(_, holders)| *holders += 1).is_some()
    });
    if !is_attached {
        // SAFETY: a checked entry of an open library; the table is a static.
        let status = unsafe { attach(&HOST_TABLE) };
        if status != abi::STATUS_OK {
            return Err(status::failure(status, String::new(), "thread_attach"));
        }
        ATTACHED.with_borrow_mut(|list| list.push((origin, 1)));
    }
    let detach = tables.detach;
    Ok(Some(Attached { origin, detach }))
}

impl Drop for Attached {
    fn drop(&mut self) {
        let is_last = ATTACHED.with_borrow_mut(|list| {
            let Some(at) = list.iter().position(|(of, _)| *of == self.origin) else {
                return false;
            };
            list[at].1 -= 1;
            if list[at].1 > 0 {
                return false;
            }
            list.swap_remove(at);
            true
        });
        if is_last && let Some(detach) = self.detach {
            // SAFETY: a checked entry; whoever holds this keeps the library open.
            unsafe { detach(&HOST_TABLE) };
        }
    }
}
