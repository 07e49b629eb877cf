//! Tasks that a modern server makes of a legacy client's calls.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use testkit::raw::{Canned, RawServer, Script, Seen, canned};

use super::rounds::answer;
use crate::rig::{Rig, modern, next};

const ELICIT: &str = "elicitation/create";

/// A modern server that makes a task of each call, in these states one after the other.
async fn tasks(states: &'static [&'static str]) -> RawServer {
    let looks = AtomicUsize::new(0);
    let offer = Canned {
        capabilities: r#"{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#,
        ..modern()
    };
    RawServer::start(move |seen| match seen.rpc_method().as_deref() {
        Some("tools/call") => Script::json(seen.result(
            r#"{"resultType":"task","taskId":"t/1","status":"working","ttlMs":60000,"pollIntervalMs":100}"#,
        )),
        Some("tasks/get") => {
            let at = looks.fetch_add(1, Ordering::Relaxed).min(states.len() - 1);
            Script::json(seen.result(&format!(
                r#"{{"resultType":"complete","taskId":"t/1","ttlMs":60000,"pollIntervalMs":100,{}}}"#,
                states[at]
            )))
        }
        Some("tasks/update" | "tasks/cancel") => {
            Script::json(seen.result(r#"{"resultType":"complete"}"#))
        }
        _ => canned(&offer, seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap()
}

fn is_cancelled_task(seen: &Seen) -> bool {
    seen.rpc_method().as_deref() == Some("tasks/cancel")
}

#[tokio::test]
async fn a_task_of_a_modern_server_is_waited_for_and_its_questions_are_asked() {
    const STATES: &[&str] = &[
        r#""status":"working""#,
        r#""status":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{"message":"x","requestedSchema":{}}}}"#,
        r#""status":"completed","result":{"resultType":"complete","content":[],"structuredContent":[1.0]}"#,
    ];
    let server = tasks(STATES).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut call = session.call("1", "echo").await;
    let asked = next(&mut call).await;
    assert_eq!(asked["method"], ELICIT, "{asked}");
    answer(&session, &asked["id"], r#""result":{"n":1.0}"#).await;
    let done = next(&mut call).await;
    assert_eq!(
        done["result"],
        json!({"content": [], "structuredContent": {"result": [1.0]}})
    );
    let update = &server.requests_of("tasks/update")[0];
    assert_eq!(
        update.json()["params"]["inputResponses"],
        json!({"k": {"n": 1.0}})
    );
    for method in ["tasks/get", "tasks/update"] {
        for seen in server.requests_of(method) {
            assert_eq!(seen.json()["params"]["taskId"], "t/1");
            assert_eq!(seen.header("mcp-name"), Some("t/1"));
            assert_eq!(seen.header("mcp-method"), Some(method));
        }
    }
    assert_eq!(server.requests_of("tools/call").len(), 1);
    assert!(
        !server.requests().iter().any(is_cancelled_task),
        "it is over"
    );
}

#[tokio::test]
async fn a_task_that_fails_is_the_calls_failure_and_one_nobody_waits_for_is_cancelled() {
    let failed: &[&str] = &[r#""status":"failed","error":{"code":-32000,"message":"broken"}"#];
    let server = tasks(failed).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let answer = session.call("1", "echo").await.answer().await.unwrap();
    assert_eq!(answer["error"]["code"], -32000, "{answer}");
    let server = tasks(&[r#""status":"cancelled""#]).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let answer = session.call("1", "echo").await.answer().await.unwrap();
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    for ends in [false, true] {
        let server = tasks(&[r#""status":"working""#]).await;
        let rig = Rig::before(&server).await;
        let session = rig.session().await;
        let call = session.request("1", "tools/call", r#"{"name":"echo"}"#);
        let (_reply, ()) = tokio::join!(call.send(), async {
            let is_look = |seen: &Seen| seen.rpc_method().as_deref() == Some("tasks/get");
            server.wait_for(2, is_look).await.unwrap();
            if ends {
                session.end().await;
            } else {
                session
                    .notify("notifications/cancelled", r#"{"requestId":1}"#)
                    .await;
            }
            server.wait_for(1, is_cancelled_task).await.unwrap();
        });
    }
}
