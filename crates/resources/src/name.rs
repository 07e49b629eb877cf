//! Names, by the rules of a DNS label.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// A name by the rules of a DNS label (RFC 1123): lower case letters, digits and `-`, at most 63, starting and ending with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Marks the schema of a name, so that the strict reader knows what to parse.
    pub(crate) const FORMAT: &str = "marque-name";
    const BYTES_MAX: usize = 63;

    /// Gives the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes the closest valid name of any text, if something of it can be kept.
    #[must_use]
    pub fn closest(text: &str) -> Option<Self> {
        let mut made = String::new();
        for c in text.chars() {
            let c = c.to_ascii_lowercase();
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                made.push(c);
            } else if !made.is_empty() && !made.ends_with('-') {
                made.push('-');
            }
            if made.len() == Self::BYTES_MAX {
                break;
            }
        }
        made.trim_end_matches('-').parse().ok()
    }
}

/// The text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a name: 1 to 63 lower case letters, digits and `-`, starting and ending with a letter or digit"
)]
pub struct NotAName;

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let letters = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let edges = !text.starts_with('-') && !text.ends_with('-');
        if text.is_empty() || text.len() > Self::BYTES_MAX || !letters || !edges {
            return Err(NotAName);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": Self::FORMAT,
            "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
            "description": "Lower case letters, digits and `-`, at most 63, starting and ending with a letter or digit."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_dns_label() {
        for good in ["a", "a-b", "0", &"x".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_closest_name_keeps_what_it_can() {
        for (text, name) in [
            ("GitHub", "github"),
            ("my_server 2", "my-server-2"),
            ("--x--", "x"),
            ("é", ""),
        ] {
            assert_eq!(
                Name::closest(text).map_or(String::new(), |n| n.to_string()),
                name,
                "{text}"
            );
        }
    }
}
