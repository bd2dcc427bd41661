//! A library's file, read piece by piece within a budget: a large library is not held in memory, and a hostile one can't
//! have itself read over and over.

use super::error::InspectError;
use object::ReadRef;
use object::read::ReadCache;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs::File;
use std::ops::Range;

/// Most bytes that one inspection keeps in memory.
pub(super) const BUDGET_BYTES: u64 = 256 << 20;

/// A file and what was read of it.
pub(super) struct Image {
    cache: ReadCache<File>,
    pieces: RefCell<HashSet<(u64, u64)>>,
    left: Cell<u64>,
}

impl Image {
    pub fn new(file: File) -> Self {
        Self::with_budget(file, BUDGET_BYTES)
    }

    fn with_budget(file: File, bytes: u64) -> Self {
        Image {
            cache: ReadCache::new(file),
            pieces: RefCell::default(),
            left: Cell::new(bytes),
        }
    }

    fn charge(&self, offset: u64, size: u64) -> Result<(), ()> {
        // What the cache's own entry costs counts too: many tiny pieces are not free.
        const ENTRY_BYTES: u64 = 96;
        if self.pieces.borrow().contains(&(offset, size)) {
            return Ok(());
        }
        let left = self
            .left
            .get()
            .checked_sub(size.saturating_add(ENTRY_BYTES))
            .ok_or(())?;
        self.left.set(left);
        self.pieces.borrow_mut().insert((offset, size));
        Ok(())
    }
}

impl<'a> ReadRef<'a> for &'a Image {
    fn len(self) -> Result<u64, ()> {
        ReadRef::len(&self.cache)
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        // Outside the file is refused before it is charged.
        if offset
            .checked_add(size)
            .is_none_or(|end| ReadRef::len(self).is_ok_and(|len| end > len))
        {
            return Err(());
        }
        self.charge(offset, size)?;
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        // The cache reads 4 KiB at most here.
        self.charge(range.start, (range.end.saturating_sub(range.start)).min(4096))?;
        self.cache.read_bytes_at_until(range, delimiter)
    }
}

/// A part of a file that is a library of its own.
#[derive(Clone, Copy)]
pub(super) struct Part<R> {
    pub data: R,
    pub offset: u64,
    pub size: u64,
}

impl<'a, R: ReadRef<'a>> ReadRef<'a> for Part<R> {
    fn len(self) -> Result<u64, ()> {
        Ok(self.size)
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if offset.checked_add(size).is_none_or(|end| end > self.size) {
            return Err(());
        }
        self.data
            .read_bytes_at(self.offset.checked_add(offset).ok_or(())?, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        if range.end > self.size {
            return Err(());
        }
        let shift = |at: u64| self.offset.checked_add(at).ok_or(());
        self.data
            .read_bytes_at_until(shift(range.start)?..shift(range.end)?, delimiter)
    }
}

/// How long a file is.
pub(super) fn len<'data>(data: impl ReadRef<'data>) -> Result<u64, InspectError> {
    data.len()
        .map_err(|()| InspectError::Io("the length is not known".to_owned()))
}

/// A piece of a file that must lie inside it.
pub(super) fn piece<'data, R: ReadRef<'data>>(
    data: R,
    what: &'static str,
    offset: u64,
    size: u64,
) -> Result<&'data [u8], InspectError> {
    inside(data, what, offset, size)?;
    if size > BUDGET_BYTES {
        return Err(InspectError::TooComplex {
            max_bytes: BUDGET_BYTES,
        });
    }
    data.read_bytes_at(offset, size)
        .map_err(|()| InspectError::TooComplex {
            max_bytes: BUDGET_BYTES,
        })
}

/// Checks that a piece lies inside the file.
pub(super) fn inside<'data, R: ReadRef<'data>>(
    data: R,
    what: &'static str,
    offset: u64,
    size: u64,
) -> Result<(), InspectError> {
    let found = len(data)?;
    let needed = offset.saturating_add(size);
    if needed > found {
        return Err(InspectError::Truncated { what, needed, found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_budget_holds_and_a_piece_is_paid_once() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 4000]).unwrap();
        let image = Image::with_budget(file, 2500);
        for _ in 0..10 {
            assert_eq!(piece(&image, "x", 0, 2000).unwrap().len(), 2000);
        }
        assert_eq!(piece(&image, "x", 1, 2000).unwrap_err().code(), "too-complex");
        let error = piece(&image, "bytes", 3000, 2000).unwrap_err().to_string();
        assert!(
            error.contains("its bytes end at byte 5000, the file has 4000"),
            "{error}"
        );
        assert_eq!(piece(&image, "x", u64::MAX, 2).unwrap_err().code(), "truncated");
    }
}
