//! The honest server, seen through the bare client.

use std::net::SocketAddr;

use serde_json::{Value, json};
use testkit::fixture::{Eras, Options, Running, serve_http, serve_sse};
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

#[tokio::test]
async fn an_old_server_says_in_words_what_the_client_lacks() {
    let server = start(Options {
        eras: Eras::Legacy,
        ..Options::default()
    })
    .await;
    let id = session(&server.url()).await;
    let call = r#"{"name":"test_missing_capability","arguments":{}}"#;
    let call = http::legacy(&server.url(), 2, "tools/call", call).header("Mcp-Session-Id", &id);
    let answer = call.send().await.unwrap().answer().await.unwrap();
    assert_eq!(answer["result"]["isError"], true);
}

#[tokio::test]
async fn a_plain_server_keeps_no_session_and_answers_in_json() {
    let server = start(Options {
        eras: Eras::Legacy,
        plain: true,
        ..Options::default()
    })
    .await;
    let params = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}"#;
    let mut hello = http::legacy(&server.url(), 0, "initialize", params)
        .send()
        .await
        .unwrap();
    assert_eq!(hello.header("mcp-session-id"), None);
    assert_eq!(hello.header("content-type"), Some("application/json"));
    let told = hello.answer().await.unwrap()["result"]["capabilities"].clone();
    assert_eq!(told["resources"], json!({}));
    assert_eq!(told["logging"], Value::Null);
    let call = r#"{"name":"echo","arguments":{"text":"hi"}}"#;
    let call = http::legacy(&server.url(), 1, "tools/call", call);
    let mut reply = call.send().await.unwrap();
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(
        reply.answer().await.unwrap()["result"]["structuredContent"]["text"],
        "hi"
    );
}

#[tokio::test]
async fn the_first_revision_is_served_over_two_addresses() {
    let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let options = Options {
        eras: Eras::First,
        ..Options::default()
    };
    let server = serve_sse(anywhere, options).await.unwrap();
    let mut stream = http::get(&server.url()).unwrap().send().await.unwrap();
    let first = stream.event().await.unwrap().unwrap();
    let place = server.url().replace("/sse", &first.data);
    let post = |body: Value| {
        let place = place.clone();
        async move {
            let reply = http::post(&place, body.to_string()).unwrap().send().await;
            assert_eq!(reply.unwrap().status, 202);
        }
    };
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": {"sampling": {}}, "clientInfo": {"name": "t", "version": "1"}
    });
    post(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})).await;
    let hello = message(&mut stream).await;
    assert_eq!(hello["result"]["protocolVersion"], "2024-11-05");
    post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    let call = json!({"name": "test_sampling", "arguments": {"prompt": "q"}});
    post(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call})).await;
    let asked = message(&mut stream).await;
    assert_eq!(asked["method"], "sampling/createMessage");
    let said =
        json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "said"}});
    post(json!({"jsonrpc": "2.0", "id": asked["id"], "result": said})).await;
    let answer = message(&mut stream).await;
    assert_eq!(
        (
            answer["id"].clone(),
            &answer["result"]["content"][0]["text"]
        ),
        (json!(2), &json!("LLM response: said"))
    );
    let unknown = place.replace("conversation=0", "conversation=7");
    let reply = http::post(&unknown, "{}").unwrap().send().await.unwrap();
    assert_eq!(reply.status, 404);
}

async fn message(stream: &mut http::Reply) -> Value {
    serde_json::from_str(&stream.event().await.unwrap().unwrap().data).unwrap()
}
