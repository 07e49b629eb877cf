//! Questions of legacy servers to clients: exactly one conversation gets them, and each answer reaches who asked.

use serde_json::{Value, json};
use testkit::raw::{Canned, RawServer, Script, Seen, canned, feed};

use crate::rig::{Rig, Session, is_quiet, legacy, next, toolset};

fn question(id: &str, method: &str, text: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"message":"{text}","n":1.0}}}}"#
    )
}

fn is_answer(seen: &Seen) -> bool {
    let body = seen.json();
    body.get("method").is_none() && (body.get("result").is_some() || body.get("error").is_some())
}

/// A server that asks `asks` in the stream of a call, and answers the call when it got as many answers in that session.
async fn asking(name: &'static str, asks: &'static [(&'static str, &'static str)]) -> RawServer {
    let opened = std::sync::atomic::AtomicUsize::new(0);
    let (push, answers) = feed();
    RawServer::start(move |seen| {
        if is_answer(seen) {
            push.event(r#"{"jsonrpc":"2.0","method":"notifications/answered"}"#).unwrap();
            return Script::accepted();
        }
        match seen.rpc_method().as_deref() {
            Some("initialize") => {
                let id = format!("{name}-{}", opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
                let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"asks","version":"1"}}"#;
                Script::json_with(200, &[("mcp-session-id", &id)], seen.result(result))
            }
            Some("tools/call") => asks.iter().fold(Script::sse(), |script, (id, method)| script.event(question(id, method, name))).follow(&answers).hold(),
            _ => canned(&Canned { modern: false, ..Canned::default() }, seen).unwrap_or_else(Script::accepted),
        }
    })
    .await
    .unwrap()
}

async fn answer(session: &Session, id: &Value, result: &str) {
    assert_eq!(
        session
            .post(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
            ))
            .await
            .status,
        202
    );
}

