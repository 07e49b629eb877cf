//! The envelope takes any bytes, its parts lie where it says, and a new name changes nothing but the name.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use protocol::json::{Splice, span_of, string};
use protocol::json_rpc::{Message, batch};
use protocol::mcp::CallParams;

fuzz_target!(|input: &[u8]| {
    let bytes = Bytes::copy_from_slice(input);
    if let Some(Ok(messages)) = batch(&bytes) {
        messages
            .into_iter()
            .for_each(|message| drop(Message::parse(message)));
    }
    let Ok(message) = Message::parse(bytes.clone()) else {
        return;
    };
    assert_eq!(message.bytes, bytes, "parsing changes no byte");
    if let (Some(span), Some(id)) = (message.id_span(), message.id()) {
        assert_eq!(&bytes[span], id.raw(), "the id's place holds the id");
    }
    if let Some(span) = message.body_span() {
        assert_eq!(
            &bytes[span],
            message.body().as_bytes(),
            "the body's place holds the body"
        );
        rename(&message);
    }
});

fn rename(message: &Message) {
    let Ok(params) = CallParams::parse(message.body()) else {
        return;
    };
    let Some(name) = params.name.filter(|raw| string(raw.get()).is_some()) else {
        return;
    };
    let span = span_of(&message.bytes, name.get());
    let mut splice = Splice::new();
    splice.replace(span.clone(), b"\"new\"".to_vec());
    let renamed = splice.apply(&message.bytes);
    assert_eq!(renamed[..span.start], message.bytes[..span.start]);
    assert_eq!(renamed[span.start + 5..], message.bytes[span.end..]);
    let renamed = Message::parse(renamed.into()).expect("a renamed call is still a message");
    let params = CallParams::parse(renamed.body()).expect("with parameters");
    let name = params
        .name
        .and_then(|raw| string(raw.get()))
        .expect("and a name");
    assert_eq!(name, "new");
    assert_eq!(renamed.method, message.method);
}
