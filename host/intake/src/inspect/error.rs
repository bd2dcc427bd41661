//! Why a file is not a plugin that this host could load. Each reason has a stable code and says what to do.

use super::facts::FileFormat;
use crate::files::Unfit;
use crate::schema::SchemaError;
use extman_abi::ENTRY_SYMBOL;
use extman_plugin_api::manifest::frame::FrameError;

/// Why a file is not a plugin that this host could load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// The system refused to read it.
    #[error("reading failed: {0}; check the disk and the permissions")]
    Io(String),
    /// What is at the path is no file.
    #[error("{0}")]
    NoFile(Unfit),
    /// No bytes at all.
    #[error("the file is empty; build the plugin again, or wait until it is copied")]
    Empty,
    /// A script.
    #[error("the file is a script, not a library; build a cdylib (Rust) or link with -shared (C)")]
    Script,
    /// Text.
    #[error("the file is text, not a library; build a cdylib (Rust) or link with -shared (C)")]
    Text,
    /// A static archive.
    #[error("the file is a static archive; use crate-type = [\"cdylib\"], or link its objects with -shared")]
    Archive,
    /// A program.
    #[error("the file is a program, not a library; use crate-type = [\"cdylib\"], or link with -shared")]
    Executable,
    /// An object file that was not linked.
    #[error("the file is an object file that was not linked; link it with -shared")]
    Relocatable,
    /// Nothing that is known.
    #[error(
        "the file starts with {0:02x?}, which is no library for Linux, Windows or macOS; build the plugin again"
    )]
    UnknownFormat(Vec<u8>),
    /// Bytes are missing.
    #[error(
        "the library is cut off: its {what} end at byte {needed}, the file has {found}; copy or build it again"
    )]
    Truncated {
        /// What lies outside the file.
        what: &'static str,
        /// Where that ends.
        needed: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// Its structure makes no sense.
    #[error("the library is damaged: {0}; copy or build it again")]
    Malformed(String),
    /// It says so much of itself that reading it would take too much memory.
    #[error(
        "reading the library's tables takes more than {max_bytes} bytes of memory; strip it, or link fewer symbols in"
    )]
    TooComplex {
        /// The limit.
        max_bytes: u64,
    },
    /// Made for another system.
    #[error("the library is {found}, this host loads {expected}; build the plugin for {target}", target = super::judge::host_target())]
    WrongFormat {
        /// What it is.
        found: FileFormat,
        /// What the host loads.
        expected: FileFormat,
    },
    /// Made for another machine.
    #[error("the library is for {found}, this host runs on {expected}; build the plugin for {target}", target = super::judge::host_target())]
    WrongMachine {
        /// What it is for.
        found: String,
        /// What the host runs on.
        expected: &'static str,
    },
    /// 32-bit on a 64-bit host, or the reverse.
    #[error("the library is {found}-bit, this host is {expected}-bit; build the plugin for {target}", target = super::judge::host_target())]
    WrongClass {
        /// What it is.
        found: u8,
        /// What the host is.
        expected: u8,
    },
    /// Made for another byte order.
    #[error("the library's byte order is not this host's; build the plugin for {target}", target = super::judge::host_target())]
    WrongByteOrder,
    /// It has no manifest.
    #[error(
        "there is no manifest in the library; add export_plugin! (Rust), or compile and link what `extman manifest plugin.toml` prints \
             (C and C++), and don't strip the section .extman"
    )]
    NoManifest,
    /// The manifest's frame can't be read.
    #[error("{0}; build the plugin again with the plugin-api of this host")]
    Frame(FrameError),
    /// Made for an ABI that this host does not speak.
    #[error(
        "the plugin was built for ABI {plugin}, this host speaks ABI {host}; rebuild it with extman-plugin-api {host}.x"
    )]
    AbiMajor {
        /// The plugin's ABI major.
        plugin: u32,
        /// The host's ABI major.
        host: u32,
    },
    /// The manifest is no valid `plugin.toml`.
    #[error("the manifest is not valid: {0}; mend plugin.toml and build again")]
    Manifest(String),
    /// The schema of its configuration can't be used.
    #[error("[config] schema of the manifest can't be used: {0}; mend plugin.toml and build again")]
    ConfigSchema(SchemaError),
    /// The plugin wants another host.
    #[error(
        "the plugin needs a host {required} ([requirements] host), this is {host}; use such a host, or another version \
             of the plugin"
    )]
    HostVersion {
        /// What it needs.
        required: String,
        /// What it got.
        host: String,
    },
    /// Linked with another C library than the host.
    #[error("the plugin is linked with the C library {found}, this host with another; build it for {target}", target = super::judge::host_target())]
    WrongLibc {
        /// The library that it needs.
        found: String,
    },
    /// It needs libraries that the system's loader does not find.
    #[error("the plugin needs {}, which the dynamic loader does not find: neither in its cache (`ldconfig -p` lists it), nor in its \
             default folders, nor in LD_LIBRARY_PATH; files beside a plugin are not found, as it is loaded from memory. Install it \
             and run ldconfig, link it statically, or, if it is there by other means, name it under [plugin] libraries of the \
             manifest", .0.join(", "))]
    Companions(Vec<String>),
    /// Loading it would make all stacks executable.
    #[error(
        "loading the library makes the stacks of the whole host executable, which helps whoever attacks it; link it with \
             -Wl,-z,noexecstack (an assembler source lacks its .note.GNU-stack), or allow it by \
             intake.trust.allow_executable_stack = true"
    )]
    ExecutableStack,
    /// A panic in it would end the host.
    #[error(
        "it is built with panic = \"abort\": a panic in it would end the whole host; build it with panic = \"unwind\""
    )]
    PanicAbort,
    /// It has no entry point.
    #[error(
        "the library does not export {ENTRY_SYMBOL}; add export_plugin! (Rust), or define it with default visibility (C)"
    )]
    NoEntry,
}

