//! The frame of a plugin that is written in C or C++, as a C file to compile with it.
//!
//! What only the compiler knows (target, compiler, byte order) is left to its macros; the rest is written out.

use super::frame::{FRAME_VERSION, HEADER_SIZE, PANIC_NONE, SDK_C, SYMBOL, TOML_BYTES_MAX, padded};
use super::schema::{Manifest, ManifestError};
use std::fmt::Write;

/// A C file that defines the frame of this `plugin.toml`. It includes `extman_plugin.h` for the ABI's version.
///
/// # Errors
/// The text is not a manifest, or is longer than a frame may carry.
pub fn c_source(toml: &str) -> Result<String, ManifestError> {
    let manifest: Manifest = toml.parse()?;
    if toml.len() > TOML_BYTES_MAX {
        return Err(ManifestError(format!(
            "plugin.toml has {} bytes; a library carries at most {TOML_BYTES_MAX}; shorten its schemas and texts",
            toml.len()
        )));
    }
    let mut bytes = String::with_capacity(toml.len() * 4);
    for line in toml.as_bytes().chunks(BYTES_A_LINE) {
        let line: Vec<String> = line.iter().map(u8::to_string).collect();
        // Writing to a String does not fail.
        let _ = writeln!(bytes, "        {},", line.join(","));
    }
    Ok(TEMPLATE
        .replace("@ID@", &manifest.plugin.id)
        .replace("@VERSION@", &manifest.plugin.version.to_string())
        .replace("@FRAME_VERSION@", &FRAME_VERSION.to_string())
        .replace("@HEADER_SIZE@", &HEADER_SIZE.to_string())
        .replace("@PANIC@", &PANIC_NONE.to_string())
        .replace("@SDK@", &SDK_C.to_string())
        .replace("@SYMBOL@", SYMBOL)
        .replace("@TOML_LEN@", &toml.len().to_string())
        .replace("@PADDED@", &padded(toml.len()).to_string())
        .replace("@BYTES@", bytes.trim_end()))
}

/// `extman_plugin.h`, for `extman manifest --header`.
pub const C_HEADER: &str = include_str!("../../include/extman_plugin.h");

const BYTES_A_LINE: usize = 24;
const TEMPLATE: &str = include_str!("c_source.tmpl");

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str =
        "[plugin]\nid = \"x\"\nversion = \"1.0.0\"\nkind = \"general\"\n[[capability]]\nname = \"a.b\"\n";

    #[test]
    fn no_placeholder_is_left() {
        let source = c_source(MINIMAL).unwrap();
        assert!(!source.contains('@'), "{source}");
        assert!(source.contains("x 1.0.0"), "{source}");
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let error = c_source("[plugin]\nid = 3\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        let long = format!("{MINIMAL}# {}\n", "x".repeat(TOML_BYTES_MAX));
        let error = c_source(&long).unwrap_err().to_string();
        assert!(error.contains("at most 262144"), "{error}");
    }
}
