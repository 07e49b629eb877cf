//! One era said in the other: what changes is what the specification names, and nothing else.

mod capabilities;
mod content;
mod errors;
mod questions;
mod requests;
mod results;
mod robust;
mod tasks;
mod tools;

use proptest::prelude::{BoxedStrategy, Strategy, any};
use protocol::json::members;

use crate::json::text;

/// One member with all the bytes it came in, from its key's quote to the end of its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) key: String,
    pub(crate) bytes: String,
}

/// The members of an object with their own bytes, found without the code under test.
pub(crate) fn segments(object: &str) -> Vec<Segment> {
    let mut before = object.find('{').unwrap() + 1;
    members(object)
        .unwrap()
        .into_iter()
        .map(|member| {
            let end =
                member.value.as_ptr() as usize - object.as_ptr() as usize + member.value.len();
            let start = before + object[before..].find('"').unwrap();
            before = end;
            Segment {
                key: member.key.into_owned(),
                bytes: object[start..end].to_owned(),
            }
        })
        .collect()
}

/// The segments whose key is none of these.
pub(crate) fn others(object: &str, keys: &[&str]) -> Vec<Segment> {
    let mut found = segments(object);
    found.retain(|segment| !keys.contains(&segment.key.as_str()));
    found
}

/// The value of a member, the last of doubled ones.
pub(crate) fn value<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    let found = members(object).unwrap();
    let member = found.iter().rev().find(|member| member.key == key)?;
    Some(member.value)
}

/// An object with some of these keys, some others, doubled ones too, and any values.
pub(crate) fn object_with(keys: &'static [&'static str]) -> BoxedStrategy<String> {
    let key =
        (any::<usize>(), any::<bool>(), "[a-zé/.]{0,4}").prop_map(move |(at, known, free)| {
            if known {
                keys[at % keys.len()].to_owned()
            } else {
                free
            }
        });
    let member = (key, text(), any::<bool>()).prop_map(|(key, value, roomy)| {
        if roomy {
            format!("\n \"{key}\" :\t{value} ")
        } else {
            format!("\"{key}\":{value}")
        }
    });
    proptest::collection::vec(member, 0..7)
        .prop_map(|members| format!(" {{{}}}\r\n", members.join(",")))
        .boxed()
}

/// An object like [`object_with`], with one more member of a given key whose value is an object of its own.
pub(crate) fn object_around(
    keys: &'static [&'static str],
    key: &'static str,
    inner: BoxedStrategy<String>,
) -> BoxedStrategy<String> {
    (object_with(keys), inner, any::<bool>())
        .prop_map(move |(object, inner, there)| {
            if !there {
                return object;
            }
            let open = object.find('{').unwrap() + 1;
            let comma = if segments(&object).is_empty() {
                ""
            } else {
                ","
            };
            let (head, tail) = object.split_at(open);
            format!("{head} \"{key}\" : {}{comma}{tail}", inner.trim())
        })
        .boxed()
}
