//! Legacy clients that lose a stream and pick it up again, or do not.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use testkit::http::{Event, Reply};
use testkit::raw::{Push, RawServer, Script, Seen, canned, feed};
use tokio::time::{Instant, sleep, timeout};

use crate::rig::{Rig, Session, is_quiet, legacy, modern, next, server, toolset};

const WELL: &str = r#"{"content":[]}"#;
/// No stream of a session is kept for longer than this once it has ended.
const LONG: Duration = Duration::from_secs(400);

fn is_call(seen: &Seen) -> bool {
    seen.rpc_method().as_deref() == Some("tools/call")
}

fn is_cancel(seen: &Seen) -> bool {
    seen.rpc_method().as_deref() == Some("notifications/cancelled")
}

fn log(data: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":"{data}"}}}}"#
    )
}

/// A server whose one call says what the test pushes.
async fn pushed() -> (RawServer, Push) {
    let (push, events) = feed();
    let server = server(legacy(), move |_| Script::sse().follow(&events).end()).await;
    (server, push)
}

/// A server that says what the test pushes on the stream of the one session that is a client's.
async fn speaking() -> (RawServer, Push) {
    let (push, events) = feed();
    let server = RawServer::start(move |seen| {
        let session = seen.header("mcp-session-id");
        match (&*seen.method, seen.rpc_method().as_deref()) {
            ("GET", _) if session == Some("clients") => Script::sse().follow(&events).hold(),
            ("GET", _) => Script::status(405),
            (_, Some("initialize")) => {
                let asks = &seen.json()["params"]["capabilities"];
                let session = if asks["sampling"].is_object() {
                    "clients"
                } else {
                    "own"
                };
                let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"logging":{}},"serverInfo":{"name":"x","version":"1"}}"#;
                Script::json_with(200, &[("mcp-session-id", session)], seen.result(result))
            }
            (_, Some("tools/call")) => Script::json(seen.result(WELL)),
            _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
        }
    });
    (server.await.unwrap(), push)
}

/// The call as the server has it.
async fn call_at(server: &RawServer) -> Seen {
    server.wait_for(1, is_call).await.unwrap().remove(0)
}

/// The next event with data, which must have an id.
async fn event(reply: &mut Reply) -> (Value, String) {
    let event = reply.event().await.unwrap().expect("one more event");
    (event.json(), event.id.expect("an id"))
}

/// Waits until a call is over: its id is free again.
async fn over(session: &Session, id: &str) {
    let in_use = |answer: Value| answer["error"]["code"] == -32602;
    while in_use(session.call(id, "echo").await.answer().await.unwrap()) {
        sleep(Duration::from_millis(10)).await;
    }
}

/// All events until the end of the stream.
async fn rest(reply: &mut Reply) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = reply.event().await.unwrap() {
        events.push(event);
    }
    events
}

fn said(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| match &event.json() {
        message if message["method"].is_string() => message["params"]["data"].to_string(),
        message => format!("answer {}", message["id"]),
    };
    events.iter().map(text).collect()
}

#[tokio::test]
async fn events_have_ids_and_streams_are_primed_as_the_revision_says() {
    for (version, primes) in [
        ("2025-11-25", true),
        ("2025-06-18", false),
        ("2025-03-26", false),
    ] {
        let (server, push) = pushed().await;
        let rig = Rig::before(&server).await;
        let session = rig.session_of(version, "{}").await;
        push.event(log("1")).unwrap();
        let mut reply = session.call("1", "echo").await;
        let own = session.stream().await;
        push.event(call_at(&server).await.result(WELL)).unwrap();
        drop(push);
        let mut ids = HashSet::new();
        for (stream, events) in [(&mut reply, 2), (&mut { own }, 0)] {
            if primes {
                let first = stream.any_event().await.unwrap().unwrap();
                assert_eq!((&*first.data, first.retry), ("", Some(1000)));
                ids.insert(first.id.unwrap());
            }
            for _ in 0..events {
                let event = stream.any_event().await.unwrap().unwrap();
                assert!(!event.data.is_empty(), "{version}");
                ids.insert(event.id.unwrap());
            }
        }
        assert_eq!(ids.len(), if primes { 4 } else { 2 }, "{version}");
        assert!(ids.iter().all(|id| id.len() <= 256), "{ids:?}");
        assert_eq!(reply.any_event().await.unwrap(), None, "{version}");
    }
}

