//! The text that a plugin writes beside a status.

use extman_abi::TextBuffer;
use std::mem::MaybeUninit;

const ERROR_BYTES: usize = 4096;

/// A text buffer that is lent for one call.
pub(super) struct ErrorText {
    bytes: [MaybeUninit<u8>; ERROR_BYTES],
    lent: TextBuffer,
}

impl ErrorText {
    pub(super) fn new() -> Self {
        let lent = TextBuffer {
            data: std::ptr::null_mut(),
            capacity: ERROR_BYTES,
            len: 0,
        };
        ErrorText {
            bytes: [const { MaybeUninit::uninit() }; ERROR_BYTES],
            lent,
        }
    }

    pub(super) fn lend(&mut self) -> *mut TextBuffer {
        self.lent.data = self.bytes.as_mut_ptr().cast();
        &raw mut self.lent
    }

    /// Whether nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.lent.len == 0
    }

    pub(super) fn read(&self) -> String {
        let written = &self.bytes[..self.lent.len.min(ERROR_BYTES)];
        // SAFETY: the plugin says that it has written this many; by contract they are initialised then.
        let written = unsafe { std::slice::from_raw_parts(written.as_ptr().cast::<u8>(), written.len()) };
        String::from_utf8_lossy(written).into_owned()
    }
}
