//! JSON as bytes: look at a few members, change a few spans, leave the rest as it came.

mod members;
mod object;
mod splice;
mod stream;

pub use members::{Member, elements, members, string};
pub use object::{ObjectEdit, remove_member};
pub use splice::{Splice, change_elements, set_member, span_of};
pub use stream::{Edit, Rules, RulesBuilder, Step, StreamEditor, Syntax};

/// The deepest nesting of arrays and objects that any message may have.
pub const DEPTH_MAX: usize = 128;

/// Whether no array or object in `text` is nested deeper than [`DEPTH_MAX`].
///
/// The text need not be valid JSON; a parser run afterwards decides that.
#[must_use]
pub fn depth_allowed(text: &[u8]) -> bool {
    if text.len() <= DEPTH_MAX {
        return true;
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at = past_string(text, at + 1),
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return false;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    true
}

/// Index of the quote that ends the string whose content starts at `at`, or the end of the text.
fn past_string(text: &[u8], mut at: usize) -> usize {
    while let Some(rest) = text.get(at..) {
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(found) if rest[found] == b'"' => return at + found,
            Some(found) => at += found + 2,
            None => break,
        }
    }
    text.len()
}

/// Writes `text` as a JSON string, quotes included.
#[must_use]
pub fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("a string always serialises")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_containers_not_strings() {
        let brackets = "[".repeat(DEPTH_MAX + 1);
        assert!(!depth_allowed(brackets.as_bytes()));
        assert!(depth_allowed(
            format!("{{\"a\":\"{brackets}\"}}").as_bytes()
        ));
        assert!(depth_allowed(
            format!("{{\"a\":\"\\\"{brackets}\"}}").as_bytes()
        ));
        let flat = "[],".repeat(500);
        assert!(depth_allowed(flat.as_bytes()));
    }
}
