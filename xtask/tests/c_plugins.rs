//! The plugins in C, C++ and Zig, as built for a host; and the header that they are built with.

mod driver;

use driver::Driver;
use extman_plugin_api::abi::{ENTRY_SYMBOL, STATUS_OK, STATUS_UNIMPLEMENTED};
use extman_plugin_api::manifest::frame;
use object::{Object, ObjectSection, ObjectSymbol};
use std::path::PathBuf;
use std::process::Command;

#[test]
fn the_header_is_current() {
    xtask::header::check().unwrap();
}

#[test]
fn libraries_carry_their_manifest_and_export_nothing_else() {
    for name in ["minimal-c", "hash-embedder"] {
        let dir = xtask::root().join("sample-plugins").join(name);
        let out = tempfile::tempdir().unwrap();
        let library = xtask::plugins::build_c(&dir, out.path()).unwrap();
        assert_eq!(library, out.path().join(xtask::plugins::library_name(name)));
        assert_eq!(
            std::fs::read_dir(out.path()).unwrap().count(),
            1,
            "only the library is left"
        );

        let bytes = std::fs::read(&library).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let section = file
            .section_by_name(frame::SECTION_ELF)
            .expect("the manifest's section");
        let facts = frame::read(section.data().unwrap()).unwrap();
        assert_eq!(
            facts.toml,
            std::fs::read_to_string(dir.join("plugin.toml")).unwrap()
        );
        assert_eq!(facts.sdk, frame::SDK_C);
        let mut exported: Vec<&str> = file
            .dynamic_symbols()
            .filter(|symbol| symbol.is_definition())
            .filter_map(|symbol| symbol.name().ok())
            .collect();
        exported.sort_unstable();
        assert_eq!(exported, [frame::SYMBOL, ENTRY_SYMBOL]);
    }
}

#[test]
fn the_minimal_plugin_is_short_and_gives_back_its_input() {
    let source = include_str!("../../sample-plugins/minimal-c/plugin.c");
    assert!(source.lines().count() < 65);
    gives_back_its_input(&Driver::new("sample-plugins/minimal-c"));
}

#[test]
fn the_minimal_plugin_in_cpp_gives_back_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let object = folder.path().join("plugin.o");
    let flags = [
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-O1",
        "-fPIC",
        "-c",
    ];
    let mut compiler = Command::new("c++");
    compiler
        .args(flags)
        .arg("-I")
        .arg(xtask::root().join("plugin-api/include"))
        .arg(sample("minimal-cpp/plugin.cpp"))
        .arg("-o")
        .arg(&object);
    run(compiler);
    gives_back_its_input(&Driver::of_object("minimal-cpp", &object));
}

/// Zig reads the header by itself. It comes from PyPI (`pip install ziglang`), or is named by EXTMAN_ZIG.
#[cfg(feature = "zig")]
#[test]
fn the_minimal_plugin_in_zig_gives_back_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let (header, object) = (folder.path().join("extman.zig"), folder.path().join("plugin.o"));
    let include = xtask::root().join("plugin-api/include");
    let mut translate = zig();
    translate
        .args(["translate-c", "-lc", "-I"])
        .arg(&include)
        .arg(include.join("extman_plugin.h"));
    std::fs::write(&header, run(translate)).unwrap();
    let mut compiler = zig();
    compiler
        .args([
            "build-obj",
            "-O",
            "ReleaseSafe",
            "-fno-stack-check",
            "-lc",
            "-fPIC",
            "--dep",
            "extman",
        ])
        .arg(format!("-Mroot={}", sample("minimal-zig/plugin.zig").display()))
        .arg(format!("-Mextman={}", header.display()))
        .arg(format!("-femit-bin={}", object.display()));
    run(compiler);
    gives_back_its_input(&Driver::of_object("minimal-zig", &object));
}

#[cfg(feature = "zig")]
fn zig() -> Command {
    let words = std::env::var("EXTMAN_ZIG").unwrap_or_else(|_| "python3 -m ziglang".to_owned());
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words);
    command.env(
        "ZIG_GLOBAL_CACHE_DIR",
        concat!(env!("CARGO_TARGET_TMPDIR"), "/zig-cache"),
    );
    command
}

fn sample(path: &str) -> PathBuf {
    xtask::root().join("sample-plugins").join(path)
}

/// Standard output of a compiler that succeeds.
fn run(mut compiler: Command) -> Vec<u8> {
    let output = compiler
        .output()
        .unwrap_or_else(|error| panic!("this test needs {compiler:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{compiler:?}: {said}");
    output.stdout
}

fn gives_back_its_input(driver: &Driver) {
    let answer = driver.answer(&["invoke", "bytes.echo"], b"a\0b\nc");
    assert_eq!((answer.status, answer.error.as_str()), (STATUS_OK, ""));
    assert_eq!(answer.content_type, "application/json");
    assert_eq!(answer.output, b"a\0b\nc");
    let refused = driver.answer(&["invoke", "bytes.other"], b"");
    assert_eq!(refused.status, STATUS_UNIMPLEMENTED);
    assert_eq!(refused.error, "this plugin has only bytes.echo");
}
