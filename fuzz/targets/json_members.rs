//! The views into an object and an array agree with a reader that reads everything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::json::{depth_allowed, elements, members, set_member, string};
use serde_json::Value;

fuzz_target!(|text: &str| {
    if !depth_allowed(text.as_bytes()) {
        return;
    }
    let read = serde_json::from_str::<Value>(text);
    if let (Ok(found), Ok(Value::Object(object))) = (members(text), &read) {
        for member in &found {
            assert!(object.contains_key(member.key.as_ref()));
        }
        let keys: std::collections::BTreeSet<&str> =
            found.iter().map(|member| member.key.as_ref()).collect();
        assert_eq!(keys.len(), object.len());
    }
    if let Ok(Value::Array(array)) = &read {
        let found = elements(text).expect("an array has elements");
        assert_eq!(found.len(), array.len());
    }
    if let (Some(found), Ok(Value::String(expected))) = (string(text), &read) {
        assert_eq!(found, expected.as_str());
    }
    if let Some(changed) = set_member(text, "key", "17") {
        let found = members(&changed).expect("a changed object is still an object");
        let values: Vec<&str> = found
            .iter()
            .filter(|member| member.key == "key")
            .map(|member| member.value)
            .collect();
        assert!(values.iter().all(|value| *value == "17") && !values.is_empty());
    }
});
