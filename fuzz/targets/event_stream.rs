//! The event-stream decoder takes any bytes, and how they were cut makes no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::sse::Decoder;

fuzz_target!(|input: (Vec<u8>, u8)| {
    let (bytes, cut) = input;
    let at_once = events(&mut bytes.chunks(bytes.len().max(1)));
    let in_pieces = events(&mut bytes.chunks(usize::from(cut).max(1)));
    assert_eq!(at_once, in_pieces);
});

fn events<'a>(pieces: &mut dyn Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for piece in pieces {
        if decoder.push(piece).is_err() {
            events.push("too long".to_owned());
            break;
        }
        while let Some(event) = decoder.next_event() {
            events.push(format!("{event:?}"));
        }
    }
    events
}
