use serde_json::json;

use super::*;

fn values(text: &str) -> Vec<serde_json::Value> {
    let (nodes, faults) = read(text);
    assert!(faults.is_empty(), "{faults:?}");
    nodes.iter().map(Node::to_json).collect()
}

fn fault(text: &str) -> (String, u32, u32) {
    let (_, faults) = read(text);
    let fault = faults.first().expect("a fault");
    (
        fault.code.to_owned(),
        fault.position.line,
        fault.position.column,
    )
}

#[test]
fn scalars_follow_the_core_schema() {
    let text = "[a, 'b', 1, -2, +3, 0x1F, 0o17, 1.5, 1e3, true, no, ~, '', 2025-11-25, 1.2.3, \"5\", !!str 5, .inf, 1_0]";
    let expected = json!([
        "a",
        "b",
        1,
        -2,
        3,
        31,
        15,
        1.5,
        1000.0,
        true,
        "no",
        null,
        "",
        "2025-11-25",
        "1.2.3",
        "5",
        "5",
        ".inf",
        "1_0"
    ]);
    assert_eq!(values(text), [expected]);
}

#[test]
fn documents_and_json_are_read() {
    assert_eq!(
        values("a: 1\n---\nb: [2]\n...\n"),
        [json!({"a": 1}), json!({"b": [2]})]
    );
    assert_eq!(
        values("{\n\t\"a\": {\"b\": [1, \"x\\u00e9\\/\"]}\n}\n"),
        [json!({"a": {"b": [1, "xé/"]}})]
    );
    assert_eq!(
        values(r#"{"a":1,"b":[1,{"c":null}],"d":"http://x","e":"\ud83d\ude00"}"#),
        [json!({"a": 1, "b": [1, {"c": null}], "d": "http://x", "e": "😀"})]
    );
    assert_eq!(values(""), Vec::<serde_json::Value>::new());
}

#[test]
fn places_count_from_one() {
    let (nodes, _) = read("a: 1\nb:\n  - c: ä\n    d: [x,   y]\n");
    let path = FieldPath::of("b").index(0).field("d").index(1);
    assert_eq!(
        nodes[0].locate(&path),
        Position {
            line: 4,
            column: 14
        }
    );
    assert_eq!(path.to_string(), "b[0].d[1]");
    assert_eq!(
        nodes[0].field("b").map(|b| b.items()[0].position),
        Some(Position { line: 3, column: 5 })
    );
}

#[test]
fn aliases_are_read_and_bounded() {
    assert_eq!(values("a: &x [1]\nb: *x"), [json!({"a": [1], "b": [1]})]);
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let below = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(", "));
    }
    assert_eq!(fault(&laughs).0, "too-many-values");
}

#[test]
fn what_is_wrong_has_a_place() {
    assert_eq!(fault("a: 1\nb: 2\na: 3\n"), ("duplicate-key".into(), 3, 1));
    assert_eq!(fault(&"[".repeat(65)), ("too-deep".into(), 1, 65));
    assert_eq!(fault("a: !ruby/object x").0, "unknown-tag");
    assert_eq!(fault("? [a]\n: b").0, "bad-key");
    assert_eq!(fault("a: &x [*x]").0, "syntax");
    assert_eq!(fault("a:\n\tb: 1\n").0, "syntax");
    assert_eq!(
        fault(&"---\na\n".repeat(DOCUMENTS_MAX + 1)).0,
        "too-many-documents"
    );
    assert_eq!(fault(&" ".repeat(FILE_BYTES_MAX + 1)).0, "file-too-large");
}

use crate::node::FieldPath;
