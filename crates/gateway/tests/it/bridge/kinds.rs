//! What a modern server may ask of a legacy client, how often, and in which calls.

use serde_json::json;
use testkit::raw::{Canned, RawServer, Script};

use super::rounds::{FORM, ROOTS, SAMPLE, answer, asking_once, asks, calls, ends};
use crate::rig::{Rig, is_quiet, modern, next, server};

#[tokio::test]
async fn a_client_that_refuses_a_form_has_canceled_it() {
    let server = asking_once(format!(r#"{{"k":{FORM}}}"#)).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut call = session.call("1", "echo").await;
    let asked = next(&mut call).await;
    answer(
        &session,
        &asked["id"],
        r#""error":{"code":-32601,"message":"no"}"#,
    )
    .await;
    assert!(next(&mut call).await["result"].is_object());
    assert_eq!(
        calls(&server)[1].json()["params"]["inputResponses"],
        json!({"k": {"action": "cancel"}})
    );
}

#[tokio::test]
async fn without_a_models_words_or_roots_the_call_fails_with_a_text() {
    for (question, method) in [(SAMPLE, "sampling/createMessage"), (ROOTS, "roots/list")] {
        let server = asking_once(format!(r#"{{"k":{question}}}"#)).await;
        let rig = Rig::before(&server).await;
        let session = rig.session().await;
        let mut call = session.call("1", "echo").await;
        let asked = next(&mut call).await;
        answer(
            &session,
            &asked["id"],
            r#""error":{"code":-1,"message":"no"}"#,
        )
        .await;
        let failed = next(&mut call).await;
        assert_eq!(failed["id"], 1);
        let text = failed["error"]["message"].as_str().unwrap();
        assert!(text.contains(method), "{text}");
        ends(&mut call).await;
        assert_eq!(calls(&server).len(), 1);
    }
}

#[tokio::test]
async fn a_kind_that_the_client_did_not_declare_is_never_shown() {
    let url = r#"{"method":"elicitation/create","params":{"mode":"url","message":"x","url":"https://example.com"}}"#;
    let cases = [
        (format!(r#"{{"k":{FORM}}}"#), r#"{"sampling":{}}"#),
        (
            format!(r#"{{"a":{FORM},"b":{SAMPLE}}}"#),
            r#"{"elicitation":{}}"#,
        ),
        (
            format!(r#"{{"a":{url}}}"#),
            r#"{"elicitation":{"form":{}}}"#,
        ),
        (format!(r#"{{"a":{url}}}"#), r#"{"elicitation":{}}"#),
        (
            r#"{"k":{"method":"made/up","params":{}}}"#.to_owned(),
            r#"{"elicitation":{},"made":{}}"#,
        ),
    ];
    for (requests, capabilities) in cases {
        let server = asking_once(requests.clone()).await;
        let rig = Rig::before(&server).await;
        let session = rig.session_of("2025-11-25", capabilities).await;
        let mut own = session.stream().await;
        let mut call = session.call("1", "echo").await;
        let failed = if call.is_stream() {
            next(&mut call).await
        } else {
            call.json().await.unwrap()
        };
        assert_eq!(failed["error"]["code"], -32603, "{requests}: {failed}");
        assert_eq!(calls(&server).len(), 1);
        // It hears nothing of a question that it never got, either.
        is_quiet(&mut own).await;
    }
}

#[tokio::test]
async fn a_server_may_ask_ten_times_and_no_more() {
    let server = server(modern(), |seen| {
        Script::json(seen.result(&asks(&format!(r#"{{"k":{FORM}}}"#), "\"again\"")))
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut call = session.call("1", "echo").await;
    for round in 1..=10 {
        let asked = next(&mut call).await;
        assert_eq!(asked["method"], "elicitation/create", "{round}: {asked}");
        answer(&session, &asked["id"], r#""result":{"action":"accept"}"#).await;
    }
    let failed = next(&mut call).await;
    assert_eq!(failed["error"]["code"], -32603, "{failed}");
    ends(&mut call).await;
    assert_eq!(calls(&server).len(), 11);
}

#[tokio::test]
async fn what_is_no_round_fails_the_call_once() {
    for result in [
        r#"{"resultType":"input_required"}"#,
        r#"{"resultType":"input_required","inputRequests":[]}"#,
        r#"{"resultType":"input_required","inputRequests":{"k":7}}"#,
        r#"{"resultType":"input_required","inputRequests":{"k":{"params":{}}}}"#,
        r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list","params":[]}}}"#,
        r#"{"resultType":"input_required","requestState":7}"#,
        r#"{"resultType":"made-up","content":[]}"#,
        r#"{"resultType":7,"content":[]}"#,
    ] {
        let server = server(modern(), move |seen| Script::json(seen.result(result))).await;
        let rig = Rig::before(&server).await;
        let session = rig.session().await;
        let failed = session.call("1", "echo").await.answer().await.unwrap();
        assert_eq!(failed["error"]["code"], -32603, "{result}: {failed}");
        assert_eq!(calls(&server).len(), 1, "{result}");
    }
}

#[tokio::test]
async fn prompts_and_resources_ask_as_well_and_nothing_else_does() {
    let offer = Canned {
        capabilities: r#"{"tools":{},"prompts":{},"resources":{},"completions":{}}"#,
        ..modern()
    };
    let server = RawServer::start(move |seen| {
        let hints = r#""resultType":"complete","ttlMs":0,"cacheScope":"public""#;
        let again = !seen.json()["params"]["requestState"].is_null();
        let result = match seen.rpc_method().as_deref() {
            Some("prompts/list") => format!(r#"{{{hints},"prompts":[{{"name":"p"}}]}}"#),
            Some("resources/list") => {
                format!(r#"{{{hints},"resources":[{{"uri":"a://b","name":"b"}}]}}"#)
            }
            Some("resources/templates/list") => format!(r#"{{{hints},"resourceTemplates":[]}}"#),
            Some("prompts/get") if again => r#"{"resultType":"complete","messages":[]}"#.to_owned(),
            Some("resources/read") if again => format!(r#"{{{hints},"contents":[]}}"#),
            Some("prompts/get" | "resources/read" | "completion/complete") => {
                asks(&format!(r#"{{"k":{FORM}}}"#), "\"s\"")
            }
            _ => return testkit::raw::canned(&offer, seen).unwrap_or_else(Script::accepted),
        };
        Script::json(seen.result(&result))
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    for (method, params, member, name) in [
        ("prompts/get", r#"{"name":"p"}"#, "messages", "p"),
        ("resources/read", r#"{"uri":"a://b"}"#, "contents", "a://b"),
    ] {
        let mut call = session.request("1", method, params).send().await.unwrap();
        let asked = next(&mut call).await;
        answer(&session, &asked["id"], r#""result":{"action":"decline"}"#).await;
        let done = next(&mut call).await;
        assert_eq!(done["result"], json!({ member: [] }));
        let seen = server.requests_of(method);
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[1].header("mcp-name"), Some(name));
        assert_eq!(seen[1].header("mcp-method"), Some(method));
        assert_eq!(
            seen[1].json()["params"]["inputResponses"],
            json!({"k": {"action": "decline"}})
        );
    }
    // MCP 2026-07-28, basic/patterns/mrtr: on other methods this is the server's mistake.
    let params = r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"x","value":"y"}}"#;
    let mut call = session
        .request("1", "completion/complete", params)
        .send()
        .await
        .unwrap();
    let failed = if call.is_stream() {
        next(&mut call).await
    } else {
        call.json().await.unwrap()
    };
    assert_eq!(failed["error"]["code"], -32603, "{failed}");
}
