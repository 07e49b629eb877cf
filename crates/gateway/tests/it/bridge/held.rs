//! Calls at legacy servers that modern clients have as tasks.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use testkit::http::{self, Reply, Request};
use testkit::raw::{Canned, Feed, RawServer, Script, Seen, canned, feed};

use super::asking::{FORM, asker, is_answer, is_call, is_cancel, is_refused, opening, question};
use crate::rig::{Rig, address_of_its_own, legacy, next, toolset};

const ELICIT: &str = "elicitation/create";
/// What a client can do that can do everything, tasks included.
pub(super) const KNOWS: &str = r#"{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
const OFFER: &str = r#"{"tools":{},"tasks":{"cancel":{},"requests":{"tools":{"call":{}}}}}"#;
const TOOLS: &str = r#"[{"name":"job","inputSchema":{"type":"object"},"execution":{"taskSupport":"required"}},{"name":"may","inputSchema":{"type":"object"},"execution":{"taskSupport":"optional"}}]"#;
/// What the server says of its task.
const TASK: &str = r#""taskId":"t/1","createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z","ttl":60000,"pollInterval":1500,"x.n":1.0"#;

fn state(status: &str) -> String {
    format!(r#"{{{TASK},"status":"{status}"}}"#)
}

fn is(method: &'static str) -> impl Fn(&Seen) -> bool {
    move |seen| seen.rpc_method().as_deref() == Some(method)
}

/// A legacy server that makes a task of `job` and says what is fed where its result is asked for.
async fn tasker(events: Feed) -> RawServer {
    tasker_with(move |seen| match seen.rpc_method().as_deref() {
        Some("tasks/result") => Some(Script::sse().follow(&events).end()),
        _ => None,
    })
    .await
}

/// The same with answers of its own.
async fn tasker_with(own: impl Fn(&Seen) -> Option<Script> + Send + Sync + 'static) -> RawServer {
    let opened = AtomicUsize::new(0);
    let offer = Canned {
        capabilities: OFFER,
        tools: TOOLS,
        ..legacy()
    };
    RawServer::start_at(address_of_its_own(), move |seen| {
        if let Some(script) = own(seen) {
            return script;
        }
        match seen.rpc_method().as_deref() {
            Some("initialize") => {
                let id = format!("own-{}", opened.fetch_add(1, Ordering::Relaxed));
                opening(seen, OFFER, &id)
            }
            Some("tools/call") if seen.json()["params"]["task"].is_object() => {
                let task = state("working");
                Script::json(seen.result(&format!(r#"{{"task":{task}}}"#)))
            }
            Some("tools/call") => Script::json(seen.result(r#"{"content":[]}"#)),
            Some("tasks/get") => Script::json(seen.result(&state("working"))),
            Some("tasks/cancel") => Script::json(seen.result(&state("cancelled"))),
            _ => canned(&offer, seen).unwrap_or_else(Script::accepted),
        }
    })
    .await
    .unwrap()
}

fn call(rig: &Rig, name: &str, capabilities: &str) -> Request {
    let params = format!(r#"{{"name":"{name}","arguments":{{"mark":"m"}}}}"#);
    http::modern_with(&rig.url(), 1, "tools/call", &params, capabilities).header("Mcp-Name", name)
}

/// Calls a tool for a client that knows tasks, and sees that it gets one.
async fn begin(rig: &Rig, name: &str) -> Value {
    let mut reply = call(rig, name, KNOWS).send().await.unwrap();
    let answer = reply.answer().await.unwrap();
    let task = answer["result"].clone();
    assert_eq!(task["resultType"], "task", "{answer}");
    assert!(task["taskId"].is_string(), "{answer}");
    for absent in ["requestState", "inputRequests", "task", "ttl"] {
        assert!(task[absent].is_null(), "{answer}");
    }
    task
}

fn of_task(rig: &Rig, method: &str, task: &Value, more: &str, capabilities: &str) -> Request {
    let id = task["taskId"].as_str().unwrap();
    let params = format!(r#"{{"taskId":"{id}"{more}}}"#);
    http::modern_with(&rig.url(), 7, method, &params, capabilities).header("Mcp-Name", id)
}

async fn answered(request: &Request) -> Value {
    request.send().await.unwrap().answer().await.unwrap()
}

async fn look(rig: &Rig, task: &Value) -> Value {
    let answer = answered(&of_task(rig, "tasks/get", task, "", KNOWS)).await;
    let state = answer["result"].clone();
    assert_eq!(state["resultType"], "complete", "{answer}");
    assert_eq!(state["taskId"], task["taskId"]);
    assert!(state["requestState"].is_null(), "{answer}");
    state
}

/// Looks until the task is so far.
async fn until(rig: &Rig, task: &Value, status: &str) -> Value {
    let looks = async {
        loop {
            let state = look(rig, task).await;
            if state["status"] == status {
                return state;
            }
        }
    };
    testkit::within(status, looks).await.unwrap()
}

async fn say(rig: &Rig, method: &str, task: &Value, more: &str) {
    let answer = answered(&of_task(rig, method, task, more, KNOWS)).await;
    assert_eq!(
        answer["result"],
        json!({"resultType": "complete"}),
        "{answer}"
    );
}

async fn update(rig: &Rig, task: &Value, key: &str, raw: &str) {
    let more = format!(r#","inputResponses":{{"{key}":{raw}}}"#);
    say(rig, "tasks/update", task, &more).await;
}

/// The keys of the questions that a state asks.
fn keys(state: &Value) -> Vec<String> {
    let questions = state["inputRequests"].as_object();
    let questions = questions.unwrap_or_else(|| panic!("no questions: {state}"));
    questions.keys().cloned().collect()
}

#[tokio::test]
async fn a_tool_that_runs_only_as_a_task_is_one_to_a_client_that_knows_them() {
    let (push, events) = feed();
    let server = tasker(events).await;
    let rig = Rig::before(&server).await;
    let task = begin(&rig, "job").await;
    assert_eq!(task["status"], "working");
    assert_eq!(task["createdAt"], "2026-01-01T00:00:00Z");
    assert_eq!(task["pollIntervalMs"], 1500);
    assert_eq!(task["ttlMs"], 60000);
    assert_eq!(task["x.n"].to_string(), "1.0");
    assert_ne!(task["taskId"], "t/1", "ids are sealed");
    let working = look(&rig, &task).await;
    assert_eq!(working["status"], "working");
    assert!(working["result"].is_null());
    let asked = server.wait_for(1, is("tasks/result")).await.unwrap();
    let related = r#""_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t/1"}}"#;
    push.event(format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":1,"progress":1,{related}}}}}"#))
        .unwrap();
    push.event(asked[0].result(&format!(
        r#"{{"content":[],"structuredContent":{{"n":1.0}},"isError":true,{related}}}"#
    )))
    .unwrap();
    let done = until(&rig, &task, "completed").await;
    assert_eq!(done["result"]["isError"], true);
    assert_eq!(done["result"]["structuredContent"]["n"].to_string(), "1.0");
    assert!(!done.to_string().contains("t/1"), "{done}");
    assert_eq!(look(&rig, &task).await, done, "a result can be read twice");
    let calls = server.requests_of("tools/call");
    assert_eq!(calls.len(), 1);
    assert!(calls[0].json()["params"]["task"]["ttl"].is_u64());
    assert_eq!(
        asked[0].header("mcp-session-id"),
        calls[0].header("mcp-session-id")
    );
    assert_eq!(server.requests_of("tasks/result").len(), 1);
    say(&rig, "tasks/cancel", &task, "").await;
    assert_eq!(look(&rig, &task).await, done, "what is over is over");
    let heard = server.requests();
    assert!(!heard.iter().any(is("tasks/cancel")) && !heard.iter().any(is_cancel));
}

#[tokio::test]
async fn without_the_extension_or_where_a_task_is_not_needed_a_call_is_a_call() {
    let server = tasker_with(|seen| match seen.rpc_method().as_deref() {
        Some("tasks/result") => Some(Script::json(seen.result(r#"{"content":[],"n":2}"#))),
        _ => None,
    })
    .await;
    let rig = Rig::before(&server).await;
    let plain = r#"{"elicitation":{}}"#;
    let answer = answered(&call(&rig, "job", plain)).await;
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert_eq!(answer["result"]["n"], 2);
    let answer = answered(&call(&rig, "may", KNOWS)).await;
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    let calls = server.requests_of("tools/call");
    assert!(calls[0].json()["params"]["task"].is_object());
    assert!(calls[1].json()["params"]["task"].is_null());
}

#[tokio::test]
async fn a_tool_says_task_in_vain_at_a_server_that_does_not_say_it_too() {
    let own = |seen: &Seen| {
        let is_opening = seen.rpc_method().as_deref() == Some("initialize");
        is_opening.then(|| opening(seen, r#"{"tools":{}}"#, "own"))
    };
    let server = tasker_with(own).await;
    let rig = Rig::before(&server).await;
    let answer = answered(&call(&rig, "job", KNOWS)).await;
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert!(server.requests_of("tools/call")[0].json()["params"]["task"].is_null());
}

#[tokio::test]
async fn what_is_asked_in_a_task_is_answered_by_updates() {
    let (push, events) = feed();
    let server = tasker(events).await;
    let rig = Rig::start(&toolset(&[
        ("a", &server.url(), ""),
        ("b", &server.url(), "prefix: b_"),
    ]))
    .await;
    let task = begin(&rig, "job").await;
    let asked = server.wait_for(1, is("tasks/result")).await.unwrap();
    let related = r#"{"message":"MARK","requestedSchema":{"type":"object","properties":{}},"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t/1"}}}"#;
    push.event(question(("7", ELICIT, related), "who?"))
        .unwrap();
    push.event(question(("\"s\"", "roots/list", "{}"), ""))
        .unwrap();
    let waits = until(&rig, &task, "input_required").await;
    assert_eq!(keys(&waits).len(), 2, "{waits}");
    assert!(!waits.to_string().contains("related-task"), "{waits}");
    let key = |method: &str| {
        let of = |key: &String| waits["inputRequests"][key]["method"] == method;
        keys(&waits).into_iter().find(of).unwrap()
    };
    let (form, roots) = (key(ELICIT), key("roots/list"));
    assert_eq!(
        waits["inputRequests"][&form]["params"]["message"], "[a] who?",
        "it is marked who asks"
    );
    for wrong in ["7", "null"] {
        update(&rig, &task, &form, wrong).await;
    }
    update(&rig, &task, "made-up", "{}").await;
    assert_eq!(look(&rig, &task).await, waits, "nothing was answered");
    update(&rig, &task, &form, r#"{"action":"accept","n":1.0}"#).await;
    let left = look(&rig, &task).await;
    assert_eq!(keys(&left), std::slice::from_ref(&roots));
    update(&rig, &task, &form, r#"{"action":"decline"}"#).await;
    update(&rig, &task, &roots, r#"{"roots":[]}"#).await;
    let working = look(&rig, &task).await;
    assert_eq!(working["status"], "working");
    assert!(working["inputRequests"].is_null());
    let got = server.wait_for(2, is_answer).await.unwrap();
    let mut texts: Vec<String> = got.iter().map(Seen::text).collect();
    texts.sort();
    assert_eq!(
        texts,
        [
            r#"{"jsonrpc":"2.0","id":"s","result":{"roots":[]}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"action":"accept","n":1.0}}"#,
        ]
    );
    // A later question has a key of its own, even under an id that was used before.
    push.event(question(("7", ELICIT, FORM), "again?")).unwrap();
    let again = until(&rig, &task, "input_required").await;
    assert!(!keys(&waits).contains(&keys(&again)[0]));
    update(&rig, &task, &keys(&again)[0], r#"{"action":"accept"}"#).await;
    push.event(asked[0].result(r#"{"content":[]}"#)).unwrap();
    until(&rig, &task, "completed").await;
    assert_eq!(server.requests_of("tools/call").len(), 1);
}

#[tokio::test]
async fn a_call_that_asks_becomes_a_task_and_its_result_the_tasks() {
    let server = asker(&[&[("1", ELICIT, FORM)], &[("2", "roots/list", "{}")]]).await;
    let rig = Rig::before(&server).await;
    let task = begin(&rig, "echo").await;
    assert_eq!(task["status"], "input_required");
    for text in ["createdAt", "lastUpdatedAt"] {
        let time = task[text].as_str().unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    }
    assert!(task["ttlMs"].as_u64().unwrap() > 0 && task["pollIntervalMs"].is_u64());
    let first = look(&rig, &task).await;
    let key = &keys(&first)[0];
    assert_eq!(first["inputRequests"][key]["params"]["message"], "m");
    update(&rig, &task, key, r#"{"n":1}"#).await;
    let second = until(&rig, &task, "input_required").await;
    assert_ne!(keys(&second)[0], *key);
    update(&rig, &task, &keys(&second)[0], r#"{"n":2}"#).await;
    let done = until(&rig, &task, "completed").await;
    assert_eq!(
        done["result"]["structuredContent"],
        json!({"mark": "m", "got": [{"n": 1}, {"n": 2}]})
    );
    assert_eq!(done["result"]["resultType"], "complete");
    assert_eq!(server.requests_of("tools/call").len(), 1);
    assert!(!server.requests().iter().any(is_cancel));
}

#[tokio::test]
async fn a_client_that_leaves_after_it_has_the_task_has_cancelled_nothing() {
    let server = asker(&[&[("1", ELICIT, FORM)]]).await;
    let rig = Rig::before(&server).await;
    let mut reply = call(&rig, "echo", KNOWS).send().await.unwrap();
    let task = reply.answer().await.unwrap()["result"].clone();
    drop(reply);
    let waits = look(&rig, &task).await;
    update(&rig, &task, &keys(&waits)[0], "{}").await;
    until(&rig, &task, "completed").await;
    assert!(!server.requests().iter().any(is_cancel));
}

#[tokio::test]
async fn a_cancelled_task_is_cancelled_at_the_server() {
    let (_push, events) = feed();
    let server = tasker(events).await;
    let rig = Rig::before(&server).await;
    let task = begin(&rig, "job").await;
    say(&rig, "tasks/cancel", &task, "").await;
    assert_eq!(look(&rig, &task).await["status"], "cancelled");
    let told = server.wait_for(1, is("tasks/cancel")).await.unwrap();
    assert_eq!(told[0].json()["params"]["taskId"], "t/1");
    say(&rig, "tasks/cancel", &task, "").await;
    let server = asker(&[&[("1", ELICIT, FORM)]]).await;
    let rig = Rig::before(&server).await;
    let task = begin(&rig, "echo").await;
    let key = keys(&look(&rig, &task).await)[0].clone();
    say(&rig, "tasks/cancel", &task, "").await;
    let state = look(&rig, &task).await;
    assert_eq!(state["status"], "cancelled");
    assert!(state["inputRequests"].is_null());
    update(&rig, &task, &key, "{}").await;
    let answer = server.wait_for(1, is_answer).await.unwrap();
    assert_eq!(answer[0].json()["result"], json!({"action": "cancel"}));
    server.wait_for(1, is_cancel).await.unwrap();
    assert_eq!(look(&rig, &task).await["status"], "cancelled");
}

#[tokio::test]
async fn an_error_is_a_failed_task_and_the_servers_own_cancellation_a_cancelled_one() {
    for (own, status) in [("failed", "failed"), ("cancelled", "cancelled")] {
        let server = tasker_with(move |seen| match seen.rpc_method().as_deref() {
            Some("tasks/result") => Some(Script::json(seen.error(-32042, "broken"))),
            Some("tasks/get") => Some(Script::json(seen.result(&state(own)))),
            _ => None,
        })
        .await;
        let rig = Rig::before(&server).await;
        let task = begin(&rig, "job").await;
        let state = until(&rig, &task, status).await;
        if status == "failed" {
            assert_eq!(state["error"]["code"], -32603, "{state}");
            assert!(state["error"]["message"].is_string());
        } else {
            assert!(state["error"].is_null());
        }
        assert!(state["result"].is_null());
    }
    // A server that breaks in the middle of a call has failed it.
    let (push, events) = feed();
    let server = crate::rig::server(legacy(), move |_| {
        let asks = Script::sse().event(question(("1", ELICIT, FORM), "m"));
        asks.follow(&events).cut()
    })
    .await;
    let rig = Rig::before(&server).await;
    let task = begin(&rig, "echo").await;
    drop(push);
    let state = until(&rig, &task, "failed").await;
    assert_eq!(state["error"]["code"], -32603, "{state}");
    assert!(!server.requests().iter().any(is("tasks/cancel")));
}

#[tokio::test]
async fn a_result_whose_answer_broke_off_is_asked_for_again() {
    let asked = AtomicUsize::new(0);
    let server = tasker_with(move |seen| match seen.rpc_method().as_deref() {
        Some("tasks/result") if asked.fetch_add(1, Ordering::Relaxed) == 0 => {
            Some(Script::sse().cut())
        }
        Some("tasks/result") => Some(Script::json(seen.result(r#"{"content":[],"n":2}"#))),
        _ => None,
    })
    .await;
    let rig = Rig::before(&server).await;
    let task = begin(&rig, "job").await;
    let done = until(&rig, &task, "completed").await;
    assert_eq!(done["result"]["n"], 2);
    assert_eq!(server.requests_of("tools/call").len(), 1);
}

#[tokio::test]
async fn what_the_server_tells_of_its_task_is_told_on() {
    let (push, events) = feed();
    let server = tasker(events).await;
    let rig = Rig::before(&server).await;
    let task = begin(&rig, "job").await;
    let tells = |status: &str, text: &str, id: &str| {
        let task = TASK.replace("t/1", id);
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{{{task},"status":"{status}","statusMessage":"{text}"}}}}"#
        )
    };
    push.event(tells("working", "foreign", "t/2")).unwrap();
    push.event(tells("completed", "soon", "t/1")).unwrap();
    let told = async {
        loop {
            let state = look(&rig, &task).await;
            if state["statusMessage"] == "soon" {
                return state;
            }
            assert!(state["statusMessage"].is_null(), "{state}");
        }
    };
    let state = testkit::within("a status", told).await.unwrap();
    assert_eq!(
        state["status"], "working",
        "without a result, it is not done"
    );
    assert_eq!(state["ttlMs"], 60000);
    push.event(tells("cancelled", "no", "t/1")).unwrap();
    until(&rig, &task, "cancelled").await;
}

async fn listen(rig: &Rig, id: &str, task: &Value) -> Reply {
    let params = format!(r#"{{"notifications":{{"taskIds":[{}]}}}}"#, task["taskId"]);
    let request = http::modern_with(&rig.url(), id, "subscriptions/listen", &params, KNOWS);
    let mut reply = request.send().await.unwrap();
    let acknowledged = next(&mut reply).await;
    assert_eq!(
        acknowledged["params"]["notifications"]["taskIds"],
        json!([task["taskId"]]),
        "{acknowledged}"
    );
    reply
}

#[tokio::test]
async fn who_listens_to_a_task_is_told_each_change() {
    let server = asker(&[&[("1", ELICIT, FORM)]]).await;
    let rig = Rig::before(&server).await;
    let task = begin(&rig, "echo").await;
    let mut heard = listen(&rig, "\"one\"", &task).await;
    let now = next(&mut heard).await;
    assert_eq!(now["method"], "notifications/tasks");
    assert_eq!(now["params"]["status"], "input_required", "{now}");
    assert_eq!(now["params"]["taskId"], task["taskId"]);
    let tag = "io.modelcontextprotocol/subscriptionId";
    assert_eq!(now["params"]["_meta"][tag], "one");
    assert!(now["params"]["resultType"].is_null());
    update(&rig, &task, &keys(&now["params"])[0], "{}").await;
    let last = async {
        loop {
            let told = next(&mut heard).await;
            if told["params"]["status"] != "working" {
                return told;
            }
        }
    };
    let last = testkit::within("the end", last).await.unwrap();
    assert_eq!(last["params"]["status"], "completed");
    assert_eq!(last["params"]["result"]["structuredContent"]["mark"], "m");
    let mut late = listen(&rig, "2", &task).await;
    assert_eq!(next(&mut late).await["params"]["status"], "completed");
    let params = format!(r#"{{"notifications":{{"taskIds":[{}]}}}}"#, task["taskId"]);
    let request = http::modern(&rig.url(), 3, "subscriptions/listen", &params);
    let refused = answered(&request).await;
    assert_eq!(refused["error"]["code"], -32021, "{refused}");
}

#[tokio::test]
async fn the_extension_is_offered_for_a_server_that_does_not_know_it() {
    let server = asker(&[]).await;
    let rig = Rig::before(&server).await;
    let told = rig.list("server/discover").await;
    let extensions = &told["result"]["capabilities"]["extensions"];
    assert_eq!(extensions["io.modelcontextprotocol/tasks"], json!({}));
}

#[tokio::test]
async fn a_task_is_its_callers_own_and_unknown_to_who_does_not_know_tasks() {
    use auth::ApiKey;

    let server = asker(&[&[("1", ELICIT, FORM)]]).await;
    let keys = [ApiKey::new([1; 32]), ApiKey::new([2; 32])];
    let directory = crate::callers::directory(&[&keys[0], &keys[1]]).await;
    let rig = Rig::guarding(&server, directory).await;
    let by = |request: Request, key: usize| {
        request.header("Authorization", &format!("Bearer {}", keys[key].expose()))
    };
    let task = answered(&by(call(&rig, "echo", KNOWS), 0)).await["result"].clone();
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let request = |task: &Value, capabilities: &str| {
            of_task(&rig, method, task, r#","inputResponses":{}"#, capabilities)
        };
        is_refused(&answered(&by(request(&task, KNOWS), 1)).await);
        is_refused(&answered(&request(&task, KNOWS)).await);
        let mut forged = task.clone();
        let id = task["taskId"].as_str().unwrap();
        forged["taskId"] = format!("{}A", &id[..id.len() - 1]).into();
        if forged["taskId"] == task["taskId"] {
            forged["taskId"] = format!("{}B", &id[..id.len() - 1]).into();
        }
        is_refused(&answered(&by(request(&forged, KNOWS), 0)).await);
        let undeclared = answered(&by(request(&task, "{}"), 0)).await;
        assert_eq!(undeclared["error"]["code"], -32021, "{undeclared}");
    }
    let malformed = of_task(&rig, "tasks/update", &task, "", KNOWS);
    is_refused(&answered(&by(malformed, 0)).await);
    let still = answered(&by(of_task(&rig, "tasks/get", &task, "", KNOWS), 0)).await;
    assert_eq!(still["result"]["status"], "input_required", "{still}");
    assert!(!server.requests().iter().any(is_answer));
    assert_eq!(
        server
            .requests()
            .iter()
            .filter(|seen| is_call(seen))
            .count(),
        1
    );
}
