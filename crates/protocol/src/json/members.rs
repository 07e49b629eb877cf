//! The members of one object and the elements of one array, borrowed and unparsed.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// One member of an object: its decoded key and its value as it came.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// The key with escapes resolved.
    pub key: Cow<'a, str>,
    /// The value's own bytes.
    pub value: &'a str,
}

/// The members of `object` in the order in which they came, duplicates included.
///
/// # Errors
/// When `object` is not a JSON object.
pub fn members(object: &str) -> Result<Vec<Member<'_>>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(object);
    let found = reader.deserialize_map(MembersVisitor)?;
    reader.end()?;
    Ok(found)
}

/// The elements of `array` in order.
///
/// # Errors
/// When `array` is not a JSON array.
pub fn elements(array: &str) -> Result<Vec<&str>, serde_json::Error> {
    let raw: Vec<&RawValue> = serde_json::from_str(array)?;
    Ok(raw.into_iter().map(RawValue::get).collect())
}

/// The decoded text of a JSON string, or `None` when `value` is something else.
#[must_use]
pub fn string(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(value).ok().map(Cow::Owned)
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            let value: &'de RawValue = map.next_value()?;
            found.push(Member {
                key,
                value: value.get(),
            });
        }
        Ok(found)
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_order_duplicates_and_bytes() {
        let found = members(r#"{"b": 1.0, "a":{"x":12345678901234567890123}, "b":"é\n"}"#).unwrap();
        let shown: Vec<_> = found.iter().map(|m| (m.key.as_ref(), m.value)).collect();
        assert_eq!(
            shown,
            [
                ("b", "1.0"),
                ("a", r#"{"x":12345678901234567890123}"#),
                ("b", r#""é\n""#)
            ]
        );
    }

    #[test]
    fn keys_are_decoded() {
        let found = members(r#"{"n\u0061me":1}"#).unwrap();
        assert_eq!(found[0].key, "name");
    }

    #[test]
    fn strings_are_decoded_only_when_strings() {
        assert_eq!(string(r#""a\"b""#).as_deref(), Some("a\"b"));
        assert_eq!(string("12"), None);
    }
}
