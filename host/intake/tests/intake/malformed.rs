//! Everything that is not a good plugin has a reason of its own.

use crate::sample::{self, Frame, Source, TOML, build};
use extman_intake::{InspectError, inspect_bytes, inspect_file};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The code of what stops an inspection, or else of the first problem; with its text.
fn verdict(bytes: &[u8]) -> (&'static str, String) {
    match inspect_bytes(bytes) {
        Err(error) => (error.code(), error.to_string()),
        Ok(inspection) => match inspection.problems.first() {
            Some(problem) => (problem.code, problem.text.clone()),
            None => ("fine", String::new()),
        },
    }
}

fn code(bytes: &[u8]) -> &'static str {
    verdict(bytes).0
}

fn u64_at(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()))
}

/// Where the program header of a type is, with these flags at least.
fn segment(bytes: &[u8], wanted: u32, flags: u8) -> usize {
    let table = u64_at(bytes, 32);
    (0..u16_at(bytes, 56))
        .map(|n| table + n * 56)
        .find(|at| bytes[*at..at + 4] == wanted.to_le_bytes() && bytes[at + 4] & flags == flags)
        .unwrap()
}

#[test]
fn a_library_cut_off_anywhere_is_truncated() {
    let whole = build(&Source::default());
    assert_eq!(verdict(&whole), ("fine", String::new()));
    let (program_headers, section_headers) = (u64_at(&whole, 32), u64_at(&whole, 40));
    let dynamic = u64_at(&whole, segment(&whole, 2, 0) + 8);
    let program_headers_end = program_headers + u16_at(&whole, 56) * 56;
    for (what, cut) in [
        ("within the magic's word", 5),
        ("within the ELF header", 63),
        ("after the ELF header", 64),
        ("within the program headers", program_headers_end - 1),
        ("after the program headers", program_headers_end),
        ("at the dynamic segment", dynamic),
        ("within the dynamic segment", dynamic + 8),
        ("before the section headers", section_headers),
        ("within the section headers", section_headers + 64),
        ("the last byte", whole.len() - 1),
    ] {
        let (code, text) = verdict(&whole[..cut]);
        assert_eq!(code, "truncated", "{what}: {text}");
        assert!(text.contains(&format!("the file has {cut}")), "{what}: {text}");
    }
}

#[test]
fn segments_that_lie_outside_the_file_are_found_without_section_headers() {
    let mut bytes = build(&Source::default());
    let code = segment(&bytes, 1, 1);
    bytes[40..48].fill(0);
    bytes[60..62].fill(0);
    bytes[code + 8..code + 16].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    let (code, text) = verdict(&bytes);
    assert_eq!(code, "truncated");
    assert!(text.contains("its segments"), "{text}");
}

#[test]
fn a_dynamic_segment_out_of_place_is_damage() {
    let mut bytes = build(&Source::default());
    let dynamic = segment(&bytes, 2, 0);
    bytes[dynamic + 16..dynamic + 24].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    let (code, text) = verdict(&bytes);
    assert_eq!(code, "malformed");
    assert!(text.contains("dynamic segment is not in a loaded one"), "{text}");
}

#[test]
fn another_machine_is_named() {
    let mut bytes = build(&Source::default());
    let other = if cfg!(target_arch = "aarch64") { 62_u8 } else { 183 };
    bytes[18] = other;
    let (code, text) = verdict(&bytes);
    assert_eq!(code, "wrong-machine");
    assert!(text.contains("aarch64") && text.contains("x86_64"), "{text}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_32_bit_library_is_refused_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.s");
    fs::write(&source, ".globl f\n.type f, @function\nf: ret\n").unwrap();
    let path = sample::compile(dir.path(), &source, "a.so", &["-shared", "-m32", "-nostdlib"]);
    let inspection = inspect_file(&path, 1 << 30).unwrap();
    assert_eq!(inspection.facts.bits, 32);
    let codes: Vec<_> = inspection.problems.iter().map(|p| p.code).collect();
    assert_eq!(codes, ["wrong-machine", "wrong-class", "no-manifest", "no-entry"]);
}

#[test]
fn what_is_no_library_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let program = Source {
        code: "int main(void) { return 0; }".to_owned(),
        flags: vec![],
        ..Source::default()
    };
    let with = |flags: &[&str], name: &str| {
        let source = Source {
            code: program.code.clone(),
            flags: flags.iter().map(|f| f.to_string()).collect(),
            ..Source::default()
        };
        source.build(dir.path(), name)
    };
    let object = with(&["-c"], "a.o");
    let archive = dir.path().join("a.a");
    let made = std::process::Command::new("ar")
        .arg("rc")
        .args([&archive, &object])
        .status()
        .unwrap();
    assert!(made.success());
    for (expected, path) in [
        ("executable", with(&["-pie"], "pie")),
        ("executable", with(&["-no-pie"], "no-pie")),
        ("relocatable", object),
        ("static-archive", archive),
    ] {
        assert_eq!(
            inspect_file(&path, 1 << 30).unwrap_err().code(),
            expected,
            "{}",
            path.display()
        );
    }
    assert_eq!(code(b""), "empty");
    assert_eq!(code(b"hello\n"), "text");
    assert_eq!(code(b"#!/bin/sh\nexit\n"), "script");
    assert_eq!(code(&[1, 2, 3, 4, 5]), "unknown-format");
    assert!(!sample::mark(dir.path()).exists());
}

