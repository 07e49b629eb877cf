//! Change some members of one object in one pass and keep every other byte.

use std::ops::Range;

use super::members::{Member, members};
use super::quote;
use super::splice::{Splice, span_of};

/// The changes to make to the members of one object.
///
/// A key that came twice has no meaning of its own (RFC 8259 §4): the last one is read, and a change leaves only that one.
#[derive(Debug)]
pub struct ObjectEdit<'a> {
    object: &'a str,
    slots: Vec<Slot<'a>>,
    added: Vec<(String, String)>,
}

/// One member that came, and what becomes of it.
#[derive(Debug)]
struct Slot<'a> {
    came: Member<'a>,
    key: Option<String>,
    value: Option<String>,
    gone: bool,
}

impl Slot<'_> {
    fn key(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.came.key)
    }

    fn changed(&self) -> bool {
        self.gone || self.key.is_some() || self.value.is_some()
    }
}

impl<'a> ObjectEdit<'a> {
    /// Reads `object`. `None` when it is not a JSON object.
    #[must_use]
    pub fn new(object: &'a str) -> Option<Self> {
        let slot = |came| Slot {
            came,
            key: None,
            value: None,
            gone: false,
        };
        Some(Self {
            object,
            slots: members(object).ok()?.into_iter().map(slot).collect(),
            added: Vec::new(),
        })
    }

    /// The members as they came, doubled ones included.
    pub fn came(&self) -> impl Iterator<Item = &Member<'a>> {
        self.slots.iter().map(|slot| &slot.came)
    }

    /// The value of `key` as it came, whatever becomes of it.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&'a str> {
        let found = self.slots.iter().rev().find(|slot| slot.came.key == key)?;
        Some(found.came.value)
    }

    /// Takes `key` out, if it is there.
    pub fn remove(&mut self, key: &str) {
        for slot in self.slots.iter_mut().filter(|slot| slot.key() == key) {
            slot.gone = true;
        }
        self.added.retain(|(name, _)| name != key);
    }

    /// Sets `key` to `value` (raw JSON): where it stands, else at the end.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.remove(key);
        match self.slots.iter_mut().rfind(|slot| slot.key() == key) {
            Some(slot) => {
                slot.gone = false;
                slot.value = Some(value.into());
            }
            None => self.added.push((key.to_owned(), value.into())),
        }
    }

    /// Gives the member that came as `from` the key `to`, in the place of one that has it. Nothing happens without `from`.
    pub fn rename(&mut self, from: &str, to: &str) {
        let stands = |slot: &Slot<'_>| !slot.gone && slot.key() == from;
        let Some(at) = self.slots.iter().rposition(stands) else {
            return;
        };
        self.remove(to);
        self.remove(from);
        self.slots[at].gone = false;
        self.slots[at].key = Some(to.to_owned());
    }

    /// Whether nothing would be left.
    #[must_use]
    pub fn leaves_nothing(&self) -> bool {
        self.added.is_empty() && self.slots.iter().all(|slot| slot.gone)
    }

    /// The object with all changes made, or `None` when there were none.
    #[must_use]
    pub fn changed(self) -> Option<String> {
        let changed = !self.added.is_empty() || self.slots.iter().any(Slot::changed);
        changed.then(|| self.finish())
    }

    /// The object with all changes made.
    ///
    /// # Panics
    /// Never: an object that could be read has a start, an end and keys in quotes.
    #[must_use]
    pub fn finish(self) -> String {
        let text = self.object.as_bytes();
        let start = self.object.find('{').expect("an object begins");
        let end = self.object.rfind('}').expect("an object ends");
        let mut splice = Splice::new();
        // Behind the brace or the value before; and whether a member is kept up to there.
        let (mut before, mut any) = (start + 1, false);
        // Without a kept member before it, a removed one goes together with the comma behind it.
        let mut headless: Option<Range<usize>> = None;
        for slot in &self.slots {
            let value = span_of(text, slot.came.value);
            let key = key_start(text, before);
            if slot.gone && any {
                splice.replace(before..value.end, "");
            } else if slot.gone {
                headless.get_or_insert(key..key).end = value.end;
            } else {
                any = true;
                if let Some(gap) = headless.take() {
                    splice.replace(gap.start..key, "");
                }
                if let Some(with) = &slot.key {
                    splice.replace(key..key_end(text, key), quote(with));
                }
                if let Some(with) = &slot.value {
                    splice.replace(value.clone(), with.as_str());
                }
            }
            before = value.end;
        }
        if let Some(gap) = headless {
            splice.replace(gap, "");
        }
        splice.replace(end..end, self.tail(any));
        String::from_utf8(splice.apply(text)).expect("spans of JSON tokens cut no character")
    }

    /// The added members, behind a comma when others stand before them.
    fn tail(&self, mut any: bool) -> String {
        let mut tail = String::new();
        for (key, value) in &self.added {
            if any {
                tail.push(',');
            }
            any = true;
            tail.push_str(&quote(key));
            tail.push(':');
            tail.push_str(value);
        }
        tail
    }
}

