//! Memory that is gone through again and again, on large pages where the system gives them: fewer address translations are to be found.

/// Asks the system to keep these on large pages. It may, and nothing but the time of access depends on it.
pub fn prefer_huge_pages<T>(items: &[T]) {
    const HUGE: usize = 2 << 20;
    let range = items.as_ptr_range();
    let begin = (range.start as usize).next_multiple_of(HUGE);
    let end = range.end as usize / HUGE * HUGE;
    if begin < end {
        let at = std::ptr::with_exposed_provenance_mut::<libc::c_void>(begin);
        // SAFETY: whole pages within memory that the slice borrows; this advice changes neither its content nor its rights.
        let _ = unsafe { libc::madvise(at, end - begin, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn advice_changes_no_content() {
        for len in [0, 1, 5 << 20] {
            let items = vec![7_u8; len];
            super::prefer_huge_pages(&items);
            assert!(items.iter().all(|item| *item == 7));
        }
    }
}
