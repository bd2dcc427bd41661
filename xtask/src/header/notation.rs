//! From cbindgen's text to one for readers of C: rustdoc's links become the header's names, the constants stand first
//! and in the order of their source, and a comment of one line takes one line.

/// The whole conversion; `constants_source` gives the constants' order.
pub(super) fn for_readers(generated: &str, constants_source: &str) -> String {
    let named = in_c_notation(generated.trim()).replace('→', "->");
    let called = with_calling_convention(&without_needless_struct(&named));
    let sized = with_wide_masks(&called, constants_source);
    one_line_comments(&in_source_order(&sized, constants_source))
}

/// Function pointers say how they are called; their further arguments stay below the first one.
fn with_calling_convention(text: &str) -> String {
    const CALL: &str = "EXTMAN_CALL ";
    let mut out = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let begins = line.contains("(*") && !line.trim_start().starts_with('*');
        if begins {
            out.push(line.replace("(*", &format!("({CALL}*")));
        } else if inside {
            out.push(format!("{}{line}", " ".repeat(CALL.len())));
        } else {
            out.push(line.to_owned());
        }
        inside = (begins || inside) && !line.ends_with(';');
    }
    out.join("\n")
}

/// A constant of 64 bits says so: `1 << 40` would not be one, and `-Wconversion` and bindings read it as 32 bits.
fn with_wide_masks(text: &str, constants_source: &str) -> String {
    let wide = |name: &str| {
        let name = name.strip_prefix("EXTMAN_")?;
        constants_source
            .contains(&format!("pub const {name}: u64 ="))
            .then_some(())
    };
    let mut out = Vec::new();
    for line in text.lines() {
        let definition = line
            .strip_prefix("#define ")
            .and_then(|rest| rest.split_once(' '));
        out.push(match definition {
            Some((name, value)) if wide(name).is_some() && value != "UINT64_MAX" => {
                format!("#define {name} {}", wide_value(value))
            }
            _ => line.to_owned(),
        });
    }
    out.join("\n")
}

/// `(1 << 3)` as `(UINT64_C(1) << 3)`, `7` as `UINT64_C(7)`.
fn wide_value(value: &str) -> String {
    match value.trim_matches(['(', ')']).split_once(" << ") {
        Some((bit, by)) => format!("(UINT64_C({bit}) << {by})"),
        None => format!("UINT64_C({value})"),
    }
}

/// `struct ExtmanBytes name;` reads as well without the first word, as each struct has a typedef of its name; but inside itself a
/// struct has none yet.
fn without_needless_struct(text: &str) -> String {
    const DEFINITION: &str = "typedef struct Extman";
    let shortened = |part: &str| {
        let plain = part.replace("struct Extman", "Extman");
        let name = part.split(' ').next().unwrap_or_default();
        match plain.split_once("\n} ") {
            Some((body, rest)) if !name.is_empty() => {
                let own = format!("Extman{name} *");
                format!("{}\n}} {rest}", body.replace(&own, &format!("struct {own}")))
            }
            _ => plain,
        }
    };
    text.split(DEFINITION)
        .map(shortened)
        .collect::<Vec<_>>()
        .join(DEFINITION)
}

/// Constants and their types first, as in their source; what follows stays in the order in which C needs it.
fn in_source_order(text: &str, constants_source: &str) -> String {
    const START: &str = "\n\n/**\n";
    let place = |item: &str| {
        let name = defined_name(item)?;
        let name = name.strip_prefix("EXTMAN_").or(name.strip_prefix("Extman"))?;
        constants_source
            .find(&format!("pub const {name}:"))
            .or(constants_source.find(&format!("pub type {name} ")))
    };
    let mut items: Vec<&str> = text.trim_start_matches("/**\n").split(START).collect();
    items.sort_by_key(|item| place(item).unwrap_or(usize::MAX));
    format!("/**\n{}", items.join(START))
}

/// The name that a commented `#define` or `typedef` gives.
fn defined_name(item: &str) -> Option<&str> {
    let (_, definition) = item.split_once("*/\n")?;
    match definition.strip_prefix("#define ") {
        Some(definition) => definition.split(' ').next(),
        None => definition.strip_suffix(';')?.rsplit(' ').next(),
    }
}

fn one_line_comments(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim() != "/**" {
            out.push(line.trim_end().to_owned());
            continue;
        }
        let first = lines.next().unwrap_or_default();
        if lines.next_if(|next| next.trim() == "*/").is_some() {
            let said = first.trim_start().trim_start_matches("* ");
            out.push(format!("{line} {said} */"));
        } else {
            out.push(line.to_owned());
            out.push(first.trim_end().to_owned());
        }
    }
    out.join("\n")
}

