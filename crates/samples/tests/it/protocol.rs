//! The rules that hold for any server.

use serde_json::{Value, json};

use crate::client::{Client, Speech, legacy, modern, speeches};

#[tokio::test]
async fn both_eras_are_spoken_in_one_process() {
    let mut client = Client::of_time(legacy()).await;
    let legacy = client.ask("tools/list", json!({})).await;
    assert!(legacy.get("resultType").is_none());
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let modern = client.ask("tools/list", json!({"_meta": meta})).await;
    assert_eq!(modern["resultType"], "complete");
    assert_eq!(modern["cacheScope"], "public");
    assert!(modern["ttlMs"].is_u64());
    assert_eq!(
        modern["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "marque-sample-time"
    );
    assert_eq!(modern["tools"], legacy["tools"]);
}

#[tokio::test]
async fn discovery_names_version_and_capabilities() {
    let mut client = Client::of_time(modern()).await;
    let found = client.ask("server/discover", json!({})).await;
    assert_eq!(found["supportedVersions"], json!(["2026-07-28"]));
    assert!(found["capabilities"]["tools"].is_object());
    assert_eq!(found["resultType"], "complete");
}

#[tokio::test]
async fn an_unknown_modern_version_is_refused_with_the_known_ones() {
    let mut client = Client::of_time(legacy()).await;
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2199-01-01"});
    let error = client.fail("tools/list", json!({"_meta": meta})).await;
    assert_eq!(error["code"], -32022);
    assert_eq!(
        error["data"],
        json!({"supported": ["2026-07-28"], "requested": "2199-01-01"})
    );
}

#[tokio::test]
async fn a_modern_request_without_capabilities_is_refused() {
    let mut client = Client::of_time(legacy()).await;
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    let error = client.fail("tools/list", json!({"_meta": meta})).await;
    assert_eq!(error["code"], -32602);
}

#[tokio::test]
async fn an_unknown_legacy_version_gets_the_latest() {
    let mut client = Client::of_time(modern()).await;
    client
        .send(
            &json!({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": {
                "protocolVersion": "1999-01-01", "capabilities": {},
            }}),
        )
        .await;
    let answer = client.response(&json!("i")).await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
}

#[tokio::test]
async fn nothing_but_ping_is_answered_before_the_handshake() {
    let mut client = Client::of_time(modern()).await;
    let send = |method: &str| json!({"jsonrpc": "2.0", "id": method, "method": method});
    client.send(&send("tools/list")).await;
    let answer = client.response(&json!("tools/list")).await;
    assert_eq!(answer["error"]["code"], -32602);
    client.send(&send("ping")).await;
    let answer = client.response(&json!("ping")).await;
    assert_eq!(answer["result"], json!({}));
}

#[tokio::test]
async fn methods_of_the_other_era_do_not_exist() {
    let mut client = Client::of_files(std::env::temp_dir().as_path(), modern()).await;
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
    ] {
        let error = client.fail(method, json!({})).await;
        assert_eq!(error["code"], -32601, "{method}");
    }
    let mut client = Client::of_time(legacy()).await;
    for method in [
        "server/discover",
        "subscriptions/listen",
        "resources/subscribe",
    ] {
        let error = client.fail(method, json!({"uri": "time://zones"})).await;
        assert_eq!(error["code"], -32601, "{method}");
    }
}

#[tokio::test]
async fn malformed_lines_are_refused_and_the_next_is_read() {
    let mut client = Client::of_time(legacy()).await;
    let cases: [(&str, i64, Value); 7] = [
        ("{nonsense", -32700, Value::Null),
        ("17", -32600, Value::Null),
        ("[]", -32600, Value::Null),
        (r#"{"id": 1, "method": "ping"}"#, -32600, json!(1)),
        (
            r#"{"jsonrpc": "2.0", "id": "a", "method": 5}"#,
            -32600,
            json!("a"),
        ),
        (
            r#"{"jsonrpc": "2.0", "id": 2, "method": "ping", "params": []}"#,
            -32602,
            json!(2),
        ),
        (
            r#"{"jsonrpc": "2.0", "id": null, "method": 5}"#,
            -32600,
            Value::Null,
        ),
    ];
    for (line, code, id) in cases {
        client.send_line(line).await;
        let answer = client.next().await;
        assert_eq!(answer["error"]["code"], code, "{line}: {answer}");
        assert_eq!(answer["id"], id, "{line}");
    }
    client.send_line("").await;
    client.ask("ping", json!({})).await;
}

#[tokio::test]
async fn an_endless_line_is_skipped() {
    let mut client = Client::of_time(legacy()).await;
    client.send_line(&"x".repeat(5 * 1024 * 1024)).await;
    let answer = client.next().await;
    assert_eq!(answer["error"]["code"], -32600, "{answer}");
    client.ask("ping", json!({})).await;
}

#[tokio::test]
async fn a_batch_is_answered_by_a_batch_in_the_revision_that_has_them() {
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1001, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": "b", "method": "tools/list"},
    ]);
    let mut client = Client::of_time(Speech::Legacy("2025-03-26", json!({}))).await;
    client.send(&batch).await;
    let answers = client.next().await;
    let ids: Vec<&Value> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&&json!(1001)) && ids.contains(&&json!("b")));
    let mut client = Client::of_time(legacy()).await;
    client.send(&batch).await;
    assert_eq!(client.next().await["error"]["code"], -32600);
}

