//! Structs of the ABI that start with their own size: as much of one is read as its maker knew, and fields that were appended later are
//! zero, which means "not there".

use extman_abi as abi;
use std::mem::MaybeUninit;

/// A struct that later minors of the ABI append to.
///
/// # Safety
/// It starts with its size, and any bytes are a valid value of each number and pointer in it; zero is one of each field.
pub(super) unsafe trait Grows: Sized {
    /// Bytes without which it is not read: all that ABI 1.0 has of a table, and the size alone of what is passed by value.
    const NEEDED: usize = size_of::<usize>();
}

/// Why a struct can't be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// There is none.
    Null,
    /// It is not where such a struct may lie.
    NotAligned,
    /// It says that it is so many bytes long, which is too short.
    TooShort(usize),
}

/// Copies a struct, no further than it says it reaches.
///
/// # Safety
/// `from` is null, or valid for the size that it declares; what is a function in it is one or null.
pub(super) unsafe fn read<T: Grows>(from: *const T) -> Result<T, Unreadable> {
    if from.is_null() {
        return Err(Unreadable::Null);
    }
    if !from.is_aligned() {
        return Err(Unreadable::NotAligned);
    }
    // SAFETY: the first field is the size (contract of the trait).
    let declared = unsafe { from.cast::<usize>().read() };
    if declared < T::NEEDED {
        return Err(Unreadable::TooShort(declared));
    }
    let mut copy = MaybeUninit::<T>::zeroed();
    // SAFETY: no more than it says to have, and no more than the copy takes.
    unsafe {
        let bytes = declared.min(size_of::<T>());
        std::ptr::copy_nonoverlapping(from.cast::<u8>(), copy.as_mut_ptr().cast(), bytes);
        // Every field is zero, or was written by the plugin (contracts of the trait and of this).
        Ok(copy.assume_init())
    }
}

macro_rules! tables {
    ($($table:ident up to $last:ident),* $(,)?) => {$(
        // SAFETY: a size, numbers, pointers and optional functions.
        unsafe impl Grows for abi::$table {
            // An entry is as large as a pointer.
            const NEEDED: usize = std::mem::offset_of!(abi::$table, $last) + size_of::<usize>();
        }
    )*};
}

tables! {
    PluginModule up to thread_detach,
    LifecycleVtable up to destroy,
    CapabilityVtable up to cancel,
    HealthVtable up to check,
    AsyncVtable up to submit,
}

macro_rules! values {
    ($($value:ident),* $(,)?) => {$(
        // SAFETY: a size, numbers, pointers and optional functions.
        unsafe impl Grows for abi::$value {}
    )*};
}

values!(Check, LogRecord, Outcome, Receiver, Report, Request);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_1_0_had_of_a_table_is_asked_for_and_no_more() {
        // From the golden file of ABI 1.0.
        assert_eq!(abi::PluginModule::NEEDED, 72);
        assert_eq!(abi::LifecycleVtable::NEEDED, 72);
        assert_eq!(
            (abi::CapabilityVtable::NEEDED, abi::HealthVtable::NEEDED),
            (24, 16)
        );
    }

    #[test]
    fn a_shorter_struct_is_read_as_far_as_it_goes() {
        let mut raw = abi::Report::BLANK;
        raw.struct_size = std::mem::offset_of!(abi::Report, heap_bytes);
        raw.valid = abi::REPORT_HEAP | abi::REPORT_IN_FLIGHT;
        raw.in_flight = 3;
        raw.heap_bytes = 9;
        // SAFETY: a local of this type.
        let seen = unsafe { read(&raw) }.unwrap();
        assert_eq!((seen.in_flight, seen.heap_bytes), (3, 0));
        raw.struct_size = 4;
        // SAFETY: as above.
        assert!(matches!(unsafe { read(&raw) }, Err(Unreadable::TooShort(4))));
        let displaced = (&raw const raw).wrapping_byte_add(1);
        // SAFETY: not read.
        assert!(matches!(unsafe { read(displaced) }, Err(Unreadable::NotAligned)));
    }
}
