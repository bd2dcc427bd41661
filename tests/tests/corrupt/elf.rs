//! As much of a 64-bit little-endian ELF file as is needed to damage it in known places.

/// A library's bytes.
#[derive(Clone)]
pub struct Elf(pub Vec<u8>);

/// A part of the file.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Where its header is.
    pub header: usize,
    /// Where it begins.
    pub offset: usize,
    /// How long it is.
    pub size: usize,
}

/// Bytes of the file's own header.
pub const HEADER: usize = 64;
/// Bytes of a segment's header.
pub const SEGMENT: usize = 56;
/// Bytes of a section's header.
pub const SECTION: usize = 64;

impl Elf {
    /// A number of `bytes` bytes at `at`.
    pub fn number(&self, at: usize, bytes: usize) -> usize {
        let mut le = [0; 8];
        le[..bytes].copy_from_slice(&self.0[at..at + bytes]);
        u64::from_le_bytes(le) as usize
    }

    /// The same with these bytes at `at`.
    pub fn with(&self, at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut changed = self.0.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    }

    /// The first `bytes` bytes.
    pub fn cut(&self, bytes: usize) -> Vec<u8> {
        self.0[..bytes].to_vec()
    }

    /// Segments that are loaded.
    pub fn segments(&self) -> Vec<Part> {
        let (table, count) = (self.number(32, 8), self.number(56, 2));
        let headers = (0..count).map(|i| table + i * SEGMENT);
        let loaded = headers.filter(|header| self.number(*header, 4) == 1);
        let part = |header| Part {
            header,
            offset: self.number(header + 8, 8),
            size: self.number(header + 32, 8),
        };
        loaded.map(part).collect()
    }

    /// Sections.
    pub fn sections(&self) -> Vec<Part> {
        let (table, count) = (self.number(40, 8), self.number(60, 2));
        let headers = (0..count).map(|i| table + i * SECTION);
        let part = |header| Part {
            header,
            offset: self.number(header + 24, 8),
            size: self.number(header + 32, 8),
        };
        headers.map(part).collect()
    }

    /// The section of this name.
    ///
    /// # Panics
    /// There is none.
    pub fn section(&self, name: &str) -> Part {
        let sections = self.sections();
        let names = sections[self.number(62, 2)].offset;
        let called = |part: &&Part| {
            let at = names + self.number(part.header, 4);
            self.0[at..].starts_with(name.as_bytes()) && self.0[at + name.len()] == 0
        };
        *sections.iter().find(called).expect("the section is there")
    }

    /// Where these bytes are first.
    ///
    /// # Panics
    /// They are not there.
    pub fn find(&self, bytes: &[u8]) -> usize {
        let at = self.0.windows(bytes.len()).position(|window| window == bytes);
        at.expect("the bytes are there")
    }
}
