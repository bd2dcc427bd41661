//! The libraries whose instances are checked: their lanes, and which instances wait for one.

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
    /// Lanes that go through its instances.
    pub batches: Vec<u64>,
    /// Whether lanes are looked for: somebody has begun to wait.
    pub wants_lanes: bool,
}

impl Library {
    pub(super) fn new(pool: Pool, generation: u64) -> Self {
        Library {
            pool,
            generation,
            instances: 0,
            due: VecDeque::new(),
            apart: VecDeque::new(),
            batches: Vec::new(),
            wants_lanes: false,
        }
    }

    /// Who waits: for a lane by itself, or for one that goes through many.
    pub(super) fn queue(&mut self, is_apart: bool) -> &mut VecDeque<u32> {
        if is_apart { &mut self.apart } else { &mut self.due }
    }
}

/// All libraries that somebody is of, or that a lane goes through.
#[derive(Default)]
pub(super) struct Libraries {
    all: Vec<Option<Library>>,
    free: Vec<LibraryNumber>,
}

impl Libraries {
    pub(super) fn get(&self, number: LibraryNumber) -> Option<&Library> {
        self.all.get(number.get() as usize - 1)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: LibraryNumber) -> Option<&mut Library> {
        self.all.get_mut(number.get() as usize - 1)?.as_mut()
    }

    pub(super) fn add(&mut self, library: Library) -> LibraryNumber {
        let number = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            LibraryNumber::MIN.saturating_add(self.all.len() as u32 - 1)
        });
        self.all[number.get() as usize - 1] = Some(library);
        number
    }

    pub(super) fn remove_if_unused(&mut self, number: LibraryNumber) -> Option<Library> {
        let library = self.all.get_mut(number.get() as usize - 1)?;
        let unused = library.take_if(|library| library.instances == 0 && library.batches.is_empty())?;
        self.free.push(number);
        Some(unused)
    }
}
