//! Replace a few spans of a text and copy the rest.

use std::ops::Range;

use super::members::elements;
use super::object::ObjectEdit;

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
    let mut edit = ObjectEdit::new(object)?;
    edit.set(key, value);
    Some(edit.finish())
}

/// The array with what `change` gives in the place of some elements; it is told each one's place and bytes.
///
/// Returns `None` when nothing changed or `array` is not a JSON array.
#[must_use]
pub fn change_elements(
    array: &str,
    change: impl Fn(usize, &str) -> Option<String>,
) -> Option<String> {
    let mut splice: Option<Splice> = None;
    for (at, element) in elements(array).ok()?.into_iter().enumerate() {
        if let Some(changed) = change(at, element) {
            splice
                .get_or_insert_default()
                .replace(span_of(array.as_bytes(), element), changed);
        }
    }
    String::from_utf8(splice?.apply(array.as_bytes())).ok()
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
