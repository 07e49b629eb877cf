//! The streaming editor against the plain way: parse everything, look at every path.

use proptest::prelude::{any, proptest};
use proptest::test_runner::Config;
use protocol::json::{Rules, Step, StreamEditor, Syntax};
use serde_json::Value;

use crate::json::{CASES, answer, text};

fn rules() -> Rules {
    use Step::{Each, Key};
    Rules::builder()
        .path(&[Key("id")], 0)
        .path(&[Key("result"), Key("uri")], 1)
        .path(&[Key("result"), Key("contents"), Each, Key("uri")], 2)
        .path(&[Key("more"), Each, Each], 3)
        .build()
}

/// The text with every scalar at a ruled path replaced by `with(slot)`.
fn edited<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    with: impl Fn(u8, &[u8]) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, Syntax> {
    let rules = rules();
    let mut editor = StreamEditor::new(&rules);
    let mut out = Vec::new();
    for piece in pieces {
        let mut at = 0;
        for (span, new) in editor.feed(piece, &with)? {
            out.extend_from_slice(&piece[at..span.start]);
            out.extend_from_slice(&new);
            at = span.end;
        }
        out.extend_from_slice(&piece[at..]);
    }
    editor.finish()?;
    Ok(out)
}

fn marked(slot: u8, _: &[u8]) -> Option<Vec<u8>> {
    Some(format!("\"<{slot}>\"").into_bytes())
}

/// What the editor should make of a value: scalars only, by decoded path.
fn expected(value: &mut Value) {
    let scalar = |value: &Value| !value.is_array() && !value.is_object();
    let mark = |value: &mut Value, slot: u8| {
        if scalar(value) {
            *value = Value::from(format!("<{slot}>"));
        }
    };
    let Some(members) = value.as_object_mut() else {
        return;
    };
    if let Some(id) = members.get_mut("id") {
        mark(id, 0);
    }
    if let Some(uri) = members
        .get_mut("result")
        .and_then(|result| result.get_mut("uri"))
    {
        mark(uri, 1);
    }
    let each = |value: &mut Value, then: &dyn Fn(&mut Value)| match value {
        Value::Array(items) => items.iter_mut().for_each(then),
        Value::Object(members) => members.values_mut().for_each(then),
        _ => {}
    };
    if let Some(contents) = members
        .get_mut("result")
        .and_then(|result| result.get_mut("contents"))
    {
        each(contents, &|item| {
            if let Some(uri) = item.as_object_mut().and_then(|item| item.get_mut("uri")) {
                mark(uri, 2);
            }
        });
    }
    if let Some(more) = members.get_mut("more") {
        each(more, &|inner| each(inner, &|leaf| mark(leaf, 3)));
    }
}

/// Whether an object anywhere says one key twice, or spells a key with escapes: then a parsed value cannot be compared.
fn is_plain(text: &str) -> bool {
    fn walk(text: &str) -> bool {
        if text.starts_with('[') {
            return protocol::json::elements(text)
                .unwrap()
                .into_iter()
                .all(walk);
        }
        if !text.starts_with('{') {
            return true;
        }
        let members = protocol::json::members(text).unwrap();
        let mut keys: Vec<&str> = members.iter().map(|member| member.key.as_ref()).collect();
        keys.sort_unstable();
        keys.windows(2).all(|two| two[0] != two[1])
            && members.iter().all(|member| walk(member.value))
    }
    !text.contains("\\u0069d") && walk(text)
}

proptest! {
    #![proptest_config(Config::with_cases(CASES))]

    #[test]
    fn pieces_do_not_matter(text in answer(), cuts in proptest::collection::vec(1_usize..9, 1..40)) {
        let whole = edited(std::iter::once(text.as_bytes()), marked).unwrap();
        let mut rest = text.as_bytes();
        let mut pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, more) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = more;
        }
        assert_eq!(edited(pieces.into_iter(), marked).unwrap(), whole);
        assert_eq!(edited(text.as_bytes().chunks(1), marked).unwrap(), whole);
    }

    #[test]
    fn without_an_edit_every_byte_stays(text in answer(), size in 1_usize..64) {
        let kept = edited(text.as_bytes().chunks(size), |_, _| None).unwrap();
        assert_eq!(kept, text.as_bytes());
        let same = edited(text.as_bytes().chunks(size), |_, raw| Some(raw.to_vec())).unwrap();
        assert_eq!(same, text.as_bytes(), "what is handed out is what stands there");
    }

    #[test]
    fn exactly_the_scalars_at_the_paths_change(text in answer()) {
        let changed = edited(std::iter::once(text.as_bytes()), marked).unwrap();
        // Numbers beyond every type cannot be compared as values.
        if is_plain(&text) && !text.contains("E+400") {
            let mut value: Value = serde_json::from_str(&text).unwrap();
            expected(&mut value);
            assert_eq!(serde_json::from_slice::<Value>(&changed).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn a_part_is_never_taken_for_the_whole(text in answer(), at in any::<proptest::sample::Index>()) {
        let part = &text.as_bytes()[..at.index(text.len())];
        assert!(edited(std::iter::once(part), marked).is_err());
    }

    #[test]
    fn it_agrees_with_the_parser_about_what_is_json(text in text(), byte in any::<u8>(), at in any::<proptest::sample::Index>()) {
        let mut spoilt = format!("{{\"a\":{text}}}").into_bytes();
        let at = at.index(spoilt.len());
        spoilt[at] = byte;
        if serde_json::from_slice::<serde::de::IgnoredAny>(&spoilt).is_ok() {
            assert!(edited(std::iter::once(&spoilt[..]), marked).is_ok(), "{}", String::from_utf8_lossy(&spoilt));
        }
    }
}
