//! Event streams: what is written is read, whatever the pieces.

use proptest::prelude::{Just, any, prop_oneof, proptest};
use proptest::test_runner::Config;
use protocol::sse::{Decoder, Event, write_event, write_message};

use crate::json::{CASES, text};

fn decoded<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece).unwrap();
        events.extend(std::iter::from_fn(|| decoder.next_event()));
    }
    events
}

proptest! {
    #![proptest_config(Config::with_cases(CASES))]

    #[test]
    fn messages_come_back_as_they_were_said(messages in proptest::collection::vec(text(), 1..6), size in 1_usize..50) {
        let mut stream = Vec::new();
        for message in &messages {
            write_message(&mut stream, Some("7"), message.as_bytes());
            write_event(&mut stream, "other", b"not a message");
        }
        let events = decoded(stream.chunks(size));
        let found: Vec<serde_json::Value> = events
            .iter()
            .filter(|event| event.is_message())
            .map(|event| serde_json::from_slice(&event.data).unwrap_or_default())
            .collect();
        // Line breaks between tokens may move; the message is the same.
        let said: Vec<serde_json::Value> = messages.iter().map(|message| serde_json::from_str(message).unwrap_or_default()).collect();
        assert_eq!(found, said);
        assert_eq!(events.len(), 2 * messages.len());
    }

    #[test]
    fn pieces_do_not_matter(
        lines in proptest::collection::vec(prop_oneof![
            Just("data: {}".to_owned()), Just("data:".to_owned()), Just(":comment".to_owned()), Just(String::new()),
            Just("id: 7".to_owned()), Just("retry: 20".to_owned()), Just("event: message".to_owned()), "\\PC{0,8}",
        ], 0..30),
        ends in proptest::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\r")], 30),
        size in 1_usize..9,
    ) {
        let stream: String = lines.iter().zip(ends).map(|(line, end)| format!("{line}{end}")).collect();
        assert_eq!(decoded(stream.as_bytes().chunks(size)), decoded(std::iter::once(stream.as_bytes())));
    }

    #[test]
    fn any_bytes_are_endured(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1_usize..9) {
        assert_eq!(decoded(bytes.chunks(size)), decoded(std::iter::once(&bytes[..])));
    }
}
