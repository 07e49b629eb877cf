//! Forms of a server, filled in by the user on the terminal.

use std::io::{self, Write as _};

use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;

use super::{console::Console, failure::Failure, text, typing};

/// The most fields of a form.
const FIELDS_MAX: usize = 50;

/// Puts a form before the user. Declines in the user's name where nobody is there, or the form is
/// not one that a terminal can show.
///
/// # Spec
/// MCP 2026-07-28, client/elicitation: who asks is shown, and the answers can be looked at before
/// they are sent.
pub(super) async fn ask(console: &Console, asker: &str, params: &Value) -> Result<Value, Failure> {
    let by_form = params["mode"].as_str().is_none_or(|mode| mode == "form");
    let fields = params["requestedSchema"]["properties"].as_object();
    let fields = fields.filter(|fields| by_form && fields.len() <= FIELDS_MAX);
    let Some(fields) = fields.filter(|_| console.can_ask()) else {
        return Ok(json!({"action": "decline"}));
    };
    let message = text::plain(params["message"].as_str().unwrap_or_default());
    let asker = text::one_line(asker);
    console.say(&format!("{asker} asks: {message}"));
    console.say("(an empty line takes the value in brackets; Ctrl-D declines)");
    let required = params["requestedSchema"]["required"].clone();
    let fields = fields.clone();
    let asking = spawn_blocking(move || fill(&fields, &required, &mut read_line)).await;
    match asking {
        Ok(Ok(Some(content))) => Ok(json!({"action": "accept", "content": content})),
        Ok(Ok(None)) | Err(_) => Ok(json!({"action": "decline"})),
        Ok(Err(error)) => Err(Failure::Usage(format!("cannot read an answer: {error}"))),
    }
}

/// Asks with a prompt; nothing at the end of the input.
type Ask<'a> = &'a mut dyn FnMut(&str) -> io::Result<Option<String>>;

fn fill(fields: &Map<String, Value>, required: &Value, ask: Ask<'_>) -> io::Result<Option<Value>> {
    let is_required = |name: &str| {
        let required = required.as_array();
        required.is_some_and(|required| required.iter().any(|one| one == name))
    };
    let mut content = Map::new();
    for (name, schema) in fields {
        match fill_field(name, schema, is_required(name), ask)? {
            Filled::Value(value) => drop(content.insert(name.clone(), value)),
            Filled::Empty => {}
            Filled::Declined => return Ok(None),
        }
    }
    let content = Value::Object(content);
    let answer = ask(&format!("send {content}? [Y/n] "))?;
    let agreed = answer.is_some_and(|answer| matches!(answer.trim(), "" | "y" | "Y" | "yes"));
    Ok(agreed.then_some(content))
}

enum Filled {
    Value(Value),
    Empty,
    Declined,
}

fn fill_field(name: &str, schema: &Value, required: bool, ask: Ask<'_>) -> io::Result<Filled> {
    let default = schema.get("default").filter(|default| !default.is_null());
    let mut prompt = question(name, schema, default, required);
    loop {
        let Some(answer) = ask(&prompt)? else {
            return Ok(Filled::Declined);
        };
        let answer = answer.trim();
        match (answer, default) {
            ("", Some(default)) => return Ok(Filled::Value(default.clone())),
            ("", None) if !required => return Ok(Filled::Empty),
            ("", None) => prompt = format!("{name} is needed: "),
            (answer, _) => match read(answer, schema) {
                Ok(value) => return Ok(Filled::Value(value)),
                Err(wrong) => prompt = format!("{wrong}; {name}: "),
            },
        }
    }
}

fn question(name: &str, schema: &Value, default: Option<&Value>, required: bool) -> String {
    let mut question = schema["title"].as_str().unwrap_or(name).to_owned();
    if let Some(description) = schema["description"].as_str() {
        question = format!("{question} ({description})");
    }
    let choices: Vec<String> = choices(schema)
        .iter()
        .map(|(_, shown)| shown.clone())
        .collect();
    if !choices.is_empty() {
        question = format!("{question}, one of {}", choices.join(", "));
    }
    let hint = match default {
        Some(Value::String(default)) => format!(" [{default}]"),
        Some(default) => format!(" [{default}]"),
        None if required => String::new(),
        None => " [nothing]".to_owned(),
    };
    format!(
        "{}{}: ",
        text::one_line(&question),
        text::one_line(&hint).replacen('[', " [", 1)
    )
}

