//! Two clients do everything at once, with equal ids, tokens and names; nothing of one ever reaches the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use testkit::http::{self, Reply};
use testkit::raw::{Canned, Push, RawServer, Script, Seen, canned, feed};
use tokio::task::JoinSet;

use crate::rig::{Rig, Session, toolset};

/// Clients at once, and rounds of each.
const TENANTS: usize = 6;
const ROUNDS: usize = 8;

/// Per call: where the server goes on once it has the client's answer.
type Waiting = Arc<Mutex<HashMap<String, (Push, String)>>>;

/// A server that marks everything it says with the secret of the call it belongs to, and asks with an id that is always 1.
async fn marking() -> RawServer {
    let waiting = Waiting::default();
    let sessions = std::sync::atomic::AtomicUsize::new(0);
    RawServer::start(move |seen| match (seen.rpc_method().as_deref(), seen.header("mcp-session-id")) {
        (Some("initialize"), _) => {
            let id = format!("s{}", sessions.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"logging":{}},"serverInfo":{"name":"x","version":"1"}}"#;
            Script::json_with(200, &[("mcp-session-id", &id)], seen.result(result))
        }
        (Some("tools/call"), session) => called(seen, session, &waiting),
        (Some("logging/setLevel"), _) => Script::json(seen.result("{}")),
        (None, Some(session)) if seen.json().get("result").is_some() => {
            // The answer names the secret it was given to; the server goes on with what it was told.
            if let Some((push, call)) = waiting.lock().unwrap().remove(session) {
                let said = seen.json()["result"].to_string();
                push.event(call.replace("ANSWERED", &said.replace('"', "'"))).unwrap();
            }
            Script::accepted()
        }
        _ => canned(&Canned::default(), seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap()
}

fn called(seen: &Seen, session: Option<&str>, waiting: &Waiting) -> Script {
    let secret = seen.json()["params"]["arguments"]["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    let token = seen.json()["params"]["_meta"]["progressToken"].to_string();
    let progress = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1,"message":"{secret}"}}}}"#
    );
    let log = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"error","data":"{secret}"}}}}"#
    );
    let result = seen.result(&format!(
        r#"{{"resultType":"complete","content":[{{"type":"text","text":"{secret} ANSWERED"}}]}}"#
    ));
    let script = Script::sse().event(progress).event(log);
    let Some(session) = session else {
        return script.event(result).end();
    };
    let question = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{{"message":"{secret}"}}}}"#
    );
    let (push, events) = feed();
    waiting
        .lock()
        .unwrap()
        .insert(session.to_owned(), (push, result));
    script.event(question).follow(&events).end()
}

/// One that `leaves` hangs up after every event, and comes back for the next.
async fn legacy_tenant(session: Session, name: String, leaves: bool) {
    for round in 0..ROUNDS {
        let secret = format!("{name}.{round}");
        let params = format!(
            r#"{{"name":"echo","arguments":{{"secret":"{secret}"}},"_meta":{{"progressToken":1}}}}"#
        );
        let mut reply = session
            .request("1", "tools/call", &params)
            .send()
            .await
            .unwrap();
        let mut kinds = Vec::new();
        while let Some(event) = reply.event().await.unwrap() {
            if leaves && event.json()["method"].is_string() {
                reply = session.after(event.id.as_deref().unwrap()).await;
            }
            assert_eq!(
                event.data.matches(&secret).count(),
                event.data.matches("secret-").count(),
                "{name}: {}",
                event.data
            );
            let message = event.json();
            match message["method"].as_str() {
                Some("elicitation/create") => {
                    assert_eq!(message["params"]["message"], secret);
                    let body = format!(
                        r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"accept","content":{{"for":"{secret}"}}}}}}"#,
                        message["id"]
                    );
                    assert_eq!(session.post(&body).await.status, 202);
                    kinds.push("question");
                }
                Some("notifications/progress") => {
                    assert_eq!(
                        (
                            &message["params"]["progressToken"],
                            &message["params"]["message"]
                        ),
                        (&json!(1), &json!(secret))
                    );
                    kinds.push("progress");
                }
                Some("notifications/message") => {
                    assert_eq!(message["params"]["data"], secret);
                    kinds.push("log");
                }
                _ => {
                    let text = message["result"]["content"][0]["text"].as_str().unwrap();
                    assert_eq!(
                        text,
                        format!("{secret} {{'action':'accept','content':{{'for':'{secret}'}}}}")
                    );
                    kinds.push("answer");
                }
            }
        }
        assert_eq!(kinds, ["progress", "log", "question", "answer"], "{name}");
    }
}

async fn modern_tenant(url: String, name: String) {
    let meta = r#"{"progressToken":1,"io.modelcontextprotocol/logLevel":"debug"}"#;
    for round in 0..ROUNDS {
        let secret = format!("{name}.{round}");
        let params = format!(r#"{{"name":"echo","arguments":{{"secret":"{secret}"}}}}"#);
        let request =
            http::modern_meta(&url, 1, "tools/call", &params, meta).header("Mcp-Name", "echo");
        let mut reply: Reply = request.send().await.unwrap();
        let mut seen: Vec<Value> = Vec::new();
        while let Some(event) = reply.event().await.unwrap() {
            assert_eq!(
                event.data.matches(&secret).count(),
                1,
                "{name}: {}",
                event.data
            );
            seen.push(event.json());
        }
        assert_eq!(seen.len(), 3);
        assert_eq!(
            (&seen[0]["params"]["progressToken"], &seen[2]["id"]),
            (&json!(1), &json!(1))
        );
    }
}

#[tokio::test]
async fn clients_with_equal_ids_tokens_and_questions_never_mix() {
    let server = marking().await;
    let rig = Rig::start(&toolset(&[("a", &server.url(), "")])).await;
    let mut tenants = JoinSet::new();
    for at in 0..TENANTS {
        let leaves = at % 2 == 0;
        tenants.spawn(legacy_tenant(
            rig.session().await,
            format!("secret-l{at}-"),
            leaves,
        ));
        tenants.spawn(modern_tenant(rig.url(), format!("secret-m{at}-")));
    }
    while let Some(done) = tenants.join_next().await {
        done.unwrap();
    }
    let answers = server
        .requests()
        .iter()
        .filter(|seen| seen.rpc_method().is_none() && &*seen.method == "POST")
        .count();
    assert_eq!(answers, TENANTS * ROUNDS);
}
