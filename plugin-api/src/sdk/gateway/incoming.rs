//! A request as the plugin reads it: each field by itself, when it is asked for.

use super::guard::{array, slice, text};
use crate::abi::{self, Bytes, Request};
use crate::sdk::InputPart;
use std::marker::PhantomData;

/// A request of the host, which may be shorter than this crate knows it: read field by field and never through a reference to
/// the whole. The fields read here are of ABI 1.0, which every host has.
pub struct Incoming<'a> {
    request: *const Request,
    capability: &'a str,
    lent: PhantomData<&'a Request>,
}

// SAFETY: the host lends the request for `'a` and changes nothing of it meanwhile (contract of `invoke`).
unsafe impl Send for Incoming<'_> {}
// SAFETY: as above.
unsafe impl Sync for Incoming<'_> {}

impl<'a> Incoming<'a> {
    /// # Safety
    /// `request` is the host's, of ABI 1.0 or later, valid with all that it points to for `'a`.
    pub(super) unsafe fn new(request: *const Request) -> Self {
        Incoming {
            request,
            // SAFETY: the caller's contract.
            capability: unsafe { text((*request).capability) },
            lent: PhantomData,
        }
    }

    pub(crate) fn call(&self) -> abi::CallToken {
        // SAFETY: the contract of `new`.
        unsafe { (*self.request).call }
    }

    pub(crate) fn flags(&self) -> u32 {
        // SAFETY: the contract of `new`.
        unsafe { (*self.request).flags }
    }

    pub(crate) fn capability(&self) -> &'a str {
        self.capability
    }

    pub(crate) fn capability_version(&self) -> &'a str {
        // SAFETY: the contract of `new`.
        self.text(unsafe { (*self.request).capability_version })
    }

    pub(crate) fn content_type(&self) -> &'a str {
        // SAFETY: the contract of `new`.
        self.text(unsafe { (*self.request).content_type })
    }

    pub(crate) fn accept(&self) -> &'a str {
        // SAFETY: the contract of `new`.
        self.text(unsafe { (*self.request).accept })
    }

    pub(crate) fn input(&self) -> &'a [u8] {
        // SAFETY: the contract of `new`.
        unsafe { slice((*self.request).input) }
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = InputPart<'a>> {
        // SAFETY: the contract of `new`.
        let parts = unsafe { array((*self.request).parts, (*self.request).parts_len) };
        // SAFETY: as above.
        parts.iter().map(|part| unsafe {
            InputPart {
                name: text(part.name),
                content_type: text(part.content_type),
                data: slice(part.data),
            }
        })
    }

    pub(crate) fn metadata(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        // SAFETY: the contract of `new`.
        let pairs = unsafe { array((*self.request).metadata, (*self.request).metadata_len) };
        // SAFETY: as above.
        pairs
            .iter()
            .map(|pair| unsafe { (text(pair.key), text(pair.value)) })
    }

    /// Bytes of this request as text.
    fn text(&self, bytes: Bytes) -> &'a str {
        // SAFETY: bytes of this request, by the contract of `new`.
        unsafe { text(bytes) }
    }
}
