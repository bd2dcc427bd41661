//! The libraries whose instances are asked: their lanes, and who waits for one of them.

use super::hot::LibraryNumber;
use extman_runtime::lanes::Pool;
use std::collections::VecDeque;

/// The lanes of one library, and who waits for them.
pub(super) struct Library {
    pub pool: Pool,
    pub generation: u64,
    pub instances: usize,
    pub due: VecDeque<u32>,
    /// Those that were slow or failed last time.
    pub apart: VecDeque<u32>,
    pub batches: usize,
}

/// All libraries that somebody is of, or that a lane goes through.
#[derive(Default)]
pub(super) struct Libraries(pub(super) Vec<Option<Library>>);

impl Libraries {
    pub(super) fn get(&self, number: LibraryNumber) -> Option<&Library> {
        self.0.get(number.get() as usize - 1)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: LibraryNumber) -> Option<&mut Library> {
        self.0.get_mut(number.get() as usize - 1)?.as_mut()
    }

    pub(super) fn add(&mut self, library: Library) -> LibraryNumber {
        let at = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        if at == self.0.len() {
            self.0.push(None);
        }
        self.0[at] = Some(library);
        LibraryNumber::MIN.saturating_add(at as u32)
    }

    pub(super) fn remove_if_unused(&mut self, number: LibraryNumber) -> Option<Library> {
        let library = self.0.get_mut(number.get() as usize - 1)?;
        library.take_if(|library| library.instances == 0 && library.batches == 0)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = LibraryNumber> + use<> {
        (1..=self.0.len() as u32).filter_map(LibraryNumber::new)
    }
}
