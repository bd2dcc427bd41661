//! Catching, and writing texts into lent buffers.

use crate::abi::{self, TextBuffer};
use crate::sdk::Result;
use std::any::Any;
use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Runs the author's code. `Err` means that it panicked, with the panic's text.
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let text = panic_text(payload.as_ref());
        // A payload's Drop may panic too; then it is leaked rather than dropped again.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        text
    })
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        format!("panicked: {text}")
    } else if let Some(text) = payload.downcast_ref::<String>() {
        format!("panicked: {text}")
    } else {
        "panicked with a value that is no text".to_owned()
    }
}

/// Borrowed text from the host; nothing if it is not UTF-8.
///
/// # Safety
/// `bytes` is valid for `'a`.
pub(super) unsafe fn text<'a>(bytes: abi::Bytes) -> &'a str {
    // SAFETY: the caller's contract.
    std::str::from_utf8(unsafe { slice(bytes) }).unwrap_or("")
}

/// A borrowed path; `None` if it is empty.
///
/// # Safety
/// `bytes` is valid for `'a`.
pub(super) unsafe fn path<'a>(bytes: abi::Bytes) -> Option<&'a Path> {
    // SAFETY: the caller's contract.
    let bytes = unsafe { slice(bytes) };
    #[cfg(unix)]
    let path: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(bytes);
    #[cfg(not(unix))]
    let path: &OsStr = std::str::from_utf8(bytes).unwrap_or("").as_ref();
    (!path.is_empty()).then(|| Path::new(path))
}

/// # Safety
/// `bytes` is valid for `'a`.
pub(super) unsafe fn slice<'a>(bytes: abi::Bytes) -> &'a [u8] {
    // SAFETY: the caller's contract.
    unsafe { array(bytes.data, bytes.len) }
}

/// # Safety
/// `first` is null or points to `len` values that are valid for `'a`.
pub(super) unsafe fn array<'a, T>(first: *const T, len: usize) -> &'a [T] {
    if first.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: not null, and the caller's contract.
    unsafe { std::slice::from_raw_parts(first, len) }
}

/// Writes as much of `text` as fits, cut at a character's boundary.
///
/// # Safety
/// `buffer` is null or a lent buffer that is valid for the call.
pub(super) unsafe fn write_text(buffer: *mut TextBuffer, text: &str) {
    // SAFETY: the caller's contract.
    let Some(buffer) = (unsafe { buffer.as_mut() }) else {
        return;
    };
    if buffer.data.is_null() {
        return;
    }
    let len = text.floor_char_boundary(buffer.capacity);
    // SAFETY: `len` is at most both lengths, and the host's buffer is none of ours.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.data, len) };
    buffer.len = len;
}

/// Copies a struct that starts with its size onto the caller's, as far as both reach; the caller's size stays.
///
/// # Safety
/// `to` is null or valid for the `struct_size` bytes that it says, which is its first field; `T` starts with its own.
pub(super) unsafe fn copy_out<T>(from: &T, to: *mut T) {
    if to.is_null() {
        return;
    }
    const SIZE: usize = size_of::<usize>();
    // SAFETY: the first field is the size, by contract.
    let theirs = unsafe { to.cast::<usize>().read() };
    let len = theirs.min(size_of::<T>());
    if len > SIZE {
        // SAFETY: `len` is within both; the first field is left alone.
        unsafe {
            std::ptr::copy_nonoverlapping(
                std::ptr::from_ref(from).cast::<u8>().add(SIZE),
                to.cast::<u8>().add(SIZE),
                len - SIZE,
            );
        }
    }
}
