//! Any input schema gives mirrored arguments or is refused, and what an argument is mirrored as agrees with itself.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use protocol::mcp::headers;
use serde_json::Value;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (schema, arguments) = input;
    let Ok(schema) = serde_json::from_slice::<Value>(schema) else {
        return;
    };
    let Ok(params) = headers::params(&schema) else {
        return;
    };
    let names: BTreeSet<&str> = params.iter().map(|param| param.header.as_str()).collect();
    assert_eq!(names.len(), params.len(), "no header mirrors two arguments");
    assert!(params.len() <= headers::PARAMS_MAX);
    let arguments = serde_json::from_slice(arguments).unwrap_or(Value::Null);
    for param in &params {
        assert!(param.header.starts_with(headers::PARAM_PREFIX) && param.header.is_ascii());
        let Some(text) = param.text(&arguments) else {
            continue;
        };
        let said = headers::encode(&text);
        let heard = headers::decode(said.as_bytes()).expect("our own encoding decodes");
        assert!(param.agrees(&heard, &text));
    }
});