#[test]
fn what_is_no_file_is_never_opened() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("dir.so")).unwrap();
    symlink(at("two.so"), at("one.so")).unwrap();
    symlink(at("one.so"), at("two.so")).unwrap();
    symlink("nowhere", at("dangling.so")).unwrap();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(at("pipe.so"))
            .status()
            .unwrap()
            .success()
    );
    fs::write(at("large.so"), [0; 100]).unwrap();
    let code = |path: &Path| inspect_file(path, 99).unwrap_err().code();
    assert_eq!(code(&at("dir.so")), "directory");
    assert_eq!(code(&at("one.so")), "link-loop");
    assert_eq!(code(&at("dangling.so")), "dangling-link");
    assert_eq!(code(&at("none.so")), "gone");
    assert_eq!(code(&at("pipe.so")), "pipe");
    assert_eq!(code(&at("large.so")), "too-large");
    assert_eq!(code(Path::new("/dev/zero")), "device");
}

fn framed(edit: impl FnOnce(&mut Frame)) -> (&'static str, String) {
    let mut frame = Frame::of(TOML);
    edit(&mut frame);
    verdict(&build(&Source::framed(frame)))
}

#[test]
fn a_manifest_that_is_missing_double_or_damaged_is_told() {
    let with_frames = |frames: Vec<Vec<u8>>| {
        verdict(&build(&Source {
            frames,
            ..Source::default()
        }))
    };
    let (code, text) = with_frames(vec![]);
    assert_eq!(code, "no-manifest");
    assert!(
        text.contains("export_plugin!") && text.contains("extman manifest"),
        "{text}"
    );

    let good = Frame::of(TOML).bytes();
    assert_eq!(with_frames(vec![good.clone(), good.clone()]).0, "two-manifests");
    assert_eq!(with_frames(vec![good[..100].to_vec()]).0, "manifest-truncated");
    assert_eq!(with_frames(vec![good[8..].to_vec()]).0, "manifest-magic");
    let mut later = good;
    later[8] = 9;
    assert_eq!(with_frames(vec![later]).0, "manifest-version");
    assert_eq!(
        framed(|f| f.declared_len = Some(u64::MAX)).0,
        "manifest-too-large"
    );
    assert_eq!(framed(|f| f.declared_len = Some(10_000)).0, "manifest-truncated");
    assert_eq!(framed(|f| f.toml[3] = 0xff).0, "manifest-not-utf8");
}

#[test]
fn a_manifest_section_of_many_megabytes_is_not_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source {
        frames: vec![],
        code: "__attribute__((used, retain, section(\".extman\"))) const char huge[64 << 20] = {1};"
            .to_owned(),
        ..Source::default()
    };
    let inspection = inspect_file(&source.build(dir.path(), "a.so"), 1 << 30).unwrap();
    assert_eq!(inspection.problems[0].code, "manifest-too-large");
}

#[test]
fn a_manifest_that_is_not_valid_is_told_with_line_and_column() {
    let (code, text) = framed(|f| f.toml = b"[plugin]\nid = \"x\nversion = 1\n".to_vec());
    assert_eq!(code, "manifest-invalid");
    assert!(text.contains("line 2, column"), "{text}");
    let (code, text) = framed(|f| f.toml = TOML.replace("task", "#").into_bytes());
    assert_eq!(code, "manifest-invalid");
    assert!(text.contains("no task"), "{text}");
}

#[test]
fn what_this_host_can_not_serve_is_refused() {
    let (code, text) = framed(|f| f.abi_major = 2);
    assert_eq!(code, "abi-major");
    assert!(
        text.contains("ABI 2") && text.contains("rebuild it with extman-plugin-api 1.x"),
        "{text}"
    );
    assert_eq!(framed(|f| f.abi_minor = 9).0, "fine");
    let (code, text) =
        framed(|f| f.toml = format!("{TOML}\n[requirements]\nhost = \">=99.1\"\n").into_bytes());
    assert_eq!(code, "host-version");
    assert!(
        text.contains(">=99.1") && text.contains(env!("CARGO_PKG_VERSION")),
        "{text}"
    );
    let any = framed(|f| f.toml = format!("{TOML}\n[requirements]\nhost = \"*\"\n").into_bytes());
    assert_eq!(any.0, "fine");
}

#[test]
fn a_missing_or_hidden_entry_is_refused() {
    let hidden = "__attribute__((visibility(\"hidden\"))) int extman_plugin_entry(void) { return 0; }";
    for code in ["", "static int extman_plugin_entry(void) { return 0; }", hidden] {
        let (code, text) = verdict(&build(&Source {
            entry: false,
            code: code.to_owned(),
            ..Source::default()
        }));
        assert_eq!(code, "no-entry");
        assert!(text.contains("extman_plugin_entry"), "{text}");
    }
}

#[test]
fn companions_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("companion.c");
    fs::write(&source, "int companion(void) { return 1; }").unwrap();
    sample::compile(dir.path(), &source, "libcompanion.so", &["-shared"]);
    let mut source = Source {
        code: "int companion(void); int call(void) { return companion(); }".to_owned(),
        ..Source::default()
    };
    source.flags.extend([
        format!("-L{}", dir.path().display()),
        "-lcompanion".to_owned(),
        "-lm".to_owned(),
    ]);
    let path = source.build(dir.path(), "a.so");
    let inspection = inspect_file(&path, 1 << 30).unwrap();
    assert_eq!(inspection.problems.len(), 1);
    assert_eq!(inspection.problems[0].code, "companions");
    let text = &inspection.problems[0].text;
    assert!(
        text.contains("needs libcompanion.so,") && text.contains("link it statically"),
        "{text}"
    );
}

#[test]
fn every_text_says_what_to_do() {
    for error in [
        InspectError::Empty,
        InspectError::Archive,
        InspectError::Executable,
        InspectError::Relocatable,
        InspectError::NoManifest,
        InspectError::NoEntry,
        InspectError::WrongByteOrder,
    ] {
        let text = error.to_string();
        assert!(text.contains(';'), "{text}");
    }
}