impl InspectError {
    /// A short name that does not change between versions.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "io",
            Self::NoFile(unfit) => unfit.code(),
            Self::Empty => "empty",
            Self::Script => "script",
            Self::Text => "text",
            Self::Archive => "static-archive",
            Self::Executable => "executable",
            Self::Relocatable => "relocatable",
            Self::UnknownFormat(_) => "unknown-format",
            Self::Truncated { .. } => "truncated",
            Self::Malformed(_) => "malformed",
            Self::TooComplex { .. } => "too-complex",
            Self::WrongFormat { .. } => "wrong-format",
            Self::WrongMachine { .. } => "wrong-machine",
            Self::WrongClass { .. } => "wrong-class",
            Self::WrongByteOrder => "wrong-byte-order",
            Self::NoManifest => "no-manifest",
            Self::Frame(FrameError::Truncated { .. }) => "manifest-truncated",
            Self::Frame(FrameError::Magic) => "manifest-magic",
            Self::Frame(FrameError::Version(_)) => "manifest-version",
            Self::Frame(FrameError::TooLarge(_)) => "manifest-too-large",
            Self::Frame(FrameError::Utf8(_)) => "manifest-not-utf8",
            Self::Frame(FrameError::Trailing) => "two-manifests",
            Self::AbiMajor { .. } => "abi-major",
            Self::Manifest(_) => "manifest-invalid",
            Self::ConfigSchema(_) => "config-schema",
            Self::HostVersion { .. } => "host-version",
            Self::WrongLibc { .. } => "wrong-libc",
            Self::Companions(_) => "companions",
            Self::ExecutableStack => "executable-stack",
            Self::PanicAbort => "panic-abort",
            Self::NoEntry => "no-entry",
        }
    }
}

impl From<object::Error> for InspectError {
    fn from(error: object::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}
