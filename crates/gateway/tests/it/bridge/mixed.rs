//! One toolset over servers of either era and of both, for clients of either.

use serde_json::{Value, json};
use testkit::raw::{Canned, RawServer, Script};

use super::asking::{CAN, is_call};
use crate::rig::{Rig, legacy, modern, server, toolset};

const OLD: &str = r#"[{"name":"old","inputSchema":{"type":"object"},"outputSchema":{"type":"object","n":1.0},"execution":{"taskSupport":"optional"},"x":1.0},{"name":"unfit","inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"not a token"}}}}]"#;
const NEW: &str = r#"[{"name":"new","inputSchema":{"type":"object"},"outputSchema":{"type":"array","items":{"type":"number"}}},{"name":"told","inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"Place"}}}}]"#;
const BOTH: &str = r#"[{"name":"both","inputSchema":{"type":"object"}}]"#;

struct House {
    old: RawServer,
    new: RawServer,
    both: RawServer,
    rig: Rig,
}

async fn house() -> House {
    let old = server(
        Canned {
            tools: OLD,
            ..legacy()
        },
        |seen| Script::json(seen.result(r#"{"content":[],"structuredContent":{"n":1.0}}"#)),
    )
    .await;
    let new =
        server(
            Canned {
                tools: NEW,
                ..modern()
            },
            |seen| {
                Script::json(seen.result(
                    r#"{"resultType":"complete","content":[],"structuredContent":[1.0,2]}"#,
                ))
            },
        )
        .await;
    let both = server(
        Canned {
            tools: BOTH,
            ..Canned::default()
        },
        |seen| Script::json(seen.result(r#"{"resultType":"complete","content":[]}"#)),
    )
    .await;
    let yaml = toolset(&[
        ("old", &old.url(), ""),
        ("new", &new.url(), ""),
        ("both", &both.url(), ""),
    ]);
    let rig = Rig::start(&yaml).await;
    House {
        old,
        new,
        both,
        rig,
    }
}

fn tool<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    let tools = list["result"]["tools"].as_array().unwrap();
    tools.iter().find(|tool| tool["name"] == name)
}

#[tokio::test]
async fn a_modern_client_sees_all_that_fits_in_its_own_words() {
    let house = house().await;
    let list = house.rig.list("tools/list").await;
    for name in ["old", "new", "told", "both"] {
        assert!(tool(&list, name).is_some(), "{name}: {list}");
    }
    assert!(tool(&list, "unfit").is_none(), "{list}");
    assert_eq!(
        tool(&list, "old").unwrap(),
        &json!({"name": "old", "inputSchema": {"type": "object"}, "outputSchema": {"type": "object", "n": 1.0}, "x": 1.0}),
    );
    assert_eq!(
        tool(&list, "new").unwrap()["outputSchema"],
        json!({"type": "array", "items": {"type": "number"}})
    );
    // A tool that is not shown cannot be called, either.
    let hidden = testkit::http::modern_meta(
        &house.rig.url(),
        1,
        "tools/call",
        r#"{"name":"unfit","arguments":{}}"#,
        CAN,
    )
    .header("Mcp-Name", "unfit");
    let hidden = hidden.send().await.unwrap().answer().await.unwrap();
    assert_eq!(hidden["error"]["code"], -32602, "{hidden}");
    assert!(!house.old.requests().iter().any(is_call));
}

#[tokio::test]
async fn a_legacy_client_sees_all_in_its_own_words() {
    let house = house().await;
    let session = house.rig.session().await;
    let mut list = session
        .request("1", "tools/list", "{}")
        .send()
        .await
        .unwrap();
    let list = list.answer().await.unwrap();
    for name in ["old", "unfit", "new", "told", "both"] {
        assert!(tool(&list, name).is_some(), "{name}: {list}");
    }
    assert_eq!(
        tool(&list, "old").unwrap()["execution"],
        json!({"taskSupport": "optional"})
    );
    let schema = &tool(&list, "new").unwrap()["outputSchema"];
    assert_eq!(schema["type"], "object");
    assert_eq!(
        schema["properties"]["result"],
        json!({"type": "array", "items": {"type": "number"}})
    );
    assert!(list["result"]["resultType"].is_null() && list["result"]["ttlMs"].is_null());
}

#[tokio::test]
async fn each_server_is_called_in_an_era_of_its_own_and_as_near_to_the_clients_as_can_be() {
    let house = house().await;
    let session = house.rig.session().await;
    for (name, content) in [
        ("old", json!({"n": 1.0})),
        ("new", json!({"result": [1.0, 2]})),
        ("both", Value::Null),
    ] {
        let answer = session.call("1", name).await.answer().await.unwrap();
        assert_eq!(
            answer["result"]["structuredContent"], content,
            "{name}: {answer}"
        );
    }
    for (name, content) in [
        ("old", json!({"n": 1.0})),
        ("new", json!([1.0, 2])),
        ("both", Value::Null),
    ] {
        let mut reply = house.rig.call("1", name).send().await.unwrap();
        let answer = reply.answer().await.unwrap();
        assert_eq!(answer["result"]["resultType"], "complete");
        assert_eq!(
            answer["result"]["structuredContent"], content,
            "{name}: {answer}"
        );
    }
    let spoken = |server: &RawServer| -> Vec<String> {
        let calls = server.requests_of("tools/call");
        let version =
            |seen: &testkit::raw::Seen| seen.header("mcp-protocol-version").unwrap().to_owned();
        calls.iter().map(version).collect()
    };
    assert_eq!(spoken(&house.old), ["2025-11-25", "2025-11-25"]);
    assert_eq!(spoken(&house.new), ["2026-07-28", "2026-07-28"]);
    assert_eq!(spoken(&house.both), ["2025-11-25", "2026-07-28"]);
}

#[tokio::test]
async fn a_legacy_clients_argument_is_mirrored_for_a_modern_server() {
    let house = house().await;
    let session = house.rig.session().await;
    for (arguments, header) in [
        (r#"{"a":"Bern"}"#, Some("Bern")),
        (r#"{"a":null}"#, None),
        ("{}", None),
    ] {
        let params = format!(r#"{{"name":"told","arguments":{arguments}}}"#);
        let mut reply = session
            .request("1", "tools/call", &params)
            .send()
            .await
            .unwrap();
        let answer = reply.answer().await.unwrap();
        assert!(answer["result"].is_object(), "{arguments}: {answer}");
        let calls = house.new.requests_of("tools/call");
        assert_eq!(
            calls.last().unwrap().header("mcp-param-place"),
            header,
            "{arguments}"
        );
    }
}
