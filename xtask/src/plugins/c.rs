//! A plugin in C: one folder to one library, by the C compiler alone.

use super::error::{PluginsError, io};
use crate::root;
use extman_plugin_api::manifest::{c_source, schema::Manifest};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How plugins in C are compiled.
const FLAGS: [&str; 8] = [
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-O2",
    "-fPIC",
    "-fvisibility=hidden",
    "-shared",
];

/// Builds the plugin in `dir`: a `plugin.toml`, and `.c` files in `src` or beside it. The library in `out_dir` appears
/// whole or not at all; its path is returned. The compiler is `CC`, else `cc`.
///
/// # Errors
/// The manifest is wrong, or the compiler is missing or refuses the sources.
pub fn build_c(dir: &Path, out_dir: &Path) -> Result<PathBuf, PluginsError> {
    build_c_with(dir, out_dir, &[])
}

/// As [`build_c`], with these arguments for the compiler after its own.
///
/// # Errors
/// As there.
pub fn build_c_with(dir: &Path, out_dir: &Path, more: &[&str]) -> Result<PathBuf, PluginsError> {
    let manifest = dir.join("plugin.toml");
    let toml = std::fs::read_to_string(&manifest).map_err(io("read", &manifest))?;
    let wrong = |source| PluginsError::Manifest {
        path: manifest.clone(),
        source,
    };
    let frame = c_source(&toml).map_err(wrong)?;
    let id = toml.parse::<Manifest>().map_err(wrong)?.plugin.id;
    let sources = sources(dir)?;

    std::fs::create_dir_all(out_dir).map_err(io("create", out_dir))?;
    let work = tempfile::Builder::new()
        .prefix(".build-")
        .tempdir_in(out_dir)
        .map_err(io("write to", out_dir))?;
    let manifest_c = work.path().join("manifest.c");
    std::fs::write(&manifest_c, frame).map_err(io("write", &manifest_c))?;
    let unfinished = work.path().join("library");
    compile(dir, &sources, &manifest_c, &unfinished, more)?;

    let library = out_dir.join(library_name(&id));
    std::fs::rename(&unfinished, &library).map_err(io("replace", &library))?;
    Ok(library)
}

/// The file name of a plugin's library, as cargo would give it.
pub fn library_name(id: &str) -> String {
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    format!("{prefix}{}{suffix}", id.replace('-', "_"))
}

fn sources(dir: &Path) -> Result<Vec<PathBuf>, PluginsError> {
    let src = dir.join("src");
    let folder = if src.is_dir() { src } else { dir.to_path_buf() };
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(io("read", &folder))? {
        let path = entry.map_err(io("read", &folder))?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            sources.push(path);
        }
    }
    if sources.is_empty() {
        return Err(PluginsError::NoSources {
            dir: dir.to_path_buf(),
        });
    }
    sources.sort();
    Ok(sources)
}

fn compile(
    dir: &Path,
    sources: &[PathBuf],
    manifest_c: &Path,
    out: &Path,
    more: &[&str],
) -> Result<(), PluginsError> {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    // CC may carry arguments, as in "ccache gcc".
    let mut words = compiler.split_whitespace();
    let output = Command::new(words.next().unwrap_or("cc"))
        .args(words)
        .args(FLAGS)
        .args(cfg!(target_os = "linux").then_some("-Wl,-z,defs"))
        .arg("-I")
        .arg(root().join("plugin-api/include"))
        .arg("-o")
        .arg(out)
        .args(sources)
        .arg(manifest_c)
        .arg("-lm")
        .args(more)
        .output()
        .map_err(|source| PluginsError::NoCompiler {
            compiler: compiler.clone(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(PluginsError::Compiler {
        compiler,
        dir: dir.to_path_buf(),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_named_as_cargo_names_them() {
        let name = library_name("hash-embedder");
        assert!(
            name.contains("hash_embedder") && name.ends_with(std::env::consts::DLL_SUFFIX),
            "{name}"
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let error = || {
            build_c(dir.path(), &dir.path().join("out"))
                .unwrap_err()
                .to_string()
        };
        assert!(error().contains("plugin.toml"), "{}", error());
        std::fs::write(dir.path().join("plugin.toml"), "[plugin]\nid = 1\n").unwrap();
        assert!(error().contains("line 2"), "{}", error());
        let toml =
            "[plugin]\nid = \"x\"\nversion = \"1.0.0\"\nkind = \"general\"\n[[capability]]\nname = \"a.b\"\n";
        std::fs::write(dir.path().join("plugin.toml"), toml).unwrap();
        assert!(error().contains("no .c files"), "{}", error());
        std::fs::write(
            dir.path().join("plugin.c"),
            "int oops(void) { return undeclared; }\n",
        )
        .unwrap();
        assert!(error().contains("undeclared"), "{}", error());
        assert_eq!(
            std::fs::read_dir(dir.path().join("out")).unwrap().count(),
            0,
            "nothing half-built is left"
        );
    }
}
