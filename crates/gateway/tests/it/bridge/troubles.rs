//! Servers that change their mind, forget, stall or flood while a call waits, and older transports.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::raw::{Canned, RawServer, Script, Seen, canned, feed};

use super::asking::{
    CALL, CAN, FORM, asker, call, is_answer, key, keys, opening, question, request, retry,
};
use super::rounds::{FORM as MODERN_FORM, answer, asking_once, asks};
use crate::rig::{Rig, legacy, modern, next, server, toolset};

const ELICIT: &str = "elicitation/create";

fn withdrawn(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
    )
}

#[tokio::test]
async fn a_question_withdrawn_while_the_call_waits_is_neither_answered_nor_asked_again() {
    let (push, events) = feed();
    let server = server(legacy(), move |_| {
        Script::sse()
            .event(question(("1", ELICIT, FORM), "one"))
            .event(question(("2", ELICIT, FORM), "two"))
            .follow(&events)
            .hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    let both = keys(&asked, ELICIT);
    push.event(withdrawn("1")).unwrap();
    // The ping behind it is answered once it was read.
    push.event(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#)
        .unwrap();
    server.wait_for(1, is_answer).await.unwrap();
    let again = call(&rig, "2", &retry(&asked, &[(&both[0], "{}")])).await;
    assert_eq!(key(&again), both[1]);
    push.event(withdrawn("2")).unwrap();
    push.event(server.requests_of("tools/call")[0].result(r#"{"content":[]}"#))
        .unwrap();
    let done = call(&rig, "3", &retry(&again, &[(&both[1], "{}")])).await;
    assert_eq!(done["result"]["resultType"], "complete", "{done}");
    let answers = server.requests();
    let answers = answers.iter().filter(|seen| is_answer(seen));
    assert!(
        answers
            .filter(|seen| seen.json()["id"] != "p")
            .all(|seen| seen.json()["id"] == 2),
        "to what was withdrawn, nothing is said"
    );
}

#[tokio::test]
async fn a_server_that_does_not_take_the_answer_fails_the_retry_and_not_minutes_later() {
    for status in [404, 400, 500] {
        let server = RawServer::start(move |seen| match seen.rpc_method().as_deref() {
            Some("initialize") => opening(seen, r#"{"tools":{}}"#, &format!("own-{}", seen.number)),
            Some("tools/call") => Script::sse()
                .event(question(("1", ELICIT, FORM), "m"))
                .hold(),
            _ if is_answer(seen) => Script::status(status),
            _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
        })
        .await
        .unwrap();
        let rig = Rig::before(&server).await;
        let asked = call(&rig, "1", CALL).await;
        let answer = call(&rig, "2", &retry(&asked, &[(&key(&asked), "{}")])).await;
        assert_eq!(answer["error"]["code"], -32603, "{status}: {answer}");
        assert_eq!(server.requests_of("tools/call").len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_is_slow_to_take_an_answer_holds_up_neither_the_others_nor_the_call() {
    let (push, events) = feed();
    let server = RawServer::start(move |seen| match seen.rpc_method().as_deref() {
        Some("initialize") => opening(seen, r#"{"tools":{}}"#, &format!("own-{}", seen.number)),
        Some("tools/call") => Script::sse()
            .event(question(("1", ELICIT, FORM), "one"))
            .event(question(("2", ELICIT, FORM), "two"))
            .follow(&events)
            .hold(),
        // The message is taken, but nobody says so.
        _ if is_answer(seen) => Script::never(),
        _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    let both = keys(&asked, ELICIT);
    let params = retry(&asked, &[(&both[0], "{}"), (&both[1], "{}")]);
    let (answer, ()) = tokio::join!(call(&rig, "2", &params), async {
        server.wait_for(2, is_answer).await.unwrap();
        let asked = &server.requests_of("tools/call")[0];
        push.event(asked.result(r#"{"content":[]}"#)).unwrap();
    });
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
}

#[tokio::test]
async fn the_end_is_not_held_up_by_servers_that_take_no_answer() {
    let server = RawServer::start(move |seen| match seen.rpc_method().as_deref() {
        Some("initialize") => opening(seen, r#"{"tools":{}}"#, &format!("own-{}", seen.number)),
        Some("tools/call") => Script::sse()
            .event(question(("1", ELICIT, FORM), "m"))
            .hold(),
        _ if is_answer(seen) => Script::never(),
        _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    for id in ["1", "2", "3"] {
        call(&rig, id, CALL).await;
    }
    testkit::within("the end", rig.gateway.close())
        .await
        .unwrap();
}

#[tokio::test]
async fn of_a_flood_of_questions_some_are_asked_and_the_others_refused() {
    let (push, events) = feed();
    let server = server(legacy(), move |_| {
        let asks = (0..50).fold(Script::sse(), |script, at| {
            let id: &'static str = Box::leak(at.to_string().into_boxed_str());
            script.event(question((id, ELICIT, FORM), "m"))
        });
        asks.follow(&events).hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    let shown = keys(&asked, ELICIT);
    let refused = server.wait_for(50 - shown.len(), is_answer).await.unwrap();
    assert!(
        refused
            .iter()
            .all(|seen| seen.json()["error"]["code"].is_i64())
    );
    let answers: Vec<(&str, &str)> = shown.iter().map(|key| (key.as_str(), "{}")).collect();
    let params = retry(&asked, &answers);
    let (answer, ()) = tokio::join!(call(&rig, "2", &params), async {
        let all = server.wait_for(50, is_answer).await.unwrap();
        let ids: std::collections::HashSet<String> =
            all.iter().map(|seen| seen.rpc_id().unwrap()).collect();
        assert_eq!(ids.len(), 50, "each question has one answer");
        push.event(server.requests_of("tools/call")[0].result("{}"))
            .unwrap();
    });
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
}

#[tokio::test]
async fn while_a_client_thinks_the_time_of_the_call_stands_still() {
    let brief = "timeouts: {total: 1s}";
    let thinks = Duration::from_millis(1500);
    let old = asker(&[&[("1", ELICIT, FORM)]]).await;
    let rig = Rig::start(&toolset(&[("a", &old.url(), brief)])).await;
    let asked = call(&rig, "1", CALL).await;
    tokio::time::sleep(thinks).await;
    let done = call(&rig, "2", &retry(&asked, &[(&key(&asked), "{}")])).await;
    assert_eq!(done["result"]["resultType"], "complete", "{done}");
    let new = asking_once(format!(r#"{{"k":{MODERN_FORM}}}"#)).await;
    let rig = Rig::start(&toolset(&[("a", &new.url(), brief)])).await;
    let session = rig.session().await;
    let mut call = session.call("1", "echo").await;
    let asked = next(&mut call).await;
    tokio::time::sleep(thinks).await;
    answer(&session, &asked["id"], r#""result":{"action":"accept"}"#).await;
    let done = next(&mut call).await;
    assert!(done["result"].is_object(), "{done}");
}

#[tokio::test]
async fn a_server_that_is_silent_after_the_answers_fails_the_call_in_its_time() {
    let brief = "timeouts: {total: 1s}";
    let old = server(legacy(), |_| {
        Script::sse()
            .event(question(("1", ELICIT, FORM), "m"))
            .hold()
    })
    .await;
    let rig = Rig::start(&toolset(&[("a", &old.url(), brief)])).await;
    let asked = call(&rig, "1", CALL).await;
    let failed = call(&rig, "2", &retry(&asked, &[(&key(&asked), "{}")])).await;
    assert_eq!(failed["error"]["code"], -32603, "{failed}");
    old.wait_for(1, super::asking::is_cancel).await.unwrap();
    let new = server(modern(), |seen| {
        if seen.json()["params"]["requestState"].is_null() {
            let asked = asks(&format!(r#"{{"k":{MODERN_FORM}}}"#), "\"s\"");
            return Script::json(seen.result(&asked));
        }
        Script::sse().hold()
    })
    .await;
    let rig = Rig::start(&toolset(&[("a", &new.url(), brief)])).await;
    let session = rig.session().await;
    let mut call = session.call("1", "echo").await;
    let asked = next(&mut call).await;
    answer(&session, &asked["id"], r#""result":{"action":"accept"}"#).await;
    let failed = next(&mut call).await;
    assert_eq!(failed["error"]["code"], -32603, "{failed}");
    let last = new.requests_of("tools/call").pop().unwrap();
    new.hung_up(last.number).await.unwrap();
}

#[tokio::test]
async fn a_server_of_the_oldest_transport_asks_as_others_do() {
    let lines = AtomicUsize::new(0);
    let pushes = std::sync::Mutex::new(Vec::new());
    let calls = std::sync::Mutex::new(Vec::<(usize, Seen)>::new());
    let server = RawServer::start(move |seen| {
        if &*seen.method == "GET" {
            let line = lines.fetch_add(1, Ordering::Relaxed);
            let (push, events) = feed();
            pushes.lock().unwrap().push(push);
            return Script::sse()
                .chunk(format!("event: endpoint\ndata: /messages/{line}\n\n"))
                .follow(&events)
                .hold();
        }
        let Some(line) = seen.target.strip_prefix("/messages/") else {
            return Script::status(405);
        };
        let line: usize = line.parse().unwrap();
        let say = |text: String| pushes.lock().unwrap()[line].event(text).unwrap();
        match seen.rpc_method().as_deref() {
            Some("initialize") => say(seen.result(
                r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"old","version":"1"}}"#,
            )),
            Some("tools/list") => {
                say(seen.result(&format!(r#"{{"tools":{}}}"#, Canned::default().tools)));
            }
            Some("tools/call") => {
                calls.lock().unwrap().push((line, seen.clone()));
                say(question(("\"q\"", ELICIT, FORM), "m"));
            }
            None if is_answer(seen) => {
                let mut calls = calls.lock().unwrap();
                if let Some(at) = calls.iter().position(|(of, _)| *of == line) {
                    let (_, asked) = calls.remove(at);
                    let got = &seen.json()["result"];
                    say(asked.result(&format!(r#"{{"content":[],"structuredContent":{got}}}"#)));
                }
            }
            _ => {}
        }
        Script::accepted()
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let (one, two) = (call(&rig, "1", CALL).await, call(&rig, "2", CALL).await);
    for (asked, n) in [(&two, 2), (&one, 1)] {
        let said = format!(r#"{{"n":{n}}}"#);
        let done = call(&rig, "3", &retry(asked, &[(&key(asked), &said)])).await;
        assert_eq!(done["result"]["structuredContent"]["n"], n, "{done}");
    }
}

#[tokio::test]
async fn a_modern_clients_mirrors_are_checked_for_a_legacy_server_and_kept_from_it() {
    let offer = Canned {
        tools: r#"[{"name":"echo","inputSchema":{"type":"object","properties":{"mark":{"type":"string","x-mcp-header":"Mark"}}}}]"#,
        ..legacy()
    };
    let server = server(offer, |seen| Script::json(seen.result(r#"{"content":[]}"#))).await;
    let rig = Rig::before(&server).await;
    let with = async |header: Option<&str>| -> (u16, Value) {
        let call = request(&rig, "1", CALL, CAN);
        let call = match header {
            Some(header) => call.header("Mcp-Param-Mark", header),
            None => call,
        };
        let mut reply = call.send().await.unwrap();
        (reply.status, reply.answer().await.unwrap())
    };
    for wrong in [None, Some("n"), Some("=?base64?bg==?=")] {
        let (status, answer) = with(wrong).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32020)));
    }
    assert!(server.requests_of("tools/call").is_empty());
    let (status, answer) = with(Some("m")).await;
    assert_eq!(status, 200);
    assert!(answer["result"].is_object(), "{answer}");
    let seen = &server.requests_of("tools/call")[0];
    let modern_only = ["mcp-param-mark", "mcp-method", "mcp-name"];
    assert!(modern_only.iter().all(|name| seen.header(name).is_none()));
}