fn read(answer: &str, schema: &Value) -> Result<Value, String> {
    let choices = choices(schema);
    if choices.is_empty() {
        return typing::read(answer, schema);
    }
    let choose = |answer: &str| {
        let chosen = choices
            .iter()
            .find(|(value, shown)| value == answer || shown.eq_ignore_ascii_case(answer));
        chosen
            .map(|(value, _)| Value::from(value.as_str()))
            .ok_or_else(|| format!("{answer:?} is not one of the choices"))
    };
    if schema["type"] == "array" {
        return answer.split(',').map(|one| choose(one.trim())).collect();
    }
    choose(answer)
}

/// The values to choose from, and how they are shown, in all the forms that revisions have had.
fn choices(schema: &Value) -> Vec<(String, String)> {
    let schema = if schema["type"] == "array" {
        &schema["items"]
    } else {
        schema
    };
    let titled = ["oneOf", "anyOf"]
        .iter()
        .find_map(|key| schema[*key].as_array());
    if let Some(titled) = titled {
        let pair = |one: &Value| {
            let value = one["const"].as_str()?;
            Some((
                value.to_owned(),
                one["title"].as_str().unwrap_or(value).to_owned(),
            ))
        };
        return titled.iter().filter_map(pair).collect();
    }
    let values = schema["enum"].as_array().into_iter().flatten();
    let names = schema["enumNames"].as_array();
    values
        .enumerate()
        .filter_map(|(index, value)| {
            let value = value.as_str()?;
            let name = names
                .and_then(|names| names.get(index)?.as_str())
                .unwrap_or(value);
            Some((value.to_owned(), name.to_owned()))
        })
        .collect()
}

fn read_line(prompt: &str) -> io::Result<Option<String>> {
    let mut stderr = io::stderr();
    stderr.write_all(prompt.as_bytes())?;
    stderr.flush()?;
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line)?;
    Ok((read > 0).then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills in a form with these lines, the last one being the end of the input.
    fn filled(fields: &Value, required: &Value, lines: &[&str]) -> Option<Value> {
        let mut lines = lines.iter();
        let fields = fields.as_object().unwrap().clone();
        fill(&fields, required, &mut |_| {
            Ok(lines.next().map(|line| (*line).to_owned()))
        })
        .unwrap()
    }

    #[test]
    fn fields_are_typed_and_defaults_taken() {
        let fields = json!({
            "name": {"type": "string"},
            "age": {"type": "integer"},
            "zone": {"type": "string", "default": "UTC"},
            "note": {"type": "string"},
            "color": {"type": "string", "oneOf": [{"const": "#f00", "title": "Red"}]},
        });
        let required = json!(["name", "age"]);
        let lines = ["", "Ann", "old", "41", "", "", "red", ""];
        assert_eq!(
            filled(&fields, &required, &lines),
            Some(json!({"name": "Ann", "age": 41, "zone": "UTC", "color": "#f00"}))
        );
    }

    #[test]
    fn the_end_of_the_input_and_a_no_decline() {
        let fields = json!({"name": {"type": "string"}});
        assert_eq!(filled(&fields, &json!([]), &[]), None);
        assert_eq!(filled(&fields, &json!([]), &["Ann", "n"]), None);
        assert_eq!(filled(&fields, &json!([]), &["Ann"]), None);
    }

    #[test]
    fn several_choices_are_separated_by_commas() {
        let fields = json!({"colors": {"type": "array", "items": {"enum": ["Red", "Blue"]}}});
        let lines = ["Green", "red, Blue", "y"];
        assert_eq!(
            filled(&fields, &json!([]), &lines),
            Some(json!({"colors": ["Red", "Blue"]}))
        );
    }
}
