//! Cases that once went wrong between sessions, views and streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use testkit::http::{self, Reply};
use testkit::raw::{Canned, Gate, RawServer, Script, Seen, canned, feed, gate};

use crate::rig::{Rig, legacy, modern, next, server, set, toolset};

const WELL: &str = r#"{"resultType":"complete","content":[]}"#;

fn is_initialize(seen: &Seen) -> bool {
    seen.rpc_method().as_deref() == Some("initialize")
}

fn is_delete_of(session: &'static str) -> impl Fn(&Seen) -> bool {
    move |seen| &*seen.method == "DELETE" && seen.header("mcp-session-id") == Some(session)
}

/// A legacy server that numbers its sessions `s0`, `s1`, …; all but the first, which is the gateway's own, wait for `gate`.
async fn numbered(gate: Gate, call: impl Fn(&Seen) -> Script + Send + Sync + 'static) -> RawServer {
    let opened = AtomicUsize::new(0);
    RawServer::start(move |seen| match seen.rpc_method().as_deref() {
        Some("initialize") => {
            let number = opened.fetch_add(1, Ordering::Relaxed);
            let version = &seen.json()["params"]["protocolVersion"];
            let result = format!(r#"{{"protocolVersion":{version},"capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"n","version":"1"}}}}"#);
            let body = seen.result(&result);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nmcp-session-id: s{number}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let script = if number > 0 { Script::default().wait(&gate) } else { Script::default() };
            script.bytes(head).bytes(body)
        }
        Some("tools/call") => call(seen),
        _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap()
}

/// The next message of a stream, whatever it is.
async fn event(stream: &mut Reply) -> Value {
    let event = stream.event().await.unwrap();
    event.expect("one more event").json()
}

#[tokio::test]
async fn a_required_server_of_the_other_era_is_there_for_both() {
    let good = server(modern(), |seen| Script::json(seen.result(WELL))).await;
    let old = server(legacy(), |seen| Script::json(seen.result(WELL))).await;
    let yaml = toolset(&[
        ("good", &good.url(), ""),
        ("old", &old.url(), "prefix: old_, failureMode: Required"),
    ]);
    let rig = Rig::start(&yaml).await;
    let names = |listed: &Value| {
        let tools = listed["result"]["tools"].as_array().cloned();
        let names = tools.unwrap_or_default().into_iter();
        names.map(|tool| tool["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&rig.list("tools/list").await), ["echo", "old_echo"]);
    assert!(rig.gateway.is_ready());
    let session = rig.session().await;
    let mut listed = session
        .request("1", "tools/list", "{}")
        .send()
        .await
        .unwrap();
    assert_eq!(names(&listed.json().await.unwrap()), ["echo", "old_echo"]);
}

#[tokio::test]
async fn a_required_server_that_speaks_no_era_is_missing() {
    let good = server(modern(), |seen| Script::json(seen.result(WELL))).await;
    let mute = RawServer::start(|_| Script::status(404)).await.unwrap();
    let yaml = toolset(&[
        ("good", &good.url(), ""),
        ("mute", &mute.url(), "failureMode: Required"),
    ]);
    let rig = Rig::start(&yaml).await;
    let error = rig.list("tools/list").await;
    assert_eq!(error["error"]["code"], -32603, "{error}");
    assert!(!rig.gateway.is_ready());
}

#[tokio::test]
async fn a_server_that_is_slow_to_open_a_session_holds_up_no_other() {
    let (open, closed) = gate();
    let slow = numbered(closed, |seen| Script::json(seen.result(WELL))).await;
    let fast = server(legacy(), |seen| Script::json(seen.result(WELL))).await;
    let rig = Rig::start(&toolset(&[
        ("slow", &slow.url(), "prefix: slow_"),
        ("fast", &fast.url(), "prefix: fast_"),
    ]))
    .await;
    let session = rig.session().await;
    let other = async {
        slow.wait_for(2, is_initialize).await.unwrap();
        let answer = session.call("2", "fast_echo").await.answer().await.unwrap();
        assert!(answer["result"].is_object(), "{answer}");
        open.open();
    };
    let (mut waited, ()) = tokio::join!(session.call("1", "slow_echo"), other);
    assert!(waited.answer().await.unwrap()["result"].is_object());
}

#[tokio::test]
async fn a_session_that_ends_while_a_server_opens_its_own_leaves_none_there() {
    let (open, closed) = gate();
    let slow = numbered(closed, |seen| Script::json(seen.result(WELL))).await;
    let rig = Rig::before(&slow).await;
    let session = rig.session().await;
    let end = async {
        slow.wait_for(2, is_initialize).await.unwrap();
        assert_eq!(session.end().await, 200);
        open.open();
        slow.wait_for(1, is_delete_of("s1")).await.unwrap();
    };
    let (mut call, ()) = tokio::join!(session.call("1", "echo"), end);
    assert!(call.answer().await.unwrap()["error"].is_object());
    assert_eq!(slow.requests_of("tools/call").len(), 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_while_its_session_opens_finds_it_open_later() {
    let (open, closed) = gate();
    let slow = numbered(closed, |seen| Script::json(seen.result(WELL))).await;
    let rig = Rig::before(&slow).await;
    let session = rig.session().await;
    let call = session.request("1", "tools/call", r#"{"name":"echo","arguments":{}}"#);
    let mut client = http::socket(&rig.url()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut client, &call.bytes())
        .await
        .unwrap();
    slow.wait_for(2, is_initialize).await.unwrap();
    drop(client);
    open.open();
    let answer = session.call("2", "echo").await.answer().await.unwrap();
    assert!(answer["result"].is_object(), "{answer}");
    assert_eq!(
        slow.requests_of("initialize").len(),
        2,
        "it was not opened twice"
    );
}

#[tokio::test]
async fn a_call_whose_client_hung_up_does_not_keep_a_replaced_server() {
    let (_open, closed) = gate();
    let (free, ungated) = gate();
    free.open();
    let old = numbered(ungated, move |_| Script::sse().wait(&closed).end()).await;
    let yaml = toolset(&[("a", &old.url(), "")]);
    let rig = Rig::start(&yaml).await;
    let session = rig.session().await;
    let call = session.request("1", "tools/call", r#"{"name":"echo","arguments":{}}"#);
    let mut client = http::socket(&rig.url()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut client, &call.bytes())
        .await
        .unwrap();
    let is_call = |seen: &Seen| seen.rpc_method().as_deref() == Some("tools/call");
    let sent = old.wait_for(1, is_call).await.unwrap();
    drop(client);
    old.hung_up(sent[0].number).await.unwrap();
    let changed = yaml.replace("name: a,", "name: b,");
    rig.gateway.apply(&set(&changed)).unwrap();
    old.wait_for(1, is_delete_of("s1")).await.unwrap();
    old.wait_for(1, is_delete_of("s0")).await.unwrap();
}

#[tokio::test]
async fn changes_between_two_streams_are_told_on_the_next_and_known_ones_are_not() {
    let many = Arc::new(AtomicBool::new(false));
    let (push, events) = feed();
    let server = RawServer::start({
        let many = many.clone();
        move |seen| match (&*seen.method, seen.rpc_method().as_deref()) {
            ("GET", _) => Script::sse().follow(&events).hold(),
            (_, Some("tools/list")) if many.load(Ordering::Relaxed) => {
                let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
                let all = json!({"tools": [tool("echo"), tool("more")]});
                Script::json(seen.result(&all.to_string()))
            }
            _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
        }
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let (session, knowing) = (rig.session().await, rig.session().await);
    drop(session.stream().await);
    many.store(true, Ordering::Relaxed);
    push.event(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)
        .unwrap();
    rig.until(|report| report.toolsets[0].tools[1] == 2).await;
    let mut stream = session.stream().await;
    assert_eq!(
        event(&mut stream).await["method"],
        "notifications/tools/list_changed"
    );
    // Who has listed since knows it; what it hears first is something else.
    let mut listed = knowing
        .request("1", "tools/list", "{}")
        .send()
        .await
        .unwrap();
    assert_eq!(
        listed.json().await.unwrap()["result"]["tools"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let mut stream = knowing.stream().await;
    many.store(false, Ordering::Relaxed);
    push.event(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)
        .unwrap();
    assert_eq!(
        event(&mut stream).await["method"],
        "notifications/tools/list_changed"
    );
    assert_eq!(
        rig.now().toolsets[0].tools[1],
        1,
        "the first it heard of was the second change"
    );
}

#[tokio::test]
async fn a_stream_ends_with_its_session() {
    let server = server(legacy(), |seen| Script::json(seen.result(WELL))).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut stream = session.stream().await;
    assert_eq!(session.end().await, 200);
    assert_eq!(stream.event().await.unwrap(), None);
}

/// A modern server that answers listen requests as `listen` says.
async fn listening(listen: impl Fn(&Seen) -> Script + Send + Sync + 'static) -> RawServer {
    let offer = Canned {
        legacy: false,
        capabilities: r#"{"tools":{},"resources":{"subscribe":true}}"#,
        ..Canned::default()
    };
    RawServer::start(move |seen| match seen.rpc_method().as_deref() {
        Some("subscriptions/listen") => listen(seen),
        Some(method @ ("resources/list" | "resources/templates/list")) => {
            let key = if method == "resources/list" {
                "resources"
            } else {
                "resourceTemplates"
            };
            let empty = format!(
                r#"{{"resultType":"complete","ttlMs":0,"cacheScope":"public","{key}":[]}}"#
            );
            Script::json(seen.result(&empty))
        }
        _ => canned(&offer, seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap()
}

fn acknowledged(uris: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"notifications":{{"resourceSubscriptions":{uris}}}}}}}"#
    )
}

fn updated(uri: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}"}}}}"#
    )
}

const WANTED: &str = r#"{"notifications":{"resourceSubscriptions":["file:///x","file:///y"]}}"#;

#[tokio::test]
async fn only_what_the_server_honors_is_acknowledged() {
    let (push, events) = feed();
    let server = listening(move |_| {
        Script::sse()
            .event(acknowledged(r#"["file:///y"]"#))
            .follow(&events)
            .hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let mut stream = http::modern(&rig.url(), 1, "subscriptions/listen", WANTED)
        .send()
        .await
        .unwrap();
    let first = next(&mut stream).await;
    assert_eq!(
        first["params"]["notifications"]["resourceSubscriptions"],
        json!(["file:///y"]),
        "{first}"
    );
    push.event(updated("file:///x")).unwrap();
    push.event(updated("file:///y/part")).unwrap();
    assert_eq!(
        next(&mut stream).await["params"]["uri"],
        "file:///y/part",
        "a part of what is subscribed to, and nothing else"
    );
}

#[tokio::test]
async fn a_server_that_refuses_to_tell_is_not_acknowledged_and_not_asked_again() {
    let server = listening(|seen| Script::sse().event(seen.error(-32601, "no")).end()).await;
    let rig = Rig::before(&server).await;
    let mut stream = http::modern(&rig.url(), 1, "subscriptions/listen", WANTED)
        .send()
        .await
        .unwrap();
    let first = next(&mut stream).await;
    assert_eq!(first["params"]["notifications"], json!({}), "{first}");
    rig.gateway.close_streams();
    let last = next(&mut stream).await;
    assert_eq!(last["id"], 1, "nothing between: {last}");
    assert_eq!(server.requests_of("subscriptions/listen").len(), 1);
}

#[tokio::test]
async fn a_listen_stream_ends_properly_when_its_server_is_replaced() {
    let server = listening(|_| {
        Script::sse()
            .event(acknowledged(r#"["file:///x","file:///y"]"#))
            .hold()
    })
    .await;
    let yaml = toolset(&[("a", &server.url(), "")]);
    let rig = Rig::start(&yaml).await;
    let mut stream = http::modern(&rig.url(), 1, "subscriptions/listen", WANTED)
        .send()
        .await
        .unwrap();
    next(&mut stream).await;
    // The same again changes nothing.
    rig.gateway.apply(&set(&yaml)).unwrap();
    let listen = server.requests_of("subscriptions/listen").pop().unwrap();
    rig.gateway
        .apply(&set(&yaml.replace("name: a,", "name: b,")))
        .unwrap();
    let last = next(&mut stream).await;
    assert_eq!(last["result"]["resultType"], "complete", "{last}");
    assert_eq!(stream.event().await.unwrap(), None);
    server.hung_up(listen.number).await.unwrap();
}

#[tokio::test]
async fn updates_of_parts_reach_the_session_that_subscribed_to_the_whole() {
    let (push, events) = feed();
    let offer = Canned {
        capabilities: r#"{"resources":{"subscribe":true}}"#,
        ..legacy()
    };
    let server =
        RawServer::start(
            move |seen| match (&*seen.method, seen.rpc_method().as_deref()) {
                ("GET", _) => Script::sse().follow(&events).hold(),
                (_, Some("resources/subscribe")) => Script::json(seen.result("{}")),
                (_, Some("resources/list")) => {
                    Script::json(seen.result(r#"{"resources":[{"uri":"file:///x","name":"x"}]}"#))
                }
                (_, Some("resources/templates/list")) => {
                    Script::json(seen.result(r#"{"resourceTemplates":[]}"#))
                }
                _ => canned(&offer, seen).unwrap_or_else(Script::accepted),
            },
        )
        .await
        .unwrap();
    let rig = Rig::start(&toolset(&[("a", &server.url(), "isolation: Shared")])).await;
    let alone = Rig::start(&toolset(&[("a", &server.url(), "isolation: PerSession")])).await;
    drop(rig);
    let session = alone.session().await;
    let mut stream = session.stream().await;
    let params = r#"{"uri":"file:///x"}"#;
    let mut reply = session
        .request("1", "resources/subscribe", params)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.json().await.unwrap()["result"], json!({}));
    push.event(updated("file:///xy")).unwrap();
    push.event(updated("file:///x/part")).unwrap();
    assert_eq!(next(&mut stream).await["params"]["uri"], "file:///x/part");
}

const ASKED: &str = r#"{"jsonrpc":"2.0","id":"own","method":"elicitation/create","params":{"_meta":{"progressToken":"own-token"},"message":"?"}}"#;

#[tokio::test]
async fn a_call_that_is_over_withdraws_its_questions_and_progress_on_them_finds_its_server() {
    let (open, closed) = gate();
    let server = server(legacy(), move |seen| {
        Script::sse()
            .event(ASKED)
            .wait(&closed)
            .event(seen.result(WELL))
            .end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut stream = session.stream().await;
    let mut call = session.call("1", "echo").await;
    let asked = next(&mut call).await;
    let token = &asked["params"]["_meta"]["progressToken"];
    assert_eq!(
        *token, asked["id"],
        "the server's own token may be another's as well"
    );
    let params = format!(r#"{{"progressToken":{token},"progress":1}}"#);
    assert_eq!(session.notify("notifications/progress", &params).await, 202);
    let is_progress = |seen: &Seen| seen.rpc_method().as_deref() == Some("notifications/progress");
    let told = server.wait_for(1, is_progress).await.unwrap();
    assert_eq!(told[0].json()["params"]["progressToken"], "own-token");
    open.open();
    assert_eq!(next(&mut call).await["id"], 1);
    let withdrawn = next(&mut stream).await;
    assert_eq!(
        withdrawn["method"], "notifications/cancelled",
        "{withdrawn}"
    );
    assert_eq!(withdrawn["params"]["requestId"], asked["id"]);
}

#[tokio::test]
async fn subscriptions_at_a_shared_server_survive_its_losing_the_session() {
    let (opened, lost) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let (push, events) = feed();
    let server = RawServer::start({
        let lost = lost.clone();
        move |seen| match (&*seen.method, seen.rpc_method().as_deref()) {
            (_, Some("initialize")) => {
                lost.store(false, Ordering::Relaxed);
                let id = format!("s{}", opened.fetch_add(1, Ordering::Relaxed));
                let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"resources":{"subscribe":true}},"serverInfo":{"name":"n","version":"1"}}"#;
                Script::json_with(200, &[("mcp-session-id", &id)], seen.result(result))
            }
            _ if lost.load(Ordering::Relaxed) && seen.header("mcp-session-id").is_some() => Script::status(404),
            ("GET", _) if seen.header("mcp-session-id") == Some("s1") => Script::sse().follow(&events).hold(),
            (_, Some("resources/subscribe" | "ping")) => Script::json(seen.result("{}")),
            (_, Some("resources/list")) => Script::json(seen.result(r#"{"resources":[{"uri":"file:///x","name":"x"}]}"#)),
            (_, Some("resources/templates/list")) => Script::json(seen.result(r#"{"resourceTemplates":[]}"#)),
            (_, Some("tools/call")) => Script::json(seen.result(WELL)),
            _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
        }
    })
    .await
    .unwrap();
    let rig = Rig::start(&toolset(&[("a", &server.url(), "isolation: Shared")])).await;
    let (quiet, calling) = (rig.session().await, rig.session().await);
    let mut stream = quiet.stream().await;
    let mut reply = quiet
        .request("1", "resources/subscribe", r#"{"uri":"file:///x"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.json().await.unwrap()["result"], json!({}));
    lost.store(true, Ordering::Relaxed);
    // Another client finds out; the one that subscribed says nothing more.
    let answer = calling.call("1", "echo").await.answer().await.unwrap();
    assert!(answer["result"].is_object(), "{answer}");
    let is_again = |seen: &Seen| {
        seen.rpc_method().as_deref() == Some("resources/subscribe")
            && seen.header("mcp-session-id") == Some("s1")
    };
    server.wait_for(1, is_again).await.unwrap();
    assert_eq!(
        next(&mut stream).await["params"]["uri"],
        "file:///x",
        "it may have changed meanwhile"
    );
    push.event(updated("file:///x")).unwrap();
    assert_eq!(next(&mut stream).await["params"]["uri"], "file:///x");
}
