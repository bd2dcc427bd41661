//! The frame around a manifest: how `plugin.toml` travels inside a library, readable without running it.
//!
//! A frame is a fixed header, the author's TOML as it is, and zero padding to a multiple of eight. It stands alone in the
//! section [`SECTION_ELF`] (or its Mach-O and PE namesakes) and is exported as [`SYMBOL`]. What the SDK knows of the build
//! goes into the header, never into the TOML.

/// Section that holds the frame on ELF and PE.
pub const SECTION_ELF: &str = ".extman";
/// Section that holds the frame on Mach-O.
pub const SECTION_MACHO: &str = "__DATA,__extman";
/// Exported name of the frame.
pub const SYMBOL: &str = "extman_manifest";
/// First bytes of a frame.
pub const MAGIC: [u8; 8] = *b"EXTMANMF";
/// Version of this encoding.
pub const FRAME_VERSION: u32 = 1;
/// Bytes before the TOML, as this version writes them.
pub const HEADER_SIZE: usize = 184;
/// Bytes that every header of version 1 has: those up to the TOML's length.
pub const HEADER_SIZE_MIN: usize = 176;
/// The longest TOML that a frame may carry, in bytes.
pub const TOML_BYTES_MAX: usize = 256 * 1024;

/// What a panic does in the plugin: unknown.
pub const PANIC_UNKNOWN: u32 = 0;
/// A panic unwinds, and the gateway turns it into an error.
pub const PANIC_UNWIND: u32 = 1;
/// A panic ends the process.
pub const PANIC_ABORT: u32 = 2;
/// The plugin has no panics: C.
pub const PANIC_NONE: u32 = 3;

/// Made by hand or by an unknown tool.
pub const SDK_UNKNOWN: u32 = 0;
/// Made by this crate: the library has an abi_stable root as well.
pub const SDK_RUST: u32 = 1;
/// Made by `extman manifest`, for C and what speaks C.
pub const SDK_C: u32 = 2;

/// [`FrameHeader::flags`]: the SDK's counting allocator is in place.
pub const FLAG_COUNTING_ALLOCATOR: u32 = 1;

/// The fixed part. Numbers are in the target's byte order; all targets so far are little-endian.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`FRAME_VERSION`].
    pub frame_version: u32,
    /// Bytes before the TOML: a later version may append to the header.
    pub header_size: u32,
    /// ABI major that the plugin was built with.
    pub abi_major: u32,
    /// ABI minor that the plugin was built with.
    pub abi_minor: u32,
    /// One of the `PANIC_` constants.
    pub panic: u32,
    /// One of the `SDK_` constants.
    pub sdk: u32,
    /// `FLAG_` bits.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
    /// Target triple, zero padded.
    pub target: [u8; 48],
    /// Compiler, zero padded.
    pub compiler: [u8; 80],
    /// Length of the TOML in bytes.
    pub toml_len: u64,
    /// [`fingerprint`] of the ABI that the plugin was built with; 0 if not given.
    pub abi_fingerprint: u64,
}

/// Distinguishes the ABI's structs and constants from any others: FNV-1a over the text in which they are written down.
pub const fn fingerprint(golden: &str) -> u64 {
    let bytes = golden.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

/// The fingerprint of this build's ABI.
pub const ABI_FINGERPRINT: u64 = fingerprint(extman_abi::golden());

/// A whole frame; `N` is the TOML's length rounded up to eight.
#[repr(C)]
pub struct Frame<const N: usize> {
    /// The fixed part.
    pub header: FrameHeader,
    /// The TOML and its padding.
    pub toml: [u8; N],
}

const _: () = assert!(size_of::<FrameHeader>() == HEADER_SIZE);

/// `len` rounded up to a multiple of eight.
pub const fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}

