//! Bodies that are no message, or too much of one.

use serde_json::Value;
use testkit::http;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::rig::{Rig, legacy, server};
use testkit::raw::{Canned, RawServer, Script};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

async fn served() -> (RawServer, Rig) {
    let server = server(Canned::default(), |seen| Script::json(seen.result("{}"))).await;
    let rig = Rig::before(&server).await;
    (server, rig)
}

#[tokio::test]
async fn what_is_no_message_is_refused_with_its_code_and_id() {
    let (server, rig) = served().await;
    let cases = [
        ("", -32700, None),
        ("{", -32700, None),
        ("nonsense", -32700, None),
        ("\"text\"", -32600, None),
        ("null", -32600, None),
        ("42", -32600, None),
        ("{}", -32600, None),
        (
            r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#,
            -32600,
            Some("7"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":"x","method":17}"#,
            -32600,
            Some("\"x\""),
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            -32600,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            -32600,
            None,
        ),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600, None),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","method":"tools/list"}"#,
            -32600,
            Some("7"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}"#,
            -32600,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{},"params":{}}"#,
            -32600,
            Some("7"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","result":{}}"#,
            -32600,
            Some("7"),
        ),
    ];
    for (body, code, id) in cases {
        let mut reply = http::post(&rig.url(), body).unwrap().send().await.unwrap();
        let error = reply.json().await.unwrap();
        assert_eq!(reply.status, 400, "{body}: {error}");
        assert_eq!(error["error"]["code"], code, "{body}: {error}");
        if let Some(id) = id {
            assert_eq!(error["id"].to_string(), id, "{body}: {error}");
        }
    }
    assert!(server.requests_of("tools/call").is_empty());
}

#[tokio::test]
async fn wrong_params_are_refused_and_reach_no_server() {
    let (server, rig) = served().await;
    let cases = [
        "[]".to_owned(),
        "7".to_owned(),
        format!(r#"{{{META}}}"#),
        format!(r#"{{{META},"name":7}}"#),
        format!(r#"{{{META},"name":null}}"#),
        format!(r#"{{{META},"name":"echo","name":"other"}}"#),
        format!(r#"{{{META},"name":"echo","n\u0061me":"other"}}"#),
        format!(r#"{{{META},{META},"name":"echo"}}"#),
        r#"{"name":"echo"}"#.to_owned(),
        r#"{"name":"echo","_meta":[]}"#.to_owned(),
        r#"{"name":"echo","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#.to_owned(),
        r#"{"name":"echo","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":[]}}"#.to_owned(),
    ];
    for params in cases {
        let request = http::legacy(&rig.url(), 9, "tools/call", &params)
            .header("MCP-Protocol-Version", "2026-07-28")
            .header("Mcp-Method", "tools/call")
            .header("Mcp-Name", "echo");
        let mut reply = request.send().await.unwrap();
        let error = reply.json().await.unwrap();
        assert_eq!(reply.status, 400, "{params}: {error}");
        assert!(
            matches!(error["error"]["code"].as_i64(), Some(-32602 | -32020)),
            "{params}: {error}"
        );
        assert_eq!(error["id"], 9, "{params}: {error}");
    }
    assert!(server.requests_of("tools/call").is_empty());
}

#[tokio::test]
async fn doubled_members_of_legacy_params_reach_no_server() {
    let server = server(legacy(), |seen| Script::json(seen.result("{}"))).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    for params in [
        r#"{"name":"echo","name":"other"}"#,
        r#"{"name":"echo","n\u0061me":"x"}"#,
        "[]",
        "{}",
    ] {
        let mut reply = session
            .request("1", "tools/call", params)
            .send()
            .await
            .unwrap();
        let error = reply.json().await.unwrap();
        assert_eq!(error["error"]["code"], -32602, "{params}: {error}");
    }
    assert!(server.requests_of("tools/call").is_empty());
}

#[tokio::test]
async fn deep_nesting_is_refused_and_endured() {
    let (server, rig) = served().await;
    for depth in [200, 100_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"a":{deep}}}}}}}"#
        );
        for body in [body, deep] {
            let mut reply = http::post(&rig.url(), body).unwrap().send().await.unwrap();
            assert_eq!(reply.status, 400);
            assert_eq!(reply.json().await.unwrap()["error"]["code"], -32700);
        }
    }
    assert!(server.requests_of("tools/call").is_empty());
}

