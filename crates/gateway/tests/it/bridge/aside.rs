//! What legacy servers say beside the answer to a call, on the session's own stream or to nobody.

use serde_json::json;
use testkit::raw::{RawServer, Script, canned, feed, gate};

use super::asking::{
    CALL, FORM, asker, asker_with, call, is_answer, key, keys, opening, question, retry,
};
use super::corners::late;
use crate::rig::{Rig, legacy, server};

const ELICIT: &str = "elicitation/create";

#[tokio::test]
async fn a_question_on_the_sessions_own_stream_belongs_to_the_call_that_has_the_session() {
    let (push, events) = feed();
    let (end, ends) = feed();
    let offer = legacy();
    let server = RawServer::start(move |seen| {
        let asks = seen.header("mcp-session-id") == Some("asks");
        if &*seen.method == "GET" {
            return if asks {
                Script::sse().follow(&events).hold()
            } else {
                Script::status(405)
            };
        }
        match seen.rpc_method().as_deref() {
            Some("initialize") => {
                let can = !seen.json()["params"]["capabilities"]["sampling"].is_null();
                opening(seen, offer.capabilities, if can { "asks" } else { "own" })
            }
            Some("tools/call") => {
                push.event(question(("\"aside\"", ELICIT, FORM), "m"))
                    .unwrap();
                Script::sse().follow(&ends).hold()
            }
            _ => canned(&offer, seen).unwrap_or_else(Script::accepted),
        }
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    assert_eq!(keys(&asked, ELICIT).len(), 1);
    let params = retry(&asked, &[(&key(&asked), r#"{"action":"accept"}"#)]);
    let (answer, ()) = tokio::join!(call(&rig, "2", &params), async {
        let got = server.wait_for(1, is_answer).await.unwrap();
        assert_eq!(
            (
                got[0].text().as_str(),
                got[0].header("mcp-session-id").unwrap()
            ),
            (
                r#"{"jsonrpc":"2.0","id":"aside","result":{"action":"accept"}}"#,
                "asks"
            )
        );
        let calls = server.requests_of("tools/call");
        end.event(calls[0].result(r#"{"content":[]}"#)).unwrap();
    });
    assert_eq!(answer["result"]["content"], json!([]), "{answer}");
}

#[tokio::test]
async fn a_ping_in_a_call_is_answered_here() {
    let server = asker(&[&[("\"p\"", "ping", "{}")]]).await;
    let rig = Rig::before(&server).await;
    let answer = call(&rig, "1", CALL).await;
    assert_eq!(
        answer["result"]["structuredContent"]["got"],
        json!([{}]),
        "{answer}"
    );
}

/// A legacy server that asks on the session's own stream and answers a call only when it was answered itself.
async fn asks_aside() -> (RawServer, testkit::raw::Opener) {
    let (push, events) = feed();
    let (open, closed) = gate();
    let offer = legacy();
    let server = RawServer::start(move |seen| {
        let asks = seen.header("mcp-session-id") == Some("asks");
        if &*seen.method == "GET" {
            return if asks {
                Script::sse().follow(&events).hold()
            } else {
                Script::status(405)
            };
        }
        match seen.rpc_method().as_deref() {
            Some("initialize") => {
                let can = !seen.json()["params"]["capabilities"]["sampling"].is_null();
                opening(seen, offer.capabilities, if can { "asks" } else { "own" })
            }
            Some("tools/call") => {
                push.event(question(("\"aside\"", ELICIT, FORM), "m"))
                    .unwrap();
                // Not even a head before that.
                late(&closed, 200, &seen.result(r#"{"content":[]}"#))
            }
            _ => canned(&offer, seen).unwrap_or_else(Script::accepted),
        }
    })
    .await
    .unwrap();
    (server, open)
}

#[tokio::test]
async fn a_server_that_answers_the_call_with_nothing_before_it_was_answered_itself_is_answered() {
    // Servers that answer calls with plain JSON have only the session's own stream to ask on.
    let (server, open) = asks_aside().await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let params = retry(&asked, &[(&key(&asked), r#"{"action":"accept"}"#)]);
    let (answer, ()) = tokio::join!(call(&rig, "2", &params), async {
        let got = server.wait_for(1, is_answer).await.unwrap();
        assert_eq!(got[0].json()["id"], "aside");
        open.open();
    });
    assert_eq!(answer["result"]["content"], json!([]), "{answer}");
    assert_eq!(server.requests_of("tools/call").len(), 1);
}

#[tokio::test]
async fn a_ping_while_the_call_waits_is_answered() {
    let (push, events) = feed();
    let server = server(legacy(), move |_| {
        Script::sse()
            .event(question(("1", ELICIT, FORM), "m"))
            .follow(&events)
            .hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    assert_eq!(asked["result"]["resultType"], "input_required");
    push.event(r#"{"jsonrpc":"2.0","id":"alive","method":"ping"}"#)
        .unwrap();
    // Servers take a client for gone that does not answer this, and end the session.
    let got = server.wait_for(1, is_answer).await.unwrap();
    assert_eq!(
        got[0].json(),
        json!({"jsonrpc": "2.0", "id": "alive", "result": {}})
    );
}

#[tokio::test]
async fn a_ping_on_a_session_that_rests_is_answered() {
    let (push, events) = feed();
    let server = asker_with(legacy(), &[], move |seen| {
        let own = seen.header("mcp-session-id") == Some("own-0");
        (&*seen.method == "GET").then(|| {
            if own {
                Script::status(405)
            } else {
                Script::sse().follow(&events).hold()
            }
        })
    })
    .await;
    let rig = Rig::before(&server).await;
    assert!(call(&rig, "1", CALL).await["result"].is_object());
    push.event(r#"{"jsonrpc":"2.0","id":"alive","method":"ping"}"#)
        .unwrap();
    let got = server.wait_for(1, is_answer).await.unwrap();
    assert_eq!(got[0].json()["result"], json!({}));
}

#[tokio::test]
async fn what_is_asked_while_a_session_rests_is_nobodys_and_refused() {
    let (push, events) = feed();
    let server = asker_with(legacy(), &[], move |seen| {
        let own = seen.header("mcp-session-id") == Some("own-0");
        (&*seen.method == "GET").then(|| {
            if own {
                Script::status(405)
            } else {
                Script::sse().follow(&events).hold()
            }
        })
    })
    .await;
    let rig = Rig::before(&server).await;
    assert!(call(&rig, "1", CALL).await["result"].is_object());
    push.event(question(("\"late\"", ELICIT, FORM), "m"))
        .unwrap();
    let got = server.wait_for(1, is_answer).await.unwrap();
    assert!(got[0].json()["error"]["code"].is_i64());
    let answer = call(&rig, "2", CALL).await;
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
}
