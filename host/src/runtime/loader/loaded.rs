//! The plugins' libraries that are loaded, what else each of them uses, and whose a thread is by where it began.
//!
//! A thread is whose code made it. That is certain where it begins in the plugin's own library, or in one that nobody else uses. A library
//! that two use, or that was opened while plugins ran, may have its threads work for several: then whose they are is not known.

use super::cpu;
use super::image::Image;
use super::needs::{self, Need};
use super::origin::Origin;
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Loaded {
    origin: Origin,
    image: Image,
    /// Libraries that were loaded with it.
    uses: Vec<Use>,
    /// Threads began that may have worked for others too, or others' for it.
    has_mixed: bool,
}

struct Use {
    library: Need,
    others_too: bool,
}

static LOADED: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

/// It has just been loaded; it stays listed until it is known to be gone.
pub(super) fn add(origin: Origin, image: Image) {
    let of_host = needs::of_executable();
    let mut loaded = lock();
    let uses = needs::of(&image).into_iter().map(|library| {
        let mut others_too = of_host.iter().any(|other| other.is(&library));
        for other in loaded.iter_mut().flat_map(|other| &mut other.uses) {
            if other.library.is(&library) {
                other.others_too = true;
                others_too = true;
            }
        }
        Use { library, others_too }
    });
    let uses = uses.collect();
    loaded.push(Loaded {
        origin,
        image,
        uses,
        has_mixed: false,
    });
}

/// It is gone, and no thread of it is left. Another one may lie where it lay.
pub(super) fn forget(origin: Origin) {
    let mut loaded = lock();
    // What its threads may have done for others is known only until it is forgotten.
    loaded.iter_mut().for_each(Loaded::look_for_mixed);
    loaded.retain(|loaded| loaded.origin != origin);
    cpu::forget(origin);
}

/// Whether threads have begun that may be this one's as well as others'.
pub(super) fn shares_threads(origin: Origin) -> bool {
    let mut loaded = lock();
    let Some(loaded) = loaded.iter_mut().find(|loaded| loaded.origin == origin) else {
        return false;
    };
    loaded.look_for_mixed();
    loaded.has_mixed
}

/// Whether a thread is certainly a loaded plugin's: it was made for that one, and it or no other could have made it where it began.
pub(super) fn is_certainly_of(origin: Origin, start: usize) -> bool {
    lock()
        .iter()
        .any(|loaded| loaded.origin == origin && loaded.is_own(start))
}

/// Whether an address lies in a plugin's library.
pub(super) fn is_in_any(address: usize) -> bool {
    lock().iter().any(|loaded| loaded.image.contains(address))
}

impl Loaded {
    fn look_for_mixed(&mut self) {
        let mixed = |(origin, start): (Origin, usize)| {
            if origin == self.origin {
                !self.is_own(start)
            } else {
                let used = self.uses.iter().find(|used| used.library.contains(start));
                used.is_some_and(|used| !used.library.makes_threads_for_its_caller())
            }
        };
        self.has_mixed = self.has_mixed || cpu::beginnings().any(mixed);
    }

    /// Whether a thread that was made for it and began there is its alone.
    fn is_own(&self, start: usize) -> bool {
        let used = || self.uses.iter().find(|used| used.library.contains(start));
        self.image.contains(start)
            || used().is_some_and(|used| !used.others_too || used.library.makes_threads_for_its_caller())
    }
}

fn lock() -> MutexGuard<'static, Vec<Loaded>> {
    LOADED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(base: usize) -> Image {
        Image::from_ranges(base, vec![base..base + 16])
    }

    fn uses(base: usize, name: &str, others_too: bool) -> Use {
        Use {
            library: Need::new(name.to_owned(), at(base)),
            others_too,
        }
    }

    fn list(image: usize, uses: Vec<Use>) -> Origin {
        let origin = Origin::of_a_new_library();
        lock().push(Loaded {
            origin,
            image: at(image),
            uses,
            has_mixed: false,
        });
        origin
    }

    #[test]
    fn one_that_lies_where_another_lay_is_not_forgotten_with_it() {
        // Addresses that nothing is loaded at.
        let gone = list(1 << 20, Vec::new());
        let next = list(1 << 20, Vec::new());
        cpu::account(next, 1 << 20).unwrap();
        forget(gone);
        assert!(is_in_any(1 << 20));
        assert!(is_certainly_of(next, 1 << 20));
        assert!(cpu::beginnings().any(|(origin, _)| origin == next));
        forget(next);
        assert!(!is_in_any(1 << 20));
    }

    #[test]
    fn whose_a_thread_is_that_begins_in_a_library_which_two_use_is_not_known_nor_forgotten() {
        let one = list(2 << 20, vec![uses(3 << 20, "libgomp.so.1", true)]);
        let other = list(4 << 20, vec![uses(3 << 20, "libgomp.so.1", true)]);
        let third = list(5 << 20, vec![uses(6 << 20, "libomp.so", false)]);
        cpu::account(one, 2 << 20).unwrap();
        cpu::account(third, 6 << 20).unwrap();
        assert_eq!([one, other, third].map(shares_threads), [false; 3]);
        cpu::account(one, 3 << 20).unwrap();
        assert!(!is_certainly_of(one, 3 << 20));
        forget(one);
        assert_eq!([other, third].map(shares_threads), [true, false]);
        cpu::account(third, 7 << 20).unwrap();
        assert!(shares_threads(third), "in one that it opened itself");
        [other, third].into_iter().for_each(forget);
    }

    #[test]
    fn the_standard_library_of_cpp_makes_threads_for_whom_it_is_told_to() {
        let standard = || vec![uses(9 << 20, "libstdc++.so.6", true)];
        let (one, other) = (list(8 << 20, standard()), list(10 << 20, standard()));
        cpu::account(one, 9 << 20).unwrap();
        assert_eq!([one, other].map(shares_threads), [false; 2]);
        assert!(is_certainly_of(one, 9 << 20));
        [one, other].into_iter().for_each(forget);
    }
}
