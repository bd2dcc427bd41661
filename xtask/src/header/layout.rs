//! What the header says of its own layout: the fingerprint, and an assertion for each struct's size and each field's offset.
//! Both come from the ABI's golden text, which the tests hold to the Rust structs.

use extman_plugin_api::manifest::frame;
use std::fmt::Write;

/// The macro with the ABI's fingerprint.
pub(super) fn fingerprint(golden: &str) -> String {
    format!(
        "/** Distinguishes this header's structs and constants from any others; it goes into the manifest's frame. */\n\
         #define EXTMAN_ABI_FINGERPRINT UINT64_C({:#018x})\n",
        frame::fingerprint(golden)
    )
}

/// An assertion for each size and offset, for compilers of 64 bits.
pub(super) fn assertions(golden: &str) -> String {
    let mut out = String::from(START);
    let mut name = "";
    for line in golden.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["struct", struct_name, "size", size, "align", _] => {
                name = struct_name;
                let _ = writeln!(
                    out,
                    "EXTMAN_ASSERT(sizeof(Extman{name}) == {size}, \"Extman{name} has {size} bytes\");"
                );
            }
            [field, .., "size", _, "at", offset] => {
                let field = field.trim_end_matches(':');
                let _ = writeln!(
                    out,
                    "EXTMAN_ASSERT(offsetof(Extman{name}, {field}) == {offset}, \"Extman{name}.{field} is at {offset}\");"
                );
            }
            _ => {}
        }
    }
    out + END
}

const START: &str = "/* ---- The layout, checked while compiling. ---- */\n\n\
                     #if UINTPTR_MAX == UINT64_MAX\n\
                     #if defined(__cplusplus)\n\
                     #define EXTMAN_ASSERT(condition, text) static_assert(condition, text)\n\
                     #else\n\
                     #define EXTMAN_ASSERT(condition, text) _Static_assert(condition, text)\n\
                     #endif\n\n";
const END: &str = "\n#undef EXTMAN_ASSERT\n#endif\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_and_offset_is_asserted() {
        let golden = "const A: u32 = 1\ntype T = u32\n\nstruct S size 16 align 8\n    a: u64 size 8 at 0\n    \
                      b: Option<unsafe extern \"C\" fn(x: u32) -> u32> size 8 at 8\n";
        let said = assertions(golden);
        assert_eq!(said.matches("EXTMAN_ASSERT(sizeof").count(), 1, "{said}");
        assert!(said.contains("EXTMAN_ASSERT(sizeof(ExtmanS) == 16, "), "{said}");
        assert!(
            said.contains("EXTMAN_ASSERT(offsetof(ExtmanS, b) == 8, "),
            "{said}"
        );
        assert_eq!(said.matches("offsetof").count(), 2, "{said}");
    }
}
