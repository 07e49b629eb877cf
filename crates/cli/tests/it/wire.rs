//! What the client says and understands, beyond what a sample server needs.

use serde_json::{Value, json};

use crate::{
    program::run,
    server::{Says, Seen, Server, event},
};

fn discovered(seen: &Seen) -> Says {
    Says::Json(
        200,
        seen.result(json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})),
    )
}

fn text(text: &str) -> Value {
    json!({"resultType": "complete", "content": [{"type": "text", "text": text}]})
}

#[test]
fn modern_headers_mirror_the_body() {
    let server = Server::scripted(|seen| match seen.method() {
        "server/discover" => discovered(seen),
        "tools/list" => Says::Json(
            200,
            seen.result(json!({"tools": [
                {"name": "sql é", "inputSchema": {"type": "object", "properties": {
                    "region": {"type": "string", "x-mcp-header": "Region"},
                    "limit": {"type": "integer", "x-mcp-header": "Limit"},
                    "absent": {"type": "string", "x-mcp-header": "Absent"},
                    "query": {"type": "string"},
                }}},
                {"name": "bad", "inputSchema": {"type": "object", "properties": {
                    "ratio": {"type": "number", "x-mcp-header": "Ratio"},
                }}},
            ]})),
        ),
        _ => Says::Json(200, seen.result(text("ok"))),
    });
    let ran = run(&[
        "tools",
        "call",
        &server.url,
        "sql é",
        "region= west",
        "limit=5",
        "query=q",
    ]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "ok\n"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("tool \"bad\" is left out"),
        "{}",
        ran.stderr
    );
    let call = &server.seen_of("tools/call")[0];
    for (name, value) in [
        ("mcp-protocol-version", Some("2026-07-28")),
        ("mcp-method", Some("tools/call")),
        ("mcp-name", Some("=?base64?c3FsIMOp?=")),
        ("mcp-param-region", Some("=?base64?IHdlc3Q=?=")),
        ("mcp-param-limit", Some("5")),
        ("mcp-param-absent", None),
        ("accept", Some("application/json, text/event-stream")),
        ("content-type", Some("application/json")),
    ] {
        assert_eq!(call.header(name), value, "{name}");
    }
    let meta = &call.body["params"]["_meta"];
    assert_eq!(
        meta["io.modelcontextprotocol/protocolVersion"],
        "2026-07-28"
    );
    // Nobody is there to fill in a form.
    assert_eq!(
        meta["io.modelcontextprotocol/clientCapabilities"],
        json!({})
    );
}

#[test]
fn a_header_mismatch_lists_again_and_retries_once() {
    let server = Server::scripted(|seen| match seen.method() {
        "server/discover" => discovered(seen),
        "tools/list" => Says::Json(200, seen.result(json!({"tools": [{"name": "t"}]}))),
        _ => Says::Json(400, seen.error(-32020, "header mismatch")),
    });
    let ran = run(&["tools", "call", &server.url, "t"]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert_eq!(server.seen_of("tools/call").len(), 2);
    assert_eq!(server.seen_of("tools/list").len(), 2);
}

#[test]
fn every_page_is_fetched_and_the_empty_cursor_is_one() {
    let server = Server::scripted(|seen| match seen.method() {
        "server/discover" => discovered(seen),
        _ => {
            let (name, next) = match seen.body["params"]["cursor"].as_str() {
                None => ("one", json!("")),
                Some("") => ("two", json!("last")),
                Some(_) => ("three", Value::Null),
            };
            Says::Json(
                200,
                seen.result(json!({"tools": [{"name": name}], "nextCursor": next})),
            )
        }
    });
    let ran = run(&["tools", "list", &server.url, "--format", "json"]);
    let tools: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        tools,
        json!([{"name": "one"}, {"name": "two"}, {"name": "three"}])
    );
}

#[test]
fn pages_without_end_are_given_up() {
    let server = Server::scripted(|seen| match seen.method() {
        "server/discover" => discovered(seen),
        _ => Says::Json(200, seen.result(json!({"tools": [], "nextCursor": "same"}))),
    });
    assert_eq!(run(&["tools", "list", &server.url]).code, 4);
}

#[test]
fn progress_is_told_in_plain_lines_where_there_is_no_terminal() {
    let server = Server::scripted(|seen| match seen.method() {
        "server/discover" => discovered(seen),
        "tools/list" => Says::Json(200, seen.result(json!({"tools": [{"name": "t"}]}))),
        _ => {
            let token = &seen.body["params"]["_meta"]["progressToken"];
            let params = json!({"progressToken": token, "progress": 1, "total": 2, "message": "half\x1b[2J"});
            let told =
                json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
            Says::Events(vec![
                ": hello\n\n".to_owned(),
                event(&told),
                event(&seen.result(text("ok"))),
            ])
        }
    });
    let ran = run(&["tools", "call", &server.url, "t"]);
    assert_eq!(ran.stderr, "progress: 1/2 half[2J\n");
    assert_eq!(ran.stdout, "ok\n");
}

