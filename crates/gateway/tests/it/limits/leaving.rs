//! Clients that leave, or change their mind, in the middle of a call.

use testkit::raw::{Script, gate};

use crate::rig::{Rig, legacy, modern, server};

fn is_call(seen: &testkit::raw::Seen) -> bool {
    seen.rpc_method().as_deref() == Some("tools/call")
}

fn is_cancel(seen: &testkit::raw::Seen) -> bool {
    seen.rpc_method().as_deref() == Some("notifications/cancelled")
}

const PROGRESS: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;

#[tokio::test]
async fn a_modern_client_that_hangs_up_ends_the_call_at_the_server() {
    // Before the head of the answer, in the middle of a stream, and in the middle of a long answer.
    let long = "x".repeat(200_000);
    let answers = [
        Script::never(),
        Script::sse().hold(),
        Script::chunked(200, &[("content-type", "application/json")])
            .chunk(long)
            .hold(),
    ];
    for answer in answers {
        let server = server(modern(), move |_| answer.clone()).await;
        let rig = Rig::before(&server).await;
        let call = rig.call("1", "echo");
        let mut client = testkit::http::socket(&rig.url()).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut client, &call.bytes())
            .await
            .unwrap();
        let seen = server.wait_for(1, is_call).await.unwrap();
        drop(client);
        server.hung_up(seen[0].number).await.unwrap();
    }
}

#[tokio::test]
async fn a_legacy_client_that_hangs_up_cancels_nothing() {
    let (open, closed) = gate();
    let server = server(legacy(), move |seen| {
        Script::sse()
            .event(PROGRESS)
            .wait(&closed)
            .event(seen.result("{}"))
            .end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut reply = session.call("1", "echo").await;
    reply.event().await.unwrap();
    drop(reply);
    // The session goes on, and its id is free once the gateway has seen the client leave.
    open.open();
    assert_eq!(
        session.call("2", "echo").await.answer().await.unwrap()["id"],
        2
    );
    assert!(!server.requests().iter().any(is_cancel));
}

#[tokio::test]
async fn a_legacy_cancellation_reaches_the_server_with_its_own_id_and_nothing_follows() {
    let (open, closed) = gate();
    let server = server(legacy(), move |seen| {
        Script::sse()
            .event(PROGRESS)
            .wait(&closed)
            .event(seen.result("{}"))
            .end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut reply = session.call("\"mine\"", "echo").await;
    assert_eq!(
        reply.event().await.unwrap().unwrap().json()["method"],
        "notifications/message"
    );
    let params = r#"{"requestId":"mine","reason":"enough"}"#;
    assert_eq!(session.notify("notifications/cancelled", params).await, 202);
    let cancelled = server.wait_for(1, is_cancel).await.unwrap();
    let call = &server.requests_of("tools/call")[0];
    assert_eq!(
        cancelled[0].json()["params"]["requestId"],
        call.json()["id"]
    );
    assert_eq!(cancelled[0].header("mcp-session-id"), Some("own-session"));
    open.open();
    assert_eq!(
        reply.event().await.unwrap(),
        None,
        "the stream ends without an answer"
    );
    assert_eq!(
        session
            .call("\"mine\"", "echo")
            .await
            .answer()
            .await
            .unwrap()["id"],
        "mine"
    );
}

#[tokio::test]
async fn a_cancellation_reaches_a_server_that_has_not_begun_to_answer() {
    let long = "x".repeat(200_000);
    let answers = [
        Script::never(),
        Script::sse().hold(),
        Script::chunked(200, &[("content-type", "application/json")])
            .chunk("{")
            .hold(),
        Script::chunked(200, &[("content-type", "application/json")])
            .chunk(long)
            .hold(),
    ];
    for (at, answer) in answers.into_iter().enumerate() {
        let server = server(legacy(), move |_| answer.clone()).await;
        let rig = Rig::before(&server).await;
        let session = rig.session().await;
        let cancel = async {
            server.wait_for(1, is_call).await.unwrap();
            assert_eq!(
                session
                    .notify("notifications/cancelled", r#"{"requestId":1}"#)
                    .await,
                202
            );
            let cancelled = server.wait_for(1, is_cancel).await.unwrap();
            assert_eq!(
                cancelled[0].json()["params"]["requestId"],
                server.requests_of("tools/call")[0].json()["id"]
            );
        };
        let request = session.request("1", "tools/call", r#"{"name":"echo"}"#);
        let (reply, ()) = tokio::join!(request.send(), cancel);
        // A long answer may have begun; then it breaks off.
        let rest = match reply {
            Ok(mut reply) => reply.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        let message = serde_json::from_str::<serde_json::Value>(&rest);
        assert!(
            message.is_err(),
            "{at}: an answer after the cancellation: {rest}"
        );
    }
}

#[tokio::test]
async fn a_cancellation_of_another_session_touches_nothing() {
    let (open, closed) = gate();
    let server = server(legacy(), move |seen| {
        Script::sse()
            .event(PROGRESS)
            .wait(&closed)
            .event(seen.result("{}"))
            .end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let (session, other) = (rig.session().await, rig.session().await);
    let mut reply = session.call("1", "echo").await;
    reply.event().await.unwrap();
    assert_eq!(
        other
            .notify("notifications/cancelled", r#"{"requestId":1}"#)
            .await,
        202
    );
    open.open();
    assert_eq!(reply.answer().await.unwrap()["id"], 1);
    assert!(!server.requests().iter().any(is_cancel));
}
