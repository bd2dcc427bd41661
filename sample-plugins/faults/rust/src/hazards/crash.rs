//! Ends of the call or of the process.

/// Panics with a text.
pub fn panic() {
    panic!("as told");
}

/// Panics with a value whose drop panics.
pub fn panic_in_payload() {
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            panic!("as told, in the payload's drop");
        }
    }
    std::panic::panic_any(Payload);
}

/// Ends in SIGSEGV.
#[allow(unsafe_code)]
pub fn segfault() {
    // Not null itself: the standard library's own check would turn that into an abort in debug builds.
    let nowhere = std::ptr::without_provenance_mut::<u8>(16);
    // SAFETY: there is none; the fault is the point. The first page is never mapped.
    unsafe { nowhere.write_volatile(1) };
}
