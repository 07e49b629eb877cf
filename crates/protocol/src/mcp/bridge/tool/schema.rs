//! Output schemas whose root must be an object.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::json::{ObjectEdit, elements, members, string};

/// The most schemas that are looked at to tell what one allows; one with more is dropped for legacy clients.
const LOOKS_MAX: u32 = 64;
/// Where schemas are kept that others refer to.
const KEPT: [&str; 2] = ["$defs", "definitions"];
/// Words that make the place of a schema matter.
const PLACED: [&str; 6] = [
    "$id",
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
];

/// An output schema with `"type": "object"` at its root.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rooted {
    /// It has that already.
    AsIs,
    /// This one.
    Changed(String),
    /// There is none that means the same.
    Cannot,
}

/// Gives `schema` an object at its root, as legacy revisions want it (MCP 2025-11-25, schema, `Tool`).
pub(super) fn rooted(schema: &str) -> Rooted {
    let Some(mut edit) = ObjectEdit::new(schema) else {
        return Rooted::Cannot;
    };
    if edit.value("type").and_then(string).as_deref() == Some("object") {
        return Rooted::AsIs;
    }
    match (Looks::at(schema).of(schema), movable(schema)) {
        (Allows::Objects, _) => {
            edit.set("type", "\"object\"");
            Rooted::Changed(edit.finish())
        }
        (Allows::Others, true) => Rooted::Changed(wrapped(edit)),
        (Allows::Others, false) | (Allows::Anything, _) => Rooted::Cannot,
    }
}

/// The schema of `{"result": …}`. What others refer to stays at the root, where they look for it.
fn wrapped(mut inner: ObjectEdit<'_>) -> String {
    let mut kept = String::new();
    for key in KEPT.into_iter().chain(["$schema"]) {
        if let Some(value) = inner.value(key) {
            kept.push_str(&format!(",\"{key}\":{value}"));
            inner.remove(key);
        }
    }
    let inner = inner.finish();
    format!(
        "{{\"type\":\"object\",\"properties\":{{\"result\":{inner}}},\"required\":[\"result\"]{kept}}}"
    )
}

/// Which values a schema allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allows {
    Objects,
    Others,
    /// Or we cannot tell.
    Anything,
}

impl Allows {
    fn of_type(name: &str) -> Self {
        if name == "object" {
            Self::Objects
        } else {
            Self::Others
        }
    }

    /// One of these.
    fn any(all: impl Iterator<Item = Self>) -> Self {
        all.reduce(|one, other| if one == other { one } else { Self::Anything })
            .unwrap_or(Self::Anything)
    }
}

/// Follows a schema's parts, up to a limit.
struct Looks<'a> {
    kept: HashMap<String, &'a str>,
    left: u32,
}

impl<'a> Looks<'a> {
    fn at(root: &'a str) -> Self {
        let mut kept = HashMap::new();
        for member in members(root).unwrap_or_default() {
            if KEPT.contains(&member.key.as_ref()) {
                for schema in members(member.value).unwrap_or_default() {
                    kept.insert(format!("#/{}/{}", member.key, schema.key), schema.value);
                }
            }
        }
        let left = LOOKS_MAX;
        Self { kept, left }
    }

    fn of(&mut self, schema: &'a str) -> Allows {
        let Some(left) = self.left.checked_sub(1) else {
            return Allows::Anything;
        };
        self.left = left;
        let Some(object) = ObjectEdit::new(schema) else {
            return Allows::Anything;
        };
        if let Some(name) = object.value("type") {
            return types(name);
        }
        if let Some(name) = object.value("$ref").and_then(string) {
            return match self.kept.get(name.as_ref()).copied() {
                Some(schema) => self.of(schema),
                None => Allows::Anything,
            };
        }
        if object.value("properties").is_some() {
            // It would allow a number too, but nobody who lists properties means that.
            return Allows::Objects;
        }
        if let Some(value) = object.value("const") {
            return value_is(value);
        }
        let list = |key| object.value(key).and_then(|list| elements(list).ok());
        if let Some(values) = list("enum") {
            return Allows::any(values.into_iter().map(value_is));
        }
        if let Some(parts) = list("anyOf").or_else(|| list("oneOf")) {
            return Allows::any(self.each(parts));
        }
        // All of them hold, so the first that says something says it for all.
        let parts = list("allOf").unwrap_or_default();
        self.each(parts)
            .find(|allows| *allows != Allows::Anything)
            .unwrap_or(Allows::Anything)
    }

    fn each(&mut self, parts: Vec<&'a str>) -> impl Iterator<Item = Allows> {
        // Past the limit every further part is anything, and that is soon said.
        let few = usize::try_from(self.left).unwrap_or(usize::MAX) + 1;
        parts.into_iter().take(few).map(|part| self.of(part))
    }
}

fn types(raw: &str) -> Allows {
    match string(raw) {
        Some(name) => Allows::of_type(&name),
        None => {
            let names = elements(raw).unwrap_or_default();
            Allows::any(names.into_iter().map(|raw| match string(raw) {
                Some(name) => Allows::of_type(&name),
                None => Allows::Anything,
            }))
        }
    }
}

fn value_is(raw: &str) -> Allows {
    if raw.starts_with('{') {
        Allows::Objects
    } else {
        Allows::Others
    }
}

/// Whether the schema means the same under another root when [`KEPT`] stays where it is.
fn movable(schema: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_str(schema);
    Movable.deserialize(&mut reader).unwrap_or(false)
}

/// Walks all of a schema once. A property that is called like a keyword counts as one: that errs on the safe side.
#[derive(Clone, Copy)]
struct Movable;

impl<'de> DeserializeSeed<'de> for Movable {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Movable {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a schema")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut movable = true;
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == "$ref" {
                movable &= map.next_value_seed(Target)?;
            } else {
                movable &= map.next_value_seed(self)? && !PLACED.contains(&key.as_ref());
            }
        }
        Ok(movable)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let mut movable = true;
        while let Some(part) = seq.next_element_seed(self)? {
            movable &= part;
        }
        Ok(movable)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(true)
    }
}

/// What a `$ref` says: movable when it points to what is kept at the root.
struct Target;

impl<'de> DeserializeSeed<'de> for Target {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        let target = serde_json::Value::deserialize(reader)?;
        let kept = |text: &str| text.starts_with("#/$defs/") || text.starts_with("#/definitions/");
        Ok(target.as_str().is_some_and(kept))
    }
}
