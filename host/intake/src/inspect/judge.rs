//! Whether this host could load what was read, and why not.

use super::error::InspectError;
use super::facts::{Build, Facts, FileFormat, Note, Panics};
use super::read::{Library, ManifestSection, read};
use super::system::{companions, musl_or_other_libc};
use crate::schema::check_schema;
use extman_abi::{ABI_MAJOR, ABI_MINOR, ENTRY_SYMBOL};
use extman_plugin_api::manifest::frame::{self, FrameError, FrameFacts};
use extman_plugin_api::manifest::schema::Manifest;
use object::ReadRef;
use semver::{Version, VersionReq};
use std::env::consts::{ARCH, OS};

/// All that was found, problems included, the gravest first.
pub(super) struct Findings {
    pub facts: Facts,
    pub manifest: Option<Manifest>,
    pub problems: Vec<InspectError>,
}

pub(super) fn findings<'data, R: ReadRef<'data>>(data: R) -> Result<Findings, InspectError> {
    let library = read(data)?;
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    judge_platform(&library, &mut problems);
    let frame = keep(read_frame(&library.manifests), &mut problems);
    let build = frame.as_ref().map(Build::from);
    if let Some(build) = &build {
        judge_build(build, &mut problems, &mut notes);
    }
    let manifest = frame.and_then(|frame| {
        let parsed = frame.toml.parse::<Manifest>();
        keep(
            parsed.map_err(|e| InspectError::Manifest(e.to_string())),
            &mut problems,
        )
    });
    if let Some(manifest) = &manifest {
        judge_manifest(manifest, &mut problems, &mut notes);
    }
    judge_links(&library, manifest.as_ref(), &mut problems);
    let mut facts = library.facts;
    notes.append(&mut facts.notes);
    Ok(Findings {
        facts: Facts {
            build,
            notes,
            ..facts
        },
        manifest,
        problems,
    })
}

/// The target that plugins for this host are built for, as rustc names it.
pub(super) fn host_target() -> String {
    let environment = if cfg!(target_env = "musl") {
        "musl"
    } else if cfg!(target_env = "msvc") {
        "msvc"
    } else {
        "gnu"
    };
    match OS {
        "windows" => format!("{ARCH}-pc-windows-{environment}"),
        "macos" => format!("{ARCH}-apple-darwin"),
        _ => format!("{ARCH}-unknown-{OS}-{environment}"),
    }
}

const HOST_FORMAT: FileFormat = if cfg!(windows) {
    FileFormat::Pe
} else if cfg!(target_vendor = "apple") {
    FileFormat::MachO
} else {
    FileFormat::Elf
};

fn keep<T>(result: Result<T, InspectError>, problems: &mut Vec<InspectError>) -> Option<T> {
    result.map_err(|error| problems.push(error)).ok()
}

fn judge_platform(library: &Library, problems: &mut Vec<InspectError>) {
    if library.facts.format != HOST_FORMAT {
        problems.push(InspectError::WrongFormat {
            found: library.facts.format,
            expected: HOST_FORMAT,
        });
    }
    if library.facts.machine != ARCH {
        problems.push(InspectError::WrongMachine {
            found: library.facts.machine.clone(),
            expected: ARCH,
        });
    }
    if u32::from(library.facts.bits) != usize::BITS {
        problems.push(InspectError::WrongClass {
            found: library.facts.bits,
            expected: usize::BITS as u8,
        });
    }
    if library.little_endian != cfg!(target_endian = "little") {
        problems.push(InspectError::WrongByteOrder);
    }
}

fn read_frame(sections: &[ManifestSection]) -> Result<FrameFacts, InspectError> {
    match sections {
        [] => Err(InspectError::NoManifest),
        [only] if only.declared_bytes > only.bytes.len() as u64 => {
            Err(InspectError::Frame(FrameError::TooLarge(only.declared_bytes)))
        }
        [only] => frame::read(&only.bytes).map_err(InspectError::Frame),
        _ => Err(InspectError::Frame(FrameError::Trailing)),
    }
}

