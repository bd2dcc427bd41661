//! Where a loaded library lies in memory.

use libc::{c_int, c_void, dl_phdr_info};
use std::ffi::{CStr, OsStr};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The mapped address ranges of one loaded object.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// What the dynamic loader added to the file's addresses.
    pub base: usize,
    ranges: Vec<Range<usize>>,
}

impl Image {
    /// The one that is being visited.
    fn of(info: &dl_phdr_info) -> Image {
        Image {
            base: info.dlpi_addr as usize,
            ranges: ranges(info).collect(),
        }
    }

    #[cfg(test)]
    pub(super) fn at(base: usize, size: usize) -> Image {
        let ranges = std::iter::once(base..base + size).collect();
        Image { base, ranges }
    }

    pub(super) fn contains(&self, address: usize) -> bool {
        self.ranges.iter().any(|range| range.contains(&address))
    }

    /// From the lowest mapped address to the highest.
    pub(super) fn extent(&self) -> Range<usize> {
        let end = self.ranges.iter().map(|range| range.end).max();
        self.start()..end.unwrap_or(self.base)
    }

    /// Lowest mapped address.
    pub(super) fn start(&self) -> usize {
        self.ranges
            .iter()
            .map(|range| range.start)
            .min()
            .unwrap_or(self.base)
    }
}

/// The image at this load address.
pub(super) fn at_base(base: usize) -> Option<Image> {
    find(|found| found.dlpi_addr as usize == base)
}

/// Whether the dynamic loader has an object that was opened by this path. Asks its list, not the file system.
pub(super) fn is_listed(path: &Path) -> bool {
    let named = |found: &dl_phdr_info| self::path(found).as_os_str() == path.as_os_str();
    find(named).is_some()
}

/// The path by which the object was opened that lies there.
pub(super) fn path_at(address: usize) -> Option<PathBuf> {
    visit(|info| {
        let is_there = ranges(info).any(|range| range.contains(&address));
        is_there.then(|| path(info).to_owned())
    })
}

/// The first address of the object that lies there. Allocates nothing, and does not wait for a constructor that hangs.
pub(crate) fn start_of_object_at(address: usize) -> Option<usize> {
    visit(|info| {
        let is_there = ranges(info).any(|range| range.contains(&address));
        is_there
            .then(|| ranges(info).map(|range| range.start).min())
            .flatten()
    })
}

/// From the main executable's first address to its last: it is always the first object. Allocates nothing.
pub(super) fn extent_of_executable() -> Range<usize> {
    let extent = visit(|info| {
        let extent = ranges(info).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
        Some(extent.unwrap_or_default())
    });
    extent.unwrap_or_default()
}

fn find(wanted: impl Fn(&dl_phdr_info) -> bool) -> Option<Image> {
    visit(|info| wanted(info).then(|| Image::of(info)))
}

/// Where the object that is being visited is mapped.
fn ranges(info: &dl_phdr_info) -> impl Iterator<Item = Range<usize>> {
    let base = info.dlpi_addr as usize;
    let headers = if info.dlpi_phdr.is_null() {
        &[]
    } else {
        // SAFETY: the entry's header table, valid during the visit.
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) }
    };
    let loaded = headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    loaded.map(move |header| {
        let start = base + header.p_vaddr as usize;
        start..start + header.p_memsz as usize
    })
}

/// Valid during its visit.
fn path(info: &dl_phdr_info) -> &Path {
    // SAFETY: the entry's name is NUL-terminated.
    let name = (!info.dlpi_name.is_null()).then(|| unsafe { CStr::from_ptr(info.dlpi_name) });
    Path::new(OsStr::from_bytes(name.map_or(b"", CStr::to_bytes)))
}

/// Asks all loaded objects, the executable first, until one has an answer.
fn visit<T>(ask: impl Fn(&dl_phdr_info) -> Option<T>) -> Option<T> {
    struct Search<'a, T> {
        ask: &'a dyn Fn(&dl_phdr_info) -> Option<T>,
        found: Option<T>,
    }

    unsafe extern "C" fn one<T>(info: *mut dl_phdr_info, _size: usize, search: *mut c_void) -> c_int {
        // SAFETY: the loader passes a valid entry, and `search` is the one below for the whole iteration.
        let (info, search) = unsafe { (&*info, &mut *search.cast::<Search<'_, T>>()) };
        search.found = (search.ask)(info);
        c_int::from(search.found.is_some())
    }

    let mut search = Search {
        ask: &ask,
        found: None,
    };
    // SAFETY: `one` keeps to the contract of dl_iterate_phdr(3) and does not unwind.
    unsafe { libc::dl_iterate_phdr(Some(one::<T>), std::ptr::from_mut(&mut search).cast()) };
    search.found
}
