//! Questions of rounds that nobody answers, or the wrong one, or twice; and errors of modern servers.

use serde_json::{Value, json};
use testkit::http::Reply;
use testkit::raw::{Script, gate};

use super::rounds::{DONE, FORM, answer, asking_once, asks, calls};
use crate::rig::{Rig, is_quiet, modern, next, server};

const ACCEPT: &str = r#""result":{"action":"accept"}"#;

/// What comes until the stream ends.
async fn rest(reply: &mut Reply) -> Vec<Value> {
    let mut heard = Vec::new();
    while let Some(event) = reply.event().await.unwrap() {
        heard.push(event.json());
    }
    heard
}

#[tokio::test]
async fn a_call_cancelled_while_its_client_is_asked_ends_without_a_word_and_is_not_gone_on_with() {
    let server = asking_once(format!(r#"{{"a":{FORM},"b":{FORM}}}"#)).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut call = session.call("\"mine\"", "echo").await;
    let (one, two) = (next(&mut call).await, next(&mut call).await);
    answer(&session, &one["id"], ACCEPT).await;
    let params = r#"{"requestId":"mine"}"#;
    assert_eq!(session.notify("notifications/cancelled", params).await, 202);
    assert!(rest(&mut call).await.is_empty());
    answer(&session, &two["id"], ACCEPT).await;
    // The id is free, and what was answered before belongs to nobody.
    let mut again = session.call("\"mine\"", "echo").await;
    let (one, two) = (next(&mut again).await, next(&mut again).await);
    assert_eq!(calls(&server).len(), 2, "one for each call");
    answer(&session, &one["id"], ACCEPT).await;
    answer(&session, &two["id"], ACCEPT).await;
    assert_eq!(next(&mut again).await["id"], "mine");
    assert_eq!(calls(&server).len(), 3);
}

#[tokio::test]
async fn a_call_cancelled_before_the_next_round_is_answered_ends_at_the_server() {
    let (_open, closed) = gate();
    let server = server(modern(), move |seen| {
        if seen.json()["params"]["requestState"].is_null() {
            return Script::json(seen.result(&asks(&format!(r#"{{"k":{FORM}}}"#), "\"s\"")));
        }
        Script::sse().wait(&closed).hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut call = session.call("1", "echo").await;
    let asked = next(&mut call).await;
    answer(&session, &asked["id"], ACCEPT).await;
    let is_second = |seen: &testkit::raw::Seen| !seen.json()["params"]["requestState"].is_null();
    let second = server.wait_for(1, is_second).await.unwrap();
    session
        .notify("notifications/cancelled", r#"{"requestId":1}"#)
        .await;
    assert!(rest(&mut call).await.is_empty());
    server.hung_up(second[0].number).await.unwrap();
}

#[tokio::test]
async fn a_session_that_ends_while_its_client_is_asked_ends_the_call() {
    let server = asking_once(format!(r#"{{"k":{FORM}}}"#)).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut call = session.call("1", "echo").await;
    let asked = next(&mut call).await;
    assert_eq!(session.end().await, 200);
    // Nobody can answer any more: the stream ends, at most with an error.
    let heard = rest(&mut call).await;
    assert!(
        heard.iter().all(|message| message["error"].is_object()),
        "{heard:?}"
    );
    let body = format!(r#"{{"jsonrpc":"2.0","id":{},{ACCEPT}}}"#, asked["id"]);
    assert_eq!(session.post(&body).await.status, 404);
    assert_eq!(calls(&server).len(), 1);
}

#[tokio::test]
async fn the_first_answer_counts() {
    let server = asking_once(format!(r#"{{"a":{FORM},"b":{FORM}}}"#)).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut call = session.call("1", "echo").await;
    let (one, two) = (next(&mut call).await, next(&mut call).await);
    answer(&session, &one["id"], r#""result":{"n":1}"#).await;
    answer(&session, &one["id"], r#""result":{"n":2}"#).await;
    answer(&session, &one["id"], r#""error":{"code":1,"message":"no"}"#).await;
    answer(&session, &two["id"], r#""result":{"n":3}"#).await;
    assert!(next(&mut call).await["result"].is_object());
    assert_eq!(
        calls(&server)[1].json()["params"]["inputResponses"],
        json!({"a": {"n": 1}, "b": {"n": 3}})
    );
    answer(&session, &two["id"], r#""result":{"n":4}"#).await;
    assert_eq!(calls(&server).len(), 2);
}

#[tokio::test]
async fn another_session_cannot_answer() {
    let server = asking_once(format!(r#"{{"k":{FORM}}}"#)).await;
    let rig = Rig::before(&server).await;
    let (session, thief) = (rig.session().await, rig.session().await);
    let mut call = session.call("1", "echo").await;
    let asked = next(&mut call).await;
    answer(&thief, &asked["id"], r#""result":{"by":"thief"}"#).await;
    answer(
        &session,
        &json!(asked["id"].to_string()),
        r#""result":{"by":"text"}"#,
    )
    .await;
    answer(&session, &json!(424_242), r#""result":{"by":"nobody"}"#).await;
    answer(&session, &asked["id"], r#""result":{"by":"me"}"#).await;
    assert!(next(&mut call).await["result"].is_object());
    assert_eq!(
        calls(&server)[1].json()["params"]["inputResponses"],
        json!({"k": {"by": "me"}})
    );
}

#[tokio::test]
async fn a_question_comes_on_the_stream_of_its_call_and_on_no_other() {
    let server = asking_once(format!(r#"{{"k":{FORM}}}"#)).await;
    let rig = Rig::before(&server).await;
    let (session, other) = (rig.session().await, rig.session().await);
    let (mut own, mut strange) = (session.stream().await, other.stream().await);
    let mut call = session.call("1", "echo").await;
    let asked = next(&mut call).await;
    is_quiet(&mut own).await;
    is_quiet(&mut strange).await;
    answer(&session, &asked["id"], ACCEPT).await;
    assert_eq!(next(&mut call).await["id"], 1);
    is_quiet(&mut own).await;
}

#[tokio::test]
async fn a_capability_that_the_server_misses_is_said_where_a_model_sees_it() {
    let server = server(modern(), |seen| {
        let id = seen.rpc_id().unwrap();
        Script::json_with(400, &[], format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32021,"message":"missing","data":{{"requiredCapabilities":{{"elicitation":{{"url":{{}}}}}}}}}}}}"#))
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session_of("2025-11-25", "{}").await;
    let answer = session.call("1", "echo").await.answer().await.unwrap();
    assert_eq!(answer["id"], 1);
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("elicitation.url"), "{text}");
}

#[tokio::test]
async fn an_error_in_a_later_round_is_the_answer_of_the_call() {
    for (status, code, shown) in [
        (200, -32000, -32000),
        (400, -32602, -32602),
        (200, -32099, -32099),
        (400, -32022, -32603),
        (200, -32042, -32603),
    ] {
        let server = server(modern(), move |seen| {
            if seen.json()["params"]["requestState"].is_null() {
                return Script::json(seen.result(&asks(&format!(r#"{{"k":{FORM}}}"#), "\"s\"")));
            }
            Script::json_with(status, &[], seen.error(code, "went wrong"))
        })
        .await;
        let rig = Rig::before(&server).await;
        let session = rig.session().await;
        let mut call = session.call("1", "echo").await;
        let asked = next(&mut call).await;
        answer(&session, &asked["id"], ACCEPT).await;
        let failed = next(&mut call).await;
        assert_eq!(
            (&failed["id"], &failed["error"]["code"]),
            (&json!(1), &json!(shown)),
            "{failed}"
        );
        assert!(rest(&mut call).await.is_empty());
    }
}

#[tokio::test]
async fn a_server_that_goes_away_between_rounds_fails_the_call_with_a_text() {
    let server = asking_once(format!(r#"{{"k":{FORM}}}"#)).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut call = session.call("1", "echo").await;
    let asked = next(&mut call).await;
    server.stop().await;
    answer(&session, &asked["id"], ACCEPT).await;
    let failed = next(&mut call).await;
    assert_eq!(
        (&failed["id"], &failed["error"]["code"]),
        (&json!(1), &json!(-32603)),
        "{failed}"
    );
    assert!(rest(&mut call).await.is_empty());
}

#[tokio::test]
async fn more_questions_than_fit_fail_the_call_and_leave_the_session_whole() {
    let many: Vec<String> = (0..33).map(|at| format!(r#""k{at}":{FORM}"#)).collect();
    let server = asking_once(format!("{{{}}}", many.join(","))).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let failed = session.call("1", "echo").await.answer().await.unwrap();
    assert_eq!(failed["error"]["code"], -32603, "{failed}");
    // As many as fit, in two calls at once.
    let many: Vec<String> = (0..32).map(|at| format!(r#""k{at}":{FORM}"#)).collect();
    let server = asking_once(format!("{{{}}}", many.join(","))).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let (mut one, mut two) = (
        session.call("1", "echo").await,
        session.call("2", "echo").await,
    );
    for call in [&mut one, &mut two] {
        let mut asked = Vec::new();
        for _ in 0..32 {
            asked.push(next(call).await["id"].clone());
        }
        for id in asked {
            answer(&session, &id, ACCEPT).await;
        }
    }
    assert_eq!(next(&mut one).await["id"], 1);
    assert_eq!(next(&mut two).await["id"], 2);
}

#[tokio::test]
async fn a_third_call_that_asks_much_does_not_silence_the_questions_of_the_others() {
    // Each of three calls asks 32 questions at once; whichever the session has no room for must fail, and not wait for ever.
    let many: Vec<String> = (0..32).map(|at| format!(r#""k{at}":{FORM}"#)).collect();
    let server = asking_once(format!("{{{}}}", many.join(","))).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut calls = Vec::new();
    for id in ["1", "2", "3"] {
        let mut call = session.call(id, "echo").await;
        let mut asked = Vec::new();
        for _ in 0..32 {
            let message = next(&mut call).await;
            if message["method"].is_null() {
                break;
            }
            asked.push(message["id"].clone());
        }
        calls.push((call, asked));
    }
    for (_, asked) in &calls {
        for id in asked {
            answer(&session, id, ACCEPT).await;
        }
    }
    for (call, asked) in &mut calls {
        if asked.len() == 32 {
            let done = next(call).await;
            assert!(
                done["result"].is_object() || done["error"].is_object(),
                "{done}"
            );
        }
    }
}

#[tokio::test]
async fn what_only_modern_clients_understand_of_a_result_is_taken_off() {
    const RESULT: &str = r#"{"resultType":"complete","content":[{"type":"text","text":"\u00e9"}],"structuredContent":[1.0,2],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"x","version":"1"},"a/b":1}}"#;
    let server = server(modern(), |seen| Script::json(seen.result(RESULT))).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut reply = session.call("1", "echo").await;
    let text = reply.text().await.unwrap();
    assert!(text.contains(r#""text":"\u00e9""#), "{text}");
    assert!(text.contains("[1.0,2]"), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        answer["result"],
        json!({
            "content": [{"type": "text", "text": "é"}],
            "structuredContent": {"result": [1.0, 2]},
            "_meta": {"a/b": 1},
        })
    );
    assert!(!text.contains(DONE));
}
