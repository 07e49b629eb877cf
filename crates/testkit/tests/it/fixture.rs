//! The honest server, seen through the bare client.

use std::net::SocketAddr;

use serde_json::{Value, json};
use testkit::fixture::{Eras, Options, Running, serve_http};
use testkit::http;

async fn start(options: Options) -> Running {
    let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    serve_http(anywhere, options).await.unwrap()
}

async fn modern(url: &str, method: &str, params: Value) -> Value {
    let name = params["name"]
        .as_str()
        .or_else(|| params["uri"].as_str())
        .unwrap_or("")
        .to_owned();
    let mut request = http::modern(url, 1, method, &params.to_string());
    if !name.is_empty() {
        request = request.header("Mcp-Name", &name);
    }
    request.send().await.unwrap().answer().await.unwrap()
}

/// A session of the handshake eras: URL and session id.
async fn session(url: &str) -> String {
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}
    });
    let mut reply = http::legacy(url, 0, "initialize", &params.to_string())
        .send()
        .await
        .unwrap();
    let id = reply.header("mcp-session-id").unwrap().to_owned();
    assert_eq!(
        reply.answer().await.unwrap()["result"]["protocolVersion"],
        "2025-11-25"
    );
    let ready =
        http::notification(url, "notifications/initialized", "{}").header("Mcp-Session-Id", &id);
    assert_eq!(ready.send().await.unwrap().status, 202);
    id
}

#[tokio::test]
async fn every_era_is_served_on_one_url() {
    let server = start(Options::default()).await;
    let discovered = modern(&server.url(), "server/discover", json!({})).await;
    assert!(
        discovered["result"]["supportedVersions"]
            .as_array()
            .unwrap()
            .contains(&json!("2026-07-28"))
    );
    let id = session(&server.url()).await;
    let list = http::legacy(&server.url(), 2, "tools/list", "{}").header("Mcp-Session-Id", &id);
    let list = list.send().await.unwrap().answer().await.unwrap();
    assert_eq!(list["result"]["tools"][0]["name"], "test_simple_text");
    assert_eq!(list["result"]["resultType"], Value::Null);
}

#[tokio::test]
async fn single_era_servers_refuse_the_other() {
    let old = start(Options {
        eras: Eras::Legacy,
        ..Options::default()
    })
    .await;
    let refused = modern(&old.url(), "server/discover", json!({})).await;
    assert_eq!(refused["error"]["code"], -32000);
    session(&old.url()).await;

    let new = start(Options {
        eras: Eras::Modern,
        ..Options::default()
    })
    .await;
    let versions =
        modern(&new.url(), "server/discover", json!({})).await["result"]["supportedVersions"]
            .clone();
    assert_eq!(versions, json!(["2026-07-28"]));
    let mut reply = http::legacy(&new.url(), 0, "initialize", r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.answer().await.unwrap()["error"]["code"], -32022);
}

#[tokio::test]
async fn many_tools_come_in_pages_of_fifty() {
    let server = start(Options {
        more_tools: 250,
        prefix: "b_".to_owned(),
        ..Options::default()
    })
    .await;
    let (mut names, mut params, mut pages) = (Vec::new(), json!({}), 0);
    loop {
        let page = modern(&server.url(), "tools/list", params).await["result"].clone();
        let tools = page["tools"].as_array().unwrap();
        assert!(tools.len() <= 50);
        names.extend(
            tools
                .iter()
                .map(|tool| tool["name"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        match page["nextCursor"].as_str() {
            Some(cursor) => params = json!({"cursor": cursor}),
            None => break,
        }
    }
    assert_eq!((names.len(), pages), (290, 6));
    assert!(names.iter().all(|name| name.starts_with("b_")));
    let called = modern(
        &server.url(),
        "tools/call",
        json!({"name": "b_tool_0249", "arguments": {"text": "hi"}}),
    )
    .await;
    assert!(
        called["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("hi")
    );
    let unknown = modern(
        &server.url(),
        "tools/call",
        json!({"name": "tool_0249", "arguments": {}}),
    )
    .await;
    assert_eq!(unknown["error"]["code"], -32602);
}

#[tokio::test]
async fn slow_calls_notice_that_nobody_listens() {
    let server = start(Options::default()).await;
    let url = server.url();
    let params = r#"{"name":"slow","arguments":{"steps":1000,"step_ms":20}}"#;
    let call = http::modern_meta(&url, 1, "tools/call", params, r#"{"progressToken":"p"}"#);
    // MCP 2026-07-28, basic/transports/streamable-http: closing the response stream is the cancellation.
    let mut stream = call.header("Mcp-Name", "slow").send().await.unwrap();
    assert_eq!(
        stream.event().await.unwrap().unwrap().json()["params"]["progressToken"],
        "p"
    );
    drop(stream);
    let canceled = async {
        loop {
            let report = modern(
                &url,
                "tools/call",
                json!({"name": "slow_report", "arguments": {}}),
            )
            .await;
            if report["result"]["structuredContent"]["canceled"] == 1 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    testkit::within("the cancellation", canceled).await.unwrap();
}

#[tokio::test]
async fn change_of_the_list_is_real_and_announced_in_both_eras() {
    let server = start(Options::default()).await;
    let url = server.url();
    let mut listening = http::modern(
        &url,
        "\"l\"",
        "subscriptions/listen",
        r#"{"notifications":{"toolsListChanged":true}}"#,
    )
    .send()
    .await
    .unwrap();
    let acknowledged = listening.event().await.unwrap().unwrap().json();
    assert_eq!(
        acknowledged["method"],
        "notifications/subscriptions/acknowledged"
    );
    let id = session(&url).await;
    let stream = http::get(&url)
        .unwrap()
        .header("Accept", "text/event-stream")
        .header("Mcp-Session-Id", &id);
    let mut stream = stream.send().await.unwrap();
    assert_eq!(stream.status, 200);

    modern(
        &url,
        "tools/call",
        json!({"name": "test_trigger_tool_change", "arguments": {}}),
    )
    .await;
    let told = listening.event().await.unwrap().unwrap().json();
    assert_eq!(told["method"], "notifications/tools/list_changed");
    assert_eq!(
        told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        "l"
    );
    let told = loop {
        let event = stream.event().await.unwrap().unwrap();
        if !event.data.is_empty() {
            break event.json();
        }
    };
    assert_eq!(told["method"], "notifications/tools/list_changed");
    let list = modern(&url, "tools/list", json!({})).await;
    assert!(
        list["result"]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .any(|tool| tool["name"] == "test_dynamic_tool")
    );
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let server = start(Options::default()).await;
    let reply = http::modern(&server.url(), 1, "tools/list", "{}")
        .header("Origin", "http://evil.example")
        .send()
        .await;
    assert_eq!(reply.unwrap().status, 403);
}
