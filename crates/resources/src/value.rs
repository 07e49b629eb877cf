//! Where a value comes from when it is not written in place.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::Secret;

/// Where a value is read from: exactly one of `secretRef`, `configMapRef`, `env` and `file`.
///
/// `env:NAME` and `file:PATH` are accepted as short texts in place of the mapping.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueSource {
    /// One key of a `Secret` document.
    SecretRef(KeyRef),
    /// One key of a `ConfigMap` document.
    ConfigMapRef(KeyRef),
    /// An environment variable of Marque's own process.
    Env(String),
    /// A file; relative paths start at the folder of the document. A line end at the end of the file is left out.
    File(PathBuf),
}

/// One key of a `Secret` or `ConfigMap` document in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRef {
    /// The document's name.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

impl ValueSource {
    /// Marks the schema of the short form, so that the strict reader knows what to parse.
    pub(crate) const FORMAT: &str = "marque-value-source";

    /// Reads the short form, `env:NAME` or `file:PATH`.
    #[must_use]
    pub fn from_short(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        if rest.is_empty() {
            return None;
        }
        match scheme {
            "env" if is_variable(rest) => Some(Self::Env(rest.to_owned())),
            "file" => Some(Self::File(rest.into())),
            _ => None,
        }
    }

    /// Lets a relative file start at a folder.
    #[must_use]
    pub(crate) fn at(self, base_dir: Option<&Path>) -> Self {
        match (self, base_dir) {
            (Self::File(path), Some(base)) => Self::File(base.join(path)),
            (source, _) => source,
        }
    }
}

/// Says whether a text can be the name of an environment variable.
pub(crate) fn is_variable(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Short(String),
    Long(Long),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Long {
    SecretRef(KeyRef),
    ConfigMapRef(KeyRef),
    Env(String),
    File(PathBuf),
}

impl<'de> Deserialize<'de> for ValueSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Short(text) => Self::from_short(&text)
                .ok_or_else(|| serde::de::Error::custom("expected env:NAME or file:PATH"))?,
            Written::Long(Long::SecretRef(key)) => Self::SecretRef(key),
            Written::Long(Long::ConfigMapRef(key)) => Self::ConfigMapRef(key),
            Written::Long(Long::Env(name)) => Self::Env(name),
            Written::Long(Long::File(path)) => Self::File(path),
        })
    }
}

impl JsonSchema for ValueSource {
    fn schema_name() -> Cow<'static, str> {
        "ValueSource".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let key_ref = generator.subschema_for::<KeyRef>();
        json_schema!({
            "description": "Where a value is read from: exactly one of `secretRef`, `configMapRef`, `env` and `file`, or the short text `env:NAME` or `file:PATH`.",
            "anyOf": [
                { "type": "string", "format": Self::FORMAT, "pattern": "^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$" },
                {
                    "type": "object",
                    "properties": {
                        "secretRef": key_ref,
                        "configMapRef": key_ref,
                        "env": { "type": "string", "format": "marque-variable", "description": "An environment variable of Marque's own process." },
                        "file": { "type": "string", "minLength": 1, "description": "A file; relative paths start at the folder of the document." }
                    },
                    "additionalProperties": false,
                    "minProperties": 1,
                    "maxProperties": 1
                }
            ]
        })
    }
}

/// Something outside the documents that they need.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// An environment variable.
    Env(String),
    /// A file.
    File(PathBuf),
}

/// What the outside held: variables and files, read by whoever loads the documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    env: BTreeMap<String, Secret>,
    files: BTreeMap<PathBuf, Result<Secret, String>>,
}

impl Values {
    /// Remembers a variable. Variables that are not set are simply not remembered.
    pub fn insert_env(&mut self, name: impl Into<String>, value: Secret) {
        self.env.insert(name.into(), value);
    }

    /// Remembers a file, or why it could not be read.
    pub fn insert_file(&mut self, path: impl Into<PathBuf>, value: Result<Secret, String>) {
        self.files.insert(path.into(), value);
    }

    /// Gives a variable.
    #[must_use]
    pub fn env(&self, name: &str) -> Option<&Secret> {
        self.env.get(name)
    }

    /// Gives a file, or the reason why there is none.
    ///
    /// # Errors
    /// The reason why the file could not be read.
    pub fn file(&self, path: &Path) -> Result<&Secret, &str> {
        match self.files.get(path) {
            Some(Ok(value)) => Ok(value),
            Some(Err(reason)) => Err(reason),
            None => Err("it was not read"),
        }
    }

    /// Gives the files that were asked for, found or not.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_forms_mean_the_same() {
        let read = |json: &str| serde_json::from_str::<ValueSource>(json).unwrap();
        assert_eq!(read(r#""env:TOKEN""#), read(r#"{"env":"TOKEN"}"#));
        assert_eq!(read(r#""file:a/b""#), read(r#"{"file":"a/b"}"#));
        assert_eq!(
            read(r#"{"secretRef":{"name":"a","key":"b"}}"#),
            ValueSource::SecretRef(KeyRef {
                name: "a".into(),
                key: "b".into()
            })
        );
        for bad in [
            r#""TOKEN""#,
            r#""env:""#,
            r#""env:a-b""#,
            r#"{"env":"A","file":"b"}"#,
            "{}",
        ] {
            assert!(serde_json::from_str::<ValueSource>(bad).is_err(), "{bad}");
        }
    }
}
