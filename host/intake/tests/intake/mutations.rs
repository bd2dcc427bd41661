//! Libraries changed at random: any answer is right, but there is one, and soon.

use crate::foreign;
use crate::sample::{Source, build};
use extman_intake::{inspect_bytes, inspect_file};
use proptest::prelude::*;
use proptest::sample::Index;
use std::sync::LazyLock;

static GOOD: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    [
        build(&Source::default()),
        foreign::pe_library(),
        foreign::macho_library(),
    ]
});

#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Fill(Index, u64, usize),
    /// In the first bytes, where the headers are.
    Head(usize, u64, usize),
    Cut(Index),
    Extend(Vec<u8>),
    Move(Index, Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let huge = prop_oneof![
        Just(u64::MAX),
        Just(u64::MAX / 2),
        Just(1 << 40),
        Just(u64::from(u32::MAX)),
        Just(0x7fff_ffff),
        Just(0),
        any::<u64>()
    ];
    let width = prop_oneof![Just(1_usize), Just(2), Just(4), Just(8)];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        (any::<Index>(), huge.clone(), width.clone())
            .prop_map(|(at, value, width)| Change::Fill(at, value, width)),
        (0..1024_usize, huge, width).prop_map(|(at, value, width)| Change::Head(at, value, width)),
        any::<Index>().prop_map(Change::Cut),
        prop::collection::vec(any::<u8>(), 0..64).prop_map(Change::Extend),
        (any::<Index>(), any::<Index>(), 1..256_usize)
            .prop_map(|(from, to, len)| Change::Move(from, to, len)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    let mut fill = |at: usize, value: u64, width: usize| {
        for (slot, byte) in bytes[at..].iter_mut().zip(&value.to_le_bytes()[..width]) {
            *slot = *byte;
        }
    };
    match change {
        Change::Flip(at, byte) => bytes[at.index(len)] ^= byte,
        Change::Fill(at, value, width) => fill(at.index(len), *value, *width),
        Change::Head(at, value, width) => fill(at % len, *value, *width),
        Change::Cut(at) => bytes.truncate(at.index(len)),
        Change::Extend(more) => bytes.extend(more),
        Change::Move(from, to, count) => {
            let from = from.index(len);
            let to = to.index(len);
            let count = (*count).min(len - from.max(to));
            bytes.copy_within(from..from + count, to);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_change_makes_inspection_panic(which in 0..3_usize, changes in prop::collection::vec(change(), 1..6)) {
        let mut bytes = GOOD[which].clone();
        for change in &changes {
            apply(&mut bytes, change);
        }
        if let Ok(inspection) = inspect_bytes(&bytes) {
            prop_assert_eq!(inspection.facts.size_bytes, bytes.len() as u64);
            prop_assert!(inspection.facts.needed.len() <= 1024);
            prop_assert!(inspection.facts.exports.names.len() <= 512);
        }
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = inspect_bytes(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_and_its_bytes_get_the_same_answer(which in 0..3_usize, changes in prop::collection::vec(change(), 0..3)) {
        let mut bytes = GOOD[which].clone();
        for change in &changes {
            apply(&mut bytes, change);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.so");
        std::fs::write(&path, &bytes).unwrap();
        let in_memory = inspect_bytes(&bytes).map(|i| serde_json::to_string(&i).unwrap());
        let on_disk = inspect_file(&path, 1 << 30).map(|i| serde_json::to_string(&i).unwrap());
        prop_assert_eq!(in_memory, on_disk);
    }
}