#[tokio::test]
async fn modern_clients_get_no_ids() {
    let server = server(modern(), |seen| {
        Script::sse().event(log("1")).event(seen.result("{}")).end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let mut reply = rig.call("1", "echo").send().await.unwrap();
    while let Some(event) = reply.any_event().await.unwrap() {
        assert_eq!((event.id, event.retry), (None, None));
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_comes_back_for_the_rest_and_the_answer() {
    let (server, push) = pushed().await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    for data in ["1", "2"] {
        push.event(log(data)).unwrap();
    }
    let mut reply = session.call("\"mine\"", "echo").await;
    let (_, first) = event(&mut reply).await;
    drop(reply);
    push.event(log("3")).unwrap();
    let call = call_at(&server).await;
    // It comes back twice: in the middle of the call, and after its end.
    let mut again = session.after(&first).await;
    assert_eq!(again.status, 200);
    let (second, id) = event(&mut again).await;
    assert_eq!(second["params"]["data"], "2");
    drop(again);
    push.event(call.result(WELL)).unwrap();
    drop(push);
    let events = rest(&mut session.after(&id).await).await;
    assert_eq!(said(&events), ["\"3\"", "answer \"mine\""]);
    assert_eq!(server.requests_of("tools/call").len(), 1);
    assert!(!server.requests().iter().any(is_cancel));
    // What was lost on the way is said again, with the ids it had.
    let all = rest(&mut session.after(&first).await).await;
    assert_eq!(said(&all), ["\"2\"", "\"3\"", "answer \"mine\""]);
    let last = all[2].id.clone().unwrap();
    let over = session.after(&last).await;
    assert_eq!(over.status, 405, "nothing follows the answer");
    assert!(over.header("allow").is_some());
}

#[tokio::test]
async fn a_server_that_waits_is_not_disturbed_by_a_client_that_hangs_up() {
    let (server, push) = pushed().await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    push.event(log("1")).unwrap();
    let mut reply = session.call("1", "echo").await;
    let (_, id) = event(&mut reply).await;
    drop(reply);
    let mut again = session.after(&id).await;
    // Nothing is here; it waits, and hears of the answer when that comes.
    let primer = again.any_event().await.unwrap().unwrap();
    assert_eq!((&*primer.data, primer.retry), ("", Some(1000)));
    push.event(call_at(&server).await.result(WELL)).unwrap();
    drop(push);
    assert_eq!(said(&rest(&mut again).await), ["answer 1"]);
}

#[tokio::test]
async fn a_call_can_be_cancelled_while_its_client_is_away() {
    let (server, push) = pushed().await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    push.event(log("1")).unwrap();
    let mut reply = session.call("1", "echo").await;
    let (_, id) = event(&mut reply).await;
    drop(reply);
    let params = r#"{"requestId":1}"#;
    assert_eq!(session.notify("notifications/cancelled", params).await, 202);
    let cancelled = server.wait_for(1, is_cancel).await.unwrap();
    let call = call_at(&server).await;
    assert_eq!(
        cancelled[0].json()["params"]["requestId"],
        call.json()["id"]
    );
    server.hung_up(call.number).await.unwrap();
    assert_eq!(session.after(&id).await.status, 405);
    assert_eq!(push.event(log("2")).is_ok(), push.event(log("3")).is_ok());
}

#[tokio::test]
async fn a_question_asked_while_the_client_is_away_waits_for_it() {
    let (server, push) = pushed().await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    push.event(log("1")).unwrap();
    let mut reply = session.call("1", "echo").await;
    let (_, id) = event(&mut reply).await;
    drop(reply);
    push.event(
        r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"?"}}"#,
    )
    .unwrap();
    let mut again = session.after(&id).await;
    let (question, _) = event(&mut again).await;
    assert_eq!(question["method"], "elicitation/create");
    let answer = format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"decline"}}}}"#,
        question["id"]
    );
    assert_eq!(session.post(&answer).await.status, 202);
    let answered = server
        .wait_for(1, |seen| seen.json()["id"] == "q")
        .await
        .unwrap();
    assert_eq!(answered[0].json()["result"]["action"], "decline");
    push.event(call_at(&server).await.result(WELL)).unwrap();
    drop(push);
    assert_eq!(said(&rest(&mut again).await), ["answer 1"]);
}

