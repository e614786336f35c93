//! One JSON file of a model folder, read with errors that name the file, the field, what was found and what is expected.

use std::fs;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// A JSON object and the file it came from.
#[derive(Debug, Clone)]
pub struct JsonFile {
    /// The file.
    pub path: PathBuf,
    fields: Map<String, Value>,
}

/// Reads a file whole; a missing one is `FileMissing` with `needed_for`. What is no regular file is refused unopened: a
/// named pipe would block for ever.
pub fn read_file(path: &Path, needed_for: &str) -> Result<Vec<u8>> {
    let read = fs::metadata(path).and_then(|facts| if facts.is_file() { fs::read(path).map(Some) } else { Ok(None) });
    match read {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Error::malformed(path, "not a regular file")),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(Error::FileMissing { path: path.to_owned(), needed_for: needed_for.to_owned() })
        }
        Err(error) => Err(Error::unreadable(path, error)),
    }
}

/// Whether there is nothing by that name. A link that leads nowhere is something: the file was meant to be there.
pub fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err()
}

/// Parses any JSON file.
pub fn read_json(path: &Path, needed_for: &str) -> Result<Value> {
    serde_json::from_slice(&read_file(path, needed_for)?)
        .map_err(|error| Error::malformed_by(path, format!("not valid JSON: {error}"), error))
}

impl JsonFile {
    /// Reads a file that must be there and hold an object.
    pub fn read(path: &Path, needed_for: &str) -> Result<Self> {
        match read_json(path, needed_for)? {
            Value::Object(fields) => Ok(JsonFile { path: path.to_owned(), fields }),
            other => Err(Error::malformed(path, format!("expected a JSON object, found {}", kind_of(&other)))),
        }
    }

    /// Reads a file that may be absent.
    pub fn read_optional(path: &Path) -> Result<Option<Self>> {
        if is_absent(path) { Ok(None) } else { Self::read(path, "the link leads nowhere").map(Some) }
    }

    /// A field's value; `null` counts as absent.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// Whether the file names the field, be it `null`.
    pub fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// An object inside the file, to be read like the file itself.
    pub fn object(&self, field: &str) -> Result<Option<JsonFile>> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(JsonFile { path: self.path.clone(), fields: fields.clone() })),
            Some(_) => Err(self.unsupported(field, "an object")),
        }
    }

    /// The names of the fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// An `Unsupported` error for a field of this file.
    pub fn unsupported(&self, field: &str, supported: impl Into<String>) -> Error {
        let found = self.get(field).map_or_else(|| "missing".to_owned(), describe);
        Error::unsupported(&self.path, field, found, supported)
    }

    /// A whole number in a range, or the default where the field is absent.
    pub fn integer_or(&self, field: &str, range: RangeInclusive<usize>, default: Option<usize>) -> Result<usize> {
        let (low, high) = (*range.start(), *range.end());
        let refusal = || self.unsupported(field, format!("a whole number from {low} to {high}"));
        match (self.get(field), default) {
            (None, Some(default)) => Ok(default),
            (None, None) => Err(refusal()),
            (Some(value), _) => value
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| range.contains(number))
                .ok_or_else(refusal),
        }
    }

    /// A whole number that must be there.
    pub fn integer(&self, field: &str, range: RangeInclusive<usize>) -> Result<usize> {
        self.integer_or(field, range, None)
    }

    /// A positive finite number, or the default.
    pub fn positive_or(&self, field: &str, default: f32) -> Result<f32> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value
            .as_f64()
            .map(|number| number as f32)
            .filter(|number| number.is_finite() && *number > 0.0)
            .ok_or_else(|| self.unsupported(field, "a positive number"))
    }

    /// A text, or the default.
    pub fn text_or<'a>(&'a self, field: &str, default: &'a str) -> Result<&'a str> {
        match self.get(field) {
            None => Ok(default),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(self.unsupported(field, "a string")),
        }
    }

    /// True or false, or the default.
    pub fn flag_or(&self, field: &str, default: bool) -> Result<bool> {
        match self.get(field) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.unsupported(field, "true or false")),
        }
    }

    /// Refuses the file if a flag that changes the arithmetic is set.
    pub fn refuse_flag(&self, field: &str) -> Result<()> {
        if self.flag_or(field, false)? { Err(self.unsupported(field, "false")) } else { Ok(()) }
    }

    /// Refuses the file if a field that changes the arithmetic is there and not empty.
    pub fn refuse_present(&self, field: &str) -> Result<()> {
        let empty = match self.get(field) {
            None => true,
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(_) => false,
        };
        if empty { Ok(()) } else { Err(self.unsupported(field, "absent, null or empty")) }
    }
}

/// A value as it is quoted in an error: short.
pub fn describe(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(120) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

/// The JSON type's name.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> JsonFile {
        let Value::Object(fields) = serde_json::from_str(text).unwrap() else { panic!("not an object") };
        JsonFile { path: PathBuf::from("config.json"), fields }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        for text in [r#"{"n": -1}"#, r#"{"n": 0}"#, r#"{"n": 11}"#, r#"{"n": 1.5}"#, r#"{"n": "4"}"#, "{}"] {
            let message = file(text).integer("n", 1..=10).unwrap_err().to_string();
            assert!(message.starts_with("config.json: n is "), "{message}");
            assert!(message.ends_with("supported: a whole number from 1 to 10"), "{message}");
        }
        assert_eq!(file(r#"{"n": 7}"#).integer("n", 1..=10).unwrap(), 7);
        assert_eq!(file(r#"{"n": null}"#).integer_or("n", 1..=10, Some(3)).unwrap(), 3);
    }

    #[test]
    fn present_means_not_empty() {
        assert!(file(r#"{"pruned_heads": {}}"#).refuse_present("pruned_heads").is_ok());
        assert!(file(r#"{"pruned_heads": {"0": [1]}}"#).refuse_present("pruned_heads").is_err());
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let shown = describe(&Value::String("é".repeat(500)));
        assert!(shown.chars().count() == 121 && shown.ends_with('…'));
    }
}
