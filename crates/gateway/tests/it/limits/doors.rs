//! Who may knock, and how: hosts, origins, methods, content types, paths.

use testkit::http::{self, Request};
use testkit::raw::{Canned, Script};

use crate::rig::{Rig, server};

#[tokio::test]
async fn foreign_hosts_and_pages_stay_outside_in_both_eras() {
    let server = server(Canned::default(), |seen| Script::json(seen.result("{}"))).await;
    let rig = Rig::before(&server).await;
    let before = server.requests().len();
    let url = rig.url();
    let foreign = |request: Request| {
        [
            (request.clone().set("Host", "evil.example"), 421),
            (
                request.clone().set("Host", "127.0.0.1.evil.example:80"),
                421,
            ),
            (
                request
                    .clone()
                    .set("Host", "localhost")
                    .header("Host", "evil.example"),
                400,
            ),
            (request.clone().header("Origin", "http://evil.example"), 403),
            (request.clone().header("Origin", "null"), 403),
            (
                request
                    .clone()
                    .header("Origin", "http://localhost.evil.example"),
                403,
            ),
            (
                request
                    .set("Host", "evil.example")
                    .header("Origin", "http://evil.example"),
                403,
            ),
        ]
    };
    let requests = [
        rig.call("1", "echo"),
        http::legacy(
            &url,
            1,
            "initialize",
            r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}"#,
        ),
        http::get(&url)
            .unwrap()
            .header("Accept", "text/event-stream"),
        http::delete(&url).unwrap(),
        http::get(&rig.at("/readyz")).unwrap(),
    ];
    for request in requests {
        for (request, status) in foreign(request) {
            let reply = request.send().await.unwrap();
            // Two hosts may be refused by either rule, but never served.
            let refused =
                reply.status == status || status == 400 && matches!(reply.status, 403 | 421);
            assert!(refused, "{}: {request:?}", reply.status);
            assert_eq!(reply.header("mcp-session-id"), None);
            assert_eq!(reply.header("access-control-allow-origin"), None);
        }
    }
    assert_eq!(
        server.requests().len(),
        before,
        "nothing reached the server"
    );
    let mut near = rig
        .call("1", "echo")
        .header("Origin", "http://localhost:6274")
        .send()
        .await
        .unwrap();
    assert_eq!(near.status, 200);
    assert_eq!(
        near.header("access-control-allow-origin"),
        Some("http://localhost:6274")
    );
    assert_eq!(near.json().await.unwrap()["id"], 1);
}

#[tokio::test]
async fn methods_of_the_other_era_and_none_at_all_are_405() {
    let server = server(Canned::default(), |seen| Script::json(seen.result("{}"))).await;
    let rig = Rig::before(&server).await;
    for method in ["GET", "DELETE"] {
        let request = Request::new(method, &rig.url()).unwrap();
        let modern = request
            .header("Accept", "text/event-stream")
            .header("MCP-Protocol-Version", "2026-07-28")
            .header("Mcp-Session-Id", "whatever");
        let reply = modern.send().await.unwrap();
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some("POST")),
            "{method}"
        );
    }
    for method in ["PUT", "PATCH", "TRACE", "MCP"] {
        let reply = Request::new(method, &rig.url())
            .unwrap()
            .send()
            .await
            .unwrap();
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some("POST, GET, DELETE")),
            "{method}"
        );
    }
}

#[tokio::test]
async fn wrong_types_and_paths_are_refused() {
    let server = server(Canned::default(), |seen| Script::json(seen.result("{}"))).await;
    let rig = Rig::before(&server).await;
    let call = rig.call("1", "echo");
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
        "multipart/form-data",
    ] {
        assert_eq!(
            call.clone()
                .set("Content-Type", kind)
                .send()
                .await
                .unwrap()
                .status,
            415,
            "{kind}"
        );
    }
    assert_eq!(
        call.clone()
            .without("Content-Type")
            .send()
            .await
            .unwrap()
            .status,
        415
    );
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        assert_eq!(
            call.clone()
                .set("Content-Type", kind)
                .send()
                .await
                .unwrap()
                .status,
            200,
            "{kind}"
        );
    }
    assert_eq!(
        call.clone()
            .set("Accept", "text/html")
            .send()
            .await
            .unwrap()
            .status,
        406
    );
    let blind = http::get(&rig.url())
        .unwrap()
        .header("Accept", "application/json")
        .send()
        .await
        .unwrap();
    assert_eq!(blind.status, 406);
    for path in [
        "/",
        "/mcp",
        "/mcp/",
        "/mcp/other",
        "/mcp/main/",
        "/mcp/main/../main",
        "/mcp/%6dain",
        "//mcp/main",
    ] {
        let reply = http::post(&rig.at(path), "{}")
            .unwrap()
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_client_that_takes_only_events_or_only_json_gets_what_it_takes() {
    let server = server(Canned::default(), |seen| {
        Script::sse()
            .event(r#"{"jsonrpc":"2.0","method":"notifications/other","params":{}}"#)
            .event(seen.result("{}"))
            .end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let mut events = rig
        .call("1", "echo")
        .set("Accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    assert!(events.is_stream());
    assert_eq!(events.answer().await.unwrap()["id"], 1);
    let mut json = rig
        .call("2", "echo")
        .set("Accept", "application/json")
        .send()
        .await
        .unwrap();
    assert!(!json.is_stream());
    assert_eq!(json.json().await.unwrap()["id"], 2);
    let mut listed = http::modern(&rig.url(), 3, "tools/list", "{}")
        .set("Accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    assert!(listed.is_stream());
    assert_eq!(
        listed.answer().await.unwrap()["result"]["tools"][0]["name"],
        "echo"
    );
}