#[tokio::test]
async fn ids_of_others_and_made_up_ones_open_nothing() {
    let (server, push) = pushed().await;
    let yaml = toolset(&[("a", &server.url(), "")]);
    let rig = Rig::start(&format!(
        "{yaml}---\n{}",
        yaml.replace("name: main", "name: other")
    ))
    .await;
    let (session, other) = (rig.session().await, rig.session().await);
    push.event(log("secret")).unwrap();
    let mut reply = session.call("1", "echo").await;
    let (_, id) = event(&mut reply).await;
    let (name, _) = id.rsplit_once('.').unwrap();
    let (mut own, mut others) = (session.stream().await, other.stream().await);
    let own_id = own.any_event().await.unwrap().unwrap().id.unwrap();
    others.any_event().await.unwrap().unwrap();
    for stolen in [&id, &own_id] {
        let mut refused = other.after(stolen).await;
        assert_eq!(refused.status, 400);
        assert_eq!(refused.json().await.unwrap()["error"]["code"], -32600);
    }
    let elsewhere = Session {
        url: rig.at("/mcp/other"),
        ..rig.session().await
    };
    assert_eq!(elsewhere.after(&id).await.status, 404);
    for forged in [
        "x",
        "1",
        ".",
        ".1",
        name,
        &format!("{name}."),
        &format!("{name}.2"),
        &format!("{name}.-1"),
        &format!("{name}.x"),
        &format!("{name}.99999999999999999999"),
        &format!("A{id}"),
        &id[1..],
        &"A".repeat(7000),
    ] {
        assert_eq!(session.after(forged).await.status, 400, "{forged}");
    }
    // Nobody was disturbed.
    is_quiet(&mut own).await;
    is_quiet(&mut others).await;
    push.event(call_at(&server).await.result(WELL)).unwrap();
    drop(push);
    assert_eq!(said(&rest(&mut reply).await), ["answer 1"]);
}