#[tokio::test]
async fn every_name_and_description_suits_strict_hosts() {
    let folder = tempfile::tempdir().unwrap();
    for speech in speeches() {
        let mut files = Client::of_files(folder.path(), speech.clone()).await;
        let mut time = Client::of_time(speech).await;
        for client in [&mut files, &mut time] {
            let tools = client.ask("tools/list", json!({})).await["tools"].clone();
            for tool in tools.as_array().unwrap() {
                let name = tool["name"].as_str().unwrap();
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                assert!(name.len() <= 64 && name.bytes().all(plain), "{name}");
                for field in ["title", "description"] {
                    assert!(tool[field].is_string(), "{name}: {field}");
                }
                for schema in ["inputSchema", "outputSchema"] {
                    assert_eq!(tool[schema]["type"], "object", "{name}: {schema}");
                }
                assert_eq!(tool["annotations"]["readOnlyHint"], true, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn log_messages_come_at_the_level_that_was_asked_for() {
    let mut client = Client::of_time(legacy()).await;
    let error = client
        .fail("logging/setLevel", json!({"level": "loud"}))
        .await;
    assert_eq!(error["code"], -32602);
    client
        .ask("logging/setLevel", json!({"level": "info"}))
        .await;
    client.call("now", json!({"zone": "UTC"})).await;
    client
        .ask("logging/setLevel", json!({"level": "debug"}))
        .await;
    client.call("zones", json!({"query": "berlin"})).await;
    let message = client.notification("notifications/message").await;
    assert_eq!(message["level"], "debug");
    assert!(
        message["data"].as_str().unwrap().contains("zones"),
        "{message}"
    );

    let mut client = Client::of_time(modern()).await;
    client.call("now", json!({"zone": "UTC"})).await;
    let level = json!({"io.modelcontextprotocol/logLevel": "debug"});
    let call = json!({"name": "zones", "arguments": {"query": "berlin"}, "_meta": level});
    client.ask("tools/call", call).await;
    let message = client.notification("notifications/message").await;
    assert!(
        message["data"].as_str().unwrap().contains("zones"),
        "{message}"
    );
}

#[tokio::test]
async fn a_listening_request_ends_with_a_result_when_the_talk_ends() {
    let mut client = Client::of_time(modern()).await;
    let asked = json!({"notifications": {"toolsListChanged": true}});
    let id = client.start("subscriptions/listen", asked).await;
    let said = client
        .notification("notifications/subscriptions/acknowledged")
        .await;
    // This server never has anything to tell, and says so.
    assert_eq!(said["notifications"], json!({}));
    let rest = client.close().await;
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0]["id"], id);
    assert_eq!(
        rest[0]["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        id
    );
}

#[tokio::test]
async fn a_canceled_request_is_not_answered() {
    let mut client = Client::of_time(modern()).await;
    let id = client.start("subscriptions/listen", json!({})).await;
    client
        .notification("notifications/subscriptions/acknowledged")
        .await;
    client
        .tell("notifications/cancelled", json!({"requestId": id}))
        .await;
    client
        .tell(
            "notifications/cancelled",
            json!({"requestId": "never asked"}),
        )
        .await;
    client.call("now", json!({"zone": "UTC"})).await;
    assert_eq!(client.close().await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_id_in_use_is_refused() {
    let mut client = Client::of_time(modern()).await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let listen = json!({"jsonrpc": "2.0", "id": "same", "method": "subscriptions/listen", "params": {"_meta": meta}});
    client.send(&listen).await;
    client.send(&listen).await;
    let answer = client.response(&json!("same")).await;
    assert_eq!(answer["error"]["code"], -32600);
}
