//! JSON texts with every spelling that a careless reader would normalize.

use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};

/// Cases of each property: enough to meet every kind of value, few enough to stay quick.
pub(crate) const CASES: u32 = 128;

/// Any JSON text, with white space between its tokens.
pub(crate) fn text() -> BoxedStrategy<String> {
    let number = prop_oneof![
        Just("1.0".to_owned()),
        Just("-0".to_owned()),
        Just("1E+400".to_owned()),
        Just("12345678901234567890123".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
    ];
    let string = prop_oneof![
        Just(r#""""#.to_owned()),
        Just(r#""\"}]\\""#.to_owned()),
        Just(r#""\u0061\/\ud83d\ude00""#.to_owned()),
        "\\PC{0,16}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let word = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned())
    ];
    let space = prop_oneof![Just(""), Just(" "), Just("\r\n\t")];
    let leaf = prop_oneof![word, number, string];
    let nested = leaf.prop_recursive(5, 40, 5, move |inner| {
        let key = prop_oneof![
            Just("id".to_owned()),
            Just("uri".to_owned()),
            Just("result".to_owned()),
            Just("contents".to_owned()),
            Just("\\u0069d".to_owned()),
            "[a-zé]{0,5}".prop_map(|key| key),
        ];
        let array = (
            proptest::collection::vec(inner.clone(), 0..5),
            space.clone(),
        )
            .prop_map(|(items, space)| {
                format!("[{space}{}{space}]", items.join(&format!("{space},")))
            });
        let object = (proptest::collection::vec((key, inner), 0..5), space.clone()).prop_map(
            |(members, space)| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("\"{key}\"{space}:{value}"))
                    .collect();
                format!("{{{}{space}}}", members.join(&format!(",{space}")))
            },
        );
        prop_oneof![array, object]
    });
    nested.boxed()
}

/// An answer of a server: an object with an id and a result.
pub(crate) fn answer() -> BoxedStrategy<String> {
    let id = any::<u32>();
    let order = any::<bool>();
    (id, text(), text(), order)
        .prop_map(|(id, result, more, first)| {
            let (id, result) = (format!("\"id\":{id}"), format!("\"result\" : {result}"));
            let (one, two) = if first { (id, result) } else { (result, id) };
            format!("{{\"jsonrpc\":\"2.0\",{one},\"more\":{more}, {two}}}")
        })
        .boxed()
}
