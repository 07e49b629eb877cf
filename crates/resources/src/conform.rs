//! Holds a document against the JSON Schema of its kind: one problem for each field that does not fit, all in one pass.

use serde_json::{Map, Value};

use self::shape::{Shape, quoted, types};
use crate::Severity;
use crate::format;
use crate::kinds::gateway::Unused;
use crate::nearest::{nearest, suggest};
use crate::node::{Content, Entry, FieldPath, Node, Position};

mod shape;

/// How many problems of one document are told.
pub const PROBLEMS_MAX: usize = 100;

/// What is wrong with one field.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    pub(crate) code: &'static str,
    pub(crate) position: Position,
    pub(crate) path: FieldPath,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// Holds a document against its schema.
///
/// Gives the value without the fields that are accepted and not used; it fits the Rust type if no problem is an error.
pub(crate) fn conform(node: &Node, schema: &Value) -> (Value, Vec<Problem>) {
    let mut reader = Reader {
        shape: Shape(schema),
        problems: Vec::new(),
        untold: 0,
    };
    let value = reader.value(node, schema, &FieldPath::default());
    if reader.untold > 0 {
        let message = format!("{} more problems in this document", reader.untold);
        reader.problems.push(Problem {
            severity: Severity::Error,
            code: "too-many-problems",
            position: node.position,
            path: FieldPath::default(),
            message,
            help: None,
        });
    }
    (value, reader.problems)
}

struct Reader<'s> {
    shape: Shape<'s>,
    problems: Vec<Problem>,
    untold: usize,
}

impl<'s> Reader<'s> {
    fn value(&mut self, node: &Node, schema: &'s Value, path: &FieldPath) -> Value {
        let schema = self.shape.fitting(node, schema);
        if let Some(choices) = self.shape.choices(schema) {
            self.choice(node, &choices, path);
            return node.to_json();
        }
        match (&node.content, types(schema).first().copied()) {
            (Content::Map(entries), Some("object")) => self.map(node, entries, schema, path),
            (Content::List(items), Some("array")) => self.list(node, items, schema, path),
            (Content::Text(text), Some("string")) => {
                self.text(node, text, schema, path);
                node.to_json()
            }
            (Content::Number(number), Some("integer" | "number")) => {
                self.number(node, number, schema, path);
                node.to_json()
            }
            (Content::Bool(_), Some("boolean")) | (Content::Null, Some("null")) => node.to_json(),
            // A schema without type takes anything, but a union of which nothing fits does not.
            (_, None) if schema.get("anyOf").is_none() => node.to_json(),
            _ => {
                self.mismatch(node, schema, path);
                node.to_json()
            }
        }
    }

    fn choice(&mut self, node: &Node, choices: &[&str], path: &FieldPath) {
        let Some(text) = node.text() else {
            let message = format!("found {}, expected one of {}", node.what(), quoted(choices));
            return self.error("wrong-type", node.position, path, message, quote_help(node));
        };
        if choices.contains(&text) {
            return;
        }
        let shown = if format::may_be_shown(text) {
            format!("`{text}`")
        } else {
            "this text".to_owned()
        };
        let message = format!("{shown} is not one of {}", quoted(choices));
        let help =
            nearest(text, choices.iter().copied()).map(|meant| format!("did you mean `{meant}`?"));
        self.error("unknown-value", node.position, path, message, help);
    }

    fn map(
        &mut self,
        node: &Node,
        entries: &[Entry],
        schema: &'s Value,
        path: &FieldPath,
    ) -> Value {
        let mut made = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        let extra = schema.get("additionalProperties");
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for entry in entries {
            let below = path.field(&entry.key);
            let known = properties.and_then(|all| all.get(&entry.key));
            match (known, extra) {
                (Some(schema), _) if schema.get(Unused::MARK).is_some() => {
                    self.unused(entry, schema, &below)
                }
                // As in Kubernetes, an optional field without value is one that is left out.
                (Some(_), _)
                    if matches!(entry.value.content, Content::Null)
                        && !required.contains(&entry.key.as_str()) => {}
                (Some(schema), _) => {
                    made.insert(entry.key.clone(), self.value(&entry.value, schema, &below));
                }
                (None, Some(Value::Bool(false))) => self.unknown_field(entry, properties, &below),
                (None, None | Some(Value::Bool(true))) => {
                    made.insert(entry.key.clone(), entry.value.to_json());
                }
                (None, Some(of_values)) => {
                    self.form(
                        entry.key_position,
                        &entry.key,
                        schema.get("x-marque-keys"),
                        &below,
                    );
                    made.insert(
                        entry.key.clone(),
                        self.value(&entry.value, of_values, &below),
                    );
                }
            }
        }
        self.required(node, &required, path);
        self.count_of_fields(node, entries, schema, path);
        Value::Object(made)
    }
    fn unused(&mut self, entry: &Entry, schema: &Value, path: &FieldPath) {
        if schema.get(Unused::MARK).and_then(Value::as_str) == Some("silent") {
            return;
        }
        let message = format!("`{}` is accepted and not used", entry.key);
        self.tell(
            Severity::Note,
            "unused-field",
            entry.key_position,
            path,
            message,
            None,
        );
    }

    fn unknown_field(
        &mut self,
        entry: &Entry,
        properties: Option<&Map<String, Value>>,
        path: &FieldPath,
    ) {
        let known = properties
            .into_iter()
            .flatten()
            .filter(|(_, schema)| schema.get(Unused::MARK).is_none());
        let help = suggest(&entry.key, known.map(|(name, _)| name.as_str()), "field");
        let message = if format::may_be_shown(&entry.key) {
            format!("unknown field `{}`", entry.key)
        } else {
            "unknown field".to_owned()
        };
        self.error(
            "unknown-field",
            entry.key_position,
            path,
            message,
            Some(help),
        );
    }

