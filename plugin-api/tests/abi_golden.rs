//! A released ABI stays as it is, and a later minor only appends.
#![cfg(target_pointer_width = "64")]

mod abi;
#[path = "abi/golden.rs"]
mod golden;

use extman_plugin_api::abi::{ABI_MAJOR, ABI_MINOR};
use golden::{breaks, text};
use std::path::{Path, PathBuf};

fn path(minor: u32) -> PathBuf {
    let name = format!("abi/golden/abi-{ABI_MAJOR}.{minor}.txt");
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn released(minor: u32) -> String {
    let path = path(minor);
    std::fs::read_to_string(&path).unwrap_or_else(|e| {
        panic!(
            "{}: {e}. A new minor needs its golden file: make an empty one, name it in extman-abi's `golden`, run the tests once with \
             EXTMAN_GOLDEN=write and commit it",
            path.display()
        )
    })
}

#[test]
fn the_abi_is_the_released_one() {
    let now = text(&abi::current(), ABI_MAJOR, ABI_MINOR);
    let wanted = std::env::var_os("EXTMAN_GOLDEN").is_some_and(|value| value == "write");
    if wanted && released(ABI_MINOR).is_empty() {
        std::fs::write(path(ABI_MINOR), &now).expect("the golden folder can be written");
    }
    let before = released(ABI_MINOR);
    let changed: Vec<&str> = now
        .lines()
        .filter(|line| !before.lines().any(|old| old == *line))
        .collect();
    assert!(
        now == before,
        "the ABI {ABI_MAJOR}.{ABI_MINOR} is released and must not change. New or changed:\n{changed:#?}\nWhat breaks: {:#?}\n\
         To append, raise ABI_MINOR and the version of extman-abi, and write the new minor's golden file.",
        breaks(&before, &now)
    );
}

#[test]
fn each_minor_only_appends_to_the_ones_before() {
    let now = text(&abi::current(), ABI_MAJOR, ABI_MINOR);
    let folder = path(ABI_MINOR).parent().expect("the golden folder").to_path_buf();
    let mut files = 0;
    for file in std::fs::read_dir(folder).expect("the golden folder can be read") {
        let path = file.expect("the golden folder can be read").path();
        let broken = breaks(&std::fs::read_to_string(&path).expect("a golden file"), &now);
        assert!(
            broken.is_empty(),
            "not compatible with {}: {broken:#?}",
            path.display()
        );
        files += 1;
    }
    assert_eq!(
        files,
        ABI_MINOR + 1,
        "one golden file for each minor of this major"
    );
}

#[test]
fn the_fingerprint_is_that_of_this_minor_s_golden_file() {
    use extman_plugin_api::manifest::frame;
    assert_eq!(frame::ABI_FINGERPRINT, frame::fingerprint(&released(ABI_MINOR)));
    assert_ne!(frame::fingerprint("a"), frame::fingerprint("b"));
}

#[test]
fn the_package_has_the_abi_s_version() {
    let toml = include_str!("../abi/Cargo.toml");
    let expected = format!("version = \"{ABI_MAJOR}.{ABI_MINOR}.");
    assert!(
        toml.lines().any(|line| line.starts_with(&expected)),
        "abi_stable compares the version of extman-abi: it must start with {ABI_MAJOR}.{ABI_MINOR}"
    );
}

#[test]
fn the_rules_catch_what_breaks() {
    let old = "const A: u32 = 1\nconst ABI_MINOR: u32 = 0\n\nstruct S size 16 align 8\n    struct_size: usize size 8 at 0\n    \
               x: u64 size 8 at 8\n\nstruct B size 8 align 8\n    n: u64 size 8 at 0\n";
    assert_eq!(breaks(old, old), [""; 0]);
    let appended = old
        .replace("ABI_MINOR: u32 = 0", "ABI_MINOR: u32 = 1")
        .replace("S size 16", "S size 24")
        .replace("at 8\n", "at 8\n    y: u64 size 8 at 16\n");
    assert_eq!(breaks(old, &appended), [""; 0]);
    for (from, to, expected) in [
        ("A: u32 = 1", "A: u32 = 2", "`const A: u32 = 1` is gone"),
        ("x: u64 size 8", "x: f64 size 8", "field 1 was `x: u64"),
        ("    x: u64 size 8 at 8\n", "", "there is none"),
        (
            "    x: u64",
            "    w: u32 size 4 at 8\n    x: u64",
            "append new fields after the last one",
        ),
        (
            "S size 16 align 8",
            "S size 16 align 16",
            "aligned to 8, now to 16",
        ),
        (
            "    n: u64 size 8 at 0\n",
            "    n: u64 size 8 at 0\n    m: u64 size 8 at 8\n",
            "B can't grow",
        ),
        ("struct B ", "struct C ", "struct B is gone"),
    ] {
        let changed = old.replace(from, to);
        assert_ne!(changed, old);
        let found = breaks(old, &changed).join("\n");
        assert!(found.contains(expected), "{from:?} to {to:?} gave {found:?}");
    }
}
