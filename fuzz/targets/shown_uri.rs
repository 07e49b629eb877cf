//! URIs as clients see them: any text is taken, and what we show leads back to the server and its own URI.
#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use protocol::mcp::{own_uri, shown_template, shown_uri};

fuzz_target!(|uri: &str| {
    drop(own_uri(uri));
    drop(shown_template("files", uri));
    if let Cow::Owned(shown) = shown_uri("files", uri) {
        let (server, own) = own_uri(&shown).expect("what we show we know");
        assert_eq!((server.as_ref(), own.as_str()), ("files", uri));
    }
});
