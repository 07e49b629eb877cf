//! A legacy server that asks, and a modern client that comes back with answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use testkit::http::{self, Request};
use testkit::raw::{Canned, Push, RawServer, Script, Seen, canned, feed};

use crate::rig::{Rig, address_of_its_own, legacy};

/// One question: raw id, method, raw params; `MARK` in them is the call's own mark.
pub(super) type Question = (&'static str, &'static str, &'static str);

pub(super) const FORM: &str =
    r#"{"message":"MARK","requestedSchema":{"type":"object","properties":{}}}"#;

/// What a client can do that can do everything, as a member of `_meta`.
pub(super) const CAN: &str = r#"{"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}}"#;

/// What a call whose mark is `m` says.
pub(super) const CALL: &str = r#"{"name":"echo","arguments":{"mark":"m"}}"#;

/// One call under way.
struct Talk {
    call: Seen,
    push: Push,
    round: usize,
    open: Vec<String>,
    answers: Vec<Value>,
}

type Talks = Arc<Mutex<HashMap<String, Talk>>>;

/// A server that asks `rounds` in each call, one round after the other, and then gives back what it was answered.
pub(super) async fn asker(rounds: &'static [&'static [Question]]) -> RawServer {
    asker_with(legacy(), rounds, |_| None).await
}

/// The same with another offer, and with answers of its own.
pub(super) async fn asker_with(
    offer: Canned<'static>,
    rounds: &'static [&'static [Question]],
    own: impl Fn(&Seen) -> Option<Script> + Send + Sync + 'static,
) -> RawServer {
    let (talks, opened) = (Talks::default(), AtomicUsize::new(0));
    RawServer::start_at(address_of_its_own(), move |seen| {
        if let Some(script) = own(seen) {
            return script;
        }
        if is_answer(seen) {
            hear(&talks, rounds, seen);
            return Script::accepted();
        }
        match seen.rpc_method().as_deref() {
            Some("initialize") => {
                let id = format!("own-{}", opened.fetch_add(1, Ordering::Relaxed));
                opening(seen, offer.capabilities, &id)
            }
            Some("tools/call") => begin(&talks, rounds, seen),
            Some("logging/setLevel" | "resources/subscribe" | "resources/unsubscribe") => {
                Script::json(seen.result("{}"))
            }
            _ => canned(&offer, seen).unwrap_or_else(Script::accepted),
        }
    })
    .await
    .unwrap()
}

/// The answer to `initialize`.
pub(super) fn opening(seen: &Seen, capabilities: &str, session: &str) -> Script {
    let version = &seen.json()["params"]["protocolVersion"];
    let result = format!(
        r#"{{"protocolVersion":{version},"capabilities":{capabilities},"serverInfo":{{"name":"asks","version":"1"}}}}"#
    );
    Script::json_with(200, &[("mcp-session-id", session)], seen.result(&result))
}

fn session_of(seen: &Seen) -> String {
    seen.header("mcp-session-id").unwrap_or_default().to_owned()
}

fn mark_of(call: &Seen) -> String {
    let mark = &call.json()["params"]["arguments"]["mark"];
    mark.as_str().unwrap_or_default().to_owned()
}

fn begin(talks: &Talks, rounds: &[&[Question]], seen: &Seen) -> Script {
    let Some(first) = rounds.first() else {
        return Script::json(seen.result(r#"{"content":[]}"#));
    };
    let (push, events) = feed();
    let talk = Talk {
        call: seen.clone(),
        push,
        round: 0,
        open: first.iter().map(|(id, ..)| (*id).to_owned()).collect(),
        answers: Vec::new(),
    };
    talks.lock().unwrap().insert(session_of(seen), talk);
    let mark = mark_of(seen);
    let asked = first.iter().fold(Script::sse(), |script, asked| {
        script.event(question(*asked, &mark))
    });
    asked.follow(&events).end()
}

/// A question as it is sent.
pub(super) fn question((id, method, params): Question, mark: &str) -> String {
    let params = params.replace("MARK", mark);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

fn hear(talks: &Talks, rounds: &[&[Question]], seen: &Seen) {
    let mut talks = talks.lock().unwrap();
    let Some(mut talk) = talks.remove(&session_of(seen)) else {
        return;
    };
    let id = seen.rpc_id().unwrap();
    if let Some(at) = talk.open.iter().position(|open| *open == id) {
        talk.open.remove(at);
        let answer = seen.json();
        let error = json!({"error": answer["error"]["code"]});
        talk.answers
            .push(answer.get("result").cloned().unwrap_or(error));
    }
    if talk.open.is_empty() {
        talk.round += 1;
        let mark = mark_of(&talk.call);
        let Some(next) = rounds.get(talk.round) else {
            let result =
                json!({"content": [], "structuredContent": {"mark": mark, "got": talk.answers}});
            drop(talk.push.event(talk.call.result(&result.to_string())));
            return;
        };
        for asked in *next {
            talk.open.push(asked.0.to_owned());
            drop(talk.push.event(question(*asked, &mark)));
        }
    }
    talks.insert(session_of(seen), talk);
}

/// Whether a request carries an answer to a question.
pub(super) fn is_answer(seen: &Seen) -> bool {
    let body = seen.json();
    body.get("method").is_none() && (body.get("result").is_some() || body.get("error").is_some())
}

pub(super) fn is_cancel(seen: &Seen) -> bool {
    seen.rpc_method().as_deref() == Some("notifications/cancelled")
}

pub(super) fn is_call(seen: &Seen) -> bool {
    seen.rpc_method().as_deref() == Some("tools/call")
}

/// A modern `tools/call` of `echo` with these params and members of `_meta`.
pub(super) fn request(rig: &Rig, id: &str, params: &str, meta: &str) -> Request {
    http::modern_meta(&rig.url(), id, "tools/call", params, meta).header("Mcp-Name", "echo")
}

/// The same of a client that can do everything, answered.
pub(super) async fn call(rig: &Rig, id: &str, params: &str) -> Value {
    let mut reply = request(rig, id, params, CAN).send().await.unwrap();
    reply.answer().await.unwrap()
}

/// The params of a retry of [`CALL`]: the state of an earlier answer, and answers by key, raw.
pub(super) fn retry(asked: &Value, answers: &[(&str, &str)]) -> String {
    retry_of(r#""name":"echo","arguments":{"mark":"m"}"#, asked, answers)
}

/// The same of another call.
pub(super) fn retry_of(what: &str, asked: &Value, answers: &[(&str, &str)]) -> String {
    let state = &asked["result"]["requestState"];
    assert!(state.is_string(), "{asked}");
    let answers: Vec<String> = answers
        .iter()
        .map(|(key, raw)| format!(r#""{key}":{raw}"#))
        .collect();
    format!(
        r#"{{{what},"requestState":{state},"inputResponses":{{{}}}}}"#,
        answers.join(",")
    )
}

/// The keys of the questions of this method, in order.
pub(super) fn keys(asked: &Value, method: &str) -> Vec<String> {
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let questions = asked["result"]["inputRequests"].as_object().unwrap();
    let found = questions
        .iter()
        .filter(|(_, entry)| entry["method"] == method);
    found.map(|(key, _)| key.clone()).collect()
}

/// The only key.
pub(super) fn key(asked: &Value) -> String {
    let questions = asked["result"]["inputRequests"].as_object();
    let questions = questions.unwrap_or_else(|| panic!("no questions: {asked}"));
    assert_eq!(questions.len(), 1, "{asked}");
    questions.keys().next().unwrap().clone()
}

/// Sees that an answer refuses the params.
pub(super) fn is_refused(answer: &Value) {
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
}
