//! What a schema comes to, before anything is made of it: how large and how deep it is with its references followed.

use super::SchemaError;
use serde_json::Value;
use std::collections::HashMap;

const VALUES_MAX: usize = 4096;
const DEPTH_MAX: usize = 64;
const FOLLOWED_VALUES_MAX: u64 = 20_000;
const PATTERNS_MAX: usize = 64;

pub(super) fn check(schema: &Value) -> Result<(), SchemaError> {
    count(schema)?;
    let mut measure = Measure {
        root: schema,
        known: HashMap::new(),
    };
    measure.of(schema, 0).map(drop)
}

/// Looks at each value once, without recursion.
fn count(schema: &Value) -> Result<(), SchemaError> {
    let (mut values, mut patterns) = (0, 0);
    let mut left = vec![(schema, 0)];
    while let Some((value, depth)) = left.pop() {
        values += 1;
        if values + left.len() > VALUES_MAX {
            let text = format!("it has more than {VALUES_MAX} values; leave out what is not needed");
            return Err(SchemaError(text));
        }
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        match value {
            Value::Object(fields) => {
                for (keyword, inner) in fields {
                    let is_root = depth == 0;
                    match inner {
                        Value::String(to) if leads_away(keyword, to, is_root) => {
                            return Err(SchemaError(format!(
                                "it has {keyword} = {:?}; only $ref to a part of the same schema is followed, such as \"#/$defs/x\"",
                                super::short(to)
                            )));
                        }
                        Value::String(_) if keyword == "pattern" => patterns += 1,
                        Value::Object(inner) if keyword == "patternProperties" => patterns += inner.len(),
                        _ => {}
                    }
                    left.push((inner, depth + 1));
                }
            }
            Value::Array(items) => left.extend(items.iter().map(|item| (item, depth + 1))),
            _ => {}
        }
        if patterns > PATTERNS_MAX {
            let text = format!("it has more than {PATTERNS_MAX} patterns; use fewer");
            return Err(SchemaError(text));
        }
    }
    Ok(())
}

/// By itself or by its references.
fn too_deep() -> SchemaError {
    SchemaError(format!(
        "it goes more than {DEPTH_MAX} levels deep, or refers to itself; make it flatter, and follow references to an end"
    ))
}

/// Whether a keyword leads out of the schema, or has a part of it found by anything but its place.
fn leads_away(keyword: &str, to: &str, is_root: bool) -> bool {
    match keyword {
        "$ref" => !(to == "#" || to.starts_with("#/")) || to.contains('%'),
        "$dynamicRef" | "$recursiveRef" => true,
        "$id" => !is_root,
        // In a draft whose `id` moves what `#` stands for.
        "$schema" => to.contains("draft-03") || to.contains("draft-04") || !is_root,
        _ => false,
    }
}

/// Values and levels below a value, with references followed. Each target of a reference is measured once.
struct Measure<'s> {
    root: &'s Value,
    known: HashMap<&'s str, (u64, usize)>,
}

impl<'s> Measure<'s> {
    fn of(&mut self, value: &'s Value, depth: usize) -> Result<(u64, usize), SchemaError> {
        let (mut values, mut height) = (1_u64, 1);
        // One that refers to itself comes here in the end.
        let enough = |values: u64, height: usize| {
            if depth + height > DEPTH_MAX {
                return Err(too_deep());
            }
            if values > FOLLOWED_VALUES_MAX {
                return Err(SchemaError(format!(
                    "with its references followed it has more than {FOLLOWED_VALUES_MAX} values; refer less often to large parts"
                )));
            }
            Ok(())
        };
        enough(values, height)?;
        let mut add = |(below, levels): (u64, usize)| {
            values = values.saturating_add(below);
            height = height.max(levels + 1);
            enough(values, height)
        };
        match value {
            Value::Object(fields) => {
                for (keyword, inner) in fields {
                    add(self.of(inner, depth + 1)?)?;
                    if let (Value::String(to), "$ref") = (inner, keyword.as_str()) {
                        add(self.target(to, depth + 1)?)?;
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    add(self.of(item, depth + 1)?)?;
                }
            }
            _ => {}
        }
        Ok((values, height))
    }

    fn target(&mut self, to: &'s str, depth: usize) -> Result<(u64, usize), SchemaError> {
        if let Some(known) = self.known.get(to) {
            return Ok(*known);
        }
        // One that leads nowhere is told by whoever compiles it.
        let target = to
            .strip_prefix('#')
            .and_then(|pointer| self.root.pointer(pointer));
        let measured = target.map_or(Ok((0, 0)), |target| self.of(target, depth))?;
        self.known.insert(to, measured);
        Ok(measured)
    }
}
