//! Corners: servers that answer late, much or oddly, clients that vary, reloads in between.

use serde_json::{Value, json};
use testkit::http;
use testkit::raw::{Canned, Gate, RawServer, Script, canned, feed, gate};

use super::asking::{
    CALL, CAN, FORM, asker, asker_with, call, is_answer, key, question, request, retry, retry_of,
};
use super::rounds::{DONE, answer, asking_once};
use crate::rig::{Rig, legacy, modern, next, server, set, toolset};

const ELICIT: &str = "elicitation/create";

#[tokio::test]
async fn prompts_and_resources_wait_as_tools_do() {
    let mut offer = legacy();
    offer.capabilities = r#"{"tools":{},"prompts":{},"resources":{}}"#;
    let (push, events) = feed();
    let server = asker_with(offer, &[], move |seen| match seen.rpc_method().as_deref() {
        Some("prompts/list") => Some(Script::json(seen.result(r#"{"prompts":[{"name":"p"}]}"#))),
        Some("resources/list") => Some(Script::json(
            seen.result(r#"{"resources":[{"uri":"a://b","name":"b"},{"uri":"a://c","name":"c"}]}"#),
        )),
        Some("resources/templates/list") => {
            Some(Script::json(seen.result(r#"{"resourceTemplates":[]}"#)))
        }
        Some("prompts/get" | "resources/read") => Some(
            Script::sse()
                .event(question(("1", ELICIT, FORM), "m"))
                .follow(&events)
                .hold(),
        ),
        _ => None,
    })
    .await;
    let rig = Rig::before(&server).await;
    let say = |method: &str, params: &str, name: &str| {
        http::modern_meta(&rig.url(), 1, method, params, CAN).header("Mcp-Name", name)
    };
    for (method, params, name, result) in [
        (
            "prompts/get",
            r#""name":"p","arguments":{"a":"b"}"#,
            "p",
            r#"{"messages":[]}"#,
        ),
        (
            "resources/read",
            r#""uri":"a://b""#,
            "a://b",
            r#"{"contents":[{"uri":"a://b","text":"x"}]}"#,
        ),
    ] {
        let mut reply = say(method, &format!("{{{params}}}"), name)
            .send()
            .await
            .unwrap();
        let asked = reply.answer().await.unwrap();
        if method == "resources/read" {
            let other = retry_of(r#""uri":"a://c""#, &asked, &[(&key(&asked), "{}")]);
            let mut reply = say(method, &other, "a://c").send().await.unwrap();
            super::asking::is_refused(&reply.answer().await.unwrap());
        }
        let before = server
            .requests()
            .iter()
            .filter(|seen| is_answer(seen))
            .count();
        let again = say(
            method,
            &retry_of(params, &asked, &[(&key(&asked), "{}")]),
            name,
        );
        let (answer, ()) = tokio::join!(
            async { again.send().await.unwrap().answer().await.unwrap() },
            async {
                server.wait_for(before + 1, is_answer).await.unwrap();
                push.event(server.requests_of(method)[0].result(result))
                    .unwrap();
            }
        );
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        assert_eq!(server.requests_of(method).len(), 1);
    }
}

#[tokio::test]
async fn clients_that_vary_what_they_can_do_do_not_leave_sessions_without_end() {
    // What a client says of itself is its own; each way of saying it costs a session at the server.
    for kind in ["experimental", "sampling"] {
        let server = asker(&[]).await;
        let rig = Rig::before(&server).await;
        for at in 0..90 {
            let meta = format!(
                r#"{{"io.modelcontextprotocol/clientCapabilities":{{"{kind}":{{"v{at}":{{}}}}}}}}"#
            );
            let mut reply = request(&rig, "1", CALL, &meta).send().await.unwrap();
            assert!(reply.answer().await.unwrap()["result"].is_object());
        }
        let opened = server.requests_of("initialize").len();
        let ended = |server: &RawServer| {
            let all = server.requests();
            all.iter().filter(|seen| &*seen.method == "DELETE").count()
        };
        let bounded = async {
            while opened - ended(&server) > 66 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        assert!(
            testkit::within("sessions to end", bounded).await.is_ok(),
            "{kind}: {opened} were opened, {} ended",
            ended(&server)
        );
    }
}

#[tokio::test]
async fn a_call_that_waits_outlives_a_reload_of_its_server() {
    let server = asker(&[&[("1", ELICIT, FORM)]]).await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    // The same server under another limit is another server.
    let yaml = toolset(&[("a", &server.url(), "timeouts: {total: 30s}")]);
    rig.gateway.apply(&set(&yaml)).unwrap();
    rig.until(|report| report.settled).await;
    let params = retry(&asked, &[(&key(&asked), r#"{"action":"accept"}"#)]);
    let answer = call(&rig, "2", &params).await;
    assert_eq!(
        answer["result"]["structuredContent"]["got"],
        json!([{"action": "accept"}]),
        "{answer}"
    );
    assert_eq!(server.requests_of("tools/call").len(), 1);
}

#[tokio::test]
async fn long_answers_pass_between_the_eras() {
    let long = "x".repeat(9 << 20);
    for as_stream in [false, true] {
        let (text, modern_text) = (long.clone(), long.clone());
        let said = move |seen: &testkit::raw::Seen, kind: &str, text: &str| {
            let result = seen.result(&format!(
                r#"{{{kind}"content":[{{"type":"text","text":"{text}"}}]}}"#
            ));
            if as_stream {
                Script::sse().event(result).end()
            } else {
                Script::json(result)
            }
        };
        let old = server(legacy(), move |seen| said(seen, "", &text)).await;
        let new = server(modern(), move |seen| {
            said(seen, r#""resultType":"complete","#, &modern_text)
        })
        .await;
        let rig = Rig::before(&old).await;
        let answer = call(&rig, "1", CALL).await;
        assert_eq!(
            answer["result"]["content"][0]["text"]
                .as_str()
                .map(str::len),
            Some(long.len()),
            "{:?}",
            answer["error"]
        );
        let rig = Rig::before(&new).await;
        let answer = rig.session().await.call("1", "echo").await.answer().await;
        assert_eq!(
            answer.unwrap()["result"]["content"][0]["text"]
                .as_str()
                .map(str::len),
            Some(long.len())
        );
    }
}

#[tokio::test]
async fn a_legacy_result_cannot_pass_for_a_modern_question() {
    const RESULTS: [&str; 3] = [
        r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list"}},"requestState":"s","content":[]}"#,
        r#"{"resultType":"complete","content":[],"resultType":"input_required"}"#,
        r#"{"content":[],"result\u0054ype":"task","taskId":"t"}"#,
    ];
    for result in RESULTS {
        let server = server(legacy(), move |seen| Script::json(seen.result(result))).await;
        let rig = Rig::before(&server).await;
        let mut reply = request(&rig, "1", CALL, CAN).send().await.unwrap();
        let text = reply.text().await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["result"]["resultType"], "complete", "{text}");
        assert_eq!(
            text.matches("ype\":").count() - text.matches("mimeType").count(),
            1,
            "said once: {text}"
        );
    }
}

#[tokio::test]
async fn a_modern_question_is_one_however_it_is_spelled() {
    let server = server(modern(), |seen| {
        if !seen.json()["params"]["requestState"].is_null() {
            return Script::json(seen.result(DONE));
        }
        Script::json(seen.result(
            r#"{ "re\u0073ultType" : "input\u005frequired", "input\u0052equests" : { "k" : { "meth\u006fd" : "elicitation\/create", "params" : {"message":"name?","requestedSchema":{}} } } , "request\u0053tate":"\u0073" }"#,
        ))
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut call = session.call("1", "echo").await;
    let asked = next(&mut call).await;
    assert_eq!(asked["method"], ELICIT, "{asked}");
    answer(&session, &asked["id"], r#""result":{"action":"accept"}"#).await;
    assert_eq!(next(&mut call).await["result"], json!({"content": []}));
    let again = server.requests_of("tools/call").remove(1);
    assert_eq!(again.json()["params"]["requestState"], "s");
}

#[tokio::test]
async fn a_batch_is_asked_on_its_own_stream() {
    let server = asking_once(format!(r#"{{"k":{}}}"#, super::rounds::FORM)).await;
    let rig = Rig::before(&server).await;
    let session = rig.session_of("2025-03-26", r#"{"elicitation":{}}"#).await;
    let call = |id: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":"{id}","method":"tools/call","params":{{"name":"echo"}}}}"#
        )
    };
    let mut batch = session
        .post(&format!("[{},{}]", call("a"), call("b")))
        .await;
    let (one, two) = (next(&mut batch).await, next(&mut batch).await);
    for asked in [&one, &two] {
        assert_eq!(asked["method"], ELICIT, "{asked}");
        answer(&session, &asked["id"], r#""result":{"action":"accept"}"#).await;
    }
    let mut ids = [
        next(&mut batch).await["id"].to_string(),
        next(&mut batch).await["id"].to_string(),
    ];
    ids.sort();
    assert_eq!(ids, [r#""a""#, r#""b""#]);
}

#[tokio::test]
async fn a_legacy_client_that_hangs_up_while_it_is_asked_may_still_answer() {
    // MCP 2025-11-25, basic/transports: a connection that breaks is no cancellation.
    let server = asking_once(format!(r#"{{"k":{}}}"#, super::rounds::FORM)).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut call = session.call("\"mine\"", "echo").await;
    let event = call.event().await.unwrap().unwrap();
    let (asked, id) = (event.json(), event.id.clone());
    drop(call);
    answer(&session, &asked["id"], r#""result":{"action":"accept"}"#).await;
    let is_second = |seen: &testkit::raw::Seen| !seen.json()["params"]["requestState"].is_null();
    server.wait_for(1, is_second).await.unwrap();
    let Some(id) = id else {
        return;
    };
    let mut resumed = http::get(&rig.url())
        .unwrap()
        .header("Accept", "text/event-stream")
        .header("Mcp-Session-Id", &session.id)
        .header("MCP-Protocol-Version", "2025-11-25")
        .header("Last-Event-ID", &id)
        .send()
        .await
        .unwrap();
    let answer = next(&mut resumed).await;
    assert_eq!(
        (&answer["id"], &answer["result"]),
        (&json!("mine"), &json!({"content": []}))
    );
}

#[tokio::test]
async fn a_question_that_is_asked_twice_under_one_id_is_one_question() {
    let (push, events) = feed();
    let server = server(legacy(), move |_| {
        Script::sse()
            .event(question(("1", ELICIT, FORM), "first"))
            .event(question(("1", ELICIT, FORM), "second"))
            .follow(&events)
            .hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    let params = retry(&asked, &[(&key(&asked), r#"{"action":"accept"}"#)]);
    let (answer, ()) = tokio::join!(call(&rig, "2", &params), async {
        server.wait_for(1, is_answer).await.unwrap();
        let asked = &server.requests_of("tools/call")[0];
        push.event(asked.result(r#"{"content":[]}"#)).unwrap();
    });
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    let answers = server
        .requests()
        .iter()
        .filter(|seen| is_answer(seen))
        .count();
    assert_eq!(answers, 1);
}

#[tokio::test]
async fn a_resource_of_a_server_that_still_starts_is_waited_for() {
    // Its name stands in the URI, so nobody has to look it up in a list that is not there yet.
    for is_modern in [false, true] {
        let (open, closed) = gate();
        let offer = Canned {
            capabilities: r#"{"resources":{}}"#,
            ..if is_modern { modern() } else { legacy() }
        };
        let slow = RawServer::start(move |seen| {
            let hints = r#""resultType":"complete","ttlMs":0,"cacheScope":"public""#;
            let said = |result: &str| Script::json(seen.result(result));
            match seen.rpc_method().as_deref() {
                Some("server/discover") => {
                    let found = r#"{"resultType":"complete","ttlMs":0,"cacheScope":"public","supportedVersions":["2026-07-28"],"capabilities":{"resources":{}}}"#;
                    if is_modern {
                        late(&closed, 200, &seen.result(found))
                    } else {
                        late(&closed, 400, &seen.error(-32600, "not initialized"))
                    }
                }
                Some("resources/list") => said(&format!(r#"{{{hints},"resources":[]}}"#)),
                Some("resources/templates/list") => {
                    said(&format!(r#"{{{hints},"resourceTemplates":[]}}"#))
                }
                Some("resources/read") => said(&format!(
                    r#"{{{hints},"contents":[{{"uri":"file:///x","text":"well"}}]}}"#
                )),
                _ => canned(&offer, seen).unwrap_or_else(Script::accepted),
            }
        })
        .await
        .unwrap();
        let other = asker(&[]).await;
        let yaml = toolset(&[("slow", &slow.url(), ""), ("other", &other.url(), "")]);
        let rig = Rig::starting(&yaml, "/bin/false".into()).await;
        let read = http::modern(
            &rig.url(),
            1,
            "resources/read",
            r#"{"uri":"file://slow~/x"}"#,
        )
        .header("Mcp-Name", "file://slow~/x");
        let (answer, ()) = tokio::join!(
            async { read.send().await.unwrap().answer().await.unwrap() },
            async {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                open.open();
            }
        );
        assert_eq!(
            answer["result"]["contents"][0]["text"], "well",
            "modern: {is_modern}: {answer}"
        );
    }
}

/// A JSON answer, but not before the gate opens.
pub(super) fn late(gate: &Gate, status: u16, body: &str) -> Script {
    let head = format!(
        "HTTP/1.1 {status} late\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Script::default()
        .wait(gate)
        .bytes(head)
        .bytes(body.to_owned())
}
