//! The C header as clang reads it, against the structs and constants that Rust plugins and the host are built with. The tables are made by
//! `build.rs`, and compiled against both.

use extman_plugin_api::abi;
use std::collections::BTreeSet;
use std::mem::offset_of;

#[expect(non_upper_case_globals, dead_code, reason = "bindgen gives them C's names")]
mod c {
    include!(concat!(env!("OUT_DIR"), "/header.rs"));
}

include!(concat!(env!("OUT_DIR"), "/pairs.rs"));

#[test]
fn sizes_alignments_and_offsets_are_those_of_the_rust_structs() {
    for (what, in_header, in_rust) in SIZES {
        assert_eq!(in_header, in_rust, "{what}");
    }
    assert!(SIZES.len() > 150, "only {} were compared", SIZES.len());
}

#[test]
fn constants_are_those_of_rust() {
    for (what, in_header, in_rust) in NUMBERS {
        assert_eq!(in_header, in_rust, "{what}");
    }
    for (what, in_header, in_rust) in TEXTS {
        assert_eq!(in_header.to_bytes(), in_rust.as_bytes(), "{what}");
    }
    assert!(
        NUMBERS.len() > 50 && TEXTS.len() == 3,
        "{} and {}",
        NUMBERS.len(),
        TEXTS.len()
    );
}

#[test]
fn the_header_has_no_struct_and_no_constant_that_was_not_compared() {
    let header = std::fs::read_to_string(xtask::header::path()).unwrap();
    let named = |start: &str| -> BTreeSet<&str> {
        let rest = header.lines().filter_map(|line| line.strip_prefix(start));
        rest.filter_map(|rest| rest.split_once(' '))
            .map(|(name, _)| name)
            .collect()
    };
    let structs = SIZES
        .iter()
        .filter_map(|(what, ..)| what.strip_prefix("alignment of "));
    assert_eq!(named("typedef struct Extman"), structs.collect());
    let numbers = NUMBERS.iter().map(|(name, ..)| *name);
    let texts = TEXTS.iter().map(|(name, ..)| *name);
    let mut constants = named("#define EXTMAN_");
    // Macros of C alone: those with arguments, a calling convention, what is exported, and the fingerprint of all the rest.
    constants.retain(|name| !name.contains('('));
    for of_c in ["CALL", "EXPORT", "ABI_FINGERPRINT"] {
        constants.remove(of_c);
    }
    assert_eq!(constants, numbers.chain(texts).collect());
}