    fn required(&mut self, node: &Node, required: &[&str], path: &FieldPath) {
        for field in required {
            if node.field(field).is_none() {
                let message = format!("the field `{field}` is missing");
                self.error(
                    "missing-field",
                    node.position,
                    &path.field(field),
                    message,
                    None,
                );
            }
        }
    }

    /// Holds the number of fields against "exactly one of", said as a mark of ours or as a mapping of one field.
    fn count_of_fields(
        &mut self,
        node: &Node,
        entries: &[Entry],
        schema: &Value,
        path: &FieldPath,
    ) {
        let marked = schema.get("x-marque-one-of").and_then(Value::as_array);
        let exactly_one: Vec<&str> = match marked {
            Some(fields) => fields.iter().filter_map(Value::as_str).collect(),
            None if schema.get("maxProperties").and_then(Value::as_u64) == Some(1) => schema
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .map(|(name, _)| name.as_str())
                .collect(),
            None => return,
        };
        let given: Vec<&str> = entries
            .iter()
            .filter(|entry| !matches!(entry.value.content, Content::Null))
            .map(|entry| entry.key.as_str())
            .filter(|key| exactly_one.contains(key))
            .collect();
        // A field that is nearly one of them has its own finding already.
        let misspelled = entries.iter().any(|entry| {
            !exactly_one.contains(&entry.key.as_str())
                && nearest(&entry.key, exactly_one.iter().copied()).is_some()
        });
        let found = match given.len() {
            1 => return,
            0 if misspelled => return,
            0 => "none of them is given".to_owned(),
            _ => format!("{} are given", quoted(&given)),
        };
        let message = format!("exactly one of {} is needed; {found}", quoted(&exactly_one));
        self.error("exactly-one-of", node.position, path, message, None);
    }

    fn list(&mut self, node: &Node, items: &[Node], schema: &'s Value, path: &FieldPath) -> Value {
        let length = u64::try_from(items.len()).unwrap_or(u64::MAX);
        let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
        if bound("minItems").is_some_and(|min| length < min) {
            self.error(
                "too-few",
                node.position,
                path,
                "the list is empty".to_owned(),
                None,
            );
        }
        if let Some(max) = bound("maxItems").filter(|max| length > *max) {
            let message = format!("the list has {length} items; at most {max} are allowed");
            self.error("too-many", node.position, path, message, None);
        }
        let Some(of_items) = schema.get("items") else {
            return node.to_json();
        };
        let each = items.iter().enumerate();
        each.map(|(index, item)| {
            let below = path.index(index);
            if let Some(text) = item.text() {
                self.form(item.position, text, schema.get("x-marque-items"), &below);
            }
            self.value(item, of_items, &below)
        })
        .collect()
    }

    fn text(&mut self, node: &Node, text: &str, schema: &Value, path: &FieldPath) {
        if schema
            .get("minLength")
            .and_then(Value::as_u64)
            .is_some_and(|min| min > 0)
            && text.is_empty()
        {
            return self.error(
                "empty-text",
                node.position,
                path,
                "the text is empty".to_owned(),
                None,
            );
        }
        self.form(node.position, text, schema.get("format"), path);
    }

    fn form(&mut self, position: Position, text: &str, form: Option<&Value>, path: &FieldPath) {
        let Some(form) = form.and_then(Value::as_str) else {
            return;
        };
        if let Err(refusal) = format::check(form, text) {
            self.error(
                refusal.code,
                position,
                path,
                refusal.message,
                Some(refusal.help),
            );
        }
    }

    fn number(
        &mut self,
        node: &Node,
        number: &serde_json::Number,
        schema: &Value,
        path: &FieldPath,
    ) {
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let (min, max) = (bound("minimum"), bound("maximum"));
        let value = number.as_f64().unwrap_or(f64::NAN);
        let whole = !types(schema).contains(&"integer") || number.is_i64() || number.is_u64();
        if whole && min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max) {
            return;
        }
        let range = match (min, max) {
            (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
            (Some(min), None) => format!("a whole number from {min}"),
            (None, _) => "a whole number".to_owned(),
        };
        self.error(
            "out-of-range",
            node.position,
            path,
            format!("found {number}, expected {range}"),
            None,
        );
    }

    fn mismatch(&mut self, node: &Node, schema: &'s Value, path: &FieldPath) {
        let message = format!(
            "found {}, expected {}",
            node.what(),
            self.shape.described(schema)
        );
        let help = if self.shape.wants_text(schema) {
            quote_help(node)
        } else {
            None
        };
        self.error("wrong-type", node.position, path, message, help);
    }

    fn error(
        &mut self,
        code: &'static str,
        position: Position,
        path: &FieldPath,
        message: String,
        help: Option<String>,
    ) {
        self.tell(Severity::Error, code, position, path, message, help);
    }

    fn tell(
        &mut self,
        severity: Severity,
        code: &'static str,
        position: Position,
        path: &FieldPath,
        message: String,
        help: Option<String>,
    ) {
        if self.problems.len() == PROBLEMS_MAX {
            self.untold += 1;
            return;
        }
        self.problems.push(Problem {
            severity,
            code,
            position,
            path: path.clone(),
            message,
            help,
        });
    }
}

/// Tells people whose number or truth value was meant as text to quote it.
fn quote_help(node: &Node) -> Option<String> {
    matches!(node.content, Content::Number(_) | Content::Bool(_))
        .then(|| "put it in quotes to make it a text".to_owned())
}
