//! The one thing that programs write in JSON and YAML does not read: a character escaped as a pair of surrogates.

use std::borrow::Cow;

/// Rewrites `\ud83d\ude00` as `\U0001f600` in a text that begins like JSON. Everything else stays as it is.
pub(super) fn as_yaml(text: &str) -> Cow<'_, str> {
    let begins_like_json = text.trim_start().starts_with(['{', '[']);
    if !begins_like_json || !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    // Every escape is stepped over as a whole, so that `\\ud83d` stays the text it is.
    while let Some(at) = rest.find('\\') {
        made.push_str(&rest[..at]);
        rest = &rest[at..];
        let (written, read) = match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (Some(high @ 0xd800..0xdc00), Some(low @ 0xdc00..0xe000)) => (
                format!(
                    "\\U{:08x}",
                    0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                ),
                12,
            ),
            _ => {
                let read = rest.chars().take(2).map(char::len_utf8).sum();
                (rest[..read].to_owned(), read)
            }
        };
        made.push_str(&written);
        rest = &rest[read..];
    }
    made.push_str(rest);
    Cow::Owned(made)
}

/// Reads the `\\uXXXX` at the beginning of a text.
fn surrogate(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pairs_of_surrogates_are_rewritten() {
        for (json, yaml) in [
            (r#"{"a": "\ud83d\ude00 x"}"#, r#"{"a": "\U0001f600 x"}"#),
            (r#"{"a": "\\ud83d\ude00"}"#, r#"{"a": "\\ud83d\ude00"}"#),
            (r#"{"a": "\u00e9 \ud83d"}"#, r#"{"a": "\u00e9 \ud83d"}"#),
            (r#"a: "\ud83d\ude00""#, r#"a: "\ud83d\ude00""#),
            ("{\\u+123\\", "{\\u+123\\"),
        ] {
            assert_eq!(as_yaml(json), yaml);
        }
    }
}
