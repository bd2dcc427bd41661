//! Reading weights out of a safetensors file, one at a time, so that no weight is in memory twice.
//!
//! The format: the header's length as eight little-endian bytes, the header (JSON: name → type, shape, offsets), the numbers.

use candle_core::{Device, Tensor};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

const HEADER_BYTES_MAX: u64 = 1 << 20;
const WEIGHT_BYTES_MAX: usize = 64 << 20;

/// An open file of weights.
pub struct Weights {
    file: File,
    entries: HashMap<String, Entry>,
    begin: u64,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// Why a weight can't be had.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// Reading failed, or the file ends too early.
    #[error("reading {what}: {source}")]
    Read {
        /// What was read.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The header is larger than any that is expected.
    #[error(
        "its header claims {0} bytes, more than {HEADER_BYTES_MAX}, so it is not the file that it should be"
    )]
    HeaderTooLarge(u64),
    /// The header is not as expected.
    #[error("its header is not that of a safetensors file: {0}")]
    Header(#[from] serde_json::Error),
    /// A weight is missing or of another shape.
    #[error("weight {name:?} should be F32 of shape {expected:?}; found {found}")]
    Other {
        /// Which.
        name: String,
        /// Its shape in this model.
        expected: Vec<usize>,
        /// What the file has.
        found: String,
    },
    /// candle does not take it.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Weights {
    /// Reads the header.
    ///
    /// # Errors
    /// It is not a safetensors file.
    pub fn open(mut file: File) -> Result<Self, WeightsError> {
        let read = |source| WeightsError::Read {
            what: "the header".to_owned(),
            source,
        };
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(read)?;
        let length = u64::from_le_bytes(length);
        if length > HEADER_BYTES_MAX {
            return Err(WeightsError::HeaderTooLarge(length));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(read)?;
        let mut all: HashMap<String, serde_json::Value> = serde_json::from_slice(&header)?;
        all.remove("__metadata__");
        let entries = all
            .into_iter()
            .map(|(name, entry)| Ok((name, serde_json::from_value(entry)?)))
            .collect::<Result<_, serde_json::Error>>()?;
        Ok(Weights {
            file,
            entries,
            begin: 8 + length,
        })
    }

    /// One weight, which must have this shape.
    ///
    /// # Errors
    /// It has not, or the file is cut.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        let other = |found: String| WeightsError::Other {
            name: name.to_owned(),
            expected: shape.to_vec(),
            found,
        };
        let entry = self
            .entries
            .get(name)
            .ok_or_else(|| other("nothing of that name".to_owned()))?;
        let bytes = shape.iter().product::<usize>() * size_of::<f32>();
        let [from, to] = entry.data_offsets;
        let fits = to.checked_sub(from) == Some(bytes as u64) && bytes <= WEIGHT_BYTES_MAX;
        if entry.dtype != "F32" || entry.shape != shape || !fits {
            return Err(other(format!(
                "{} of shape {:?} in bytes {from} to {to}",
                entry.dtype, entry.shape
            )));
        }
        let read = |source| WeightsError::Read {
            what: format!("weight {name:?}"),
            source,
        };
        let at = self
            .begin
            .checked_add(from)
            .ok_or_else(|| read(io::ErrorKind::InvalidInput.into()))?;
        self.file.seek(SeekFrom::Start(at)).map_err(read)?;
        let mut raw = vec![0; bytes];
        self.file.read_exact(&mut raw).map_err(read)?;
        let (chunks, _) = raw.as_chunks::<4>();
        let numbers: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn open(length: u64, header: &str, numbers: &[f32]) -> Result<Weights, WeightsError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&length.to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        numbers
            .iter()
            .for_each(|n| file.write_all(&n.to_le_bytes()).unwrap());
        file.rewind().unwrap();
        Weights::open(file)
    }

    const HEADER: &str = r#"{"__metadata__": {"format": "pt"}, "w": {"dtype": "F32", "shape": [2, 1], "data_offsets": [4, 12]}}"#;

    #[test]
    fn a_weight_is_read_from_its_place() {
        let mut weights = open(HEADER.len() as u64, HEADER, &[1.0, 2.0, 3.0]).unwrap();
        let tensor = weights.take("w", &[2, 1]).unwrap();
        assert_eq!(tensor.to_vec2::<f32>().unwrap(), [[2.0], [3.0]]);
    }

    #[test]
    fn what_is_not_there_or_different_is_named() {
        let mut weights = open(HEADER.len() as u64, HEADER, &[1.0, 2.0]).unwrap();
        for (name, shape, expected) in [
            ("v", &[2, 1][..], "nothing of that name"),
            ("w", &[1, 2], "F32 of shape [2, 1] in bytes 4 to 12"),
            ("w", &[2, 1], "reading weight \"w\""),
        ] {
            let text = weights.take(name, shape).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn what_a_header_claims_is_not_believed() {
        assert!(matches!(
            open(u64::MAX, "", &[]),
            Err(WeightsError::HeaderTooLarge(_))
        ));
        assert!(matches!(open(100, "{}", &[]), Err(WeightsError::Read { .. })));
        assert!(matches!(open(2, "[]", &[]), Err(WeightsError::Header(_))));
        let header = HEADER.replace("[4, 12]", "[12, 4]");
        let mut weights = open(header.len() as u64, &header, &[1.0]).unwrap();
        assert!(matches!(
            weights.take("w", &[2, 1]),
            Err(WeightsError::Other { .. })
        ));
        let header = HEADER.replace("[4, 12]", "[18446744073709551607, 18446744073709551615]");
        let mut weights = open(header.len() as u64, &header, &[1.0]).unwrap();
        assert!(matches!(
            weights.take("w", &[2, 1]),
            Err(WeightsError::Read { .. })
        ));
    }
}
