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

/// A program header.
#[cfg(target_pointer_width = "64")]
pub(super) type Segment = libc::Elf64_Phdr;
/// A program header.
#[cfg(target_pointer_width = "32")]
pub(super) type Segment = libc::Elf32_Phdr;

impl Image {
    /// The one that is being visited.
    pub(super) fn of(info: &dl_phdr_info) -> Image {
        let base = info.dlpi_addr as usize;
        let loaded = segments(info)
            .iter()
            .filter(|segment| segment.p_type == libc::PT_LOAD);
        let ranges = loaded.map(|segment| {
            let start = base + segment.p_vaddr as usize;
            start..start + segment.p_memsz as usize
        });
        Image::from_ranges(base, ranges.collect())
    }

    pub(super) fn from_ranges(base: usize, ranges: Vec<Range<usize>>) -> Image {
        Image { base, ranges }
    }

    pub(super) fn contains(&self, address: usize) -> bool {
        self.ranges.iter().any(|range| range.contains(&address))
    }

    /// Whether so many bytes from there on lie in one range of it.
    pub(super) fn contains_all(&self, start: usize, size: usize) -> bool {
        let end = start.checked_add(size);
        let within = |range: &Range<usize>| range.start <= start && end.is_some_and(|end| end <= range.end);
        self.ranges.iter().any(within)
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
    let mut found = None;
    each(&mut |info| {
        if found.is_none() && wanted(info) {
            found = Some(Image::of(info));
        }
        found.is_none()
    });
    found
}

/// Visits all loaded objects, the executable first, until told to stop. None of them goes meanwhile.
pub(super) fn each(visit: &mut dyn FnMut(&dl_phdr_info) -> bool) {
    type Visit<'a> = &'a mut dyn FnMut(&dl_phdr_info) -> bool;

    unsafe extern "C" fn one(info: *mut dl_phdr_info, _size: usize, visit: *mut c_void) -> c_int {
        // SAFETY: the loader passes a valid entry, and `visit` is the one below for the whole iteration.
        let (info, visit) = unsafe { (&*info, &mut *visit.cast::<Visit<'_>>()) };
        c_int::from(!visit(info))
    }

    let mut visit: Visit<'_> = visit;
    // SAFETY: `one` keeps to the contract of dl_iterate_phdr(3); what it calls does not panic.
    unsafe { libc::dl_iterate_phdr(Some(one), (&raw mut visit).cast()) };
}

/// The object's table of segments, valid during its visit.
pub(super) fn segments(info: &dl_phdr_info) -> &[Segment] {
    if info.dlpi_phdr.is_null() {
        return &[];
    }
    // SAFETY: the entry's header table.
    unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) }
}
