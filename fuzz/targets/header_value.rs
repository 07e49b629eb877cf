//! Header values take any bytes, and what we encode decodes to itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::mcp::headers;

fuzz_target!(|input: &[u8]| {
    drop(headers::decode(input));
    if let Ok(text) = std::str::from_utf8(input) {
        let encoded = headers::encode(text);
        let decoded = headers::decode(encoded.as_bytes()).expect("our own encoding decodes");
        assert_eq!(decoded, text);
    }
});
