//! The envelope: any bytes are read or refused, and what is read lies where it says.

use bytes::Bytes;
use proptest::prelude::{any, proptest};
use proptest::test_runner::Config;
use protocol::json::{DEPTH_MAX, Splice, members, set_member};
use protocol::json_rpc::{Message, Shape, batch};

use crate::json::{CASES, text};

proptest! {
    #![proptest_config(Config::with_cases(CASES))]

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        drop(Message::parse(bytes.clone()));
        drop(batch(&bytes));
    }

    #[test]
    fn parts_are_found_where_they_stand(params in text(), id in any::<i64>(), first in any::<bool>()) {
        let (one, two) = (format!("\"id\" : {id}"), format!("\"params\":{params}"));
        let (one, two) = if first { (one, two) } else { (two, one) };
        let text = format!("{{{one} ,\"x\":[{params}],\"jsonrpc\":\"2.0\",\"method\":\"m\\u0065thod\", {two}}}");
        let message = Message::parse(Bytes::from(text.clone())).unwrap();
        assert!(matches!(&message.shape, Shape::Request(own) if own.raw() == id.to_string().as_bytes()));
        assert_eq!(&*message.method, "method");
        // `null` reads as absent.
        assert_eq!(message.body(), if params == "null" { "{}" } else { &params });
        let mut splice = Splice::new();
        splice.replace(message.id_span().unwrap(), "\"new\"");
        let changed = String::from_utf8(splice.apply(&message.bytes)).unwrap();
        assert_eq!(changed, text.replacen(&format!("\"id\" : {id}"), "\"id\" : \"new\"", 1));
    }

    #[test]
    fn a_batch_is_cut_into_what_it_was_made_of(parts in proptest::collection::vec(text(), 1..64)) {
        let text = Bytes::from(format!(" [ {} ]\n", parts.join(" , ")));
        let found = batch(&text).unwrap().unwrap();
        assert_eq!(found, parts);
    }

    #[test]
    fn a_set_member_changes_that_member_alone(value in text(), more in text(), key in "[a-z]{1,4}") {
        let object = format!("{{\"first\": {more},\"last\":[ {more} ]}}");
        let changed = set_member(&object, &key, &value).unwrap();
        let found = members(&changed).unwrap();
        assert_eq!(found.iter().find(|member| member.key == key).unwrap().value, value);
        let others = found.iter().filter(|member| member.key != key);
        for other in others {
            assert_eq!(other.value, if other.key == "first" { more.clone() } else { format!("[ {more} ]") });
        }
    }
}

#[test]
fn nesting_ends_at_the_limit_and_not_before() {
    let nested = |depth: usize| {
        let open = depth - 1;
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":{}{}}}",
            "[".repeat(open),
            "]".repeat(open)
        )
    };
    assert!(Message::parse(nested(DEPTH_MAX - 1).into()).is_ok());
    assert!(Message::parse(nested(DEPTH_MAX + 1).into()).is_err());
}
