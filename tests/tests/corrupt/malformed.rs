//! A folder full of files with a library's name that are none, served by a real host.

use super::elf::{Elf, HEADER, SECTION, SEGMENT};
use extman_model::RefusedView;
use extman_tests::beside::Beside;
use extman_tests::served::Served;
use extman_tests::{build, until};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// A name, what it is, and the codes that may be given for it.
struct Malformed {
    name: String,
    what: What,
    codes: &'static [&'static str],
}

enum What {
    Bytes(Vec<u8>),
    Made(fn(&Path)),
}

#[test]
fn malformed_files_are_refused_by_name_and_nothing_of_them_runs() {
    let base = Elf(std::fs::read(build::c_fault("write-file-constructor")).unwrap());
    let marks = tempfile::tempdir().unwrap();
    let marker = marks.path().join("ran");
    let served = Served::start("", &[(faults_build::FILE_VARIABLE, &marker)]);
    let beside = Beside::start(&served);
    let files = all(&base);
    assert!(files.len() >= 100, "{} files", files.len());
    let (made, plugins) = (served.folder().join("made"), served.folder().join("plugins"));
    std::fs::create_dir(&made).unwrap();
    for file in &files {
        let at = made.join(&file.name);
        match &file.what {
            What::Bytes(bytes) => std::fs::write(&at, bytes).unwrap(),
            What::Made(make) => make(&at),
        }
        std::fs::rename(at, plugins.join(&file.name)).unwrap();
    }

    let mut refused = Vec::new();
    until("each file is refused", || {
        let status = served.client().status().expect("the host answers");
        refused = status.refused;
        let is_refused = |file: &Malformed| find(&refused, &file.name).is_some();
        files.iter().all(is_refused)
    });
    for file in &files {
        let seen = find(&refused, &file.name).expect("it is refused");
        assert!(
            file.codes.contains(&seen.code.as_str()),
            "{}: {seen:?}, not one of {:?}",
            file.name,
            file.codes
        );
        assert!(seen.reason.len() > 20, "{seen:?}");
    }
    assert!(!marker.exists(), "a constructor ran");
    let vetted = std::fs::read_dir(served.folder().join("store/vetting"))
        .unwrap()
        .count();
    assert_eq!(vetted, 1, "only lang-detect comes as far as vetting");
    let answered = beside.answered();
    until("lang-detect goes on answering", || {
        beside.answered() > answered + 10
    });
    assert_eq!(beside.failed(), Vec::<String>::new());

    // That the marker is missing proves something only if the library that all this was made of does make it.
    served.put(&build::c_fault("write-file-constructor"));
    until("the undamaged library runs", || marker.exists());
}

fn find<'a>(refused: &'a [RefusedView], name: &str) -> Option<&'a RefusedView> {
    refused.iter().find(|view| view.path.ends_with(name))
}

fn all(base: &Elf) -> Vec<Malformed> {
    let mut all = cut(base);
    all.extend(changed(base));
    all.extend(frames(base));
    all.extend(other_bytes());
    all.extend(no_files());
    all
}

fn bytes(name: &str, bytes: Vec<u8>, codes: &'static [&'static str]) -> Malformed {
    Malformed {
        name: format!("{name}.so"),
        what: What::Bytes(bytes),
        codes,
    }
}

const CUT: &[&str] = &["empty", "unknown-format", "text", "malformed", "truncated"];

/// Cut off at each boundary of a header, and within each segment and section.
fn cut(base: &Elf) -> Vec<Malformed> {
    let mut at: Vec<usize> = vec![
        0,
        1,
        3,
        4,
        5,
        6,
        7,
        15,
        16,
        18,
        20,
        24,
        32,
        40,
        48,
        52,
        58,
        62,
        HEADER - 1,
        HEADER,
    ];
    let segments = (0..base.number(56, 2)).map(|i| base.number(32, 8) + i * SEGMENT);
    at.extend(segments.flat_map(|header| [header + 1, header + SEGMENT]));
    at.extend(
        base.segments()
            .iter()
            .flat_map(|s| [s.offset + 1, s.offset + s.size / 2, s.offset + s.size]),
    );
    let whole = base.sections().into_iter().filter(|s| s.size > 1);
    at.extend(whole.flat_map(|s| [s.offset + s.size / 2]));
    let table = base.number(40, 8);
    at.extend((0..base.number(60, 2)).map(|i| table + i * SECTION + SECTION / 2));
    at.extend([table, base.0.len() - 1]);
    at.retain(|at| *at < base.0.len());
    at.sort_unstable();
    at.dedup();
    at.into_iter()
        .map(|at| bytes(&format!("cut-at-{at}"), base.cut(at), CUT))
        .collect()
}

