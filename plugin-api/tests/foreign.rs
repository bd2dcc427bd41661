//! The ABI is complete for languages that have nothing but a foreign-function interface: plugins whose every entry is a callback of
//! an interpreter, called by a host in C. Both plugins do the same, and the host sees the same.

mod abi;
mod c;
#[path = "foreign/ctypes.rs"]
mod ctypes;

use std::path::{Path, PathBuf};
use std::process::Command;

const TRANSCRIPT: &str = include_str!("foreign/transcript.txt");

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign")
}

/// The host that calls, as a shared library.
fn host(folder: &Path) -> PathBuf {
    let library = folder.join("libhost.so");
    let arguments = [&["-std=gnu11", "-shared", "-fPIC", "-pthread"][..], &c::STRICT].concat();
    c::compile("cc", &arguments, &[&sources().join("host.c")], &library);
    library
}

fn transcript(interpreter: &str, arguments: &[&Path], folder: &Path) -> String {
    let output = Command::new(interpreter)
        .args(arguments)
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|error| panic!("this test needs `{interpreter}`: {error}"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the host writes UTF-8")
}

#[test]
fn a_plugin_of_python_s_ctypes_serves_every_entry() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("abi.py"),
        ctypes::declarations(&abi::current()),
    )
    .unwrap();
    let arguments = [sources().join("plugin.py"), host(folder.path())];
    let said = transcript("python3", &[&arguments[0], &arguments[1]], folder.path());
    assert_eq!(said, TRANSCRIPT);
}

#[test]
fn a_plugin_of_luajit_s_ffi_serves_every_entry() {
    let folder = tempfile::tempdir().unwrap();
    let header = folder.path().join("header.h");
    // The types alone: what LuaJIT's parser does not know are attributes and inline functions.
    let source = include_str!("../include/extman_plugin.h");
    let types = source
        .split("/* ---- The layout")
        .next()
        .expect("the types come first");
    std::fs::write(&header, format!("{types}\n#endif\n")).unwrap();
    let preprocessed = folder.path().join("types.h");
    c::compile(
        "cc",
        &["-std=c11", "-E", "-P", "-D__attribute__(x)="],
        &[&header],
        &preprocessed,
    );
    // The C library's own declarations stand before the first type of the ABI.
    let text = std::fs::read_to_string(&preprocessed).unwrap();
    let start = text
        .find("typedef uint32_t ExtmanStatus")
        .expect("the first type");
    std::fs::write(&preprocessed, &text[start..]).unwrap();
    let arguments = [sources().join("plugin.lua"), preprocessed, host(folder.path())];
    let said = transcript(
        "luajit",
        &[&arguments[0], &arguments[1], &arguments[2]],
        folder.path(),
    );
    assert_eq!(said, TRANSCRIPT);
}
