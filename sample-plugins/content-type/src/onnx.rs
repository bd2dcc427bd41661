//! The constants of an ONNX file: a reader of just as much of the format as that takes. It runs no graph.
//!
//! ONNX is a protobuf message: model (field 7: graph) → graph (field 5: one constant each) → constant (1: dimensions,
//! 2: type, 8: name, 9: bytes).

use std::collections::HashMap;

/// Dimensions that a constant may have at most.
const DIMENSIONS_MAX: usize = 8;
const TYPE_F32: u64 = 1;

/// The file's constants of 32-bit floats, by name.
pub type Constants<'a> = HashMap<&'a str, Constant<'a>>;

/// One constant: little-endian floats, as they lie in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constant<'a> {
    /// Its shape.
    pub dimensions: Vec<usize>,
    bytes: &'a [u8],
}

impl Constant<'_> {
    /// The numbers, row by row.
    pub fn numbers(&self) -> Vec<f32> {
        let (chunks, _) = self.bytes.as_chunks::<4>();
        chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

/// Why bytes are not an ONNX file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// The protobuf encoding is broken.
    #[error("it is not a whole ONNX file: {what} at byte {at} of a message of {length}")]
    Broken {
        /// What is wrong.
        what: &'static str,
        /// Where.
        at: usize,
        /// Of how many bytes.
        length: usize,
    },
    /// A constant's shape and its bytes differ.
    #[error("constant {name:?} has {bytes} bytes, which are not {dimensions:?} floats")]
    Shape {
        /// Its name.
        name: String,
        /// Its shape.
        dimensions: Vec<usize>,
        /// How many bytes there are.
        bytes: usize,
    },
}

/// Reads all float constants.
///
/// # Errors
/// The bytes are not a whole ONNX file.
pub fn constants(file: &[u8]) -> Result<Constants<'_>, OnnxError> {
    let mut found = HashMap::new();
    for_each_field(file, |field, value| {
        let (7, Value::Bytes(graph)) = (field, value) else {
            return Ok(());
        };
        for_each_field(graph, |field, value| {
            let (5, Value::Bytes(tensor)) = (field, value) else {
                return Ok(());
            };
            if let Some((name, constant)) = constant(tensor)? {
                found.insert(name, constant);
            }
            Ok(())
        })
    })?;
    Ok(found)
}

fn constant(message: &[u8]) -> Result<Option<(&str, Constant<'_>)>, OnnxError> {
    let (mut name, mut dimensions, mut kind, mut bytes) = ("", Vec::new(), 0, &[][..]);
    for_each_field(message, |field, value| {
        match (field, value) {
            (1, Value::Number(size)) => dimensions.push(size),
            (1, Value::Bytes(packed)) => {
                let mut at = 0;
                while at < packed.len() && dimensions.len() <= DIMENSIONS_MAX {
                    dimensions.push(varint(packed, &mut at)?);
                }
            }
            (2, Value::Number(number)) => kind = number,
            (8, Value::Bytes(text)) => name = std::str::from_utf8(text).unwrap_or_default(),
            (9, Value::Bytes(raw)) => bytes = raw,
            _ => {}
        }
        if dimensions.len() > DIMENSIONS_MAX {
            return Err(broken("a constant with too many dimensions", 0, message));
        }
        Ok(())
    })?;
    if kind != TYPE_F32 {
        return Ok(None);
    }
    let dimensions: Vec<usize> = dimensions
        .into_iter()
        .map(|size| usize::try_from(size).unwrap_or(usize::MAX))
        .collect();
    let size = dimensions.iter().try_fold(4usize, |size, n| size.checked_mul(*n));
    if size != Some(bytes.len()) {
        return Err(OnnxError::Shape {
            name: name.to_owned(),
            dimensions,
            bytes: bytes.len(),
        });
    }
    Ok(Some((name, Constant { dimensions, bytes })))
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

fn for_each_field<'a>(
    message: &'a [u8],
    mut act: impl FnMut(u64, Value<'a>) -> Result<(), OnnxError>,
) -> Result<(), OnnxError> {
    let mut at = 0;
    while at < message.len() {
        let key = varint(message, &mut at)?;
        let value = match key & 7 {
            0 => Value::Number(varint(message, &mut at)?),
            1 => take(message, &mut at, 8).map(|_| Value::Fixed)?,
            2 => {
                let length = varint(message, &mut at)?;
                Value::Bytes(take(message, &mut at, length)?)
            }
            5 => take(message, &mut at, 4).map(|_| Value::Fixed)?,
            _ => return Err(broken("a field of an unknown kind", at, message)),
        };
        act(key >> 3, value)?;
    }
    Ok(())
}

fn take<'a>(message: &'a [u8], at: &mut usize, length: u64) -> Result<&'a [u8], OnnxError> {
    let end = usize::try_from(length)
        .ok()
        .and_then(|length| at.checked_add(length))
        .filter(|end| *end <= message.len())
        .ok_or_else(|| broken("a field that goes beyond the end", *at, message))?;
    let bytes = &message[*at..end];
    *at = end;
    Ok(bytes)
}

fn varint(message: &[u8], at: &mut usize) -> Result<u64, OnnxError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message
            .get(*at)
            .ok_or_else(|| broken("a number that is cut off", *at, message))?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(broken("a number that is too long", *at, message))
}

fn broken(what: &'static str, at: usize, message: &[u8]) -> OnnxError {
    OnnxError::Broken {
        what,
        at,
        length: message.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// model { graph { constant { dims: 2, type: float, name: "w", raw: [1.0, 2.0] } } }
    fn file() -> Vec<u8> {
        let mut constant = vec![0x08, 2, 0x10, 1, 0x42, 1, b'w', 0x4a, 8];
        constant.extend(1.0f32.to_le_bytes());
        constant.extend(2.0f32.to_le_bytes());
        let mut graph = vec![0x2a, constant.len() as u8];
        graph.extend(constant);
        let mut model = vec![0x08, 7, 0x3a, graph.len() as u8];
        model.extend(graph);
        model
    }

    #[test]
    fn finds_the_constants() {
        let file = file();
        let constants = constants(&file).unwrap();
        assert_eq!(constants["w"].dimensions, [2]);
        assert_eq!(constants["w"].numbers(), [1.0, 2.0]);
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_error_or_another_file_but_never_a_panic() {
        let file = file();
        for end in 0..file.len() {
            let _ = constants(&file[..end]);
        }
        assert!(constants(&file[..file.len() - 1]).is_err());
        for at in 0..file.len() {
            for value in 0..=255 {
                let mut changed = file.clone();
                changed[at] = value;
                let _ = constants(&changed);
            }
        }
    }

    #[test]
    fn a_shape_that_the_bytes_do_not_have_is_refused() {
        let mut file = file();
        let size = file.iter().position(|b| *b == 2).unwrap();
        file[size] = 3;
        assert_eq!(
            constants(&file),
            Err(OnnxError::Shape {
                name: "w".to_owned(),
                dimensions: vec![3],
                bytes: 8
            })
        );
    }
}
