//! `cargo xtask header`: the C header, from the ABI crate's sources and the hand-written parts beside it.
//!
//! cbindgen writes the types; `notation` gives them the header's names and order; `layout` has the compiler check them; this module
//! puts the parts around.

mod layout;
mod notation;

use crate::root;
use extman_plugin_api::abi::{ABI_MAJOR, ABI_MINOR};
use std::path::{Path, PathBuf};

/// `cargo xtask header`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Writes nothing; fails when the header is not current.
    #[arg(long)]
    check: bool,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// A file could not be read or written.
    #[error("can't {doing} {}: {source}; check that the path exists and its permissions", path.display())]
    File {
        /// "read" or "write".
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The sources could not be understood.
    #[error("cbindgen can't read plugin-api/abi/src: {0}; declare the ABI in forms that C has")]
    Cbindgen(#[from] cbindgen::Error),
    /// The checked-in header is not what the sources give.
    #[error("{} is not current: line {line} differs; run `cargo xtask header` and commit it", path.display())]
    Stale {
        /// The header.
        path: PathBuf,
        /// First line that differs, from 1.
        line: usize,
    },
}

/// Writes the header, or only checks it.
///
/// # Errors
/// It can't be made or written; or, when only checked, it is not current.
pub fn run(arguments: &Arguments) -> Result<String, HeaderError> {
    if arguments.check {
        check()?;
        return Ok(format!("{} is current", path().display()));
    }
    std::fs::write(path(), text()?).map_err(file("write", &path()))?;
    Ok(format!("wrote {}", path().display()))
}

/// Fails unless the checked-in header is what the sources give.
///
/// # Errors
/// It differs, or either can't be had.
pub fn check() -> Result<(), HeaderError> {
    let path = path();
    let checked_in = std::fs::read_to_string(&path).map_err(file("read", &path))?;
    match first_difference(&checked_in, &text()?) {
        None => Ok(()),
        Some(line) => Err(HeaderError::Stale { path, line }),
    }
}

/// Where the header is checked in.
pub fn path() -> PathBuf {
    root().join("plugin-api/include/extman_plugin.h")
}

/// The header.
///
/// # Errors
/// A source can't be read.
pub fn text() -> Result<String, HeaderError> {
    let part = |name: &str| {
        let path = root().join("plugin-api/include/parts").join(name);
        std::fs::read_to_string(&path).map_err(file("read", &path))
    };
    let golden = golden()?;
    Ok(format!(
        "{preamble}\n{fingerprint}\n{types}\n{layout}\n{helpers}\n{cpp}\n#endif /* EXTMAN_PLUGIN_H */\n",
        preamble = part("preamble.h")?,
        fingerprint = layout::fingerprint(&golden),
        types = types()?,
        layout = layout::assertions(&golden),
        helpers = part("helpers.h")?,
        cpp = part("cpp.h")?,
    ))
}

/// The ABI of this minor, as its tests write it down.
fn golden() -> Result<String, HeaderError> {
    let path = root().join(format!("plugin-api/abi/golden/abi-{ABI_MAJOR}.{ABI_MINOR}.txt"));
    std::fs::read_to_string(&path).map_err(file("read", &path))
}

/// Order of the sources, which is the order of the header.
const SOURCES: [&str; 4] = ["constants.rs", "values.rs", "vtables.rs", "module.rs"];
/// cbindgen writes what is reachable from these.
const ROOTS: [&str; 4] = ["PluginModule", "EntryFn", "AsyncVtable", "CallTable"];

fn types() -> Result<String, HeaderError> {
    let mut config = cbindgen::Config {
        language: cbindgen::Language::C,
        no_includes: true,
        usize_is_size_t: true,
        documentation_style: cbindgen::DocumentationStyle::Doxy,
        style: cbindgen::Style::Both,
        line_length: 110,
        tab_width: 4,
        ..Default::default()
    };
    config.export.prefix = Some("Extman".to_owned());
    config.export.include = ROOTS.map(str::to_owned).to_vec();
    let folder = root().join("plugin-api/abi/src");
    let bindings = SOURCES
        .iter()
        .fold(cbindgen::Builder::new(), |builder, name| {
            builder.with_src(folder.join(name))
        })
        .with_config(config)
        .generate()?;
    let mut raw = Vec::new();
    bindings.write(&mut raw);
    let constants = folder.join("constants.rs");
    let constants = std::fs::read_to_string(&constants).map_err(file("read", &constants))?;
    let types = notation::for_readers(&String::from_utf8_lossy(&raw), &constants);
    Ok(format!(
        "#ifdef __cplusplus\nextern \"C\" {{\n#endif\n\n{types}\n\n#ifdef __cplusplus\n}}\n#endif\n"
    ))
}

fn first_difference(a: &str, b: &str) -> Option<usize> {
    if a == b {
        return None;
    }
    let same = a.lines().zip(b.lines()).take_while(|(a, b)| a == b).count();
    Some(same + 1)
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> HeaderError {
    let path = path.to_path_buf();
    move |source| HeaderError::File { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(first_difference("a\nb", "a\nb"), None);
        assert_eq!(first_difference("a\nb", "a\nc"), Some(2));
        assert_eq!(first_difference("a", "a\nb"), Some(2));
    }
}