/// What a header says, changed.
fn changed(base: &Elf) -> Vec<Malformed> {
    let huge = u64::MAX.to_le_bytes();
    let (extman, dynsym) = (base.section(".extman"), base.section(".dynsym"));
    let mut all = vec![
        bytes("a-program", base.with(16, &[2, 0]), &["executable"]),
        bytes("an-object", base.with(16, &[1, 0]), &["relocatable"]),
        bytes("for-aarch64", base.with(18, &[183, 0]), &["wrong-machine"]),
        bytes(
            "for-i386",
            base.with(18, &[3, 0]),
            &["wrong-machine", "malformed"],
        ),
        bytes(
            "for-no-machine",
            base.with(18, &[0xfe, 0xfe]),
            &["wrong-machine", "malformed"],
        ),
        bytes(
            "32-bit",
            base.with(4, &[1]),
            &["wrong-class", "malformed", "truncated"],
        ),
        bytes(
            "big-endian",
            base.with(5, &[2]),
            &["wrong-byte-order", "malformed", "truncated"],
        ),
        bytes("no-magic", base.with(0, b"\x7fELK"), &["unknown-format"]),
        bytes(
            "segments-far-away",
            base.with(32, &huge),
            &["malformed", "truncated"],
        ),
        bytes(
            "sections-far-away",
            base.with(40, &huge),
            &["malformed", "truncated"],
        ),
        bytes(
            "segments-many",
            base.with(56, &[0xfe, 0xff]),
            &["malformed", "truncated"],
        ),
        bytes(
            "sections-many",
            base.with(60, &[0xff, 0xff]),
            &["malformed", "truncated"],
        ),
        bytes(
            "manifest-section-huge",
            base.with(extman.header + 32, &huge),
            &["malformed", "truncated"],
        ),
        bytes(
            "manifest-section-far-away",
            base.with(extman.header + 24, &huge),
            &["malformed", "truncated"],
        ),
        bytes(
            "symbols-huge",
            base.with(dynsym.header + 32, &huge),
            &["malformed", "truncated", "too-complex"],
        ),
    ];
    for (i, segment) in base.segments().iter().enumerate() {
        let huge = base.with(segment.header + 32, &huge);
        all.push(bytes(
            &format!("segment-{i}-huge"),
            huge,
            &["malformed", "truncated"],
        ));
    }
    all
}

/// A manifest's frame, changed.
fn frames(base: &Elf) -> Vec<Malformed> {
    let frame = base.find(b"EXTMANMF");
    let (toml, entry) = (base.find(b"[plugin]"), base.find(b"extman_plugin_entry\0"));
    vec![
        bytes("frame-without-magic", base.with(frame, b"X"), &["manifest-magic"]),
        bytes(
            "frame-of-version-9",
            base.with(frame + 8, &[9]),
            &["manifest-version"],
        ),
        bytes(
            "frame-header-huge",
            base.with(frame + 12, &[255; 4]),
            &["manifest-truncated", "manifest-too-large", "manifest-version"],
        ),
        bytes("frame-of-abi-9", base.with(frame + 16, &[9]), &["abi-major"]),
        bytes(
            "toml-huge",
            base.with(frame + 168, &u64::MAX.to_le_bytes()),
            &["manifest-truncated", "manifest-too-large"],
        ),
        bytes(
            "toml-longer-than-the-frame",
            base.with(frame + 168, &[0, 8]),
            &["manifest-truncated"],
        ),
        bytes(
            "toml-not-toml",
            base.with(toml, b"[[[[[[[["),
            &["manifest-invalid"],
        ),
        bytes(
            "toml-not-utf8",
            base.with(toml, &[0xff; 8]),
            &["manifest-not-utf8"],
        ),
        bytes(
            "toml-of-something-else",
            base.with(toml, b"[plugim]"),
            &["manifest-invalid"],
        ),
        bytes(
            "no-entry",
            base.with(entry, b"extman_plugin_entrx"),
            &["no-entry"],
        ),
        bytes(
            "no-manifest",
            std::fs::read(build::c_fault("no-manifest")).unwrap(),
            &["no-manifest"],
        ),
        bytes(
            "two-frames",
            std::fs::read(build::c_fault("two-frames")).unwrap(),
            &["two-manifests"],
        ),
    ]
}

fn other_bytes() -> Vec<Malformed> {
    vec![
        bytes("text", b"This is not a library.\n".to_vec(), &["text"]),
        bytes("script", b"#!/bin/sh\necho no\n".to_vec(), &["script"]),
        bytes("archive", b"!<arch>\nnothing".to_vec(), &["static-archive"]),
        bytes("zeros", vec![0; 4096], &["unknown-format"]),
        bytes(
            "noise",
            (0..4096_u32)
                .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80)
                .collect(),
            &["unknown-format"],
        ),
        bytes(
            "pe-begun",
            b"MZ\x90\0\x03\0\0\0".to_vec(),
            &["malformed", "truncated", "wrong-format", "unknown-format"],
        ),
        bytes(
            "mach-o-begun",
            b"\xcf\xfa\xed\xfe\x07\0\0\x01".to_vec(),
            &["malformed", "truncated", "wrong-format", "unknown-format"],
        ),
    ]
}

fn no_files() -> Vec<Malformed> {
    let made = |name: &str, make: fn(&Path), codes| Malformed {
        name: format!("{name}.so"),
        what: What::Made(make),
        codes,
    };
    vec![
        made("directory", |at| std::fs::create_dir(at).unwrap(), &["directory"]),
        made(
            "pipe",
            |at| assert!(Command::new("mkfifo").arg(at).status().unwrap().success()),
            &["pipe"],
        ),
        made(
            "socket",
            |at| drop(std::os::unix::net::UnixListener::bind(at).unwrap()),
            &["socket"],
        ),
        made(
            "link-to-nothing",
            |at| symlink("nothing", at).unwrap(),
            &["dangling-link"],
        ),
        made(
            "link-to-itself",
            |at| symlink(at.file_name().unwrap(), at).unwrap(),
            &["link-loop"],
        ),
        made(
            "link-to-a-directory",
            |at| symlink("/", at).unwrap(),
            &["directory"],
        ),
        made(
            "link-to-a-device",
            |at| symlink("/dev/null", at).unwrap(),
            &["device"],
        ),
        made(
            "too-large",
            |at| std::fs::File::create(at).unwrap().set_len((1 << 30) + 1).unwrap(),
            &["too-large"],
        ),
        made("writable-by-all", writable_by_all, &["world-writable-file"]),
    ]
}

fn writable_by_all(at: &Path) {
    std::fs::copy(build::c_fault("write-file-constructor"), at).unwrap();
    std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o666)).unwrap();
}