/// Rewrites rustdoc's links and names, and drops the escapes of the `[state]` tags.
fn in_c_notation(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['`', '\\', '[']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((name, after)) = link(rest) {
            out.push_str(&format!("`{}`", c_name(name)));
            rest = after;
        } else if let Some((name, after)) = quoted(rest) {
            out.push_str(&format!("`{}`", c_constant(name)));
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\[") {
            out.push('[');
            rest = after;
        } else {
            out.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    upper_case_prefixes(&out)
}

/// `` [`Name`] `` or `` [`Name`](target) `` at the start.
fn link(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix("[`")?.split_once("`]")?;
    let after = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
        Some((_, after)) => after,
        None => after,
    };
    Some((name, after))
}

/// `` `text` `` at the start.
fn quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('`')?.split_once('`')
}

/// A Rust path as C has it: `Outcome::valid` is `ExtmanOutcome.valid`.
fn c_name(name: &str) -> String {
    if is_constant(name) {
        return c_constant(name);
    }
    format!("Extman{}", name.replace("::", "."))
}

fn c_constant(name: &str) -> String {
    if is_constant(name) && !name.starts_with("EXTMAN_") {
        format!("EXTMAN_{name}")
    } else {
        name.to_owned()
    }
}

fn is_constant(name: &str) -> bool {
    name.contains('_')
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// cbindgen prefixes constants as it does types: `ExtmanSTATUS_OK` becomes `EXTMAN_STATUS_OK`.
fn upper_case_prefixes(text: &str) -> String {
    text.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .map(|word| match word.strip_prefix("Extman") {
            Some(name) if is_constant(name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())) => {
                format!("EXTMAN_{name}")
            }
            _ => word.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation_is_that_of_c() {
        for (rust, c) in [
            (
                "[`Bytes`] or [`Outcome::valid`](crate::Outcome): x",
                "`ExtmanBytes` or `ExtmanOutcome.valid`: x",
            ),
            (
                "`STATUS_OK` and [`STATUS_CLOSED`]",
                "`EXTMAN_STATUS_OK` and `EXTMAN_STATUS_CLOSED`",
            ),
            ("`REQUEST_` bits, `len`", "`EXTMAN_REQUEST_` bits, `len`"),
            ("\\[state] any", "[state] any"),
            (
                "#define ExtmanLOG_INFO 3\nExtmanLogLevel x[2];",
                "#define EXTMAN_LOG_INFO 3\nExtmanLogLevel x[2];",
            ),
        ] {
            assert_eq!(in_c_notation(rust), c);
        }
    }

    #[test]
    fn masks_are_of_64_bits_and_functions_say_how_they_are_called() {
        let source = "pub const A_B: u64 = 1;\npub const C_D: u64 = 1 << 3;\npub const E_F: u32 = 1 << 3;";
        let generated = "#define EXTMAN_A_B 1\n#define EXTMAN_C_D (1 << 3)\n#define EXTMAN_E_F (1 << 3)";
        assert_eq!(
            with_wide_masks(generated, source),
            "#define EXTMAN_A_B UINT64_C(1)\n#define EXTMAN_C_D (UINT64_C(1) << 3)\n#define EXTMAN_E_F (1 << 3)"
        );
        assert_eq!(
            with_calling_convention("    void (*f)(int a,\n              int b);\n * (*x)"),
            "    void (EXTMAN_CALL *f)(int a,\n                          int b);\n * (*x)"
        );
        assert_eq!(
            without_needless_struct(
                "typedef struct ExtmanS {\n    struct ExtmanS *s;\n    struct ExtmanT *t;\n} ExtmanS;"
            ),
            "typedef struct ExtmanS {\n    struct ExtmanS *s;\n    ExtmanT *t;\n} ExtmanS;"
        );
    }

    #[test]
    fn constants_stand_in_the_order_of_their_source() {
        let generated = "/**\n * One.\n */\n#define ExtmanIT_WORKS 1\n\n\
                         /**\n * A\n * b.\n */\ntypedef uint32_t ExtmanIt;\n\n\
                         /**\n * S.\n */\ntypedef struct ExtmanS {\n    struct ExtmanT t;\n} ExtmanS;";
        let source = "pub type It = u32;\npub const IT_WORKS: It = 1;";
        assert_eq!(
            for_readers(generated, source),
            "/**\n * A\n * b.\n */\ntypedef uint32_t ExtmanIt;\n\n\
             /** One. */\n#define EXTMAN_IT_WORKS 1\n\n\
             /** S. */\ntypedef struct ExtmanS {\n    ExtmanT t;\n} ExtmanS;"
        );
    }
}