const fn zero_padded<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    let mut out = [0; N];
    let mut i = 0;
    while i < bytes.len() && i < N {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

impl<const N: usize> Frame<N> {
    /// The frame of a Rust plugin that this SDK builds.
    pub const fn rust(toml: &str, flags: u32) -> Self {
        assert!(toml.len() <= TOML_BYTES_MAX, "plugin.toml is larger than 256 KiB");
        Frame {
            header: FrameHeader {
                magic: MAGIC,
                frame_version: FRAME_VERSION,
                header_size: HEADER_SIZE as u32,
                abi_major: extman_abi::ABI_MAJOR,
                abi_minor: extman_abi::ABI_MINOR,
                panic: if cfg!(panic = "unwind") {
                    PANIC_UNWIND
                } else {
                    PANIC_ABORT
                },
                sdk: SDK_RUST,
                flags,
                reserved: 0,
                target: zero_padded(env!("EXTMAN_TARGET")),
                compiler: zero_padded(env!("EXTMAN_COMPILER")),
                toml_len: toml.len() as u64,
                abi_fingerprint: ABI_FINGERPRINT,
            },
            toml: zero_padded(toml),
        }
    }
}

#[cfg(feature = "manifest")]
pub use read::{FrameError, FrameFacts, read};

#[cfg(feature = "manifest")]
mod read {
    use super::*;

    /// A frame as read from a section.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct FrameFacts {
        /// ABI major that the plugin was built with.
        pub abi_major: u32,
        /// ABI minor that the plugin was built with.
        pub abi_minor: u32,
        /// One of the `PANIC_` constants.
        pub panic: u32,
        /// One of the `SDK_` constants.
        pub sdk: u32,
        /// `FLAG_` bits.
        pub flags: u32,
        /// Target triple; empty if not given.
        pub target: String,
        /// Compiler; empty if not given.
        pub compiler: String,
        /// [`fingerprint`] of the ABI that the plugin was built with, if it is given.
        pub abi_fingerprint: Option<u64>,
        /// The author's TOML.
        pub toml: String,
    }

    /// Why bytes are not one frame.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum FrameError {
        /// Fewer bytes than a header has.
        Truncated {
            /// Bytes that are needed.
            needed: u64,
            /// Bytes that are there.
            found: u64,
        },
        /// The first bytes are not [`MAGIC`].
        Magic,
        /// The frame's encoding is of a version that this reader does not know.
        Version(u32),
        /// The TOML is larger than [`TOML_BYTES_MAX`].
        TooLarge(u64),
        /// The TOML is not UTF-8; the offset of the first bad byte.
        Utf8(usize),
        /// Something follows the first frame.
        Trailing,
    }

    impl std::fmt::Display for FrameError {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            match self {
                Self::Truncated { needed, found } => {
                    write!(
                        f,
                        "the manifest frame needs {needed} bytes, its section has {found}"
                    )
                }
                Self::Magic => write!(f, "the manifest section does not start with a manifest frame"),
                Self::Version(v) => write!(
                    f,
                    "the manifest frame has version {v}; this host reads version {FRAME_VERSION}"
                ),
                Self::TooLarge(len) => write!(
                    f,
                    "the manifest says that it is {len} bytes long; at most {TOML_BYTES_MAX} are read"
                ),
                Self::Utf8(at) => write!(f, "the manifest is not UTF-8 at byte {at}"),
                Self::Trailing => write!(
                    f,
                    "there is more than one manifest frame in the library; was export_plugin! used twice, or another \
                     plugin linked in?"
                ),
            }
        }
    }

    impl std::error::Error for FrameError {}

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        let mut raw = [0; 4];
        raw.copy_from_slice(&bytes[at..at + 4]);
        u32::from_le_bytes(raw)
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        let mut raw = [0; 8];
        raw.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(raw)
    }

    fn text(bytes: &[u8]) -> String {
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    /// Reads the one frame in a section's bytes.
    ///
    /// # Errors
    /// Anything but exactly one whole frame of a known version with UTF-8 inside, followed by zeros at most.
    pub fn read(section: &[u8]) -> Result<FrameFacts, FrameError> {
        let found = section.len() as u64;
        if section.len() < HEADER_SIZE_MIN {
            return Err(FrameError::Truncated {
                needed: HEADER_SIZE_MIN as u64,
                found,
            });
        }
        if section[..8] != MAGIC {
            return Err(FrameError::Magic);
        }
        let version = u32_at(section, 8);
        if version != FRAME_VERSION {
            return Err(FrameError::Version(version));
        }
        let header_size = u32_at(section, 12) as usize;
        let len = u64_at(section, HEADER_SIZE_MIN - 8);
        if len > TOML_BYTES_MAX as u64 {
            return Err(FrameError::TooLarge(len));
        }
        let needed = header_size as u64 + len;
        if header_size < HEADER_SIZE_MIN || needed > found {
            return Err(FrameError::Truncated { needed, found });
        }
        let toml = &section[header_size..needed as usize];
        if section[needed as usize..].iter().any(|b| *b != 0) {
            return Err(FrameError::Trailing);
        }
        let toml = std::str::from_utf8(toml)
            .map_err(|e| FrameError::Utf8(e.valid_up_to()))?
            .to_owned();
        Ok(FrameFacts {
            abi_major: u32_at(section, 16),
            abi_minor: u32_at(section, 20),
            panic: u32_at(section, 24),
            sdk: u32_at(section, 28),
            flags: u32_at(section, 32),
            target: text(&section[40..88]),
            compiler: text(&section[88..168]),
            abi_fingerprint: (header_size >= HEADER_SIZE)
                .then(|| u64_at(section, HEADER_SIZE - 8))
                .filter(|given| *given != 0),
            toml,
        })
    }
}
