//! `cargo xtask dist`: the programs as they are shipped. They are built with optimisation and stripped; their symbols lie beside them in
//! files that debuggers and backtraces find by the link that the program holds.

use crate::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is shipped, and how many bytes each may have at most.
const PROGRAMS: [(&str, u64); 2] = [("extman", 20_000_000), ("extman-worker", 8_000_000)];
/// The profile in the workspace's Cargo.toml.
const PROFILE: &str = "shipped";

/// `cargo xtask dist`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the programs go [default: target/dist]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Why there is nothing to ship.
#[derive(Debug, thiserror::Error)]
pub enum DistError {
    /// A program could not be run.
    #[error("{program} can't be run: {error}; {hint}")]
    NotRun {
        /// Which.
        program: String,
        /// Why not.
        error: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// A program failed; what it said is above.
    #[error("{0} failed; what it said is above")]
    Failed(String),
    /// A program is too large.
    #[error(
        "{path} has {bytes} bytes and may have {most}; see what grew by `nm --size-sort --print-size` of its .debug file, and leave it away \
         or raise the limit in xtask/src/dist.rs",
        path = .path.display()
    )]
    TooLarge {
        /// The program, as it would have been shipped.
        path: PathBuf,
        /// What it has.
        bytes: u64,
        /// What it may have.
        most: u64,
    },
    /// A file can't be written or read.
    #[error("{path}: {error}; check the folder and the space on its disk", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
}

/// Builds the programs, strips them, and says how large they are.
///
/// # Errors
/// They can't be built or stripped, or one is too large.
pub fn run(arguments: &Arguments) -> Result<String, DistError> {
    let dir = arguments
        .dir
        .clone()
        .unwrap_or_else(|| crate::target().join("dist"));
    std::fs::create_dir_all(&dir).map_err(|error| DistError::Io {
        path: dir.clone(),
        error,
    })?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let what = [
        "build",
        "--profile",
        PROFILE,
        "-p",
        "extman-cli",
        "-p",
        "extman-runtime",
        "--bins",
    ];
    execute(
        Command::new(&cargo).args(what).current_dir(root()),
        "install Rust",
    )?;
    let built = crate::target().join(PROFILE);
    let mut text = String::new();
    for (program, most) in PROGRAMS {
        let path = dir.join(program);
        let bytes = ship(&built.join(program), &path)?;
        if bytes > most {
            return Err(DistError::TooLarge { path, bytes, most });
        }
        text += &format!(
            "{}: {bytes} bytes of {most}; symbols in {program}.debug beside it\n",
            path.display()
        );
    }
    Ok(text.trim_end().to_owned())
}

/// Writes a program without its symbols, and its symbols beside it. Gives the program's size in bytes.
fn ship(built: &Path, shipped: &Path) -> Result<u64, DistError> {
    let symbols = shipped.with_extension("debug");
    let objcopy = |first: &[&str], from: &Path, to: &Path| {
        let hint = "install binutils, which brings it";
        execute(Command::new("objcopy").args(first).args([from, to]), hint)
    };
    objcopy(&["--only-keep-debug"], built, &symbols)?;
    let link = format!("--add-gnu-debuglink={}", symbols.display());
    objcopy(&["--strip-all", &link], built, shipped)?;
    let size = std::fs::metadata(shipped).map(|file| file.len());
    size.map_err(|error| DistError::Io {
        path: shipped.to_owned(),
        error,
    })
}

fn execute(command: &mut Command, hint: &'static str) -> Result<(), DistError> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(DistError::Failed(program)),
        Err(error) => Err(DistError::NotRun { program, error, hint }),
    }
}
