//! What sort of file the first bytes promise.

use super::error::InspectError;

/// A format whose reader looks further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Elf { is_64: bool },
    Pe,
    MachO { is_64: bool },
    MachOFat { is_64: bool },
}

/// How many first bytes [`sniff`] wants to see, if there are as many.
pub(super) const HEAD_BYTES: u64 = 512;

pub(super) fn sniff(head: &[u8]) -> Result<Container, InspectError> {
    match head {
        [] => Err(InspectError::Empty),
        [0x7f, b'E', b'L', b'F', class, ..] => match class {
            1 => Ok(Container::Elf { is_64: false }),
            2 => Ok(Container::Elf { is_64: true }),
            _ => Err(InspectError::Malformed(format!("its ELF class is {class}"))),
        },
        [0x7f, b'E', b'L', b'F'] => Err(cut_off(head)),
        [b'M', b'Z', ..] => Ok(Container::Pe),
        [0xfe, 0xed, 0xfa, 0xce, ..] | [0xce, 0xfa, 0xed, 0xfe, ..] => Ok(Container::MachO { is_64: false }),
        [0xfe, 0xed, 0xfa, 0xcf, ..] | [0xcf, 0xfa, 0xed, 0xfe, ..] => Ok(Container::MachO { is_64: true }),
        // Java classes share this magic; their next number is a version of 45 or more, not a small count.
        [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 0..=30, ..] => Ok(Container::MachOFat { is_64: false }),
        [0xca, 0xfe, 0xba, 0xbf, ..] => Ok(Container::MachOFat { is_64: true }),
        _ if head.starts_with(b"!<arch>\n") || head.starts_with(b"!<thin>\n") => Err(InspectError::Archive),
        _ if head.starts_with(b"#!") => Err(InspectError::Script),
        _ if is_coff_object(head) => Err(InspectError::Relocatable),
        _ if is_text(head) => Err(InspectError::Text),
        _ => Err(InspectError::UnknownFormat(head[..head.len().min(4)].to_vec())),
    }
}

fn cut_off(head: &[u8]) -> InspectError {
    InspectError::Truncated {
        what: "headers",
        needed: 64,
        found: head.len() as u64,
    }
}

/// A COFF object has no magic: its machine, then few sections, then no optional header.
fn is_coff_object(head: &[u8]) -> bool {
    let machine = matches!(head, [0x64, 0x86, ..] | [0x64, 0xaa, ..] | [0x4c, 0x01, ..]);
    machine && head.len() >= 20 && head[16..18] == [0, 0]
}

fn is_text(head: &[u8]) -> bool {
    let whole = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character may be cut at the end of what is seen.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or(""),
        Err(_) => return false,
    };
    !whole.is_empty() && whole.chars().all(|c| !c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sort_has_its_own_answer() {
        let code = |head: &[u8]| sniff(head).unwrap_err().code();
        assert_eq!(code(b""), "empty");
        assert_eq!(code(b"#!/bin/sh\n"), "script");
        assert_eq!(code(b"hello, world\n"), "text");
        assert_eq!(code("gr\u{fc}n".as_bytes()), "text");
        assert_eq!(code(b"!<arch>\nabc"), "static-archive");
        assert_eq!(code(b"\x7fELF"), "truncated");
        assert_eq!(code(b"\x7fELF\x07"), "malformed");
        assert_eq!(code(b"\x7fEL"), "unknown-format");
        assert_eq!(
            code(&[0x64, 0x86, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            "relocatable"
        );
        assert_eq!(code(b"\xca\xfe\xba\xbe\0\0\0\x34"), "unknown-format");
        assert_eq!(sniff(b"MZ"), Ok(Container::Pe));
        assert_eq!(sniff(b"\x7fELF\x02"), Ok(Container::Elf { is_64: true }));
    }
}
