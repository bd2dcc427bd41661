//! The Python environment of the plugins' tests: numpy, Magika with its runtime, and the reference tokenizer.
//!
//! It is made in its place, for such an environment can't be moved; a mark inside, written last, says that it is whole and
//! for which packages.

use super::python::Python;
use super::{ModelsError, file, remove};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

const PACKAGES: &[&str] = &["numpy>=1.26,<3", "magika==1.0.3", "onnxruntime>=1.17"];
/// Without its dependencies: they only serve downloads from a hub.
const PACKAGES_ALONE: &[&str] = &["tokenizers>=0.21,<0.24"];
const MARK: &str = "whole.txt";

/// Makes it unless it is there; says what was done.
pub fn prepare(python: &Python, folder: &Path) -> Result<String, ModelsError> {
    let mark = folder.join(MARK);
    let packages = [PACKAGES, PACKAGES_ALONE].concat().join("\n");
    if fs::read_to_string(&mark).is_ok_and(|text| text == packages) {
        return Ok(format!(
            "the Python environment is there already: {}",
            folder.display()
        ));
    }
    remove(folder)?;
    python.run(
        "making a Python environment",
        &["-m".as_ref(), "venv".as_ref(), folder.as_os_str()],
    )?;
    let own = Python::at(folder.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    }));
    install(&own, &[], PACKAGES)?;
    install(&own, &["--no-deps"], PACKAGES_ALONE)?;
    fs::write(&mark, packages).map_err(file(&mark, "write the mark"))?;
    Ok(format!("Python environment made: {}", folder.display()))
}

fn install(python: &Python, options: &[&str], packages: &[&str]) -> Result<(), ModelsError> {
    let common = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let words: Vec<&OsStr> = [&common[..], options, packages]
        .concat()
        .into_iter()
        .map(OsStr::new)
        .collect();
    python.run(&format!("installing {}", packages.join(", ")), &words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_made_environment_is_made_again_and_a_whole_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("venv");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("left over"), "").unwrap();
        assert!(prepare(&Python::at("false"), &folder).is_err());
        assert!(!folder.exists());

        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(MARK), [PACKAGES, PACKAGES_ALONE].concat().join("\n")).unwrap();
        let said = prepare(&Python::at("false"), &folder).unwrap();
        assert!(said.contains("already"), "{said}");
    }
}