#[tokio::test]
async fn questions_come_on_the_stream_of_their_call_and_answers_go_back_with_the_servers_id() {
    const ASKS: &[(&str, &str)] = &[
        ("\"own\"", "elicitation/create"),
        ("1", "sampling/createMessage"),
        ("0", "roots/list"),
    ];
    let server = asking("a", ASKS).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut own_stream = session.stream().await;
    let mut call = session.call("5", "echo").await;
    let mut shown = Vec::new();
    for (_, method) in ASKS {
        let asked = next(&mut call).await;
        assert_eq!(asked["method"], *method);
        assert_eq!(asked["params"]["message"], "a");
        shown.push(asked["id"].clone());
    }
    // Answered in another order, once by an error, once doubled.
    answer(
        &session,
        &shown[2],
        r#"{"roots":[{"uri":"file:///x","n":1.0}]}"#,
    )
    .await;
    let refusal = format!(
        r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-1,"message":"no"}}}}"#,
        shown[0]
    );
    assert_eq!(session.post(&refusal).await.status, 202);
    answer(&session, &shown[1], r#"{"role":"assistant"}"#).await;
    answer(&session, &shown[1], r#"{"role":"twice"}"#).await;
    let got = server.wait_for(3, is_answer).await.unwrap();
    let texts: Vec<String> = got.iter().map(Seen::text).collect();
    assert_eq!(
        texts,
        [
            r#"{"jsonrpc":"2.0","id":0,"result":{"roots":[{"uri":"file:///x","n":1.0}]}}"#,
            r#"{"jsonrpc":"2.0","id":"own","error":{"code":-1,"message":"no"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"role":"assistant"}}"#,
        ]
    );
    let of_call = server.requests_of("tools/call")[0]
        .header("mcp-session-id")
        .map(str::to_owned);
    assert!(
        got.iter()
            .all(|seen| seen.header("mcp-session-id").map(str::to_owned) == of_call)
    );
    // Nothing of this came twice: the next on the session's own stream is something else.
    session.notify("notifications/initialized", "{}").await;
    is_quiet(&mut own_stream).await;
}

#[tokio::test]
async fn another_session_cannot_answer() {
    let server = asking("a", &[("1", "elicitation/create")]).await;
    let rig = Rig::before(&server).await;
    let (session, thief) = (rig.session().await, rig.session().await);
    let mut call = session.call("5", "echo").await;
    let asked = next(&mut call).await;
    answer(&thief, &asked["id"], r#"{"action":"accept"}"#).await;
    answer(&session, &json!(424_242), "{}").await;
    answer(&session, &json!(asked["id"].to_string()), "{}").await;
    assert!(
        !server.requests().iter().any(is_answer),
        "an id of another type, session or nobody answers nothing"
    );
    answer(&session, &asked["id"], r#"{"action":"decline"}"#).await;
    let got = server.wait_for(1, is_answer).await.unwrap();
    assert_eq!(got[0].json()["result"]["action"], "decline");
}

#[tokio::test]
async fn two_servers_that_ask_with_equal_ids_are_told_apart() {
    let (one, two) = (
        asking("one", &[("1", "elicitation/create")]).await,
        asking("two", &[("1", "elicitation/create")]).await,
    );
    let yaml = toolset(&[
        ("one", &one.url(), "prefix: one_"),
        ("two", &two.url(), "prefix: two_"),
    ]);
    let rig = Rig::start(&yaml).await;
    let session = rig.session().await;
    let (mut first, mut second) = (
        session.call("1", "one_echo").await,
        session.call("2", "two_echo").await,
    );
    let (of_one, of_two) = (next(&mut first).await, next(&mut second).await);
    assert_ne!(of_one["id"], of_two["id"]);
    assert!(
        of_one["params"]["message"]
            .as_str()
            .unwrap()
            .contains("[one]"),
        "it is clear who asks: {of_one}"
    );
    assert!(
        of_two["params"]["message"]
            .as_str()
            .unwrap()
            .contains("[two]"),
        "it is clear who asks: {of_two}"
    );
    answer(&session, &of_two["id"], r#"{"for":"two"}"#).await;
    answer(&session, &of_one["id"], r#"{"for":"one"}"#).await;
    for (server, name) in [(&one, "one"), (&two, "two")] {
        let got = server.wait_for(1, is_answer).await.unwrap();
        assert_eq!(
            got[0].json(),
            json!({"jsonrpc": "2.0", "id": 1, "result": {"for": name}})
        );
        assert_eq!(
            server
                .requests()
                .iter()
                .filter(|seen| is_answer(seen))
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn a_server_withdraws_its_question_by_the_clients_id() {
    let (push, events) = feed();
    let server = crate::rig::server(legacy(), move |_| {
        Script::sse()
            .event(question("\"own\"", "elicitation/create", "x"))
            .follow(&events)
            .hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut call = session.call("5", "echo").await;
    let asked = next(&mut call).await;
    for foreign in ["1", "\"other\""] {
        push.event(format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{foreign}}}}}"#)).unwrap();
    }
    push.event(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"reason":"late","requestId":"own"}}"#).unwrap();
    let withdrawn = next(&mut call).await;
    assert_eq!(withdrawn["method"], "notifications/cancelled");
    assert_eq!(
        (
            &withdrawn["params"]["requestId"],
            &withdrawn["params"]["reason"]
        ),
        (&asked["id"], &json!("late"))
    );
    answer(&session, &asked["id"], "{}").await;
    assert!(!server.requests().iter().any(is_answer), "too late");
}

#[tokio::test]
async fn questions_that_belong_to_nobody_are_refused() {
    // On a shared session nobody can say which client is meant; to the gateway's own session nobody listens.
    let (push, events) = feed();
    let server = crate::rig::server(legacy(), move |_| {
        Script::sse()
            .event(question("7", "sampling/createMessage", "x"))
            .follow(&events)
            .hold()
    })
    .await;
    let rig = Rig::start(&toolset(&[("a", &server.url(), "isolation: Shared")])).await;
    let session = rig.session().await;
    let mut own_stream = session.stream().await;
    let (reply, refused) = tokio::join!(
        async {
            let mut call = session.call("5", "echo").await;
            call.answer().await.unwrap()
        },
        async {
            let refused = server.wait_for(1, is_answer).await.unwrap();
            let call = &server.requests_of("tools/call")[0];
            push.event(call.result(r#"{"content":[]}"#)).unwrap();
            refused
        }
    );
    assert_eq!(
        (
            &refused[0].json()["id"],
            &refused[0].json()["error"]["code"]
        ),
        (&json!(7), &json!(-32601))
    );
    assert!(reply["result"].is_object());
    is_quiet(&mut own_stream).await;
}

#[tokio::test]
async fn pings_of_a_server_are_answered_here() {
    let server = crate::rig::server(legacy(), |seen| {
        Script::sse()
            .event(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#)
            .event(seen.result("{}"))
            .end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let mut reply = rig.session().await.call("1", "echo").await;
    assert!(!reply.is_stream(), "the client hears nothing of it");
    assert_eq!(reply.json().await.unwrap()["id"], 1);
    let got = server.wait_for(1, is_answer).await.unwrap();
    assert_eq!(
        got[0].json(),
        json!({"jsonrpc": "2.0", "id": "p", "result": {}})
    );
}

#[tokio::test]
async fn a_question_on_the_servers_own_stream_comes_on_the_sessions_own_stream() {
    let (push, events) = feed();
    let offer = legacy();
    let server = RawServer::start(move |seen| {
        // The gateway's own session has its stream, too; only the one opened for the client asks.
        if &*seen.method == "GET" {
            return if seen.header("mcp-session-id") == Some("own-2") { Script::sse().follow(&events).hold() } else { Script::status(405) };
        }
        if seen.rpc_method().as_deref() == Some("initialize") {
            let sampling = seen.json()["params"]["capabilities"].get("sampling").is_some();
            let session = if sampling { "own-2" } else { "own-1" };
            let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}"#;
            return Script::json_with(200, &[("mcp-session-id", session)], seen.result(result));
        }
        canned(&offer, seen).unwrap_or_else(|| if seen.rpc_method().is_some() { Script::json(seen.result(r#"{"content":[]}"#)) } else { Script::accepted() })
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let (session, other) = (
        rig.session().await,
        rig.session_of("2025-11-25", "{}").await,
    );
    let (mut stream, mut strange) = (session.stream().await, other.stream().await);
    session.call("1", "echo").await.answer().await.unwrap();
    other.call("1", "echo").await.answer().await.unwrap();
    server
        .wait_for(1, |seen| {
            &*seen.method == "GET" && seen.header("mcp-session-id") == Some("own-2")
        })
        .await
        .unwrap();
    push.event(question("3", "sampling/createMessage", "x"))
        .unwrap();
    let asked = next(&mut stream).await;
    assert_eq!(asked["method"], "sampling/createMessage");
    answer(&session, &asked["id"], r#"{"ok":1.0}"#).await;
    let got = server.wait_for(1, is_answer).await.unwrap();
    assert_eq!(
        (got[0].text().as_str(), got[0].header("mcp-session-id")),
        (
            r#"{"jsonrpc":"2.0","id":3,"result":{"ok":1.0}}"#,
            Some("own-2")
        )
    );
    is_quiet(&mut strange).await;
}

#[tokio::test]
async fn unanswered_questions_do_not_use_up_the_session() {
    // A server that gives up waiting says so at best; its questions must not fill the session for ever.
    let server = crate::rig::server(legacy(), |seen| {
        Script::sse()
            .event(question("1", "elicitation/create", "x"))
            .event(seen.result("{}"))
            .end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    for id in 0..80 {
        let mut call = session.call(&id.to_string(), "echo").await;
        assert!(call.is_stream(), "question {id} is put to the client");
        assert_eq!(
            next(&mut call).await["method"],
            "elicitation/create",
            "{id}"
        );
        assert_eq!(next(&mut call).await["id"], id);
    }
}
