//! The sessions at legacy servers that modern clients' calls are made on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use testkit::raw::{RawServer, Script, Seen, canned, feed, gate};

use super::asking::{
    CALL, CAN, FORM, asker, asker_with, call, is_answer, is_call, key, opening, question, request,
    retry,
};
use crate::rig::{Rig, legacy, next, server, toolset};

const ELICIT: &str = "elicitation/create";
const NONE: &str = "{}";

fn sessions(calls: &[Seen]) -> Vec<String> {
    let of = |seen: &Seen| seen.header("mcp-session-id").unwrap().to_owned();
    calls.iter().map(of).collect()
}

/// Ways in which the gateway opened a session: the capabilities that it declared.
fn declared(server: &RawServer) -> Vec<Value> {
    let opened = server.requests_of("initialize");
    let of = |seen: &Seen| seen.json()["params"]["capabilities"].clone();
    opened.iter().map(of).collect()
}

#[tokio::test]
async fn calls_of_clients_that_can_be_asked_nothing_share_one_session() {
    let (open, closed) = gate();
    let opened = AtomicUsize::new(0);
    let server = RawServer::start(move |seen| match seen.rpc_method().as_deref() {
        Some("initialize") => {
            let id = format!("own-{}", opened.fetch_add(1, Ordering::Relaxed));
            opening(seen, r#"{"tools":{}}"#, &id)
        }
        Some("tools/call") => Script::sse()
            .wait(&closed)
            .event(seen.result(r#"{"content":[]}"#))
            .end(),
        _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let before = server.requests_of("initialize").len();
    let one = async |id: &str| {
        let mut reply = request(&rig, id, CALL, NONE).send().await.unwrap();
        reply.answer().await.unwrap()
    };
    let (first, second, third, ()) = tokio::join!(one("1"), one("1"), one("1"), async {
        server.wait_for(3, is_call).await.unwrap();
        open.open();
    });
    for answer in [first, second, third, one("2").await] {
        assert!(answer["result"].is_object(), "{answer}");
    }
    assert_eq!(
        server.requests_of("initialize").len(),
        before + 1,
        "one session for all of them"
    );
    let mut used = sessions(&server.requests_of("tools/call"));
    used.dedup();
    assert_eq!(used.len(), 1, "{used:?}");
    assert_eq!(declared(&server).last().unwrap(), &json!({}));
}

#[tokio::test]
async fn a_session_on_which_the_server_may_ask_has_one_call_at_a_time_and_is_used_again() {
    let (open, closed) = gate();
    let opened = AtomicUsize::new(0);
    let server = RawServer::start(move |seen| match seen.rpc_method().as_deref() {
        Some("initialize") => {
            let id = format!("own-{}", opened.fetch_add(1, Ordering::Relaxed));
            opening(seen, r#"{"tools":{}}"#, &id)
        }
        Some("tools/call") => Script::sse()
            .wait(&closed)
            .event(seen.result(r#"{"content":[]}"#))
            .end(),
        _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let before = server.requests_of("initialize").len();
    let (.., ()) = tokio::join!(call(&rig, "1", CALL), call(&rig, "2", CALL), async {
        server.wait_for(2, is_call).await.unwrap();
        open.open();
    });
    let used = sessions(&server.requests_of("tools/call"));
    assert_ne!(used[0], used[1]);
    for id in ["3", "4", "5"] {
        call(&rig, id, CALL).await;
    }
    assert_eq!(server.requests_of("initialize").len(), before + 2);
    assert_eq!(
        declared(&server).last().unwrap(),
        &json!({"elicitation": {"form": {}, "url": {}}, "roots": {}, "sampling": {}})
    );
}

#[tokio::test]
async fn what_a_client_can_do_decides_its_session_whatever_the_order() {
    let server = asker(&[]).await;
    let rig = Rig::before(&server).await;
    let before = server.requests_of("initialize").len();
    let with = async |capabilities: &str| {
        let meta = format!(r#"{{"io.modelcontextprotocol/clientCapabilities":{capabilities}}}"#);
        let mut reply = request(&rig, "1", CALL, &meta).send().await.unwrap();
        assert!(reply.answer().await.unwrap()["result"].is_object());
    };
    with(r#"{"sampling":{},"elicitation":{"form":{},"url":{}}}"#).await;
    with(r#"{ "elicitation":{"url":{},"form":{} }, "sampling":{} }"#).await;
    assert_eq!(server.requests_of("initialize").len(), before + 1);
    with(r#"{"sampling":{}}"#).await;
    with("{}").await;
    assert_eq!(server.requests_of("initialize").len(), before + 3);
    let used = sessions(&server.requests_of("tools/call"));
    assert_eq!(used[0], used[1]);
    assert!(used[1] != used[2] && used[2] != used[3] && used[1] != used[3]);
}

/// A server that forgets its sessions when told, and counts the calls it carried out.
async fn forgetful() -> (RawServer, Arc<AtomicUsize>) {
    let era = Arc::new(AtomicUsize::new(0));
    let now = era.clone();
    let server = RawServer::start(move |seen| {
        let run = format!("run-{}-", now.load(Ordering::Relaxed));
        let session = seen.header("mcp-session-id");
        if session.is_some_and(|session| !session.starts_with(&run)) {
            return Script::status(404);
        }
        match seen.rpc_method().as_deref() {
            Some("initialize") => {
                opening(seen, r#"{"tools":{}}"#, &format!("{run}{}", seen.number))
            }
            Some("tools/call") => Script::json(seen.result(r#"{"content":[]}"#)),
            _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
        }
    })
    .await
    .unwrap();
    (server, era)
}

#[tokio::test]
async fn a_session_that_the_server_lost_is_opened_again_once() {
    for meta in [NONE, CAN] {
        let (server, era) = forgetful().await;
        let rig = Rig::before(&server).await;
        let one = async |id: &str| {
            let mut reply = request(&rig, id, CALL, meta).send().await.unwrap();
            reply.answer().await.unwrap()
        };
        assert!(one("1").await["result"].is_object());
        era.fetch_add(1, Ordering::Relaxed);
        let answer = one("2").await;
        assert!(answer["result"].is_object(), "{meta}: {answer}");
        assert_eq!(server.requests_of("tools/call").len(), 3);
    }
}

#[tokio::test]
async fn a_server_that_loses_every_new_session_is_not_asked_for_ever() {
    let server = RawServer::start(|seen| match seen.rpc_method().as_deref() {
        Some("initialize") => opening(seen, r#"{"tools":{}}"#, "own"),
        Some("tools/call") => Script::status(404),
        _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    for meta in [NONE, CAN] {
        let before = server.requests_of("tools/call").len();
        let mut reply = request(&rig, "1", CALL, meta).send().await.unwrap();
        let answer = reply.answer().await.unwrap();
        assert_eq!(answer["error"]["code"], -32603, "{answer}");
        assert_eq!(server.requests_of("tools/call").len(), before + 2);
    }
}

#[tokio::test]
async fn sessions_that_rest_and_are_all_lost_do_not_fail_a_call() {
    let (server, era) = forgetful().await;
    let rig = Rig::before(&server).await;
    // Three calls at once leave three sessions behind.
    tokio::join!(
        call(&rig, "1", CALL),
        call(&rig, "2", CALL),
        call(&rig, "3", CALL)
    );
    let mut rested = sessions(&server.requests_of("tools/call"));
    rested.sort();
    rested.dedup();
    assert!(rested.len() > 1, "{rested:?}");
    era.fetch_add(1, Ordering::Relaxed);
    for id in ["4", "5", "6"] {
        let answer = call(&rig, id, CALL).await;
        assert!(answer["result"].is_object(), "{answer}");
    }
}

#[tokio::test]
async fn a_server_shared_by_all_is_called_on_its_one_session() {
    let server = asker(&[]).await;
    let rig = Rig::start(&toolset(&[("a", &server.url(), "isolation: Shared")])).await;
    let before = server.requests_of("initialize").len();
    for meta in [NONE, CAN] {
        let mut reply = request(&rig, "1", CALL, meta).send().await.unwrap();
        assert!(reply.answer().await.unwrap()["result"].is_object());
    }
    assert_eq!(server.requests_of("initialize").len(), before);
}

#[tokio::test]
async fn a_question_where_the_client_may_not_be_asked_is_refused() {
    // MCP 2026-07-28, basic/patterns/mrtr: only tool calls, prompts and resources may ask back.
    let mut offer = legacy();
    offer.capabilities = r#"{"tools":{},"prompts":{},"completions":{}}"#;
    let (push, events) = feed();
    let server = asker_with(offer, &[], move |seen| match seen.rpc_method().as_deref() {
        Some("prompts/list") => Some(Script::json(seen.result(r#"{"prompts":[{"name":"p"}]}"#))),
        Some("completion/complete") => Some(
            Script::sse()
                .event(question(("1", ELICIT, FORM), "m"))
                .follow(&events)
                .end(),
        ),
        _ => None,
    })
    .await;
    let rig = Rig::before(&server).await;
    let params = r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"x","value":"y"}}"#;
    let asked = testkit::http::modern_meta(&rig.url(), 1, "completion/complete", params, CAN);
    let (answer, ()) = tokio::join!(
        async { asked.send().await.unwrap().answer().await.unwrap() },
        async {
            let got = server.wait_for(1, is_answer).await.unwrap();
            assert!(got[0].json()["error"]["code"].is_i64(), "{}", got[0].text());
            let asked = &server.requests_of("completion/complete")[0];
            push.event(asked.result(r#"{"completion":{"values":[]}}"#))
                .unwrap();
        }
    );
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
}

#[tokio::test]
async fn a_tool_of_a_legacy_server_answers_as_it_would_answer_its_own_kind() {
    const RESULT: &str = r#"{"content":[{"type":"text","text":"\u00e9"}],"structuredContent":{"n":1.0},"isError":true,"_meta":{"a/b":1}}"#;
    let server = server(legacy(), |seen| Script::json(seen.result(RESULT))).await;
    let rig = Rig::before(&server).await;
    let mut reply = request(&rig, "1", CALL, CAN).send().await.unwrap();
    let text = reply.text().await.unwrap();
    assert!(
        text.contains(r#""text":"\u00e9""#) && text.contains(r#"{"n":1.0}"#),
        "{text}"
    );
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["result"]["resultType"], "complete");
    assert_eq!(answer["result"]["_meta"], json!({"a/b": 1}));
    let params = retry_free();
    let mut reply = request(&rig, "2", &params, CAN).send().await.unwrap();
    let again = next_answer(&mut reply).await;
    assert_eq!(again["result"]["isError"], true);
}

fn retry_free() -> String {
    // Answers without a state belong to nothing that waits: the call is made.
    r#"{"name":"echo","arguments":{"mark":"m"},"inputResponses":{}}"#.to_owned()
}

async fn next_answer(reply: &mut testkit::http::Reply) -> Value {
    if reply.is_stream() {
        next(reply).await
    } else {
        reply.json().await.unwrap()
    }
}

#[tokio::test]
async fn a_call_that_waits_keeps_its_session_from_others() {
    let server = asker(&[&[("1", ELICIT, FORM)]]).await;
    let rig = Rig::before(&server).await;
    let first = call(&rig, "1", CALL).await;
    let second = call(&rig, "2", CALL).await;
    let used = sessions(&server.requests_of("tools/call"));
    assert_ne!(used[0], used[1]);
    for asked in [&first, &second] {
        let answer = call(&rig, "3", &retry(asked, &[(&key(asked), "{}")])).await;
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    }
}
