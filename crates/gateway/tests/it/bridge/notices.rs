//! Progress and log messages of legacy servers, for modern clients: whose they are, and in which round.

use serde_json::{Value, json};
use testkit::raw::{Script, feed};

use super::asking::{CALL, CAN, FORM, asker, asker_with, is_call, key, question, request, retry};
use crate::rig::{Rig, legacy, next, server};

const ELICIT: &str = "elicitation/create";

#[tokio::test]
async fn what_was_said_before_the_question_comes_before_it_under_the_clients_own_token() {
    let (push, events) = feed();
    let server = server(legacy(), move |seen| {
        let token = &seen.json()["params"]["_meta"]["progressToken"];
        let progress = |step: u8| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{step},"n":1.0}}}}"#
            )
        };
        let log = |level: &str| {
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":"x"}}}}"#)
        };
        for event in [progress(2), log("info"), log("error"), seen.result(r#"{"content":[]}"#)] {
            push.event(event).unwrap();
        }
        Script::sse()
            .event(log("debug"))
            .event(progress(1))
            .event(log("warning"))
            .event(question(("1", ELICIT, FORM), "m"))
            .follow(&events)
            .end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let meta = |token: &str, level: &str| {
        CAN.replacen(
            '{',
            &format!(r#"{{"progressToken":{token},"io.modelcontextprotocol/logLevel":"{level}","#),
            1,
        )
    };
    let mut reply = request(&rig, "1", CALL, &meta("\"one\"", "info"))
        .send()
        .await
        .unwrap();
    let progress = next(&mut reply).await;
    assert_eq!(
        progress["params"],
        json!({"progressToken": "one", "progress": 1, "n": 1.0})
    );
    assert_eq!(next(&mut reply).await["params"]["level"], "warning");
    // The server does not wait for the answer here; what it says next is still part of the first round.
    let mut rest: Vec<Value> = Vec::new();
    while let Some(event) = reply.event().await.unwrap() {
        rest.push(event.json());
    }
    let last = rest.last().unwrap();
    assert!(last["result"].is_object(), "{rest:?}");
    assert!(
        rest.iter()
            .filter(|message| message["method"] == "notifications/progress")
            .all(|message| message["params"]["progressToken"] == "one"),
        "{rest:?}"
    );
}

#[tokio::test]
async fn progress_after_the_retry_comes_under_its_token_and_at_its_log_level() {
    let (push, events) = feed();
    let server = server(legacy(), move |_| {
        Script::sse()
            .event(question(("1", ELICIT, FORM), "m"))
            .follow(&events)
            .end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let meta = |more: &str| CAN.replacen('{', &format!("{{{more}"), 1);
    let mut reply = request(&rig, "1", CALL, &meta(r#""progressToken":1,"#))
        .send()
        .await
        .unwrap();
    let asked = reply.answer().await.unwrap();
    let call = &server.requests_of("tools/call")[0];
    let token = &call.json()["params"]["_meta"]["progressToken"];
    for event in [
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":2}}}}"#),
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"low"}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"high"}}"#.to_owned(),
        call.result(r#"{"content":[]}"#),
    ] {
        push.event(event).unwrap();
    }
    let params = retry(&asked, &[(&key(&asked), "{}")]);
    let more = r#""progressToken":"two","io.modelcontextprotocol/logLevel":"error","#;
    let mut reply = request(&rig, "2", &params, &meta(more))
        .send()
        .await
        .unwrap();
    let progress = next(&mut reply).await;
    assert_eq!(
        progress["params"],
        json!({"progressToken": "two", "progress": 2})
    );
    assert_eq!(next(&mut reply).await["params"]["data"], "high");
    assert_eq!(next(&mut reply).await["result"]["content"], json!([]));
}

#[tokio::test]
async fn a_server_that_talks_much_while_the_call_waits_is_neither_lost_nor_cut_short() {
    let (push, events) = feed();
    let server = server(legacy(), move |_| {
        Script::sse()
            .event(question(("1", ELICIT, FORM), "m"))
            .follow(&events)
            .hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let meta = CAN.replacen('{', r#"{"progressToken":"p","#, 1);
    let mut reply = request(&rig, "1", CALL, &meta).send().await.unwrap();
    let asked = reply.answer().await.unwrap();
    let call = server.requests_of("tools/call").remove(0);
    let token = call.json()["params"]["_meta"]["progressToken"].clone();
    for step in 0..500 {
        push.event(format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{step}}}}}"#)).unwrap();
    }
    push.event(call.result(r#"{"content":[]}"#)).unwrap();
    let params = retry(&asked, &[(&key(&asked), "{}")]);
    let mut reply = request(&rig, "2", &params, &meta).send().await.unwrap();
    let mut last = -1;
    loop {
        let message = next(&mut reply).await;
        if message["result"].is_object() {
            break;
        }
        assert_eq!(message["params"]["progressToken"], "p");
        let step = message["params"]["progress"].as_i64().unwrap();
        assert!(step > last, "in order");
        last = step;
    }
    assert_eq!(last, 499, "the newest word on progress is not lost");
}

#[tokio::test]
async fn a_log_level_is_set_once_and_what_is_below_it_is_dropped() {
    let mut offer = legacy();
    offer.capabilities = r#"{"tools":{},"logging":{}}"#;
    let server = asker_with(offer, &[], |seen| {
        let log = |level: &str| {
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":"x"}}}}"#)
        };
        is_call(seen).then(|| {
            Script::sse()
                .event(log("debug"))
                .event(log("warning"))
                .event(log("error"))
                .event(seen.result(r#"{"content":[]}"#))
                .end()
        })
    })
    .await;
    let rig = Rig::before(&server).await;
    let levels = async |level: Option<&str>| -> Vec<String> {
        let meta = level.map_or_else(
            || CAN.to_owned(),
            |level| {
                CAN.replacen(
                    '{',
                    &format!(r#"{{"io.modelcontextprotocol/logLevel":"{level}","#),
                    1,
                )
            },
        );
        let mut reply = request(&rig, "1", CALL, &meta).send().await.unwrap();
        let mut heard = Vec::new();
        if !reply.is_stream() {
            assert!(reply.json().await.unwrap()["result"].is_object());
            return heard;
        }
        while let Some(event) = reply.event().await.unwrap() {
            if let Some(level) = event.json()["params"]["level"].as_str() {
                heard.push(level.to_owned());
            }
        }
        heard
    };
    assert!(levels(None).await.is_empty(), "nobody asked for any");
    assert!(server.requests_of("logging/setLevel").is_empty());
    assert_eq!(levels(Some("warning")).await, ["warning", "error"]);
    assert_eq!(levels(Some("warning")).await, ["warning", "error"]);
    assert_eq!(levels(Some("error")).await, ["error"]);
    let set = server.requests_of("logging/setLevel");
    assert_eq!(set.len(), 1, "once for the session");
    assert_eq!(set[0].json()["params"], json!({"level": "warning"}));
    assert_eq!(levels(Some("debug")).await, ["debug", "warning", "error"]);
    assert!(levels(None).await.is_empty());
    assert_eq!(server.requests_of("logging/setLevel").len(), 2);
}

#[tokio::test]
async fn a_server_without_logging_is_not_asked_for_a_level() {
    let server = asker(&[]).await;
    let rig = Rig::before(&server).await;
    let meta = CAN.replacen('{', r#"{"io.modelcontextprotocol/logLevel":"debug","#, 1);
    let mut reply = request(&rig, "1", CALL, &meta).send().await.unwrap();
    assert!(reply.answer().await.unwrap()["result"].is_object());
    assert!(server.requests_of("logging/setLevel").is_empty());
}
