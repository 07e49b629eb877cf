//! Servers whose own streams break: what they say is heard once, or as one change of everything.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use testkit::http::Reply;
use testkit::raw::{RawServer, Script, canned, feed};

use crate::rig::{Rig, Session, is_quiet, legacy, next, toolset};

fn updated(number: u32) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"file:///x","n":{number}}}}}"#
    )
}

/// A server with one resource; the streams of the session `followed` are these, one after the other.
async fn server(followed: &'static str, streams: Vec<Script>) -> RawServer {
    let streams = Mutex::new(streams.into_iter());
    RawServer::start(move |seen| match (&*seen.method, seen.rpc_method().as_deref()) {
        ("GET", _) if seen.header("mcp-session-id") == Some(followed) => {
            streams.lock().unwrap().next().unwrap_or_else(Script::never)
        }
        ("GET", _) => Script::status(405),
        (_, Some("initialize")) => {
            // A session is named after whoever opens it.
            let client = &seen.json()["params"]["clientInfo"]["name"];
            let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"resources":{"subscribe":true}},"serverInfo":{"name":"n","version":"1"}}"#;
            let session = client.as_str().unwrap();
            Script::json_with(200, &[("mcp-session-id", session)], seen.result(result))
        }
        (_, Some("resources/subscribe" | "ping")) => Script::json(seen.result("{}")),
        (_, Some("resources/list")) => {
            Script::json(seen.result(r#"{"resources":[{"uri":"file:///x","name":"x"}]}"#))
        }
        (_, Some("resources/templates/list")) => {
            Script::json(seen.result(r#"{"resourceTemplates":[]}"#))
        }
        _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap()
}

/// A client that has subscribed, and listens.
async fn subscribed(rig: &Rig) -> (Session, Reply) {
    let session = rig.session().await;
    let stream = session.stream().await;
    let mut reply = session
        .request("1", "resources/subscribe", r#"{"uri":"file:///x"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.json().await.unwrap()["result"], json!({}));
    (session, stream)
}

async fn heard(stream: &mut Reply) -> Value {
    let notice = next(stream).await;
    assert_eq!(notice["params"]["uri"], "file:///x", "{notice}");
    notice["params"]["n"].clone()
}

fn resumed(server: &RawServer) -> Vec<String> {
    let requests = server.requests();
    let ids = requests
        .iter()
        .filter_map(|seen| seen.header("last-event-id"));
    ids.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_stream_with_ids_is_picked_up_and_nothing_is_made_up() {
    for (isolation, followed) in [("PerSession", "rig"), ("Shared", "marque")] {
        let (push, events) = feed();
        let server = server(
            followed,
            vec![
                Script::sse().follow(&events).end(),
                Script::sse().event_with_id("e2", updated(2)).end(),
                Script::sse().event_with_id("e3", updated(3)).hold(),
            ],
        )
        .await;
        let more = format!("isolation: {isolation}");
        let rig = Rig::start(&toolset(&[("a", &server.url(), &more)])).await;
        let (_session, mut stream) = subscribed(&rig).await;
        push.chunk(format!("id: e1\nretry: 10\ndata: {}\n\n", updated(1)))
            .unwrap();
        drop(push);
        for number in 1..=3 {
            assert_eq!(heard(&mut stream).await, number, "{isolation}");
        }
        is_quiet(&mut stream).await;
        assert_eq!(resumed(&server), ["e1", "e2"], "{isolation}");
    }
}

#[tokio::test]
async fn a_stream_without_ids_is_opened_again_and_what_was_missed_is_told_once() {
    for (isolation, followed) in [("PerSession", "rig"), ("Shared", "marque")] {
        let ((push, events), (again, more_events)) = (feed(), feed());
        let server = server(
            followed,
            vec![
                Script::sse().follow(&events).end(),
                Script::sse().follow(&more_events).hold(),
            ],
        )
        .await;
        let more = format!("isolation: {isolation}");
        let rig = Rig::start(&toolset(&[("a", &server.url(), &more)])).await;
        let (_session, mut stream) = subscribed(&rig).await;
        push.event(updated(1)).unwrap();
        drop(push);
        assert_eq!(heard(&mut stream).await, 1, "{isolation}");
        assert_eq!(
            heard(&mut stream).await,
            Value::Null,
            "{isolation}: it may have changed"
        );
        again.event(updated(2)).unwrap();
        assert_eq!(heard(&mut stream).await, 2, "{isolation}");
        is_quiet(&mut stream).await;
        assert_eq!(resumed(&server), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_server_that_lets_its_clients_poll_is_polled_to_the_answer() {
    /// More than a stream without anything new is picked up.
    const POLLS: usize = 25;
    let (polls, answer) = (AtomicUsize::new(0), Mutex::new(String::new()));
    let server = RawServer::start(move |seen| {
        let primer = |number| format!("id: e{number}\nretry: 1\ndata:\n\n");
        if seen.header("last-event-id").is_some() {
            let number = polls.fetch_add(1, Ordering::Relaxed) + 1;
            let script = Script::sse().chunk(primer(number));
            return if number < POLLS {
                script.end()
            } else {
                script.event(&*answer.lock().unwrap()).end()
            };
        }
        if seen.rpc_method().as_deref() == Some("tools/call") {
            *answer.lock().unwrap() = seen.result(r#"{"content":[]}"#);
            return Script::sse().chunk(primer(0)).end();
        }
        canned(&legacy(), seen).unwrap_or_else(Script::accepted)
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let answer = rig.session().await.call("1", "echo").await.answer().await;
    assert!(answer.unwrap()["result"].is_object());
    assert_eq!(resumed(&server).len(), POLLS);
}
