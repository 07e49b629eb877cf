//! `key=value` on the command line becomes what the tool's schema asks for.

use serde_json::{Map, Value};

use super::{failure::Failure, text};

/// How much two names may differ to be suggested for one another.
const SIMILARITY_MIN: f64 = 0.7;

/// Reads the arguments for a tool: `given` as a whole, then each `key=value` over it.
///
/// # Errors
/// [`Failure::Usage`] that names the argument, what it should be, and what the tool needs.
pub(super) fn arguments(
    schema: &Value,
    given: Map<String, Value>,
    pairs: &[String],
) -> Result<Value, Failure> {
    let mut arguments = given;
    for pair in pairs {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| wrong(schema, &format!("{pair:?} is not key=value")))?;
        let field = field(schema, key)?;
        let value = match arguments.remove(key) {
            // The same key again adds to a list.
            Some(Value::Array(mut items)) if is_list(field) && !value.starts_with('[') => {
                items.push(item(value, field).map_err(|what| mistyped(schema, key, &what))?);
                Value::Array(items)
            }
            _ => read(value, field).map_err(|what| mistyped(schema, key, &what))?,
        };
        arguments.insert(key.to_owned(), value);
    }
    let missing: Vec<&str> = required(schema)
        .filter(|name| !arguments.contains_key(*name))
        .collect();
    if !missing.is_empty() {
        let names = missing.join(", ");
        return Err(wrong(schema, &format!("missing argument {names}")));
    }
    Ok(Value::Object(arguments))
}

/// Reads one value as its schema wants it.
///
/// # Errors
/// What was expected.
pub(super) fn read(text: &str, schema: &Value) -> Result<Value, String> {
    let json = || serde_json::from_str::<Value>(text);
    let types = types(schema);
    let wants = |kind: &str| types.contains(&kind);
    if wants("null") && text == "null" {
        return Ok(Value::Null);
    }
    if wants("boolean")
        && let Ok(value) = text.parse::<bool>()
    {
        return Ok(value.into());
    }
    if (wants("integer") || wants("number"))
        && let Some(value) = json().ok().filter(Value::is_number)
        && (wants("number") || is_whole(&value))
    {
        return Ok(value);
    }
    if wants("object")
        && let Some(value) = json().ok().filter(Value::is_object)
    {
        return Ok(value);
    }
    if wants("array") {
        return match json().ok().filter(Value::is_array) {
            Some(value) => Ok(value),
            None => item(text, schema).map(|item| Value::Array(vec![item])),
        };
    }
    if wants("string") {
        return Ok(text.into());
    }
    if types.is_empty() {
        // The schema does not say; what looks like JSON is JSON.
        return Ok(json().unwrap_or_else(|_| text.into()));
    }
    Err(format!("expected {}, not {text:?}", types.join(" or ")))
}

fn item(text: &str, schema: &Value) -> Result<Value, String> {
    read(text, schema.get("items").unwrap_or(&Value::Null))
}

fn is_list(schema: &Value) -> bool {
    types(schema).contains(&"array")
}

/// `7.0` is whole as well (JSON Schema 2020-12, validation, §6.1.1).
fn is_whole(number: &Value) -> bool {
    let fraction = number.as_f64().map(f64::fract);
    number.is_i64() || number.is_u64() || fraction == Some(0.0)
}

/// The types that a schema allows, also by the values that it lists or the ways that it offers.
fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(one) => return vec![one],
        Value::Array(several) => return several.iter().filter_map(Value::as_str).collect(),
        _ => {}
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(ways) = schema[key].as_array() {
            return ways.iter().flat_map(types).collect();
        }
    }
    let listed = schema["enum"].as_array();
    let listed = listed.filter(|values| values.iter().all(Value::is_string));
    listed.map_or_else(Vec::new, |_| vec!["string"])
}

fn field<'schema>(schema: &'schema Value, key: &str) -> Result<&'schema Value, Failure> {
    let fields = schema["properties"].as_object();
    if let Some(field) = fields.and_then(|fields| fields.get(key)) {
        return Ok(field);
    }
    if schema["additionalProperties"] != false {
        return Ok(&schema["additionalProperties"]);
    }
    let known = fields.into_iter().flatten().map(|(name, _)| name.as_str());
    let hint = nearest(key, known).map(|name| format!("; did you mean {name:?}?"));
    let what = format!("unknown argument {key:?}{}", hint.unwrap_or_default());
    Err(wrong(schema, &what))
}

fn mistyped(schema: &Value, key: &str, what: &str) -> Failure {
    wrong(schema, &format!("argument {key}: {what}"))
}

fn wrong(schema: &Value, what: &str) -> Failure {
    let described = describe(schema);
    Failure::Usage(match described.is_empty() {
        true => format!("{what}; the tool takes no arguments"),
        false => format!("{what}\n\nArguments:\n{}", described.join("\n")),
    })
}

