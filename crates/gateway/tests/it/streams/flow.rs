//! Streams that are slow, silent or broken.

use std::time::Duration;

use testkit::raw::{RawServer, Script, canned, feed, gate};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::rig::{Rig, legacy, modern, server};

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/other","params":{}}"#;

#[tokio::test]
async fn events_are_passed_on_as_they_come() {
    let (open, closed) = gate();
    let server = server(modern(), move |seen| {
        Script::sse()
            .event(NOTE)
            .wait(&closed)
            .event(seen.result("{}"))
            .end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let mut reply = rig.call("1", "echo").send().await.unwrap();
    assert_eq!(reply.header("x-accel-buffering"), Some("no"));
    assert_eq!(
        reply.event().await.unwrap().unwrap().data,
        NOTE,
        "before the server says the next"
    );
    open.open();
    assert_eq!(reply.answer().await.unwrap()["id"], 1);
}

#[tokio::test]
async fn events_cut_anywhere_are_put_together() {
    let server = server(modern(), |seen| {
        let text = format!(":hi\r\n\r\nevent: message\r\ndata: {{\"jsonrpc\":\"2.0\",\r\ndata: \"method\":\"notifications/ü\"}}\r\n\r\nid\ndata:{}\n\n", seen.result("{}"));
        text.into_bytes().chunks(1).fold(Script::sse(), |script, piece| script.chunk(piece.to_vec())).end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let mut reply = rig.call("1", "echo").send().await.unwrap();
    let first = reply.event().await.unwrap().unwrap();
    assert_eq!(first.json()["method"], "notifications/ü");
    assert_eq!(reply.answer().await.unwrap()["id"], 1);
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_by_comments() {
    let server = server(modern(), |_| Script::sse().event(NOTE).hold()).await;
    let rig = Rig::before(&server).await;
    let mut socket = testkit::http::socket(&rig.url()).await.unwrap();
    socket
        .write_all(&rig.call("1", "echo").bytes())
        .await
        .unwrap();
    server
        .wait_for(1, |seen| seen.rpc_method().as_deref() == Some("tools/call"))
        .await
        .unwrap();
    // From here on, waiting costs nothing: the clock jumps when nobody has anything to do.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let mut text = String::new();
    let mut piece = [0; 4096];
    while text.matches("\n:").count() < 3 {
        let read = socket.read(&mut piece).await.unwrap();
        assert!(read > 0, "the stream stays open: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    let each = began.elapsed() / 3;
    assert!(
        each >= Duration::from_secs(10) && each <= Duration::from_secs(20),
        "{each:?}"
    );
}

#[tokio::test]
async fn a_call_without_a_first_event_gets_a_head_and_comments() {
    let server = server(modern(), |_| Script::sse().hold()).await;
    let rig = Rig::before(&server).await;
    let mut socket = testkit::http::socket(&rig.url()).await.unwrap();
    socket
        .write_all(&rig.call("1", "echo").bytes())
        .await
        .unwrap();
    server
        .wait_for(1, |seen| seen.rpc_method().as_deref() == Some("tools/call"))
        .await
        .unwrap();
    tokio::time::pause();
    let mut head = [0; 15];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_server_back() {
    /// Events of 16 KiB: together far more than every buffer on the way may hold.
    const EVENTS_MAX: usize = 6_000;
    const QUIET: Duration = Duration::from_millis(300);
    let event = NOTE.replace("{}", &format!(r#"{{"x":"{}"}}"#, "y".repeat(16 * 1024)));
    let (push, events) = feed();
    let server = server(modern(), move |_| Script::sse().follow(&events).hold()).await;
    let rig = Rig::before(&server).await;
    push.event(&event).unwrap();
    let mut reply = rig.call("1", "echo").send().await.unwrap();
    reply.event().await.unwrap();
    let (mut pushed, mut since) = (0, tokio::time::Instant::now());
    while since.elapsed() < QUIET {
        if push.event(&event).is_ok() {
            pushed += 1;
            since = tokio::time::Instant::now();
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(pushed < EVENTS_MAX, "the server is never held back");
    }
    // Others are served meanwhile, and the client may read on.
    assert!(rig.list("tools/list").await["result"].is_object());
    for _ in 0..5 {
        assert_eq!(reply.event().await.unwrap().unwrap().data, event);
    }
    let call = server.requests_of("tools/call")[0].number;
    drop(reply);
    server.hung_up(call).await.unwrap();
}

#[tokio::test]
async fn an_event_without_end_is_given_up() {
    let server = server(modern(), |_| {
        (0..40)
            .fold(Script::sse().chunk("data: "), |script, _| {
                script.chunk("x".repeat(1 << 20))
            })
            .hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let error = rig
        .call("1", "echo")
        .send()
        .await
        .unwrap()
        .answer()
        .await
        .unwrap();
    assert_eq!(error["error"]["code"], -32603, "{error}");
}

/// A legacy server that closes the stream of a call in its middle and goes on when asked by the id of the last event.
async fn resuming(retry: &'static str) -> RawServer {
    let answer = std::sync::Mutex::new(String::new());
    let offer = legacy();
    RawServer::start(move |seen| {
        if &*seen.method == "GET" {
            return match seen.header("last-event-id") {
                Some("e2") => Script::sse()
                    .event_with_id("e3", NOTE.replace("other", "third"))
                    .event_with_id("e4", &*answer.lock().unwrap())
                    .end(),
                _ => Script::status(405),
            };
        }
        if seen.rpc_method().as_deref() == Some("tools/call") {
            *answer.lock().unwrap() = seen.result(r#"{"content":[]}"#);
            return Script::sse()
                .chunk(format!("id: e1\n{retry}data:\n\n"))
                .event_with_id("e2", NOTE)
                .end();
        }
        canned(&offer, seen).unwrap_or_else(Script::accepted)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_stream_that_the_server_closed_is_picked_up_where_it_ended() {
    let server = resuming("retry: 20\n").await;
    let rig = Rig::before(&server).await;
    let mut reply = rig.session().await.call("1", "echo").await;
    let methods = [
        reply.event().await.unwrap().unwrap().json(),
        reply.event().await.unwrap().unwrap().json(),
    ];
    assert_eq!(
        methods.map(|event| event["method"].clone()),
        ["notifications/other", "notifications/third"]
    );
    assert_eq!(reply.answer().await.unwrap()["id"], 1);
    assert_eq!(
        server.requests_of("tools/call").len(),
        1,
        "picked up, not asked again"
    );
    let resumed = server
        .wait_for(1, |seen| seen.header("last-event-id").is_some())
        .await
        .unwrap();
    assert_eq!(resumed[0].header("mcp-session-id"), Some("own-session"));
    assert!(resumed[0].header("mcp-protocol-version").is_some());
}

#[tokio::test]
async fn a_stream_that_cannot_be_picked_up_is_one_failed_call() {
    for ends in [
        Script::sse().event(NOTE).end(),
        Script::sse().event(NOTE).cut(),
        Script::sse().event(NOTE).chunk("data: {\"half").end(),
    ] {
        for offer in [legacy(), modern()] {
            let ends = ends.clone();
            let server = server(offer, move |_| ends.clone()).await;
            let rig = Rig::before(&server).await;
            let mut reply = if offer.legacy {
                rig.session().await.call("1", "echo").await
            } else {
                rig.call("1", "echo").send().await.unwrap()
            };
            let error = reply.answer().await.unwrap();
            assert_eq!(
                (&error["id"], &error["error"]["code"]),
                (&1.into(), &(-32603).into()),
                "{error}"
            );
            assert_eq!(server.requests_of("tools/call").len(), 1);
        }
    }
}
