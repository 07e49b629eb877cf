//! Modern headers that must say what the body says (MCP 2026-07-28, streamable-http, "Server Validation").

use testkit::http::{self, Request};
use testkit::raw::{Canned, RawServer, Script};

use crate::rig::{Rig, modern, server};

const TOOLS: &str = r#"[
    {"name":"echo","inputSchema":{"type":"object"}},
    {"name":"mirror","inputSchema":{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "count":{"type":"integer","x-mcp-header":"Count"},
        "dry":{"type":"boolean","x-mcp-header":"Dry"}}}}]"#;

async fn served() -> (RawServer, Rig) {
    let offer = Canned {
        tools: TOOLS,
        ..modern()
    };
    let server = server(offer, |seen| {
        Script::json(seen.result(r#"{"resultType":"complete","content":[]}"#))
    })
    .await;
    let rig = Rig::before(&server).await;
    (server, rig)
}

async fn mismatch(request: Request, why: &str) {
    let mut reply = request.send().await.unwrap();
    let error = reply.json().await.unwrap();
    assert_eq!(reply.status, 400, "{why}: {error}");
    assert_eq!(error["error"]["code"], -32020, "{why}: {error}");
    assert_eq!(error["id"], "h", "{why}: {error}");
}

#[tokio::test]
async fn every_header_must_be_there_once_and_agree() {
    let (server, rig) = served().await;
    let call = || rig.call("\"h\"", "echo");
    for name in ["Mcp-Method", "Mcp-Name", "MCP-Protocol-Version"] {
        mismatch(call().set(name, "other"), name).await;
        mismatch(call().set(name, ""), name).await;
        mismatch(call().set(name, "=?base64?####?="), name).await;
        mismatch(call().set(name, "=?base64?/w==?="), name).await;
    }
    for name in ["Mcp-Method", "Mcp-Name"] {
        mismatch(call().without(name), name).await;
    }
    // Values are compared with their case, names without it.
    mismatch(call().set("Mcp-Method", "Tools/Call"), "case").await;
    mismatch(call().set("Mcp-Name", "ECHO"), "case").await;
    assert!(server.requests_of("tools/call").is_empty());
    let good = call().without("Mcp-Name").header("mcp-NAME", "  echo\t");
    assert_eq!(good.send().await.unwrap().status, 200);
}

#[tokio::test]
async fn doubled_headers_are_refused_even_when_they_agree() {
    let (server, rig) = served().await;
    for (name, value) in [
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "echo"),
        ("MCP-Protocol-Version", "2026-07-28"),
    ] {
        for second in [value, "other"] {
            let mut reply = rig
                .call("\"h\"", "echo")
                .header(name, second)
                .send()
                .await
                .unwrap();
            assert_eq!(reply.status, 400, "{name}: {second}");
            assert_eq!(
                reply.json().await.unwrap()["error"]["code"],
                -32020,
                "{name}: {second}"
            );
        }
    }
    let twice = rig
        .call("\"h\"", "mirror")
        .header("Mcp-Param-Region", "eu")
        .header("mcp-param-region", "eu");
    let mut reply = twice.send().await.unwrap();
    assert_eq!(
        (
            reply.status,
            reply.json().await.unwrap()["error"]["code"].as_i64()
        ),
        (400, Some(-32020))
    );
    assert!(server.requests_of("tools/call").is_empty());
}

#[tokio::test]
async fn without_a_version_header_modern_meta_is_still_modern() {
    let (_server, rig) = served().await;
    mismatch(
        rig.call("\"h\"", "echo").without("MCP-Protocol-Version"),
        "missing",
    )
    .await;
}

#[tokio::test]
async fn names_may_come_encoded() {
    let (server, rig) = served().await;
    // The sentinel's markers are exact, and what is between them is base64.
    for (header, status) in [
        ("=?base64?ZWNobw==?=", 200),
        ("=?BASE64?ZWNobw==?=", 400),
        ("=?base64?ZWNobw==", 400),
        ("=?base64?b3RoZXI=?=", 400),
    ] {
        let request = rig.call("\"h\"", "echo").set("Mcp-Name", header);
        assert_eq!(request.send().await.unwrap().status, status, "{header}");
    }
    assert!(
        server
            .requests_of("tools/call")
            .iter()
            .all(|seen| seen.header("mcp-name") == Some("echo"))
    );
}

#[tokio::test]
async fn mirrored_arguments_must_agree() {
    let (server, rig) = served().await;
    let call = |arguments: &str| {
        let params = format!(r#"{{"name":"mirror","arguments":{arguments}}}"#);
        http::modern(&rig.url(), "\"h\"", "tools/call", &params).header("Mcp-Name", "mirror")
    };
    let region = r#"{"region":"eu"}"#;
    mismatch(call(region), "missing").await;
    mismatch(call(region).header("Mcp-Param-Region", "us"), "other").await;
    mismatch(
        call("{}").header("Mcp-Param-Region", "eu"),
        "not in the body",
    )
    .await;
    mismatch(
        call(r#"{"region":null}"#).header("Mcp-Param-Region", "eu"),
        "null",
    )
    .await;
    mismatch(
        call(r#"{"count":7}"#).header("Mcp-Param-Count", "8"),
        "number",
    )
    .await;
    mismatch(
        call(r#"{"dry":true}"#).header("Mcp-Param-Dry", "True"),
        "spelling",
    )
    .await;
    mismatch(
        call(r#"{"region":"=?base64?eA==?="}"#).header("Mcp-Param-Region", "=?base64?eA==?="),
        "bare sentinel",
    )
    .await;
    assert!(server.requests_of("tools/call").is_empty());
    let good = [
        call(region).header("Mcp-Param-Region", "eu"),
        call(r#"{"region":"ü"}"#).header("Mcp-Param-Region", "=?base64?w7w=?="),
        call(r#"{"count":7,"dry":false}"#)
            .header("Mcp-Param-Count", "7")
            .header("Mcp-Param-Dry", "false"),
        call(r#"{"region":null}"#),
        call("{}"),
    ];
    for request in good {
        let mut reply = request.send().await.unwrap();
        let text = reply.text().await.unwrap();
        assert_eq!(reply.status, 200, "{request:?}: {text}");
    }
    let seen = server.requests_of("tools/call");
    assert_eq!(seen[0].header("mcp-param-region"), Some("eu"));
    assert_eq!(seen[1].header("mcp-param-region"), Some("=?base64?w7w=?="));
}

#[tokio::test]
async fn headers_of_other_tools_pass_untouched_and_are_bounded() {
    let (server, rig) = served().await;
    let reply = rig
        .call("1", "echo")
        .header("Mcp-Param-Extra", "a  b")
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(
        server.requests_of("tools/call")[0].header("mcp-param-extra"),
        Some("a  b")
    );
    let many = (0..90).fold(rig.call("\"h\"", "echo"), |request, at| {
        request.header(&format!("Mcp-Param-X{at}"), "1")
    });
    mismatch(many, "too many").await;
    let long = rig
        .call("\"h\"", "echo")
        .header("Mcp-Param-Long", &"x".repeat(60_000));
    mismatch(long, "too long").await;
    let huge = rig
        .call("\"h\"", "echo")
        .header("X-Huge", &"x".repeat(200_000))
        .send()
        .await;
    // The listener may close on a head over its limit before the client has written all of it.
    assert!(huge.is_err() || huge.is_ok_and(|reply| reply.status == 431));
    assert_eq!(server.requests_of("tools/call").len(), 1);
}

#[tokio::test]
async fn unknown_versions_are_named_with_those_that_are_spoken() {
    let server = server(Canned::default(), |seen| Script::json(seen.result("{}"))).await;
    let rig = Rig::before(&server).await;
    let params = r#"{"name":"echo","_meta":{"io.modelcontextprotocol/protocolVersion":"2099-01-01","io.modelcontextprotocol/clientCapabilities":{}}}"#;
    let request = http::legacy(&rig.url(), "\"v\"", "tools/call", params)
        .header("MCP-Protocol-Version", "2099-01-01")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", "echo");
    let mut reply = request.send().await.unwrap();
    assert_eq!(reply.status, 400);
    let error = reply.json().await.unwrap();
    assert_eq!(
        (error["error"]["code"].as_i64(), error["id"].as_str()),
        (Some(-32022), Some("v"))
    );
    assert_eq!(error["error"]["data"]["requested"], "2099-01-01");
    assert_eq!(error["error"]["data"]["supported"][0], "2026-07-28");
    let session = rig.session().await;
    let wrong = http::legacy(&rig.url(), 1, "ping", "{}").header("Mcp-Session-Id", &session.id);
    assert_eq!(
        wrong
            .clone()
            .header("MCP-Protocol-Version", "1999-01-01")
            .send()
            .await
            .unwrap()
            .status,
        400
    );
    let doubled = wrong
        .header("MCP-Protocol-Version", "2025-11-25")
        .header("MCP-Protocol-Version", "2025-11-25");
    assert_eq!(doubled.send().await.unwrap().status, 400);
}

#[tokio::test]
async fn unknown_methods_and_tools_have_their_codes() {
    let (server, rig) = served().await;
    for method in [
        "tools/nothing",
        "ping",
        "initialize",
        "logging/setLevel",
        "resources/subscribe",
        "prompts/list",
        "",
    ] {
        let mut reply = http::modern(&rig.url(), 1, method, "{}")
            .send()
            .await
            .unwrap();
        let error = reply.json().await.unwrap();
        assert_eq!(
            (reply.status, error["error"]["code"].as_i64()),
            (404, Some(-32601)),
            "{method}: {error}"
        );
        assert_eq!(error["id"], 1);
    }
    let mut reply = rig.call("1", "no_such_tool").send().await.unwrap();
    assert_eq!(reply.json().await.unwrap()["error"]["code"], -32602);
    let mut reply = http::modern(&rig.url(), 1, "tools/list", r#"{"cursor":"forged"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.json().await.unwrap()["error"]["code"], -32602);
    for (method, status) in [
        ("notifications/cancelled", 202),
        ("notifications/anything", 202),
    ] {
        let notice = http::notification(&rig.url(), method, "{}")
            .header("MCP-Protocol-Version", "2026-07-28");
        assert_eq!(notice.send().await.unwrap().status, status, "{method}");
    }
    let answer = http::post(&rig.url(), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).unwrap();
    let reply = answer
        .header("MCP-Protocol-Version", "2026-07-28")
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status, 400, "a modern client sends no answers");
    assert!(server.requests_of("tools/call").is_empty());
}
