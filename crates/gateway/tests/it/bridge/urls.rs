//! Users that are sent to a URL: only where the client can do that, and in the words of its era.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use testkit::raw::{RawServer, Script};

use super::asking::{CALL, asker, call, key, request};
use super::rounds::{answer, asking_once, calls};
use crate::rig::{Rig, legacy, next, server, toolset};

const ELICIT: &str = "elicitation/create";

#[tokio::test]
async fn a_visit_to_a_url_is_asked_only_of_clients_that_declared_it() {
    // MCP 2025-11-25, client/elicitation: an empty `elicitation` means forms only, and a mode that is not declared must not be asked.
    const VISIT: &str =
        r#"{"mode":"url","message":"MARK","url":"https://example.com","elicitationId":"e"}"#;
    let server = asker(&[&[("1", ELICIT, VISIT)]]).await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    let entry = &asked["result"]["inputRequests"][key(&asked)];
    assert_eq!(
        entry["params"],
        json!({"mode": "url", "message": "m", "url": "https://example.com"})
    );
    for declared in ["{}", r#"{"form":{}}"#] {
        let meta = format!(
            r#"{{"io.modelcontextprotocol/clientCapabilities":{{"elicitation":{declared}}}}}"#
        );
        let mut reply = request(&rig, "2", CALL, &meta).send().await.unwrap();
        let answer = reply.answer().await.unwrap();
        assert_eq!(
            answer["result"]["structuredContent"]["got"],
            json!([{"error": -32601}]),
            "{declared}: {answer}"
        );
    }
}

/// A server that wants a URL visited before it answers, and says so by an error.
async fn wants_a_visit() -> RawServer {
    let visited = AtomicUsize::new(0);
    server(legacy(), move |seen| {
        if visited.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            return Script::json(seen.result(r#"{"content":[]}"#));
        }
        let id = seen.rpc_id().unwrap();
        Script::json(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32042,"message":"visit first","data":{{"elicitations":[{{"mode":"url","elicitationId":"e1","url":"https://example.com/a","message":"A"}},{{"mode":"url","elicitationId":"e2","url":"https://example.com/b","message":"B"}}]}}}}}}"#
        ))
    })
    .await
}

#[tokio::test]
async fn an_error_that_wants_urls_visited_becomes_questions_and_the_retry_calls_again() {
    let server = wants_a_visit().await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let questions = asked["result"]["inputRequests"].as_object().unwrap();
    let mut urls: Vec<&str> = questions
        .values()
        .map(|entry| {
            assert_eq!(entry["method"], ELICIT);
            assert_eq!(entry["params"]["mode"], "url");
            assert!(entry["params"]["elicitationId"].is_null());
            entry["params"]["url"].as_str().unwrap()
        })
        .collect();
    urls.sort_unstable();
    assert_eq!(urls, ["https://example.com/a", "https://example.com/b"]);
    let key = questions.keys().next().unwrap();
    let params = format!(
        r#"{{"name":"echo","arguments":{{"mark":"m"}},"inputResponses":{{"{key}":{{"action":"accept"}}}}}}"#
    );
    let answer = call(&rig, "2", &params).await;
    assert_eq!(answer["result"]["content"], json!([]), "{answer}");
    let calls = server.requests_of("tools/call");
    assert_eq!(calls.len(), 2);
    let params = &calls[1].json()["params"];
    assert!(
        params["inputResponses"].is_null() && params["requestState"].is_null(),
        "{params}"
    );
}

#[tokio::test]
async fn urls_are_not_asked_of_a_client_that_did_not_declare_it() {
    // MCP 2026-07-28, basic/patterns/mrtr: no question of a kind that the client did not declare.
    let server = wants_a_visit().await;
    let rig = Rig::before(&server).await;
    for declared in ["{}", r#"{"elicitation":{"form":{}}}"#, r#"{"sampling":{}}"#] {
        let meta = format!(r#"{{"io.modelcontextprotocol/clientCapabilities":{declared}}}"#);
        let mut reply = request(&rig, "1", CALL, &meta).send().await.unwrap();
        let answer = reply.answer().await.unwrap();
        assert!(answer["error"]["code"].is_i64(), "{declared}: {answer}");
        assert_ne!(answer["error"]["code"], -32042, "{answer}");
        // The server's next answer is a result; it is its turn to refuse again.
        call(&rig, "2", CALL).await;
    }
}

#[tokio::test]
async fn with_several_servers_it_is_marked_who_wants_urls_visited() {
    let (one, two) = (wants_a_visit().await, asker(&[]).await);
    let yaml = toolset(&[("one", &one.url(), ""), ("two", &two.url(), "prefix: two_")]);
    let rig = Rig::start(&yaml).await;
    let asked = call(&rig, "1", CALL).await;
    let questions = asked["result"]["inputRequests"].as_object().unwrap();
    for entry in questions.values() {
        let text = entry["params"]["message"].as_str().unwrap();
        assert!(text.starts_with("[one] "), "{text}");
    }
}

#[tokio::test]
async fn a_visit_to_a_url_gets_an_id_of_its_own_that_the_server_never_hears_of() {
    let url = |at: u8| {
        format!(
            r#"{{"method":"elicitation/create","params":{{"mode":"url","message":"x","url":"https://example.com/{at}"}}}}"#
        )
    };
    let server = asking_once(format!(r#"{{"a":{},"b":{}}}"#, url(1), url(2))).await;
    let rig = Rig::before(&server).await;
    let session = rig
        .session_of("2025-11-25", r#"{"elicitation":{"url":{}}}"#)
        .await;
    let mut call = session.call("1", "echo").await;
    let (one, two) = (next(&mut call).await, next(&mut call).await);
    let id = |asked: &Value| {
        assert_eq!(asked["params"]["mode"], "url");
        asked["params"]["elicitationId"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_ne!(id(&one), id(&two));
    for asked in [&one, &two] {
        answer(&session, &asked["id"], r#""result":{"action":"accept"}"#).await;
    }
    assert!(next(&mut call).await["result"].is_object());
    let text = calls(&server)[1].text();
    assert!(
        !text.contains("elicitationId") && !text.contains(&id(&one)),
        "{text}"
    );
}
