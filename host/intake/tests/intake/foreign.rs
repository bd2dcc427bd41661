//! Libraries for Windows and macOS, made by hand: read to the end, and refused on this host.

use crate::sample::{Frame, TOML};
use extman_intake::{FileFormat, Inspection, inspect_bytes};

const PE_EXTMAN_AT: usize = 0x400;
const PE_TABLES_AT: usize = 0x1000;
const PE_TABLES_ADDRESS: u32 = 0x2_0000;

fn put(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    if bytes.len() < at + part.len() {
        bytes.resize(at + part.len(), 0);
    }
    bytes[at..at + part.len()].copy_from_slice(part);
}

fn put_u32s(bytes: &mut Vec<u8>, at: usize, numbers: &[u32]) {
    let part: Vec<_> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    put(bytes, at, &part);
}

/// A 64-bit DLL with a manifest that exports the entry and imports from two libraries.
pub fn pe_library() -> Vec<u8> {
    let mut b = Vec::new();
    put(&mut b, 0, b"MZ");
    put_u32s(&mut b, 60, &[64]);
    put(&mut b, 64, b"PE\0\0");
    put(&mut b, 68, &[0x64, 0x86, 2, 0]);
    put(&mut b, 84, &[240, 0, 0x22, 0x20]);
    let optional = 88;
    put(&mut b, optional, &[0x0b, 0x02]);
    put_u32s(&mut b, optional + 32, &[0x1000, 0x200]);
    put_u32s(&mut b, optional + 56, &[0x3_0000, 0x400]);
    put_u32s(&mut b, optional + 108, &[16]);
    put_u32s(
        &mut b,
        optional + 112,
        &[PE_TABLES_ADDRESS, 0x100, PE_TABLES_ADDRESS + 0x200, 60],
    );
    let sections = optional + 240;
    let frame = Frame::of(TOML).bytes();
    put(&mut b, sections, b".extman\0");
    put_u32s(
        &mut b,
        sections + 8,
        &[
            frame.len() as u32,
            0x1000,
            frame.len() as u32,
            PE_EXTMAN_AT as u32,
        ],
    );
    put(&mut b, sections + 40, b".rdata\0\0");
    put_u32s(
        &mut b,
        sections + 48,
        &[0x400, PE_TABLES_ADDRESS, 0x400, PE_TABLES_AT as u32],
    );
    put(&mut b, PE_EXTMAN_AT, &frame);

    let address = |offset: u32| PE_TABLES_ADDRESS + offset;
    let exports = [
        0,
        0,
        0,
        address(0x80),
        1,
        1,
        1,
        address(0x40),
        address(0x44),
        address(0x48),
    ];
    put_u32s(&mut b, PE_TABLES_AT, &exports);
    put_u32s(&mut b, PE_TABLES_AT + 0x40, &[0x1000, address(0x50), 0]);
    put(&mut b, PE_TABLES_AT + 0x50, b"extman_plugin_entry\0");
    put(&mut b, PE_TABLES_AT + 0x80, b"a.dll\0");
    for (n, name) in [(0, 0x280), (1, 0x2a0)] {
        let thunks = address(0x300);
        put_u32s(
            &mut b,
            PE_TABLES_AT + 0x200 + n * 20,
            &[thunks, 0, 0, address(name), thunks],
        );
    }
    put(&mut b, PE_TABLES_AT + 0x280, b"KERNEL32.dll\0");
    put(&mut b, PE_TABLES_AT + 0x2a0, b"onnxruntime.dll\0");
    b.resize(PE_TABLES_AT + 0x400, 0);
    b
}

/// An arm64 dylib with a manifest, that exports the entry and needs two libraries.
pub fn macho_library() -> Vec<u8> {
    const DATA_AT: u32 = 0x1000;
    let frame = Frame::of(TOML).bytes();
    let link_at = DATA_AT + frame.len() as u32;
    let mut commands = Vec::new();
    let segment = |name: &[u8; 16], at: u32, size: u32, sections: u32| {
        let mut c = Vec::new();
        put_u32s(&mut c, 0, &[0x19, 72 + 80 * sections]);
        put(&mut c, 8, name);
        put_u32s(&mut c, 24, &[at, 0, size, 0, at, 0, size, 0, 3, 3, sections, 0]);
        c
    };
    let mut section = Vec::new();
    put(
        &mut section,
        0,
        b"__extman\0\0\0\0\0\0\0\0__DATA\0\0\0\0\0\0\0\0\0\0",
    );
    put_u32s(
        &mut section,
        32,
        &[DATA_AT, 0, frame.len() as u32, 0, DATA_AT, 3, 0, 0, 0, 0, 0, 0],
    );
    let mut list = vec![
        [
            segment(b"__DATA\0\0\0\0\0\0\0\0\0\0", DATA_AT, frame.len() as u32, 1),
            section,
        ]
        .concat(),
        segment(b"__LINKEDIT\0\0\0\0\0\0", link_at, 64, 0),
    ];
    for name in [&b"/usr/lib/libSystem.B.dylib"[..], b"@rpath/libfoo.dylib"] {
        let mut c = Vec::new();
        put_u32s(&mut c, 0, &[0xc, 56, 24]);
        put(&mut c, 24, name);
        c.resize(56, 0);
        list.push(c);
    }
    let mut symbols = Vec::new();
    put_u32s(&mut symbols, 0, &[2, 24, link_at, 1, link_at + 16, 32]);
    list.push(symbols);
    for command in &list {
        commands.extend(command);
    }
    let mut b = Vec::new();
    put_u32s(
        &mut b,
        0,
        &[
            0xfeed_facf,
            0x0100_000c,
            0,
            6,
            list.len() as u32,
            commands.len() as u32,
            0,
            0,
        ],
    );
    put(&mut b, 32, &commands);
    put(&mut b, DATA_AT as usize, &frame);
    put_u32s(&mut b, link_at as usize, &[1, 0x010f, DATA_AT, 0]);
    put(&mut b, link_at as usize + 16, b"\0_extman_plugin_entry\0");
    b.resize(link_at as usize + 64, 0);
    b
}