#[tokio::test]
async fn a_body_over_8_mib_is_413_however_it_is_framed() {
    let (server, rig) = served().await;
    let length = 8 * 1024 * 1024 + 1;
    let fixed = format!("Content-Length: {length}\r\n\r\n");
    let chunked = format!(
        "Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{}",
        "x".repeat(length)
    );
    for framing in [fixed, chunked] {
        let mut socket = http::socket(&rig.url()).await.unwrap();
        let head =
            "POST /mcp/main HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        // The gateway may stop reading before all is written.
        drop(socket.write_all(framing.as_bytes()).await);
        let mut answer = [0; 12];
        testkit::within("the refusal", socket.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413");
    }
    assert!(server.requests_of("tools/call").is_empty());
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let (_server, rig) = served().await;
    let mut socket = http::socket(&rig.url()).await.unwrap();
    let head = "POST /mcp/main HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    socket.write_all(head.as_bytes()).await.unwrap();
    // From here on, waiting costs nothing: the clock jumps when nobody has anything to do.
    tokio::time::pause();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error_and_no_call() {
    let (server, rig) = served().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    let head = format!(
        "POST /mcp/main HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len() + 1
    );
    let mut socket = http::socket(&rig.url()).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    testkit::within("the end", socket.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(
        !answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert!(server.requests_of("tools/call").is_empty());
}

#[tokio::test]
async fn batches_are_for_the_revision_that_has_them_and_bounded() {
    let server = server(legacy(), |seen| {
        Script::json(seen.result(r#"{"content":[]}"#))
    })
    .await;
    let rig = Rig::before(&server).await;
    let ping = |id: usize| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    let newer = rig.session().await;
    let mut reply = newer.post(&format!("[{}]", ping(1))).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.json().await.unwrap()["error"]["code"], -32600);
    let session = rig.session_of("2025-03-26", "{}").await;
    let too_many: Vec<String> = (0..65).map(ping).collect();
    for bad in [
        "[]".to_owned(),
        "[".to_owned(),
        format!("[{}]", too_many.join(",")),
    ] {
        let mut reply = session.post(&bad).await;
        assert_eq!(reply.status, 400, "{bad}");
        assert!(reply.json().await.unwrap()["error"].is_object());
    }
    let call = r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"echo"}}"#;
    let mixed = format!(
        r#"[{},1,{call},{{"jsonrpc":"2.0","method":"notifications/initialized"}},[{}],{call}]"#,
        ping(1),
        ping(2)
    );
    let mut reply = session.post(&mixed).await;
    assert_eq!(reply.status, 200);
    let mut answers: Vec<Value> = Vec::new();
    while let Some(event) = reply.event().await.unwrap() {
        answers.push(event.json());
    }
    assert_eq!(answers.len(), 5, "{answers:#?}");
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer["id"] == 1 && answer["result"].is_object())
            .count(),
        1
    );
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer["error"]["code"] == -32600)
            .count(),
        2,
        "{answers:#?}"
    );
    assert!(
        answers
            .iter()
            .any(|answer| answer["id"] == "c" && answer["result"].is_object()),
        "{answers:#?}"
    );
    let only_notices = session
        .post(r#"[{"jsonrpc":"2.0","method":"notifications/initialized"}]"#)
        .await;
    assert_eq!(only_notices.status, 202);
    let nobody = http::post(&rig.url(), "[]").unwrap().send().await.unwrap();
    assert_eq!(nobody.status, 400);
}
