//! Threads that a library prepares before it is called on them: `thread_attach` and `thread_detach`.
//!
//! A lane and an embedder's attached thread keep what they are attached to until they end, by [`KeepsAttached`]; any other thread is
//! attached for the time of each entry. Entries on one thread nest, and only the outermost attaches.

use super::code_owner::{self, CodeOwner};
use super::host_table::HOST_TABLE;
use super::root::Tables;
use super::status;
use crate::crash::Place;
use extman_abi as abi;
use extman_model::CallError;
use std::cell::RefCell;
use std::marker::PhantomData;

/// One library that this thread is attached to.
struct Held {
    library: CodeOwner,
    detach: Option<unsafe extern "C" fn(*const abi::HostTable)>,
    detaching: Place,
    /// Entries of it that this thread is in.
    entries: u32,
}

struct Thread {
    /// Only libraries with the hooks are here.
    held: Vec<Held>,
    /// How many keep this thread attached.
    keepers: u32,
}

thread_local! {
    static THREAD: RefCell<Thread> = const { RefCell::new(Thread { held: Vec::new(), keepers: 0 }) };
}

/// This thread is in an entry of a library that it is attached to.
pub(super) struct AttachedEntry(CodeOwner);

/// Attaches this thread to a library, if that asks for it and the thread is not attached to it yet. The library stays open while the
/// result lives.
///
/// # Errors
/// What the plugin says: nothing of it may be called here.
pub(super) fn thread(
    tables: &Tables,
    library: CodeOwner,
    detaching: Place,
) -> Result<Option<AttachedEntry>, CallError> {
    let Some(attach) = tables.module.thread_attach else {
        return Ok(None);
    };
    let is_attached = THREAD.with_borrow_mut(|thread| {
        let held = thread.held.iter_mut().find(|held| held.library == library);
        held.map(|held| held.entries += 1).is_some()
    });
    if !is_attached {
        // SAFETY: a checked entry of an open library; the table is a static.
        let status = unsafe { attach(&HOST_TABLE) };
        if status != abi::STATUS_OK {
            return Err(status::failure(status, String::new(), "thread_attach"));
        }
        let held = Held {
            library,
            detach: tables.module.thread_detach,
            detaching,
            entries: 1,
        };
        THREAD.with_borrow_mut(|thread| thread.held.push(held));
    }
    Ok(Some(AttachedEntry(library)))
}

impl Drop for AttachedEntry {
    fn drop(&mut self) {
        let left = THREAD.with_borrow_mut(|thread| {
            let at = thread.held.iter().position(|held| held.library == self.0)?;
            thread.held[at].entries -= 1;
            let is_kept = thread.keepers > 0 || thread.held[at].entries > 0;
            (!is_kept).then(|| thread.held.swap_remove(at))
        });
        left.into_iter().for_each(Held::detach);
    }
}

/// While one lives, its thread stays attached to each library that it comes to enter. No library that was entered may be closed
/// before.
pub struct KeepsAttached(PhantomData<*const ()>);

impl KeepsAttached {
    /// This thread keeps what it is attached to from here on.
    pub fn begin() -> Self {
        THREAD.with_borrow_mut(|thread| thread.keepers += 1);
        KeepsAttached(PhantomData)
    }
}

impl Drop for KeepsAttached {
    fn drop(&mut self) {
        let left = THREAD.with_borrow_mut(|thread| {
            thread.keepers -= 1;
            let is_last = thread.keepers == 0;
            let left = thread.held.extract_if(.., |held| is_last && held.entries == 0);
            left.collect::<Vec<_>>()
        });
        left.into_iter().for_each(Held::detach);
    }
}

impl Held {
    /// Nothing of the library is called on this thread any more, unless it is attached anew.
    fn detach(self) {
        if let Some(detach) = self.detach {
            let _code = code_owner::inside(self.library, self.detaching);
            // SAFETY: a checked entry; the library is open while an entry of it or a keeper lives.
            unsafe { detach(&HOST_TABLE) };
        }
    }
}
