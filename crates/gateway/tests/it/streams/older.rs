//! Clients of 2024-11-05: one stream to listen to, one address to post to.

use testkit::http::{self, Reply};
use testkit::raw::Script;

use crate::rig::{Rig, is_quiet, legacy, next, server};

/// Opens a stream; gives it and the address to post to.
async fn open(rig: &Rig, path: &str) -> (Reply, String) {
    let request = http::get(&rig.at(path))
        .unwrap()
        .header("Accept", "text/event-stream");
    let mut stream = request.send().await.unwrap();
    assert_eq!(stream.status, 200);
    let first = stream.event().await.unwrap().unwrap();
    assert_eq!(first.name, "endpoint");
    (stream, rig.at(&first.data))
}

async fn post(url: &str, body: &str) -> u16 {
    http::post(url, body.to_owned())
        .unwrap()
        .send()
        .await
        .unwrap()
        .status
}

const OPEN: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}"#;
const CALL: &str = r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"echo"}}"#;

#[tokio::test]
async fn they_call_on_the_stream_and_leaving_ends_the_session() {
    let server = server(legacy(), |seen| {
        Script::json(seen.result(r#"{"content":[]}"#))
    })
    .await;
    let rig = Rig::before(&server).await;
    for path in ["/mcp/main/sse", "/mcp/main"] {
        let before = server
            .requests()
            .iter()
            .filter(|seen| &*seen.method == "DELETE")
            .count();
        let (mut stream, url) = open(&rig, path).await;
        assert_eq!(post(&url, CALL).await, 202);
        assert_eq!(
            next(&mut stream).await["error"]["code"],
            -32600,
            "not before the handshake"
        );
        assert_eq!(post(&url, OPEN).await, 202);
        assert_eq!(
            next(&mut stream).await["result"]["protocolVersion"],
            "2024-11-05"
        );
        assert_eq!(post(&url, CALL).await, 202);
        let answer = next(&mut stream).await;
        assert_eq!(
            (&answer["id"], answer["result"].is_object()),
            (&"c".into(), true),
            "{answer}"
        );
        assert_eq!(post(&url, "nonsense").await, 202);
        assert_eq!(next(&mut stream).await["error"]["code"], -32700);
        drop(stream);
        let ended = |seen: &testkit::raw::Seen| &*seen.method == "DELETE";
        server.wait_for(before + 1, ended).await.unwrap();
        assert_eq!(
            post(&url, CALL).await,
            404,
            "the address has ended with the stream"
        );
    }
}

#[tokio::test]
async fn addresses_cannot_be_guessed_and_streams_do_not_mix() {
    let server = server(legacy(), |seen| {
        Script::json(seen.result(r#"{"content":[]}"#))
    })
    .await;
    let rig = Rig::before(&server).await;
    let (mut one, url) = open(&rig, "/mcp/main/sse").await;
    let (mut two, other) = open(&rig, "/mcp/main/sse").await;
    assert_ne!(url, other);
    for forged in ["", "?session=", "?session=x", "?other=1"] {
        assert_eq!(
            post(&rig.at(&format!("/mcp/main/messages{forged}")), OPEN).await,
            404,
            "{forged}"
        );
    }
    assert_eq!(http::get(&url).unwrap().send().await.unwrap().status, 405);
    for url in [&url, &other] {
        post(url, OPEN).await;
        post(url, CALL).await;
    }
    for stream in [&mut one, &mut two] {
        while next(stream).await["id"] != "c" {}
    }
    is_quiet(&mut two).await;
}
