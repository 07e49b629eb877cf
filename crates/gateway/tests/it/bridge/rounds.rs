//! What a modern server wants to know is asked of a legacy client on the stream of the very call, and its answers make the next round.

use serde_json::{Value, json};
use testkit::http::Reply;
use testkit::raw::{Canned, RawServer, Script, Seen};

use crate::rig::{Rig, Session, modern, next, server, toolset};

pub(super) const FORM: &str = r#"{"method":"elicitation/create","params":{"message":"name?","requestedSchema":{"type":"object","n":1.0}}}"#;
pub(super) const SAMPLE: &str =
    r#"{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}"#;
pub(super) const ROOTS: &str = r#"{"method":"roots/list"}"#;
pub(super) const DONE: &str = r#"{"resultType":"complete","content":[]}"#;

/// A result that asks; `state` is raw.
pub(super) fn asks(requests: &str, state: &str) -> String {
    format!(
        r#"{{"resultType":"input_required","inputRequests":{requests},"requestState":{state}}}"#
    )
}

/// A server that asks this in the first round of a call, and is done in the second.
pub(super) async fn asking_once(requests: String) -> RawServer {
    server(modern(), move |seen| {
        let is_first = seen.json()["params"]["requestState"].is_null();
        let asked = asks(&requests, "\"s\"");
        Script::json(seen.result(if is_first { &asked } else { DONE }))
    })
    .await
}

pub(super) async fn answer(session: &Session, id: &Value, rest: &str) {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},{rest}}}"#);
    assert_eq!(session.post(&body).await.status, 202);
}

pub(super) fn calls(server: &RawServer) -> Vec<Seen> {
    server.requests_of("tools/call")
}

pub(super) async fn ends(reply: &mut Reply) {
    let event = reply.event().await.unwrap();
    assert_eq!(event, None, "nothing more is said");
}