#[test]
fn a_question_without_a_terminal_is_declined_and_state_echoed() {
    let server = Server::scripted(|seen| match seen.method() {
        "server/discover" => discovered(seen),
        "tools/list" => Says::Json(200, seen.result(json!({"tools": [{"name": "t"}]}))),
        _ if seen.body["params"]["inputResponses"].is_null() => {
            let ask = json!({"method": "elicitation/create", "params": {"message": "?", "requestedSchema": {"properties": {}}}});
            let result = json!({"resultType": "input_required", "inputRequests": {"q": ask}, "requestState": "s"});
            Says::Json(200, seen.result(result))
        }
        _ => Says::Json(200, seen.result(text("ok"))),
    });
    let ran = run(&["tools", "call", &server.url, "t"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let calls = server.seen_of("tools/call");
    assert_eq!(
        calls[1].body["params"]["inputResponses"],
        json!({"q": {"action": "decline"}})
    );
    assert_eq!(calls[1].body["params"]["requestState"], "s");
    assert_ne!(calls[0].body["id"], calls[1].body["id"]);
}

fn legacy(seen: &Seen, call: impl Fn(&Seen) -> Says) -> Says {
    match (seen.verb.as_str(), seen.method()) {
        ("POST", "initialize") => {
            let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}});
            Says::Json(200, seen.result(result))
        }
        ("POST", "tools/list") => Says::Json(200, seen.result(json!({"tools": [{"name": "t"}]}))),
        ("POST", "tools/call") | ("GET", _) => call(seen),
        _ => Says::Json(202, Value::Null),
    }
}

#[test]
fn questions_of_a_legacy_server_are_answered() {
    let server = Server::scripted(|seen| {
        legacy(seen, |seen| {
            let ask = |id: &str, method: &str| {
                event(&json!({"jsonrpc": "2.0", "id": id, "method": method}))
            };
            Says::Events(vec![
                ask("p", "ping"),
                ask("e", "elicitation/create"),
                ask("s", "sampling/createMessage"),
                event(&seen.result(text("ok"))),
            ])
        })
    });
    let ran = run(&["tools", "call", &server.url, "t", "--era", "legacy"]);
    assert_eq!(ran.stdout, "ok\n", "{}", ran.stderr);
    let answers: Vec<Value> = server
        .seen_of("")
        .into_iter()
        .map(|seen| seen.body)
        .collect();
    assert_eq!(
        answers[0],
        json!({"jsonrpc": "2.0", "id": "p", "result": {}})
    );
    assert_eq!(answers[1]["result"], json!({"action": "decline"}));
    assert_eq!(answers[2]["error"]["code"], -32601);
}

#[test]
fn a_stream_that_breaks_off_is_picked_up() {
    let server = Server::scripted(|seen| {
        legacy(seen, |seen| match seen.header("last-event-id") {
            None => Says::Events(vec!["id: e1\nretry: 1\ndata: \n\n".to_owned()]),
            Some(_) => {
                // The id of the call is the third of this client.
                let result = json!({"jsonrpc": "2.0", "id": 3, "result": text("late")});
                Says::Events(vec![event(&result)])
            }
        })
    });
    let ran = run(&["tools", "call", &server.url, "t", "--era", "legacy"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "late\n"),
        "{}",
        ran.stderr
    );
    let resumed = server
        .seen()
        .into_iter()
        .find(|seen| seen.verb == "GET")
        .unwrap();
    assert_eq!(resumed.header("last-event-id"), Some("e1"));
}

#[test]
fn content_is_shown_by_its_kind_and_saved() {
    let server = Server::scripted(|seen| match seen.method() {
        "server/discover" => discovered(seen),
        "tools/list" => Says::Json(200, seen.result(json!({"tools": [{"name": "t"}]}))),
        _ => Says::Json(
            200,
            seen.result(json!({"content": [
            {"type": "text", "text": "look"},
            {"type": "image", "mimeType": "image/png", "data": "iVBORw=="},
        ], "structuredContent": {"a": 1}})),
        ),
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.png");
    let ran = run(&[
        "tools",
        "call",
        &server.url,
        "t",
        "--output",
        file.to_str().unwrap(),
    ]);
    assert_eq!(
        ran.stdout, "look\n[image, image/png, 4 bytes]\n",
        "{}",
        ran.stderr
    );
    assert_eq!(std::fs::read(&file).unwrap(), b"\x89PNG");
}

#[test]
fn data_is_shown_where_the_text_says_no_more() {
    let server = Server::scripted(|seen| match seen.method() {
        "server/discover" => discovered(seen),
        "tools/list" => Says::Json(200, seen.result(json!({"tools": [{"name": "t"}]}))),
        _ => Says::Json(
            200,
            seen.result(json!({
                "content": [{"type": "text", "text": "{\"a\":1}"}], "structuredContent": {"a": 1},
            })),
        ),
    });
    let ran = run(&["tools", "call", &server.url, "t"]);
    assert_eq!(ran.stdout, "{\n  \"a\": 1\n}\n");
}