/// Where the next key's quote is, when `at` is behind the brace or the value before it.
fn key_start(text: &[u8], at: usize) -> usize {
    let quote = memchr::memchr(b'"', &text[at..]).expect("a member has a key");
    at + quote
}

/// Where the key ends whose quote is at `start`.
fn key_end(text: &[u8], start: usize) -> usize {
    super::past_string(text, start + 1) + 1
}

/// The object without `key`.
///
/// Returns `None` when `object` is not a JSON object.
#[must_use]
pub fn remove_member(object: &str, key: &str) -> Option<String> {
    let mut edit = ObjectEdit::new(object)?;
    edit.remove(key);
    Some(edit.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(object: &str, change: impl Fn(&mut ObjectEdit<'_>), expected: &str) {
        let mut edit = ObjectEdit::new(object).unwrap();
        change(&mut edit);
        assert_eq!(edit.finish(), expected);
    }

    #[test]
    fn removed_members_take_one_comma_with_them() {
        let object = r#" { "a": 1 , "b" :2,"c":[3 ] } "#;
        check(object, |_| {}, object);
        check(object, |o| o.remove("a"), r#" { "b" :2,"c":[3 ] } "#);
        check(object, |o| o.remove("b"), r#" { "a": 1,"c":[3 ] } "#);
        check(object, |o| o.remove("c"), r#" { "a": 1 , "b" :2 } "#);
        for (keys, expected) in [
            (["a", "b"], r#" { "c":[3 ] } "#),
            (["b", "c"], r#" { "a": 1 } "#),
            (["c", "a"], r#" { "b" :2 } "#),
        ] {
            check(
                object,
                |o| keys.iter().for_each(|key| o.remove(key)),
                expected,
            );
        }
        check(
            object,
            |o| ["a", "b", "c"].iter().for_each(|k| o.remove(k)),
            " {  } ",
        );
    }

    #[test]
    fn set_and_rename_stand_where_the_member_stood() {
        let object = r#"{"a":1, "b" : 2}"#;
        check(object, |o| o.set("a", "9"), r#"{"a":9, "b" : 2}"#);
        check(object, |o| o.rename("b", "c"), r#"{"a":1, "c" : 2}"#);
        check(object, |o| o.rename("a", "b"), r#"{"b":1}"#);
        check(object, |o| o.rename("x", "y"), object);
        let both = |o: &mut ObjectEdit<'_>| {
            o.rename("a", "c");
            o.set("c", "3");
            o.set("a", "4");
        };
        check(object, both, r#"{"c":3, "b" : 2,"a":4}"#);
        check("{ }", |o| o.set("x", "1"), r#"{ "x":1}"#);
        let swap = |o: &mut ObjectEdit<'_>| {
            o.remove("a");
            o.remove("b");
            o.set("x", "1");
            o.set("x", "2");
        };
        check(object, swap, r#"{"x":2}"#);
    }

    #[test]
    fn a_change_leaves_one_of_doubled_members() {
        let object = r#"{"\u0061":1,"b":2,"a":3,"b":4}"#;
        check(object, |o| o.set("a", "9"), r#"{"b":2,"a":9,"b":4}"#);
        check(object, |o| o.remove("b"), r#"{"\u0061":1,"a":3}"#);
        assert_eq!(ObjectEdit::new(object).unwrap().value("a"), Some("3"));
    }

    #[test]
    fn only_objects_have_members() {
        assert_eq!(remove_member("[]", "a"), None);
        assert_eq!(remove_member(r#"{"a":1}"#, "a").as_deref(), Some("{}"));
    }
}
