//! What a schema wants, and how to say it.

use serde_json::Value;

use crate::format;
use crate::node::{Content, Node};

/// The schema of a document, in which references lead to definitions.
#[derive(Clone, Copy)]
pub(super) struct Shape<'s>(pub(super) &'s Value);

impl<'s> Shape<'s> {
    /// Follows references and unions to the schema that this node is held against.
    pub(super) fn fitting(self, node: &Node, schema: &'s Value) -> &'s Value {
        let schema = self.resolved(schema);
        let Some(branches) = schema.get("anyOf").and_then(Value::as_array) else {
            return schema;
        };
        let fits = branches.iter().find(|branch| self.accepts(node, branch));
        fits.map_or(schema, |branch| self.fitting(node, branch))
    }

    fn accepts(self, node: &Node, schema: &'s Value) -> bool {
        let schema = self.resolved(schema);
        if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
            return branches.iter().any(|branch| self.accepts(node, branch));
        }
        if self.choices(schema).is_some() {
            return node.text().is_some();
        }
        types(schema).iter().any(|kind| {
            matches!(
                (&node.content, *kind),
                (Content::Null, "null")
                    | (Content::Bool(_), "boolean")
                    | (Content::Number(_), "integer" | "number")
                    | (Content::Text(_), "string")
                    | (Content::List(_), "array")
                    | (Content::Map(_), "object")
            )
        })
    }

    /// Follows `$ref`, also in the `allOf` that draft 7 needs beside a description.
    fn resolved(self, schema: &'s Value) -> &'s Value {
        let mut schema = schema;
        if let Some([only]) = schema
            .get("allOf")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
        {
            schema = only;
        }
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else {
            return schema;
        };
        let name = reference.trim_start_matches("#/definitions/");
        self.0
            .get("definitions")
            .and_then(|all| all.get(name))
            .unwrap_or(schema)
    }

    /// Gives the closed set of texts that a schema allows, if it is one.
    pub(super) fn choices(self, schema: &'s Value) -> Option<Vec<&'s str>> {
        if let Some(only) = schema.get("const").and_then(Value::as_str) {
            return Some(vec![only]);
        }
        if let Some(list) = schema.get("enum").and_then(Value::as_array) {
            return Some(list.iter().filter_map(Value::as_str).collect());
        }
        let branches = schema.get("oneOf").and_then(Value::as_array)?;
        let sets: Option<Vec<Vec<&str>>> =
            branches.iter().map(|branch| self.choices(branch)).collect();
        sets.map(|sets| sets.concat())
    }

    pub(super) fn wants_text(self, schema: &'s Value) -> bool {
        let schema = self.resolved(schema);
        let branches = schema.get("anyOf").and_then(Value::as_array);
        types(schema).contains(&"string")
            || branches.is_some_and(|all| all.iter().any(|branch| self.wants_text(branch)))
    }

    /// Says in words what a schema wants.
    pub(super) fn described(self, schema: &'s Value) -> String {
        let schema = self.resolved(schema);
        if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
            let mut words: Vec<String> = Vec::new();
            for branch in branches {
                let word = self.described(branch);
                if word != "nothing" && !words.contains(&word) {
                    words.push(word);
                }
            }
            return words.join(" or ");
        }
        if let Some(choices) = self.choices(schema) {
            return format!("one of {}", quoted(&choices));
        }
        if let Some(words) = schema
            .get("format")
            .and_then(Value::as_str)
            .and_then(format::describe)
        {
            return words.to_owned();
        }
        match types(schema).first().copied() {
            Some("object") => described_map(schema),
            Some("array") => "a list".to_owned(),
            Some("string") => "a text".to_owned(),
            Some("integer" | "number") => "a number".to_owned(),
            Some("boolean") => "true or false".to_owned(),
            Some("null") => "nothing".to_owned(),
            _ => "something else".to_owned(),
        }
    }
}

fn described_map(schema: &Value) -> String {
    const LISTED_MAX: usize = 6;
    let fields: Vec<&str> = schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    match fields.len() {
        0 => "a mapping".to_owned(),
        1..=LISTED_MAX => format!("a mapping with {}", quoted(&fields)),
        _ => format!("a mapping with {}, …", quoted(&fields[..LISTED_MAX])),
    }
}

/// Gives the types a schema allows, the nullable one last.
pub(super) fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
