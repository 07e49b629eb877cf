//! A request state goes on with one call, once, for whoever was asked and for nothing else.

use serde_json::{Value, json};
use testkit::http;
use testkit::raw::Script;

use super::asking::{
    CALL, CAN, FORM, asker, asker_with, call, is_answer, is_refused, key, request, retry, retry_of,
};
use crate::rig::{Rig, legacy};

const ELICIT: &str = "elicitation/create";
const ACCEPT: &str = r#"{"action":"accept"}"#;

async fn completes(rig: &Rig, asked: &Value) {
    let answer = call(rig, "9", &retry(asked, &[(&key(asked), ACCEPT)])).await;
    assert_eq!(
        answer["result"]["structuredContent"]["got"],
        json!([{"action": "accept"}]),
        "the call still waits: {answer}"
    );
}

#[tokio::test]
async fn a_state_is_used_once() {
    let server = asker(&[&[("1", ELICIT, FORM)], &[("2", ELICIT, FORM)]]).await;
    let rig = Rig::before(&server).await;
    let first = call(&rig, "1", CALL).await;
    let go_on = retry(&first, &[(&key(&first), ACCEPT)]);
    let second = call(&rig, "2", &go_on).await;
    // The call waits again, under another state.
    is_refused(&call(&rig, "3", &go_on).await);
    let go_on = retry(&second, &[(&key(&second), ACCEPT)]);
    let answer = call(&rig, "4", &go_on).await;
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    is_refused(&call(&rig, "5", &go_on).await);
    is_refused(&call(&rig, "6", &retry(&first, &[])).await);
    assert_eq!(
        server
            .requests()
            .iter()
            .filter(|seen| is_answer(seen))
            .count(),
        2
    );
    assert_eq!(server.requests_of("tools/call").len(), 1);
}

