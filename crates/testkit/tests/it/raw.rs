//! The scripted server and the bare client, against each other.

use testkit::http;
use testkit::raw::{Canned, ODD_RESULT, RawServer, Script, canned, feed, gate};

#[tokio::test]
async fn answers_verbatim_and_remembers_the_request() {
    let server = RawServer::start(|seen| Script::json(seen.result(r#"{"b":1,  "a":1.0}"#)))
        .await
        .unwrap();
    let mut reply = http::legacy(&server.url(), "\"x\"", "tools/list", "{}")
        .header("X-Twice", "1")
        .header("x-twice", "2")
        .send()
        .await
        .unwrap();
    assert_eq!(
        reply.text().await.unwrap(),
        r#"{"jsonrpc":"2.0","id":"x","result":{"b":1,  "a":1.0}}"#
    );
    let seen = &server.requests()[0];
    assert_eq!(seen.headers_named("X-TWICE"), ["1", "2"]);
    assert_eq!(seen.rpc_method().as_deref(), Some("tools/list"));
}

#[tokio::test]
async fn events_pass_one_by_one_through_a_gate() {
    let (open, closed) = gate();
    let server = RawServer::start(move |_| {
        Script::sse()
            .event("1")
            .chunk(": hi\n\n")
            .wait(&closed)
            .event_with_id("b", "2\n3")
            .end()
    })
    .await
    .unwrap();
    let mut reply = http::post(&server.url(), "{}")
        .unwrap()
        .send()
        .await
        .unwrap();
    assert_eq!(reply.event().await.unwrap().unwrap().data, "1");
    open.open();
    let second = reply.event().await.unwrap().unwrap();
    assert_eq!(
        (second.id.as_deref(), second.data.as_str()),
        (Some("b"), "2\n3")
    );
    assert_eq!(reply.event().await.unwrap(), None);
}

#[tokio::test]
async fn feed_pushes_into_an_open_stream_until_dropped() {
    let (push, events) = feed();
    let server = RawServer::start(move |_| Script::sse().follow(&events).end())
        .await
        .unwrap();
    let mut reply = http::get(&server.url()).unwrap().send().await.unwrap();
    for word in ["a", "b"] {
        push.event(word).unwrap();
        assert_eq!(reply.event().await.unwrap().unwrap().data, word);
    }
    drop(push);
    assert_eq!(reply.event().await.unwrap(), None);
}

#[tokio::test]
async fn hanging_up_is_seen() {
    let server = RawServer::start(|_| Script::sse().event("1").hold())
        .await
        .unwrap();
    let mut reply = http::get(&server.url()).unwrap().send().await.unwrap();
    reply.event().await.unwrap();
    drop(reply);
    server.hung_up(0).await.unwrap();
}

#[tokio::test]
async fn broken_endings_are_errors_of_the_reader() {
    let cases: [(&str, Script); 4] = [
        ("cut", Script::sse().event("1").cut()),
        ("reset", Script::sse().event("1").reset()),
        ("half close", Script::sse().event("1").half_close()),
        (
            "short body",
            Script::default()
                .bytes("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}")
                .cut(),
        ),
    ];
    for (name, script) in cases {
        let server = RawServer::start(move |_| script.clone()).await.unwrap();
        let mut reply = http::get(&server.url()).unwrap().send().await.unwrap();
        assert!(reply.bytes().await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn garbage_reaches_the_socket_as_written() {
    let server = RawServer::start(|_| Script::default().bytes("\0garbage").cut())
        .await
        .unwrap();
    let request = http::post(&server.url(), "{}").unwrap();
    assert_eq!(
        http::verbatim(&server.url(), &request.bytes())
            .await
            .unwrap(),
        b"\0garbage"
    );
    assert!(request.send().await.is_err());
}

#[tokio::test]
async fn connections_are_reused_after_a_complete_answer() {
    let server = RawServer::start(|_| Script::accepted()).await.unwrap();
    let one = http::post(&server.url(), "1")
        .unwrap()
        .without("connection")
        .bytes();
    let two = http::post(&server.url(), "2")
        .unwrap()
        .set("Connection", "close")
        .bytes();
    let both = [one, two].concat();
    let waiting = http::socket(&server.url()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut { waiting }, &both)
        .await
        .unwrap();
    let seen = server.wait_for(2, |_| true).await.unwrap();
    assert_eq!((seen[0].connection, seen[1].connection), (0, 0));
    assert_eq!(seen[1].text(), "2");
}

#[tokio::test]
async fn canned_servers_speak_the_eras_they_offer() {
    let legacy = Canned {
        modern: false,
        session: Some("s1"),
        ..Canned::default()
    };
    let server =
        RawServer::start(move |seen| canned(&legacy, seen).unwrap_or_else(|| Script::status(404)))
            .await
            .unwrap();
    let refused = http::modern(&server.url(), 1, "server/discover", "{}")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status, 400);
    let mut reply = http::legacy(
        &server.url(),
        1,
        "initialize",
        r#"{"protocolVersion":"2025-11-25"}"#,
    )
    .send()
    .await
    .unwrap();
    assert_eq!(reply.header("Mcp-Session-Id"), Some("s1"));
    assert_eq!(
        reply.json().await.unwrap()["result"]["protocolVersion"],
        "2025-11-25"
    );
}

#[test]
fn odd_result_is_json_that_a_value_would_change() {
    let value: serde_json::Value = serde_json::from_str(ODD_RESULT).unwrap();
    assert_ne!(value.to_string(), ODD_RESULT);
}