fn codes(inspection: &Inspection) -> Vec<&'static str> {
    inspection.problems.iter().map(|problem| problem.code).collect()
}

#[test]
fn a_windows_library_is_read_and_refused_here() {
    let inspection = inspect_bytes(&pe_library()).unwrap();
    let facts = &inspection.facts;
    assert_eq!(
        (facts.format, facts.machine.as_str(), facts.bits),
        (FileFormat::Pe, "x86_64", 64)
    );
    assert_eq!(inspection.manifest.as_ref().unwrap().plugin.id, "sample");
    assert_eq!(facts.needed, ["KERNEL32.dll", "onnxruntime.dll"]);
    assert!(facts.exports.has("extman_plugin_entry"));
    let expected: &[_] = if cfg!(target_arch = "x86_64") {
        &["wrong-format"]
    } else {
        &["wrong-format", "wrong-machine"]
    };
    assert_eq!(codes(&inspection), expected);
    let text = &inspection.problems[0].text;
    assert!(
        text.contains("PE library (Windows)") && text.contains("ELF library"),
        "{text}"
    );
}

#[test]
fn a_windows_program_or_a_cut_library_is_told() {
    let mut program = pe_library();
    program[87] = 0;
    assert_eq!(inspect_bytes(&program).unwrap_err().code(), "executable");
    let library = pe_library();
    let cut = &library[..library.len() - 1];
    assert_eq!(inspect_bytes(cut).unwrap_err().code(), "truncated");
    assert_eq!(inspect_bytes(&library[..40]).unwrap_err().code(), "truncated");
}

#[test]
fn a_mac_library_is_read_and_refused_here() {
    let inspection = inspect_bytes(&macho_library()).unwrap();
    let facts = &inspection.facts;
    assert_eq!(
        (facts.format, facts.machine.as_str(), facts.bits),
        (FileFormat::MachO, "aarch64", 64)
    );
    assert_eq!(inspection.manifest.as_ref().unwrap().plugin.id, "sample");
    assert_eq!(
        facts.needed,
        ["/usr/lib/libSystem.B.dylib", "@rpath/libfoo.dylib"]
    );
    assert!(facts.exports.has("extman_plugin_entry"), "{:?}", facts.exports);
    assert_eq!(codes(&inspection)[0], "wrong-format");
    assert!(
        !codes(&inspection).contains(&"companions"),
        "nobody can tell here"
    );
}

#[test]
fn a_mac_bundle_is_a_library_and_a_program_is_not() {
    let with_type = |filetype| {
        let mut bytes = macho_library();
        bytes[12] = filetype;
        bytes
    };
    assert!(inspect_bytes(&with_type(8)).is_ok());
    assert_eq!(inspect_bytes(&with_type(2)).unwrap_err().code(), "executable");
    assert_eq!(inspect_bytes(&with_type(1)).unwrap_err().code(), "relocatable");
    let library = macho_library();
    assert_eq!(
        inspect_bytes(&library[..library.len() - 1]).unwrap_err().code(),
        "truncated"
    );
}

#[test]
fn a_universal_file_is_read_inside() {
    let inner = macho_library();
    let mut bytes = Vec::new();
    let numbers = [0xcafe_babe_u32, 1, 0x0100_000c, 0, 0x4000, inner.len() as u32, 14];
    put(
        &mut bytes,
        0,
        &numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>(),
    );
    put(&mut bytes, 0x4000, &inner);
    let inspection = inspect_bytes(&bytes).unwrap();
    assert_eq!(inspection.manifest.as_ref().unwrap().plugin.id, "sample");
    assert_eq!(inspection.facts.notes[0].code, "universal");
    assert_eq!(
        inspect_bytes(&bytes[..bytes.len() - 1]).unwrap_err().code(),
        "truncated"
    );
}
