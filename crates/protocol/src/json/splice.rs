//! Replace a few spans of a text and copy the rest.

use std::ops::Range;

use super::members::members;

/// Where `part` lies inside `whole`.
///
/// # Panics
/// When `part` is not a slice of `whole`: a bug of the caller, never a matter of input.
#[must_use]
pub fn span_of(whole: &[u8], part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    assert!(
        start <= whole.len() && part.len() <= whole.len() - start,
        "not a part of the whole"
    );
    start..start + part.len()
}

/// A set of replacements to make in one text.
#[derive(Debug, Default)]
pub struct Splice {
    edits: Vec<(Range<usize>, Vec<u8>)>,
}

impl Splice {
    /// A splice without edits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `with` in the place of `span`. Spans may not overlap.
    pub fn replace(&mut self, span: Range<usize>, with: impl Into<Vec<u8>>) {
        self.edits.push((span, with.into()));
    }

    /// The text with all edits made.
    ///
    /// # Panics
    /// When spans overlap or leave the text: a bug of the caller.
    #[must_use]
    pub fn apply(mut self, text: &[u8]) -> Vec<u8> {
        self.edits.sort_by_key(|(span, _)| span.start);
        let added: usize = self.edits.iter().map(|(_, with)| with.len()).sum();
        let mut out = Vec::with_capacity(text.len() + added);
        let mut at = 0;
        for (span, with) in &self.edits {
            out.extend_from_slice(&text[at..span.start]);
            out.extend_from_slice(with);
            at = span.end;
        }
        out.extend_from_slice(&text[at..]);
        out
    }
}

/// The object with `key` set to `value` (raw JSON): replaced where it stands, else added at the end.
///
/// Returns `None` when `object` is not a JSON object.
#[must_use]
pub fn set_member(object: &str, key: &str, value: &str) -> Option<String> {
    let found = members(object).ok()?;
    let mut splice = Splice::new();
    let mut stood = false;
    for member in found.iter().filter(|member| member.key == key) {
        splice.replace(span_of(object.as_bytes(), member.value), value);
        stood = true;
    }
    if !stood {
        let end = object.rfind('}')?;
        let comma = if found.is_empty() { "" } else { "," };
        splice.replace(end..end, format!("{comma}{}:{value}", super::quote(key)));
    }
    String::from_utf8(splice.apply(object.as_bytes())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_member_replaces_or_appends() {
        assert_eq!(
            set_member(r#"{"a": 1 , "b":2}"#, "a", "9").as_deref(),
            Some(r#"{"a": 9 , "b":2}"#)
        );
        assert_eq!(set_member("{}", "a", "9").as_deref(), Some(r#"{"a":9}"#));
        assert_eq!(
            set_member(r#"{"b":2 }"#, "a", "9").as_deref(),
            Some(r#"{"b":2 ,"a":9}"#)
        );
        assert_eq!(set_member("[]", "a", "9"), None);
    }

    #[test]
    fn splice_keeps_the_rest() {
        let text = b"hello world";
        let mut splice = Splice::new();
        splice.replace(6..11, "you");
        splice.replace(0..0, ">");
        assert_eq!(splice.apply(text), b">hello you");
    }
}