#[tokio::test]
async fn the_questions_of_a_round_come_at_once_and_the_answers_go_back_under_the_servers_keys() {
    let server = server(modern(), |seen| {
        if !seen.json()["params"]["requestState"].is_null() {
            return Script::json(seen.result(DONE));
        }
        let requests = format!(r#"{{"a\/b":{FORM},"é":{SAMPLE},"":{ROOTS}}}"#);
        Script::json(seen.result(&asks(&requests, r#""s+\/=\u00e9""#)))
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut call = session.call("\"mine\"", "echo").await;
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(next(&mut call).await);
    }
    let by = |method: &str| {
        let found = asked.iter().find(|asked| asked["method"] == method);
        found.unwrap().clone()
    };
    let (form, sample, roots) = (
        by("elicitation/create"),
        by("sampling/createMessage"),
        by("roots/list"),
    );
    assert_eq!(
        form["params"],
        json!({"message": "name?", "requestedSchema": {"type": "object", "n": 1.0}})
    );
    assert!(form["id"] != sample["id"] && sample["id"] != roots["id"] && form["id"] != roots["id"]);
    answer(&session, &roots["id"], r#""result":{"roots":[]}"#).await;
    answer(
        &session,
        &sample["id"],
        r#""result":{"role":"assistant","n":1.0}"#,
    )
    .await;
    assert_eq!(calls(&server).len(), 1, "not before all is answered");
    answer(
        &session,
        &form["id"],
        r#""result":{"action":"accept","content":{"\u00e9":12345678901234567890}}"#,
    )
    .await;
    let done = next(&mut call).await;
    assert_eq!(
        (&done["id"], &done["result"]),
        (&json!("mine"), &json!({"content": []}))
    );
    ends(&mut call).await;
    let calls = calls(&server);
    assert_eq!(calls.len(), 2);
    let text = calls[1].text();
    assert!(
        text.contains(r#""requestState":"s+\/=\u00e9""#),
        "the state goes back as it came: {text}"
    );
    assert!(
        text.contains(r#"{"action":"accept","content":{"\u00e9":12345678901234567890}}"#),
        "{text}"
    );
    assert_eq!(
        calls[1].json()["params"]["inputResponses"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect::<std::collections::BTreeSet<_>>(),
        ["", "a/b", "é"].into()
    );
    let params = &calls[1].json()["params"];
    assert_eq!(
        (
            &params["inputResponses"]["é"],
            &params["inputResponses"][""]
        ),
        (
            &json!({"role": "assistant", "n": 1.0}),
            &json!({"roots": []})
        )
    );
    assert_ne!(calls[0].rpc_id(), calls[1].rpc_id());
}

#[tokio::test]
async fn every_round_says_the_call_again_with_its_headers_and_the_standing_of_the_client() {
    const TOOLS: &str = r#"[{"name":"echo","inputSchema":{"type":"object","properties":{"place":{"type":"string","x-mcp-header":"Place"}}}}]"#;
    let offer = Canned {
        tools: TOOLS,
        capabilities: r#"{"tools":{},"logging":{}}"#,
        ..modern()
    };
    let server = server(offer, |seen| {
        let round = match seen.json()["params"]["requestState"].as_str() {
            None => asks(&format!(r#"{{"k":{FORM}}}"#), "\"one\""),
            Some("one") => asks(&format!(r#"{{"k":{ROOTS}}}"#), "\"two\""),
            Some(_) => DONE.to_owned(),
        };
        Script::json(seen.result(&round))
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut set = session
        .request("0", "logging/setLevel", r#"{"level":"error"}"#)
        .send()
        .await
        .unwrap();
    assert!(set.answer().await.unwrap()["result"].is_object());
    let params = r#"{"name":"echo","arguments":{"place":"Zürich","n":1.0},"_meta":{"progressToken":"p","a/b":[1.0]},"task":{"ttl":1},"inputResponses":{"k":{}},"requestState":"forged"}"#;
    let mut call = session
        .request("1", "tools/call", params)
        .send()
        .await
        .unwrap();
    for rest in [
        r#""result":{"action":"accept"}"#,
        r#""result":{"roots":[]}"#,
    ] {
        let asked = next(&mut call).await;
        answer(&session, &asked["id"], rest).await;
    }
    assert!(next(&mut call).await["result"].is_object());
    let calls = calls(&server);
    assert_eq!(calls.len(), 3);
    let same = |seen: &Seen| {
        let params = &seen.json()["params"];
        let headers = [
            "mcp-method",
            "mcp-name",
            "mcp-param-place",
            "mcp-protocol-version",
        ]
        .map(|name| seen.headers_named(name).join("|"));
        let mut meta = params["_meta"].clone();
        assert_eq!(
            meta["progressToken"].to_string(),
            seen.rpc_id().unwrap(),
            "progress is told to this round"
        );
        meta["progressToken"] = Value::Null;
        let can = meta["io.modelcontextprotocol/clientCapabilities"].take();
        assert_eq!(
            [&can["elicitation"], &can["roots"], &can["sampling"]],
            [&json!({}), &json!({}), &json!({})],
            "what the client can do, without what the gateway does not carry: {can}"
        );
        (headers, meta, params["arguments"].clone())
    };
    let (headers, meta, arguments) = same(&calls[0]);
    assert_eq!(headers[0], "tools/call");
    assert_eq!(headers[1], "echo");
    assert!(!headers[2].is_empty());
    assert_eq!(headers[3], "2026-07-28");
    assert_eq!(arguments, json!({"place": "Zürich", "n": 1.0}));
    assert_eq!(
        meta,
        json!({
            "progressToken": null, "a/b": [1.0],
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "rig", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": null,
            "io.modelcontextprotocol/logLevel": "error",
        })
    );
    for round in &calls[1..] {
        assert_eq!(same(round), same(&calls[0]));
    }
    let first = &calls[0].json()["params"];
    assert!(
        first["inputResponses"].is_null()
            && first["requestState"].is_null()
            && first["task"].is_null(),
        "a legacy client has no business with these: {first}"
    );
    assert_eq!(
        calls[2].json()["params"]["inputResponses"],
        json!({"k": {"roots": []}}),
        "answers are told once"
    );
    assert!(
        calls
            .iter()
            .all(|seen| seen.header("mcp-session-id").is_none())
    );
}

#[tokio::test]
async fn progress_of_every_round_has_the_clients_token() {
    let server = server(modern(), |seen| {
        let token = &seen.json()["params"]["_meta"]["progressToken"];
        let is_first = seen.json()["params"]["requestState"].is_null();
        let asked = asks(&format!(r#"{{"k":{FORM}}}"#), "\"s\"");
        Script::sse()
            .event(format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1.0}}}}"#))
            .event(seen.result(if is_first { &asked } else { DONE }))
            .end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let params = r#"{"name":"echo","arguments":{},"_meta":{"progressToken":"p"}}"#;
    let mut call = session
        .request("1", "tools/call", params)
        .send()
        .await
        .unwrap();
    let progress = json!({"progressToken": "p", "progress": 1.0});
    assert_eq!(next(&mut call).await["params"], progress);
    let asked = next(&mut call).await;
    answer(&session, &asked["id"], r#""result":{"action":"accept"}"#).await;
    assert_eq!(next(&mut call).await["params"], progress);
    assert_eq!(next(&mut call).await["id"], 1);
    ends(&mut call).await;
}

#[tokio::test]
async fn a_round_without_questions_goes_on_by_itself() {
    let server = server(modern(), |seen| {
        let round = match seen.json()["params"]["requestState"].as_str() {
            None => r#"{"resultType":"input_required","requestState":"one"}"#.to_owned(),
            Some("one") => asks("{}", "\"two\""),
            Some(_) => DONE.to_owned(),
        };
        Script::json(seen.result(&round))
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session_of("2025-11-25", "{}").await;
    let began = std::time::Instant::now();
    let mut call = session.call("1", "echo").await;
    assert!(!call.is_stream(), "the client is asked nothing");
    assert_eq!(call.json().await.unwrap()["result"], json!({"content": []}));
    assert!(
        began.elapsed() >= std::time::Duration::from_millis(400),
        "the server is not called in a tight loop"
    );
    let calls = calls(&server);
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[2].json()["params"]["requestState"], "two");
}

#[tokio::test]
async fn with_several_servers_it_is_marked_who_asks() {
    let (one, two) = (
        asking_once(format!(r#"{{"k":{FORM}}}"#)).await,
        asking_once(format!(r#"{{"k":{FORM}}}"#)).await,
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
    assert_eq!(of_one["params"]["message"], "[one] name?");
    assert_eq!(of_two["params"]["message"], "[two] name?");
    assert_ne!(of_one["id"], of_two["id"]);
    answer(&session, &of_two["id"], r#""result":{"for":"two"}"#).await;
    answer(&session, &of_one["id"], r#""result":{"for":"one"}"#).await;
    assert_eq!(next(&mut first).await["id"], 1);
    assert_eq!(next(&mut second).await["id"], 2);
    for (server, name) in [(&one, "one"), (&two, "two")] {
        let seen = calls(server);
        assert_eq!(seen[1].json()["params"]["name"], "echo");
        assert_eq!(
            seen[1].json()["params"]["inputResponses"],
            json!({"k": {"for": name}})
        );
    }
}

#[tokio::test]
async fn two_calls_of_one_session_that_ask_with_equal_keys_do_not_mix() {
    let server = server(modern(), |seen| {
        let params = &seen.json()["params"];
        let mark = params["arguments"]["mark"].clone();
        if params["requestState"].is_null() {
            return Script::json(
                seen.result(&asks(&format!(r#"{{"k":{FORM}}}"#), &mark.to_string())),
            );
        }
        assert_eq!(params["requestState"], mark);
        let got = &params["inputResponses"]["k"];
        Script::json(seen.result(&format!(
            r#"{{"resultType":"complete","content":[],"structuredContent":{got}}}"#
        )))
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let begin = async |id: &str| {
        let params = format!(r#"{{"name":"echo","arguments":{{"mark":"{id}"}}}}"#);
        session
            .request(id, "tools/call", &params)
            .send()
            .await
            .unwrap()
    };
    let (mut one, mut two) = (begin("1").await, begin("2").await);
    let (of_one, of_two) = (next(&mut one).await, next(&mut two).await);
    answer(&session, &of_two["id"], r#""result":{"n":2}"#).await;
    answer(&session, &of_one["id"], r#""result":{"n":1}"#).await;
    assert_eq!(next(&mut one).await["result"]["structuredContent"]["n"], 1);
    assert_eq!(next(&mut two).await["result"]["structuredContent"]["n"], 2);
}