#[tokio::test]
async fn of_many_retries_at_once_one_goes_on() {
    let server = asker(&[&[("1", ELICIT, FORM)]]).await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    let go_on = retry(&asked, &[(&key(&asked), ACCEPT)]);
    let answers = tokio::join!(
        call(&rig, "2", &go_on),
        call(&rig, "3", &go_on),
        call(&rig, "4", &go_on),
        call(&rig, "5", &go_on)
    );
    let answers = [answers.0, answers.1, answers.2, answers.3];
    let well = answers.iter().filter(|answer| answer["result"].is_object());
    assert_eq!(well.count(), 1, "{answers:?}");
    let refused = answers
        .iter()
        .filter(|answer| answer["error"]["code"] == -32602);
    assert_eq!(refused.count(), 3, "{answers:?}");
    assert_eq!(
        server
            .requests()
            .iter()
            .filter(|seen| is_answer(seen))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_state_that_was_changed_is_refused_and_the_call_still_waits() {
    let server = asker(&[&[("1", ELICIT, FORM)]]).await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    let state = asked["result"]["requestState"].as_str().unwrap();
    let mut wrong: Vec<String> = (0..state.len())
        .step_by(state.len() / 12 + 1)
        .map(|at| {
            let other = if state.as_bytes()[at] == b'A' {
                "B"
            } else {
                "A"
            };
            format!("{}{other}{}", &state[..at], &state[at + 1..])
        })
        .collect();
    wrong.push(state[..state.len() - 1].to_owned());
    wrong.push(state[..state.len() / 2].to_owned());
    wrong.push(format!("{state}A"));
    wrong.push(format!("{state}="));
    wrong.push(format!(" {state}"));
    wrong.push("x".repeat(100_000));
    wrong.push(String::new());
    wrong.push("é\u{0}".to_owned());
    for state in wrong {
        let mut changed = asked.clone();
        changed["result"]["requestState"] = state.clone().into();
        let mut reply = request(&rig, "2", &retry(&changed, &[(&key(&asked), ACCEPT)]), CAN)
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status, 400, "{state}");
        is_refused(&reply.json().await.unwrap());
    }
    assert!(!server.requests().iter().any(is_answer));
    assert_eq!(server.requests_of("tools/call").len(), 1);
    completes(&rig, &asked).await;
}

#[tokio::test]
async fn a_state_goes_on_only_with_the_same_tool_and_arguments() {
    let mut offer = legacy();
    offer.tools = r#"[{"name":"echo","inputSchema":{"type":"object"}},{"name":"other","inputSchema":{"type":"object"}}]"#;
    let server = asker_with(offer, &[&[("1", ELICIT, FORM)]], |_| None).await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    let answers: &[(&str, &str)] = &[(&key(&asked), ACCEPT)];
    for arguments in [
        r#""arguments":{"mark":"n"}"#,
        r#""arguments":{"mark":"m","more":1}"#,
        r#""arguments":{"mark":["m"]}"#,
        r#""arguments":{"mark":"m","mark":"n"}"#,
        r#""arguments":{}"#,
        r#""arguments":null"#,
        r#""x":1"#,
    ] {
        let params = retry_of(&format!(r#""name":"echo",{arguments}"#), &asked, answers);
        is_refused(&call(&rig, "2", &params).await);
    }
    let params = retry_of(
        r#""name":"other","arguments":{"mark":"m"}"#,
        &asked,
        answers,
    );
    let mut reply = http::modern_meta(&rig.url(), 3, "tools/call", &params, CAN)
        .header("Mcp-Name", "other")
        .send()
        .await
        .unwrap();
    is_refused(&reply.json().await.unwrap());
    assert!(!server.requests().iter().any(is_answer));
    completes(&rig, &asked).await;
}

#[tokio::test]
async fn a_state_of_one_method_is_refused_by_another() {
    let mut offer = legacy();
    offer.capabilities = r#"{"tools":{},"prompts":{}}"#;
    let server = asker_with(offer, &[&[("1", ELICIT, FORM)]], |seen| {
        match seen.rpc_method().as_deref() {
            Some("prompts/list") => Some(Script::json(
                seen.result(r#"{"prompts":[{"name":"echo"}]}"#),
            )),
            Some("prompts/get") => Some(Script::json(seen.result(r#"{"messages":[]}"#))),
            _ => None,
        }
    })
    .await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    let params = retry(&asked, &[(&key(&asked), ACCEPT)]);
    let mut reply = http::modern_meta(&rig.url(), 2, "prompts/get", &params, CAN)
        .header("Mcp-Name", "echo")
        .send()
        .await
        .unwrap();
    is_refused(&reply.json().await.unwrap());
    assert!(server.requests_of("prompts/get").is_empty());
    completes(&rig, &asked).await;
}

#[tokio::test]
async fn a_state_of_one_toolset_is_refused_by_another() {
    let server = asker(&[&[("1", ELICIT, FORM)]]).await;
    let url = server.url();
    let yaml = ["main", "other"].map(|name| {
        format!("apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {{name: {name}}}\nspec:\n  servers:\n  - {{name: a, url: \"{url}\"}}\n")
    });
    let rig = Rig::start(&yaml.join("---\n")).await;
    let asked = call(&rig, "1", CALL).await;
    let params = retry(&asked, &[(&key(&asked), ACCEPT)]);
    let mut reply = http::modern_meta(&rig.at("/mcp/other"), 2, "tools/call", &params, CAN)
        .header("Mcp-Name", "echo")
        .send()
        .await
        .unwrap();
    is_refused(&reply.json().await.unwrap());
    completes(&rig, &asked).await;
}

#[tokio::test]
async fn arguments_may_come_back_in_another_order_and_spacing() {
    let server = asker(&[&[("1", ELICIT, FORM)]]).await;
    let rig = Rig::before(&server).await;
    let first = r#"{"name":"echo","arguments":{"mark":"m","é":[1.0,{"b":null,"a":"x/y"}],"z":{}}}"#;
    let asked = call(&rig, "1", first).await;
    let (state, key) = (&asked["result"]["requestState"], key(&asked));
    let again = format!(
        r#"{{ "inputResponses" : {{"{key}":{ACCEPT}}},"requestState":{state},"arguments" : {{ "z":{{ }}, "\u00e9":[ 1.0 , {{"a":"x\/y","b":null}}], "mark":"m" }}, "name":"\u0065cho"}}"#
    );
    let answer = call(&rig, "2", &again).await;
    assert_eq!(
        answer["result"]["structuredContent"]["got"],
        json!([{"action": "accept"}]),
        "{answer}"
    );
}

#[tokio::test]
async fn a_retry_may_declare_less_and_is_still_answered() {
    let server = asker(&[&[("1", ELICIT, FORM)]]).await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    let params = retry(&asked, &[(&key(&asked), ACCEPT)]);
    let none = r#"{"io.modelcontextprotocol/clientCapabilities":{}}"#;
    let mut reply = request(&rig, "2", &params, none).send().await.unwrap();
    let answer = reply.answer().await.unwrap();
    assert_eq!(
        answer["result"]["structuredContent"]["got"],
        json!([{"action": "accept"}])
    );
}