fn judge_build(build: &Build, problems: &mut Vec<InspectError>, notes: &mut Vec<Note>) {
    if build.abi_major != ABI_MAJOR {
        problems.push(InspectError::AbiMajor {
            plugin: build.abi_major,
            host: ABI_MAJOR,
        });
    } else if build.abi_minor > ABI_MINOR {
        notes.push(Note::new(
            "newer-minor",
            format!(
                "it was built for ABI {}.{}, newer than this host's {ABI_MAJOR}.{ABI_MINOR}; what came later is not used",
                build.abi_major, build.abi_minor
            ),
        ));
    }
    // Another minor has other structs, and may.
    if build.same_structs == Some(false) && (build.abi_major, build.abi_minor) == (ABI_MAJOR, ABI_MINOR) {
        notes.push(Note::new(
            "other-structs",
            format!(
                "it was built from other structs of ABI {ABI_MAJOR}.{ABI_MINOR} than this host, which a release never changes; \
                 build it with the SDK or the header of this host's release"
            ),
        ));
    }
}

fn judge_manifest(manifest: &Manifest, problems: &mut Vec<InspectError>, notes: &mut Vec<Note>) {
    let host = Version::parse(env!("CARGO_PKG_VERSION"));
    if let (Some(required), Ok(host)) = (&manifest.requirements.host, host)
        && !satisfies(&host, required)
    {
        problems.push(InspectError::HostVersion {
            required: required.to_string(),
            host: host.to_string(),
        });
    }
    judge_schemas(manifest, problems, notes);
    if !manifest.unknown.is_empty() {
        let fields: Vec<_> = manifest.unknown.keys().map(String::as_str).collect();
        notes.push(Note::new(
            "unknown-fields",
            format!(
                "this host does not know these fields of its manifest: {}",
                fields.join(", ")
            ),
        ));
    }
}

/// Without the one of its configuration nobody could say whether an instance's fits; those of calls are there for callers.
fn judge_schemas(manifest: &Manifest, problems: &mut Vec<InspectError>, notes: &mut Vec<Note>) {
    if let Some(Err(error)) = manifest.config.schema.as_ref().map(check_schema) {
        problems.push(InspectError::ConfigSchema(error));
    }
    for capability in &manifest.capabilities {
        for (which, schema) in [("input", &capability.input), ("output", &capability.output)] {
            if let Some(Err(error)) = schema.as_ref().map(check_schema)
                && notes.len() < NOTES_MAX
            {
                notes.push(Note::new(
                    "capability-schema",
                    format!("the {which} schema of {} can't be used: {error}", capability.name),
                ));
            }
        }
    }
}

/// Notes on a manifest's schemas, at most.
const NOTES_MAX: usize = 16;

/// A pre-release of the host counts as the release: it is what the plugin is tried with.
fn satisfies(host: &Version, required: &VersionReq) -> bool {
    required.matches(host) || required.matches(&Version::new(host.major, host.minor, host.patch))
}

fn judge_links(library: &Library, manifest: Option<&Manifest>, problems: &mut Vec<InspectError>) {
    let host_is_musl = cfg!(target_env = "musl");
    let is_other_libc = |name: &&String| {
        library.facts.format == FileFormat::Elf
            && musl_or_other_libc(name).is_some_and(|musl| musl != host_is_musl)
    };
    if let Some(found) = library.facts.needed.iter().find(is_other_libc) {
        problems.push(InspectError::WrongLibc { found: found.clone() });
    }
    // What another system has nobody can tell here, and that the library is for another one was said.
    if library.facts.format == HOST_FORMAT && library.facts.machine == ARCH {
        let allowed = manifest.map_or(&[][..], |manifest| &manifest.plugin.libraries);
        let missing = companions(&library.facts.needed, allowed, &library.search_path);
        if !missing.is_empty() {
            problems.push(InspectError::Companions(missing));
        }
    }
    if !library.facts.exports.has(ENTRY_SYMBOL) {
        problems.push(InspectError::NoEntry);
    }
}

/// What a host refuses unless it is configured or built otherwise: an executable stack, and a panic that would end it.
pub(super) fn by_default(facts: &Facts) -> Vec<InspectError> {
    let mut problems = Vec::new();
    if facts.executable_stack && facts.machine == ARCH {
        problems.push(InspectError::ExecutableStack);
    }
    if facts
        .build
        .as_ref()
        .is_some_and(|build| build.panics == Panics::Abort)
    {
        problems.push(InspectError::PanicAbort);
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pre_release_of_the_host_counts_as_the_release() {
        let satisfies =
            |host: &str, required: &str| satisfies(&host.parse().unwrap(), &required.parse().unwrap());
        assert!(satisfies("1.2.3", ">=1.2"));
        assert!(satisfies("1.3.0-rc.1", ">=1.3"));
        assert!(!satisfies("1.2.3", ">=1.3"));
        assert!(!satisfies("2.0.0", "^1"));
    }
}
