//! What a story expects, held against what came.

use serde_json::{Map, Value};

/// Says how `found` differs from `expected`, or nothing when it fits.
///
/// Objects may have more members than expected; `null` stands for a member that must not be there.
/// Lists must be as long as expected. `{$has: TEXT}`, `{$not: VALUE}`, `{$some: VALUE}`, `{$count: N}` and `{$any: true}`
/// stand for texts that contain something, anything else, lists with such an item, lists of that length, and anything at all.
pub(crate) fn differs(expected: &Value, found: Option<&Value>) -> Option<String> {
    if let Some((operator, operand)) = operator(expected) {
        return differs_by(operator, operand, found);
    }
    match (expected, found) {
        (Value::Null, None | Some(Value::Null)) => None,
        (_, None) => Some(format!("nothing there instead of {expected}")),
        (Value::Object(expected), Some(Value::Object(found))) => members(expected, found),
        (Value::Array(expected), Some(Value::Array(found))) if expected.len() == found.len() => {
            let pairs = expected.iter().zip(found).enumerate();
            pairs
                .filter_map(|(at, (expected, found))| {
                    Some(format!(
                        "[{at}]{}",
                        separated(differs(expected, Some(found))?)
                    ))
                })
                .next()
        }
        (expected, Some(found)) => {
            (expected != found).then(|| format!("{found} instead of {expected}"))
        }
    }
}

fn members(expected: &Map<String, Value>, found: &Map<String, Value>) -> Option<String> {
    expected.iter().find_map(|(key, value)| {
        let difference = differs(value, found.get(key))?;
        Some(format!(".{key}{}", separated(difference)))
    })
}

fn separated(difference: String) -> String {
    if difference.starts_with(['.', '[']) {
        difference
    } else {
        format!(": {difference}")
    }
}

fn operator(expected: &Value) -> Option<(&str, &Value)> {
    let (key, operand) = expected
        .as_object()
        .filter(|all| all.len() == 1)?
        .iter()
        .next()?;
    key.starts_with('$').then_some((key, operand))
}

fn differs_by(operator: &str, operand: &Value, found: Option<&Value>) -> Option<String> {
    let shown = found.map_or_else(|| "nothing".to_owned(), Value::to_string);
    let fits = match operator {
        "$any" => found.is_some(),
        "$not" => differs(operand, found).is_some(),
        "$has" => {
            let text = found.and_then(Value::as_str).unwrap_or_default();
            text.contains(operand.as_str().unwrap_or("\u{0}"))
        }
        "$some" => {
            let items = found.and_then(Value::as_array);
            items.is_some_and(|items| {
                items
                    .iter()
                    .any(|item| differs(operand, Some(item)).is_none())
            })
        }
        "$count" => {
            let count = found.and_then(Value::as_array).map(Vec::len);
            count.map(|count| count as u64) == operand.as_u64()
        }
        _ => return Some(format!("`{operator}` is no operator of stories")),
    };
    (!fits).then(|| format!("{shown} does not fit {{{operator}: {operand}}}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_expected_counts() {
        for (expected, found) in [
            (json!({"a": 1}), json!({"a": 1, "b": 2})),
            (json!({"a": null}), json!({"b": 2})),
            (json!([1, {"a": 2}]), json!([1, {"a": 2, "b": 3}])),
            (json!({"$has": "ell"}), json!("hello")),
            (json!({"$some": {"a": 1}}), json!([{"a": 2}, {"a": 1}])),
            (json!({"$count": 2}), json!([1, 2])),
            (json!({"a": {"$not": 3}}), json!({"a": 4})),
        ] {
            assert_eq!(differs(&expected, Some(&found)), None, "{expected}");
        }
    }

    #[test]
    fn differences_are_found_and_named() {
        for (expected, found, place) in [
            (json!({"a": 1}), json!({"a": 2}), ".a: 2 instead of 1"),
            (json!({"a": null}), json!({"a": 2}), ".a: 2 instead of null"),
            (json!([1]), json!([1, 2]), "[1,2] instead of [1]"),
            (json!([{"a": 1}]), json!([{}]), "[0].a: nothing there"),
            (json!({"$has": "x"}), json!("hello"), "does not fit"),
            (json!({"$some": 3}), json!([1, 2]), "does not fit"),
            (json!({"$odd": 3}), json!([1, 2]), "no operator"),
        ] {
            let difference = differs(&expected, Some(&found)).unwrap_or_default();
            assert!(difference.contains(place), "{difference}");
        }
    }
}
