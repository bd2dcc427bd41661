//! The plugins' libraries that are loaded, and whether a thread is the plugin's alone for whom it was made.
//!
//! It is where it begins in the plugin's own library, or in the standard library of C++, which has each of its threads do what that was
//! made for. Any other library may hand one's work to a thread that another one had it make, as OpenMP's do.

use super::code_owner::CodeOwner;
use super::cpu;
use super::image::{self, Image};
use crate::sync::lock;
use std::path::Path;
use std::sync::Mutex;

struct Loaded {
    owner: CodeOwner,
    image: Image,
}

static LOADED: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

/// It has just been loaded; it stays listed until it is known to be gone.
pub(super) fn add(owner: CodeOwner, image: Image) {
    cpu::open_account(owner);
    lock(&LOADED).push(Loaded { owner, image });
}

/// It is gone, and no thread of it is left. Another one may lie where it lay.
pub(super) fn forget(owner: CodeOwner) {
    lock(&LOADED).retain(|loaded| loaded.owner != owner);
    cpu::close_account(owner);
}

/// Whether a thread that was made for this one and began there is its alone.
pub(super) fn is_certainly_of(owner: CodeOwner, start: usize) -> bool {
    let own = |loaded: &Loaded| loaded.owner == owner && loaded.image.contains(start);
    let is_own = lock(&LOADED).iter().any(own);
    is_own
        || owner.is_a_librarys() && image::path_at(start).is_some_and(|path| does_what_its_caller_says(&path))
}

/// Whether an address lies in a plugin's library.
pub(super) fn is_in_any(address: usize) -> bool {
    lock(&LOADED).iter().any(|loaded| loaded.image.contains(address))
}

fn does_what_its_caller_says(library: &Path) -> bool {
    let name = library.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("libstdc++.so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At an address that nothing is loaded at.
    fn list(base: usize) -> CodeOwner {
        let owner = CodeOwner::of_a_new_library();
        add(owner, Image::at(base, 16));
        owner
    }

    #[test]
    fn one_that_lies_where_another_lay_is_not_forgotten_with_it() {
        const BASE: usize = 1 << 20;
        let (gone, next) = (list(BASE), list(BASE));
        forget(gone);
        assert!(!is_certainly_of(CodeOwner::HOST, BASE));
        assert!(is_in_any(BASE));
        assert!(is_certainly_of(next, BASE));
        forget(next);
        assert!(!is_in_any(BASE));
    }

    #[test]
    fn the_standard_library_of_cpp_is_told_by_its_file() {
        for (path, does) in [
            ("/usr/lib/x86_64-linux-gnu/libstdc++.so.6", true),
            ("/usr/lib/libgomp.so.1", false),
            ("/opt/libstdc++/libmine.so", false),
        ] {
            assert_eq!(does_what_its_caller_says(Path::new(path)), does, "{path}");
        }
    }
}
