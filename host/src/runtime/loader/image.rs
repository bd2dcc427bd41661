//! Where a loaded library lies in memory.

use libc::{c_int, c_void, dl_phdr_info};
use std::ffi::CStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The mapped address ranges of one loaded object.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// What the dynamic loader added to the file's addresses.
    pub base: usize,
    ranges: Vec<Range<usize>>,
}

impl Image {
    pub(super) fn contains(&self, address: usize) -> bool {
        self.ranges.iter().any(|range| range.contains(&address))
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

/// The main executable's image.
pub(super) fn executable() -> Option<Image> {
    // The executable is always the first object.
    find(|_| true)
}

/// The image at this load address.
pub(super) fn at_base(base: usize) -> Option<Image> {
    find(|found| found.dlpi_addr as usize == base)
}

/// Whether the dynamic loader has an object that was opened by this path. Asks its list, not the file system.
pub(super) fn is_listed(path: &Path) -> bool {
    let named = |found: &dl_phdr_info| {
        // SAFETY: the entry's name is NUL-terminated and valid during the visit.
        let name = (!found.dlpi_name.is_null()).then(|| unsafe { CStr::from_ptr(found.dlpi_name) });
        name.is_some_and(|name| name.to_bytes() == path.as_os_str().as_bytes())
    };
    find(named).is_some()
}

fn find(wanted: impl Fn(&dl_phdr_info) -> bool) -> Option<Image> {
    struct Search<'a> {
        wanted: &'a dyn Fn(&dl_phdr_info) -> bool,
        found: Option<Image>,
    }

    unsafe extern "C" fn visit(info: *mut dl_phdr_info, _size: usize, search: *mut c_void) -> c_int {
        // SAFETY: the loader passes a valid entry, and `search` is the one below for the whole iteration.
        let (info, search) = unsafe { (&*info, &mut *search.cast::<Search<'_>>()) };
        let base = info.dlpi_addr as usize;
        if !(search.wanted)(info) {
            return 0;
        }
        let headers = if info.dlpi_phdr.is_null() {
            &[]
        } else {
            // SAFETY: the entry's header table, valid during the visit.
            unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) }
        };
        let loaded = headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
        let ranges = loaded.map(|header| {
            let start = base + header.p_vaddr as usize;
            start..start + header.p_memsz as usize
        });
        search.found = Some(Image {
            base,
            ranges: ranges.collect(),
        });
        1
    }

    let mut search = Search {
        wanted: &wanted,
        found: None,
    };
    // SAFETY: `visit` keeps to the contract of dl_iterate_phdr(3) and does not unwind.
    unsafe { libc::dl_iterate_phdr(Some(visit), std::ptr::from_mut(&mut search).cast()) };
    search.found
}
