//! Calls that wait, and clients, servers or a gateway that leave meanwhile.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::raw::{RawServer, Script, canned, feed, gate};

use super::asking::{
    CALL, CAN, FORM, asker, call, is_answer, is_call, is_cancel, key, opening, question, request,
    retry,
};
use crate::rig::{Rig, address_of_its_own, legacy, server};

const ELICIT: &str = "elicitation/create";
const ASKS: &[&[super::asking::Question]] = &[&[
    ("1", ELICIT, FORM),
    (
        "\"s\"",
        "sampling/createMessage",
        r#"{"messages":[],"maxTokens":1}"#,
    ),
    ("3", "roots/list", "{}"),
]];

/// Sees that the server heard that nobody will answer, and that its session is used again.
async fn is_given_up(server: &RawServer) {
    let cancelled = server.wait_for(1, is_cancel).await.unwrap();
    let calls = server.requests_of("tools/call");
    assert_eq!(
        cancelled[0].json()["params"]["requestId"],
        calls[0].json()["id"]
    );
    assert_eq!(
        cancelled[0].header("mcp-session-id"),
        calls[0].header("mcp-session-id")
    );
}

async fn hears_refusals(server: &RawServer) {
    let got = server.wait_for(3, is_answer).await.unwrap();
    let by_id = |id: Value| {
        let found = got.iter().find(|seen| seen.json()["id"] == id);
        found.unwrap_or_else(|| panic!("no answer to {id}")).json()
    };
    assert_eq!(by_id(json!(1))["result"], json!({"action": "cancel"}));
    for id in [json!("s"), json!(3)] {
        assert!(by_id(id.clone())["error"]["code"].is_i64(), "{id}");
    }
}

#[tokio::test]
async fn a_client_that_never_comes_back_is_waited_for_ten_minutes_and_no_longer() {
    let server = asker(ASKS).await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(590)).await;
    tokio::time::resume();
    rig.until(|_| true).await;
    assert!(!server.requests().iter().any(is_answer), "not yet");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(45)).await;
    tokio::time::resume();
    hears_refusals(&server).await;
    is_given_up(&server).await;
    let late = call(&rig, "2", &retry(&asked, &[])).await;
    assert_eq!(late["error"]["code"], -32602, "{late}");
    assert_eq!(
        server.requests_of("tools/call").len(),
        1,
        "the call is not sent again"
    );
    // The session is free for the next call.
    let again = call(&rig, "3", CALL).await;
    assert_eq!(again["result"]["resultType"], "input_required", "{again}");
    let calls = server.requests_of("tools/call");
    assert_eq!(
        calls[0].header("mcp-session-id"),
        calls[1].header("mcp-session-id")
    );
}

#[tokio::test]
async fn a_gateway_that_ends_gives_up_the_calls_that_wait_and_ends_their_sessions() {
    let server = asker(ASKS).await;
    let rig = Rig::before(&server).await;
    call(&rig, "1", CALL).await;
    rig.gateway.close().await;
    hears_refusals(&server).await;
    is_given_up(&server).await;
    let session = server.requests_of("tools/call")[0]
        .header("mcp-session-id")
        .map(str::to_owned);
    server
        .wait_for(1, |seen| {
            &*seen.method == "DELETE" && seen.header("mcp-session-id") == session.as_deref()
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_question_ends_the_call_and_frees_the_session() {
    let (_open, closed) = gate();
    let first = std::sync::atomic::AtomicBool::new(true);
    let server = server(legacy(), move |seen| {
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            Script::sse().wait(&closed).hold()
        } else {
            Script::json(seen.result(r#"{"content":[]}"#))
        }
    })
    .await;
    let rig = Rig::before(&server).await;
    let mut client = testkit::http::socket(&rig.url()).await.unwrap();
    let bytes = request(&rig, "1", CALL, CAN).bytes();
    tokio::io::AsyncWriteExt::write_all(&mut client, &bytes)
        .await
        .unwrap();
    server.wait_for(1, is_call).await.unwrap();
    drop(client);
    is_given_up(&server).await;
    let opened = server.requests_of("initialize").len();
    assert!(call(&rig, "2", CALL).await["result"].is_object());
    assert_eq!(
        server.requests_of("initialize").len(),
        opened,
        "the session is used again"
    );
}

#[tokio::test]
async fn a_client_that_hangs_up_in_its_retry_ends_the_call() {
    let (_push, events) = feed();
    let server = server(legacy(), move |_| {
        Script::sse()
            .event(question(("1", ELICIT, FORM), "m"))
            .follow(&events)
            .hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    let bytes = request(&rig, "2", &retry(&asked, &[(&key(&asked), "{}")]), CAN).bytes();
    let mut client = testkit::http::socket(&rig.url()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut client, &bytes)
        .await
        .unwrap();
    server.wait_for(1, is_answer).await.unwrap();
    drop(client);
    is_given_up(&server).await;
    let late = call(&rig, "3", &retry(&asked, &[(&key(&asked), "{}")])).await;
    assert_eq!(late["error"]["code"], -32602, "{late}");
}

#[tokio::test]
async fn a_server_that_ends_the_stream_while_the_call_waits_gives_the_retry_one_clear_error() {
    for cut in [false, true] {
        let (open, closed) = gate();
        let server = server(legacy(), move |_| {
            let asks = Script::sse().event(question(("1", ELICIT, FORM), "m"));
            // The stream lives until the client is asked, and no longer.
            let asks = asks.wait(&closed);
            if cut { asks.cut() } else { asks.end() }
        })
        .await;
        let rig = Rig::before(&server).await;
        let asked = call(&rig, "1", CALL).await;
        open.open();
        let answer = call(&rig, "2", &retry(&asked, &[(&key(&asked), "{}")])).await;
        assert_eq!(answer["id"], 2);
        assert_eq!(answer["error"]["code"], -32603, "{answer}");
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(text.contains("/a`"), "it is said which server: {text}");
        assert_eq!(server.requests_of("tools/call").len(), 1);
        // It is one error: the state is used up.
        let again = call(&rig, "3", &retry(&asked, &[(&key(&asked), "{}")])).await;
        assert_eq!(again["error"]["code"], -32602, "{again}");
    }
}

#[tokio::test]
async fn a_server_that_restarts_while_the_call_waits_gives_the_retry_one_clear_error() {
    let address = address_of_its_own();
    let run = |run: &'static str, address| {
        RawServer::start_at(address, move |seen| {
            let known = seen
                .header("mcp-session-id")
                .is_none_or(|session| session.starts_with(run));
            if !known {
                return Script::status(404);
            }
            match seen.rpc_method().as_deref() {
                Some("initialize") => {
                    opening(seen, r#"{"tools":{}}"#, &format!("{run}-{}", seen.number))
                }
                Some("tools/call") => Script::sse()
                    .event(question(("1", ELICIT, FORM), "m"))
                    .hold(),
                _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
            }
        })
    };
    let server = run("one", address).await.unwrap();
    let address = server.address();
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    server.stop().await;
    let server = run("two", address).await.unwrap();
    let answer = call(&rig, "2", &retry(&asked, &[(&key(&asked), "{}")])).await;
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    assert!(
        server.requests_of("tools/call").is_empty(),
        "what may have had an effect is not done again"
    );
    // A new call finds the server as it is now, whatever rested before.
    let asked = call(&rig, "3", CALL).await;
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
}