/// The name that was probably meant.
pub(super) fn nearest<'name>(
    name: &str,
    known: impl Iterator<Item = &'name str>,
) -> Option<&'name str> {
    known
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Describes the arguments of a tool, one to a line, required ones first.
pub(super) fn describe(schema: &Value) -> Vec<String> {
    let mut lines: Vec<(bool, String)> = named(schema)
        .into_iter()
        .map(|(name, needed, field)| {
            let kind = match types(field).join("|") {
                kind if kind.is_empty() => "any".to_owned(),
                kind => kind,
            };
            let description = text::one_line(field["description"].as_str().unwrap_or_default());
            let word = if needed { ", required" } else { "" };
            (
                !needed,
                format!("  {name} ({kind}{word})  {description}")
                    .trim_end()
                    .to_owned(),
            )
        })
        .collect();
    lines.sort_by_key(|(optional, _)| *optional);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Names the arguments of a tool in few words; optional ones end in `?`.
pub(super) fn summary(schema: &Value) -> String {
    let named: Vec<String> = named(schema)
        .into_iter()
        .map(|(name, needed, _)| {
            format!("{}{}", text::one_line(name), if needed { "" } else { "?" })
        })
        .collect();
    named.join(" ")
}

fn named(schema: &Value) -> Vec<(&str, bool, &Value)> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields
        .map(|(name, field)| {
            (
                name.as_str(),
                required(schema).any(|one| one == name),
                field,
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "text": {"type": "string"},
                "count": {"type": "integer", "description": "How many."},
                "ratio": {"type": "number"},
                "deep": {"type": "boolean"},
                "filter": {"type": "object"},
                "zones": {"type": "array", "items": {"type": "string"}},
                "sizes": {"type": "array", "items": {"type": "integer"}},
                "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "level": {"enum": ["low", "high"]},
                "any": {},
            },
            "required": ["text"],
            "additionalProperties": false,
        })
    }

    fn read_all(pairs: &[&str]) -> Result<Value, String> {
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        let given = [("text".to_owned(), json!("t"))].into_iter().collect();
        let read = arguments(&schema(), given, &pairs);
        read.map_err(|failure| failure.to_string())
    }

    #[test]
    fn values_take_the_type_of_the_schema() {
        let cases = [
            ("text=7", json!(7.to_string())),
            ("text=a=b", json!("a=b")),
            ("count=7", json!(7)),
            ("count=7.0", json!(7.0)),
            ("ratio=0.5", json!(0.5)),
            ("deep=true", json!(true)),
            ("filter={\"a\": 1}", json!({"a": 1})),
            ("zones=UTC", json!(["UTC"])),
            ("zones=[\"UTC\"]", json!(["UTC"])),
            ("either=null", json!(null)),
            ("either=3", json!(3)),
            ("level=low", json!("low")),
            ("any=3", json!(3)),
            ("any=three", json!("three")),
        ];
        for (pair, expected) in cases {
            let (key, _) = pair.split_once('=').unwrap();
            assert_eq!(read_all(&[pair]).unwrap()[key], expected, "{pair}");
        }
    }

    #[test]
    fn a_list_grows_by_naming_it_again() {
        let read = read_all(&["zones=UTC", "zones=Asia/Tokyo", "sizes=1", "sizes=2"]).unwrap();
        assert_eq!(read["zones"], json!(["UTC", "Asia/Tokyo"]));
        assert_eq!(read["sizes"], json!([1, 2]));
    }

    #[test]
    fn what_does_not_fit_is_explained() {
        let cases = [
            ("count=many", "argument count: expected integer"),
            ("count=7.5", "argument count: expected integer"),
            ("deep=maybe", "argument deep: expected boolean"),
            ("filter=a", "argument filter: expected object"),
            ("sizes=big", "argument sizes: expected integer"),
            ("conut=7", "did you mean \"count\"?"),
            ("count", "is not key=value"),
        ];
        for (pair, expected) in cases {
            let error = read_all(&[pair]).unwrap_err();
            assert!(error.contains(expected), "{pair}: {error}");
            assert!(error.contains("count (integer)  How many."), "{error}");
        }
        let missing = arguments(&schema(), Map::new(), &[])
            .unwrap_err()
            .to_string();
        assert!(missing.contains("missing argument text"), "{missing}");
        assert!(missing.contains("text (string, required)"), "{missing}");
    }

    #[test]
    fn further_arguments_pass_where_the_schema_lets_them() {
        let open = json!({"type": "object", "additionalProperties": {"type": "integer"}});
        let read = arguments(&open, Map::new(), &["extra=5".to_owned()]).unwrap();
        assert_eq!(read, json!({"extra": 5}));
    }

    #[test]
    fn the_summary_marks_what_is_optional() {
        assert!(summary(&schema()).starts_with("text count? ratio?"));
    }
}
