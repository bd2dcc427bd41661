//! The ABI as text, one file for each released minor, and the rules by which one minor may follow another.

use crate::abi::Abi;
use std::fmt::Write;

/// The text that is checked in.
pub fn text(abi: &Abi, major: u32, minor: u32) -> String {
    let mut out = format!(
        "# The ABI {major}.{minor} on targets with pointers of 64 bits. Once released, never changed: what is new goes to the\n\
         # next minor's file.\n\n"
    );
    // Writing to a String does not fail.
    for constant in &abi.constants {
        let _ = writeln!(
            out,
            "const {}: {} = {}",
            constant.name, constant.ty, constant.value
        );
    }
    out.push('\n');
    for alias in &abi.aliases {
        let _ = writeln!(out, "type {} = {}", alias.name, alias.of);
    }
    for s in &abi.structs {
        let _ = writeln!(out, "\nstruct {} size {} align {}", s.name, s.size, s.align);
        for field in &s.fields {
            let _ = writeln!(
                out,
                "    {}: {} size {} at {}",
                field.name, field.ty, field.size, field.offset
            );
        }
    }
    out
}

/// What in `new` a plugin or a host that was built with `old` could not live with.
pub fn breaks(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (Parsed::of(old), Parsed::of(new));
    let mut found = Vec::new();
    for line in &old.lines {
        if !new.lines.contains(line) && !line.starts_with("const ABI_MINOR:") {
            found.push(format!(
                "`{line}` is gone or changed; values and types of a released ABI stay"
            ));
        }
    }
    for (name, align, fields) in &old.structs {
        let Some((_, new_align, new_fields)) = new.structs.iter().find(|s| s.0 == *name) else {
            found.push(format!("struct {name} is gone; released structs stay"));
            continue;
        };
        if align != new_align {
            found.push(format!(
                "struct {name} was aligned to {align}, now to {new_align}"
            ));
        }
        for (i, field) in fields.iter().enumerate() {
            if new_fields.get(i) != Some(field) {
                found.push(format!(
                    "struct {name}: field {i} was `{field}`, now {}; append new fields after the last one",
                    new_fields
                        .get(i)
                        .map_or("there is none".to_owned(), |now| format!("it is `{now}`"))
                ));
            }
        }
        let may_grow = fields
            .first()
            .is_some_and(|field| field.starts_with("struct_size:"));
        if new_fields.len() > fields.len() && !may_grow {
            found.push(format!(
                "struct {name} can't grow: it does not start with struct_size"
            ));
        }
    }
    found
}

/// Lines outside of structs, and structs as name, alignment and field lines.
struct Parsed<'a> {
    lines: Vec<&'a str>,
    structs: Vec<(&'a str, &'a str, Vec<&'a str>)>,
}

impl<'a> Parsed<'a> {
    fn of(text: &'a str) -> Self {
        let mut parsed = Parsed {
            lines: Vec::new(),
            structs: Vec::new(),
        };
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let words: Vec<&str> = line.split(' ').collect();
            match (words[..].as_ref(), parsed.structs.last_mut()) {
                (["struct", name, "size", _, "align", align], _) => {
                    parsed.structs.push((name, align, Vec::new()));
                }
                (["", ..], Some((_, _, fields))) => fields.push(line.trim()),
                _ => parsed.lines.push(line),
            }
        }
        parsed
    }
}
