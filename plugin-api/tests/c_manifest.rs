//! The manifest of a C plugin: from `plugin.toml` through a C compiler and a library back to the same text.
#![cfg(feature = "manifest")]

mod c;

use extman_plugin_api::abi;
use extman_plugin_api::manifest::{c_source, frame};
use object::{Object, ObjectSection, ObjectSymbol};
use std::path::Path;

// Quotes, escapes, a question mark pair and other alphabets: what a C string would have trouble with.
const TOML: &str = "[plugin]\nid = \"x\"\nversion = \"1.2.3-rc.1\"\nkind = \"general\"\n\
                    description = 'a \"quote\", a \\ and ??= é 日本'\n[[capability]]\nname = \"a.b\"\n";

fn library(folder: &Path, compiler: &str, arguments: &[&str], file: &str) -> Vec<u8> {
    let source = folder.join(file);
    std::fs::write(&source, c_source(TOML).unwrap()).unwrap();
    let out = folder.join("lib.so");
    // Everything that could drop an unused section or hide its symbol.
    let hard = [
        "-shared",
        "-fPIC",
        "-fvisibility=hidden",
        "-ffunction-sections",
        "-fdata-sections",
        "-Wl,--gc-sections",
        "-s",
    ];
    c::compile(
        compiler,
        &[arguments, &hard, &c::STRICT].concat(),
        &[&source],
        &out,
    );
    std::fs::read(out).unwrap()
}

fn check(bytes: &[u8]) {
    let file = object::File::parse(bytes).unwrap();
    let section = file
        .section_by_name(frame::SECTION_ELF)
        .expect("the section is kept");
    let facts = frame::read(section.data().unwrap()).unwrap();
    assert_eq!(facts.toml, TOML);
    assert_eq!(
        (facts.abi_major, facts.abi_minor),
        (abi::ABI_MAJOR, abi::ABI_MINOR)
    );
    assert_eq!(
        (facts.panic, facts.sdk, facts.flags),
        (frame::PANIC_NONE, frame::SDK_C, 0)
    );
    assert_eq!(facts.target, env!("EXTMAN_TARGET"));
    assert!(facts.compiler.contains('.'), "{:?}", facts.compiler);
    assert!(
        file.dynamic_symbols()
            .any(|symbol| symbol.name() == Ok(frame::SYMBOL)),
        "the symbol is exported"
    );
}

#[test]
fn a_library_in_c_carries_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    check(&library(folder.path(), "cc", &["-std=c11", "-O2"], "manifest.c"));
}

#[test]
fn the_same_file_compiles_as_cpp() {
    let folder = tempfile::tempdir().unwrap();
    check(&library(
        folder.path(),
        "c++",
        &["-std=c++17", "-O2"],
        "manifest.cpp",
    ));
}
