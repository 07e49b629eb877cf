//! Tools of lists.

mod schema;

use std::borrow::Cow;

use crate::json::ObjectEdit;

/// A modern server's tool for a legacy client.
///
/// Legacy knows structured content only as an object, and so does the root of `outputSchema`:
/// one that allows no object is wrapped as [`super::result_to_legacy`] wraps the content;
/// one that allows only objects without saying so gains `"type": "object"`;
/// one that allows both, or that cannot be moved without breaking its references, goes.
#[must_use]
pub fn tool_to_legacy(raw: &str) -> Cow<'_, str> {
    let changed = ObjectEdit::new(raw).and_then(|mut edit| {
        match schema::rooted(edit.value("outputSchema")?) {
            schema::Rooted::AsIs => return None,
            schema::Rooted::Changed(schema) => edit.set("outputSchema", schema),
            schema::Rooted::Cannot => edit.remove("outputSchema"),
        }
        edit.changed()
    });
    changed.map_or(Cow::Borrowed(raw), Cow::Owned)
}

/// A legacy server's tool for a modern client: `execution`, which speaks of legacy tasks, goes.
#[must_use]
pub fn tool_to_modern(raw: &str) -> Cow<'_, str> {
    let changed = ObjectEdit::new(raw).and_then(|mut edit| {
        edit.remove("execution");
        edit.changed()
    });
    changed.map_or(Cow::Borrowed(raw), Cow::Owned)
}
