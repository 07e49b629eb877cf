//! Progress and logs of one call.

use serde_json::Value;
use testkit::http;
use testkit::raw::{Canned, RawServer, Script, Seen};

use crate::rig::{Rig, legacy, modern, server};

fn note(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#)
}

/// A server that reports progress with the token it was given, spoilt by tokens of others.
fn reporting(seen: &Seen) -> Script {
    let token = seen.json()["params"]["_meta"]["progressToken"].to_string();
    let progress = |token: &str, value: &str| {
        note(
            "notifications/progress",
            &format!(r#"{{"progressToken":{token},"progress":{value},"total":1e1,"x":[1.0]}}"#),
        )
    };
    Script::sse()
        .event(progress(&token, "1"))
        .event(progress("987654", "7"))
        .event(progress("\"mine\"", "8"))
        .event(progress(&token, "2.50"))
        .event(progress(&token, "10"))
        .event(seen.result(r#"{"resultType":"complete","content":[]}"#))
        .event(progress(&token, "11"))
        .end()
}

async fn all(mut reply: http::Reply) -> Vec<String> {
    let mut events = Vec::new();
    while let Some(event) = reply.event().await.unwrap() {
        events.push(event.data);
    }
    events
}

#[tokio::test]
async fn progress_comes_in_order_with_the_clients_own_token_and_ends_with_the_answer() {
    for offer in [legacy(), modern()] {
        let server = server(offer, reporting).await;
        let rig = Rig::before(&server).await;
        for token in ["\"mine\"", "7", "\"7\"", "-1", "12345678901234567890"] {
            let reply = if offer.legacy {
                let params = format!(r#"{{"name":"echo","_meta":{{"progressToken":{token}}}}}"#);
                rig.session()
                    .await
                    .request("\"c\"", "tools/call", &params)
                    .send()
                    .await
                    .unwrap()
            } else {
                let meta = format!(r#"{{"progressToken":{token}}}"#);
                let request = http::modern_meta(
                    &rig.url(),
                    "\"c\"",
                    "tools/call",
                    r#"{"name":"echo"}"#,
                    &meta,
                );
                request.header("Mcp-Name", "echo").send().await.unwrap()
            };
            let events = all(reply).await;
            let expected = ["1", "2.50", "10"].map(|value| {
                note(
                    "notifications/progress",
                    &format!(
                        r#"{{"progressToken":{token},"progress":{value},"total":1e1,"x":[1.0]}}"#
                    ),
                )
            });
            assert_eq!(events[..3], expected, "{token}");
            assert_eq!(events.len(), 4, "{events:#?}");
            assert_eq!(
                serde_json::from_str::<Value>(&events[3]).unwrap()["id"],
                "c"
            );
        }
        let tokens: Vec<Value> = server
            .requests_of("tools/call")
            .iter()
            .map(|seen| seen.json()["params"]["_meta"]["progressToken"].clone())
            .collect();
        assert!(
            tokens.iter().all(Value::is_u64),
            "the server gets tokens of ours: {tokens:?}"
        );
    }
}

#[tokio::test]
async fn who_asked_for_no_progress_gets_none() {
    for offer in [legacy(), modern()] {
        let server = server(offer, reporting).await;
        let rig = Rig::before(&server).await;
        let mut reply = if offer.legacy {
            rig.session().await.call("1", "echo").await
        } else {
            rig.call("1", "echo").send().await.unwrap()
        };
        assert!(!reply.is_stream(), "nothing but the answer is left");
        assert_eq!(reply.json().await.unwrap()["id"], 1);
    }
}

fn logging(seen: &Seen) -> Script {
    let log = |level: &str| {
        note(
            "notifications/message",
            &format!(r#"{{"level":"{level}","data":{{"n":1.0}}}}"#),
        )
    };
    ["debug", "info", "warning", "nonsense", "emergency"]
        .into_iter()
        .fold(Script::sse(), |script, level| script.event(log(level)))
        .event(seen.result(r#"{"resultType":"complete","content":[]}"#))
        .end()
}

#[tokio::test]
async fn modern_logs_come_only_at_the_level_of_this_request() {
    let server = server(modern(), logging).await;
    let rig = Rig::before(&server).await;
    let levels = async |level: Option<&str>| {
        let meta = level.map_or_else(
            || "{}".to_owned(),
            |level| format!(r#"{{"io.modelcontextprotocol/logLevel":{level}}}"#),
        );
        let request = http::modern_meta(&rig.url(), 1, "tools/call", r#"{"name":"echo"}"#, &meta)
            .header("Mcp-Name", "echo");
        let mut reply = request.send().await.unwrap();
        if !reply.is_stream() {
            reply.json().await.unwrap();
            return Vec::new();
        }
        let mut found: Vec<String> = all(reply).await;
        found.pop();
        found
            .iter()
            .map(|text| {
                serde_json::from_str::<Value>(text).unwrap()["params"]["level"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    assert!(levels(None).await.is_empty());
    assert_eq!(
        levels(Some("\"debug\"")).await,
        ["debug", "info", "warning", "emergency"]
    );
    assert_eq!(levels(Some("\"warning\"")).await, ["warning", "emergency"]);
    assert!(levels(Some("\"loud\"")).await.is_empty());
    assert!(levels(Some("7")).await.is_empty());
}

#[tokio::test]
async fn legacy_logs_come_in_the_session_that_asked_and_its_level_reaches_the_server() {
    let offer = Canned {
        capabilities: r#"{"tools":{},"logging":{}}"#,
        ..legacy()
    };
    let server = RawServer::start(move |seen| match seen.rpc_method().as_deref() {
        Some("logging/setLevel") => Script::json(seen.result("{}")),
        Some("tools/call") => logging(seen),
        _ => testkit::raw::canned(&offer, seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let set = async |level: &str| {
        let mut reply = session
            .request("1", "logging/setLevel", &format!(r#"{{"level":{level}}}"#))
            .send()
            .await
            .unwrap();
        reply.json().await.unwrap()
    };
    assert_eq!(set("\"loud\"").await["error"]["code"], -32602);
    assert!(set("\"warning\"").await["result"].is_object());
    let events = all(session.call("2", "echo").await).await;
    assert_eq!(events.len(), 6);
    let told = server.requests_of("logging/setLevel");
    assert_eq!(
        told.last().unwrap().json()["params"]["level"],
        "warning",
        "said when the server's session was opened"
    );
    assert!(set("\"debug\"").await["result"].is_object());
    assert_eq!(
        server
            .requests_of("logging/setLevel")
            .last()
            .unwrap()
            .json()["params"]["level"],
        "debug"
    );
}

#[tokio::test]
async fn input_required_passes_verbatim_both_ways() {
    const ASKS: &str = r#"{"resultType":"input_required","requestState":"op\u00e4que==","inputRequests":{"z":{"method":"elicitation/create","params":{"message":"Sure?","requestedSchema":{"type":"object","properties":{}},"n":1.0}},"a":{"method":"roots/list"}}}"#;
    let server = server(modern(), |seen| {
        if seen.text().contains("inputResponses") {
            Script::json(seen.result(r#"{"resultType":"complete","content":[]}"#))
        } else {
            Script::json(seen.result(ASKS))
        }
    })
    .await;
    let rig = Rig::before(&server).await;
    let call = |params: &str| {
        http::modern_with(
            &rig.url(),
            1,
            "tools/call",
            params,
            r#"{"elicitation":{},"roots":{}}"#,
        )
        .header("Mcp-Name", "echo")
    };
    let text = call(r#"{"name":"echo","arguments":{"n":1.0}}"#)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(
        text,
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{ASKS}}}"#)
    );
    let again = r#""name":"echo","arguments":{"n":1.0},"requestState":"op\u00e4que==","inputResponses":{"z":{"action":"accept","content":{"n":1e2}},"a":{"roots":[]}}"#;
    let answer = call(&format!("{{{again}}}"))
        .send()
        .await
        .unwrap()
        .answer()
        .await
        .unwrap();
    assert_eq!(answer["result"]["resultType"], "complete");
    let seen = server.requests_of("tools/call");
    assert!(seen[1].text().contains(again), "{}", seen[1].text());
    assert_eq!(
        seen[1].json()["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"],
        serde_json::json!({"elicitation": {}, "roots": {}})
    );
}