#[tokio::test]
async fn of_two_connections_to_one_stream_the_newer_reads_it() {
    let (server, push) = pushed().await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    push.event(log("1")).unwrap();
    let mut oldest = session.call("1", "echo").await;
    let (_, id) = event(&mut oldest).await;
    let mut older = session.after(&id).await;
    older.any_event().await.unwrap().unwrap();
    assert_eq!(rest(&mut oldest).await, []);
    let mut newest = session.after(&id).await;
    assert_eq!(rest(&mut older).await, []);
    push.event(log("2")).unwrap();
    push.event(call_at(&server).await.result(WELL)).unwrap();
    drop(push);
    assert_eq!(said(&rest(&mut newest).await), ["\"2\"", "answer 1"]);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_server_back_until_it_hangs_up() {
    /// Events of 16 KiB: together far more than every buffer on the way may hold.
    const EVENTS_MAX: usize = 6_000;
    const QUIET: Duration = Duration::from_millis(300);
    let (server, push) = pushed().await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let large = log(&"y".repeat(16 * 1024));
    push.event(&large).unwrap();
    let mut reply = session.call("1", "echo").await;
    let (_, id) = event(&mut reply).await;
    let (mut pushed, mut since) = (0, Instant::now());
    while since.elapsed() < QUIET {
        if push.event(&large).is_ok() {
            (pushed, since) = (pushed + 1, Instant::now());
        } else {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(pushed < EVENTS_MAX, "the server is never held back");
    }
    assert_eq!(session.stream().await.status, 200, "the session goes on");
    drop(reply);
    // Without its client the call goes on; of what nobody can take, notifications are dropped, the answer is not.
    let answer = call_at(&server).await.result(WELL);
    let goes_on = async {
        while push.event(&answer).is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), goes_on).await.unwrap();
    drop(push);
    over(&session, "1").await;
    let events = rest(&mut session.after(&id).await).await;
    let bytes: usize = events.iter().map(|event| event.data.len()).sum();
    assert_eq!(said(&events).last().unwrap(), "answer 1");
    assert!(bytes <= 1024 * 1024 && events.len() < pushed, "{bytes}");
}

#[tokio::test]
async fn an_answer_that_is_not_kept_is_told_as_an_error_to_the_request() {
    let (server, push) = pushed().await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    push.event(log("1")).unwrap();
    let mut reply = session.call("\"mine\"", "echo").await;
    let (_, id) = event(&mut reply).await;
    drop(reply);
    let call = call_at(&server).await;
    let long = format!(r#"{{"content":[],"x":"{}"}}"#, "x".repeat(4 * 1024 * 1024));
    push.event(call.result(&long)).unwrap();
    drop(push);
    over(&session, "\"mine\"").await;
    let mut again = session.after(&id).await;
    let lost = again.event().await.unwrap().unwrap();
    assert_eq!(again.event().await.unwrap(), None);
    let error = lost.json();
    assert_eq!(
        (&error["id"], &error["error"]["code"]),
        (&"mine".into(), &(-32603).into()),
        "{}",
        &lost.data[..lost.data.len().min(300)]
    );
    // A client that takes errors for no answer comes back once more, and is told to stop.
    assert_eq!(session.after(&lost.id.unwrap()).await.status, 405);
}

#[tokio::test]
async fn a_long_answer_reaches_a_client_that_stays() {
    let long = format!(r#"{{"content":[],"x":"{}"}}"#, "x".repeat(3 * 1024 * 1024));
    let server = server(legacy(), move |seen| {
        Script::sse()
            .event(log("1"))
            .event(seen.result(&long))
            .end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    for id in ["1", "2", "3"] {
        let events = rest(&mut session.call(id, "echo").await).await;
        assert_eq!(said(&events), ["\"1\"", &format!("answer {id}")]);
    }
}

#[tokio::test]
async fn a_stream_that_ended_long_ago_is_not_kept() {
    let (server, push) = pushed().await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    push.event(log("1")).unwrap();
    let mut reply = session.call("1", "echo").await;
    let (_, id) = event(&mut reply).await;
    drop(reply);
    push.event(call_at(&server).await.result(WELL)).unwrap();
    drop(push);
    assert_eq!(
        said(&rest(&mut session.after(&id).await).await),
        ["answer 1"]
    );
    tokio::time::pause();
    sleep(LONG).await;
    tokio::time::resume();
    let error = event(&mut session.after(&id).await).await.0;
    assert_eq!(
        (&error["id"], &error["error"]["code"]),
        (&1.into(), &(-32603).into()),
        "{error}"
    );
}

#[tokio::test]
async fn the_sessions_own_stream_is_picked_up_without_doubles_or_gaps() {
    let (server, push) = speaking().await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    session.call("1", "echo").await.answer().await.unwrap();
    let mut own = session.stream().await;
    let primer = own.any_event().await.unwrap().unwrap();
    for data in ["1", "2", "3"] {
        push.event(log(data)).unwrap();
    }
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let event = own.event().await.unwrap().unwrap();
        if event.json()["method"] == "notifications/message" {
            heard.push(event);
        }
    }
    drop(own);
    push.event(log("4")).unwrap();
    let mut again = session.after(heard[0].id.as_deref().unwrap()).await;
    for data in ["2", "3", "4"] {
        assert_eq!(next(&mut again).await["params"]["data"], data);
    }
    push.event(log("5")).unwrap();
    assert_eq!(next(&mut again).await["params"]["data"], "5");
    // A client that remembers nothing gets what nobody got.
    drop(again);
    let mut fresh = session.stream().await;
    push.event(log("6")).unwrap();
    assert_eq!(next(&mut fresh).await["params"]["data"], "6");
    is_quiet(&mut fresh).await;
    let mut all = session.after(&primer.id.unwrap()).await;
    for data in ["1", "2", "3", "4", "5", "6"] {
        assert_eq!(next(&mut all).await["params"]["data"], data);
    }
    assert_eq!(rest(&mut fresh).await, [], "the older one ends");
}

#[tokio::test]
async fn what_the_own_stream_lost_is_told_as_changes_of_everything() {
    let server = server(legacy(), |seen| Script::json(seen.result(WELL))).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut own = session.stream().await;
    let primer = own.any_event().await.unwrap().unwrap().id.unwrap();
    // A change of lists is the only message; a minute later it is not kept any more.
    let call = |yaml: String| rig.gateway.apply(&crate::rig::set(&yaml)).unwrap();
    call(toolset(&[("a", &server.url(), "prefix: x_")]));
    let change = own.event().await.unwrap().unwrap();
    assert_eq!(change.json()["method"], "notifications/tools/list_changed");
    drop(own);
    tokio::time::pause();
    sleep(LONG).await;
    tokio::time::resume();
    let mut again = session.after(&primer).await;
    assert_eq!(
        again.event().await.unwrap().unwrap().json()["method"],
        "notifications/tools/list_changed"
    );
}

#[tokio::test]
async fn the_end_of_the_session_ends_its_streams_and_cancels_its_calls() {
    for away in [false, true] {
        let (server, push) = pushed().await;
        let rig = Rig::before(&server).await;
        let session = rig.session().await;
        push.event(log("1")).unwrap();
        let mut reply = session.call("1", "echo").await;
        let (_, id) = event(&mut reply).await;
        if away {
            drop(reply);
        }
        assert_eq!(session.end().await, 200);
        let cancelled = server.wait_for(1, is_cancel).await.unwrap();
        let call = call_at(&server).await;
        assert_eq!(
            cancelled[0].json()["params"]["requestId"],
            call.json()["id"]
        );
        server.hung_up(call.number).await.unwrap();
        assert_eq!(session.after(&id).await.status, 404);
    }
}

#[tokio::test]
async fn the_end_of_the_gateway_asks_clients_to_come_back() {
    let (server, push) = pushed().await;
    let rig = Rig::before(&server).await;
    let (session, older) = (
        rig.session().await,
        rig.session_of("2025-06-18", "{}").await,
    );
    push.event(log("1")).unwrap();
    let mut call = session.call("1", "echo").await;
    event(&mut call).await;
    let (mut own, mut others) = (session.stream().await, older.stream().await);
    assert!(own.any_event().await.unwrap().unwrap().id.is_some());
    rig.gateway.close_streams();
    let last = own.any_event().await.unwrap().unwrap();
    assert_eq!((&*last.data, last.retry), ("", Some(1000)));
    assert_eq!(own.any_event().await.unwrap(), None);
    assert_eq!(others.any_event().await.unwrap(), None);
    // Calls go on.
    push.event(call_at(&server).await.result(WELL)).unwrap();
    drop(push);
    assert_eq!(said(&rest(&mut call).await), ["answer 1"]);
}

#[tokio::test]
async fn a_batch_is_one_stream() {
    let server = server(legacy(), |seen| {
        Script::sse().event(log("1")).event(seen.result(WELL)).end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session_of("2025-03-26", "{}").await;
    let call = |id| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"echo","arguments":{{}}}}}}"#
        )
    };
    let mut reply = session.post(&format!("[{},{}]", call(1), call(2))).await;
    let (_, id) = event(&mut reply).await;
    drop(reply);
    let events = rest(&mut session.after(&id).await).await;
    let mut said = said(&events);
    said.sort();
    assert_eq!(said, ["\"1\"", "answer 1", "answer 2"]);
}
