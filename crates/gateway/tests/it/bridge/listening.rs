//! What legacy servers tell of resources, to modern clients that listen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use testkit::http::{self, Reply};
use testkit::raw::{Canned, Feed, RawServer, Script, Seen, canned, feed};

use super::asking::opening;
use crate::rig::{Rig, is_quiet, legacy, next, toolset};

const OFFER: &str = r#"{"tools":{},"resources":{"subscribe":true}}"#;
const UPDATED: &str = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a://1","n":1.0}}"#;

/// A legacy server with resources, which tells on the stream of the gateway's own session what is fed.
async fn teller(events: Feed) -> RawServer {
    let opened = AtomicUsize::new(0);
    RawServer::start(move |seen| answered(seen, &opened, &events))
        .await
        .unwrap()
}

fn answered(seen: &Seen, opened: &AtomicUsize, events: &Feed) -> Script {
    let offer = Canned {
        capabilities: OFFER,
        ..legacy()
    };
    if &*seen.method == "GET" {
        return Script::sse().follow(events).hold();
    }
    match seen.rpc_method().as_deref() {
        Some("initialize") => {
            let id = format!("own-{}", opened.fetch_add(1, Ordering::Relaxed));
            opening(seen, OFFER, &id)
        }
        Some("resources/list") => Script::json(seen.result(
            r#"{"resources":[{"uri":"a://1","name":"1"},{"uri":"a://2","name":"2"},{"uri":"no://way","name":"3"}]}"#,
        )),
        Some("resources/templates/list") => {
            Script::json(seen.result(r#"{"resourceTemplates":[]}"#))
        }
        Some("resources/subscribe") if seen.text().contains("no://") => {
            Script::json(seen.error(-32602, "no"))
        }
        Some("resources/subscribe" | "resources/unsubscribe") => Script::json(seen.result("{}")),
        _ => canned(&offer, seen).unwrap_or_else(Script::accepted),
    }
}

/// Opens a stream; gives it and what is honored.
async fn listen(rig: &Rig, id: &str, uris: &[&str]) -> (Reply, Value) {
    let uris = json!(uris);
    let params = format!(r#"{{"notifications":{{"resourceSubscriptions":{uris}}}}}"#);
    let mut reply = http::modern(&rig.url(), id, "subscriptions/listen", &params)
        .send()
        .await
        .unwrap();
    let acknowledged = next(&mut reply).await;
    assert_eq!(
        acknowledged["method"],
        "notifications/subscriptions/acknowledged"
    );
    let honored = acknowledged["params"]["notifications"]["resourceSubscriptions"].clone();
    (reply, honored)
}

fn asked(server: &RawServer, method: &str) -> Vec<String> {
    let of = |seen: &Seen| seen.json()["params"]["uri"].as_str().unwrap().to_owned();
    server.requests_of(method).iter().map(of).collect()
}

fn is(method: &'static str) -> impl Fn(&Seen) -> bool {
    move |seen| seen.rpc_method().as_deref() == Some(method)
}

fn tag(message: &Value) -> &Value {
    &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"]
}

#[tokio::test]
async fn the_server_is_asked_once_for_all_listeners_and_told_when_the_last_has_left() {
    let (push, events) = feed();
    let server = teller(events).await;
    let rig = Rig::before(&server).await;
    let (mut one, honored) = listen(&rig, "\"one\"", &["a://1", "no://way", "not://listed"]).await;
    assert!(
        honored.as_array().unwrap().contains(&json!("a://1"))
            && !honored.as_array().unwrap().contains(&json!("no://way")),
        "{honored}"
    );
    let (mut two, honored) = listen(&rig, "2", &["a://1", "a://2"]).await;
    assert_eq!(honored, json!(["a://1", "a://2"]));
    let (mut three, _) = listen(&rig, "3", &["a://2"]).await;
    let times = |uri: &str| {
        let all = asked(&server, "resources/subscribe");
        all.iter().filter(|asked| *asked == uri).count()
    };
    assert_eq!((times("a://1"), times("a://2")), (1, 1));
    push.event(UPDATED).unwrap();
    let (of_one, of_two) = (next(&mut one).await, next(&mut two).await);
    assert_eq!((tag(&of_one), tag(&of_two)), (&json!("one"), &json!(2)));
    assert_eq!(of_one["params"]["uri"], "a://1");
    assert_eq!(of_one["params"]["n"], json!(1.0));
    is_quiet(&mut three).await;
    drop(one);
    push.event(UPDATED).unwrap();
    assert_eq!(tag(&next(&mut two).await), &json!(2));
    assert!(!asked(&server, "resources/unsubscribe").contains(&"a://1".to_owned()));
    drop(two);
    server
        .wait_for(1, |seen| {
            is("resources/unsubscribe")(seen) && seen.text().contains("a://1")
        })
        .await
        .unwrap();
    drop(three);
    server
        .wait_for(1, |seen| {
            is("resources/unsubscribe")(seen) && seen.text().contains("a://2")
        })
        .await
        .unwrap();
    let mut left = asked(&server, "resources/unsubscribe");
    left.retain(|uri| uri.starts_with("a://"));
    assert_eq!(left, ["a://1", "a://2"]);
    // Whoever comes later is subscribed anew.
    let (_again, honored) = listen(&rig, "4", &["a://1"]).await;
    assert_eq!(honored, json!(["a://1"]));
    assert_eq!(times("a://1"), 2);
}

#[tokio::test]
async fn many_that_come_and_go_at_once_leave_the_server_with_the_truth() {
    let (push, events) = feed();
    let server = teller(events).await;
    let rig = Rig::before(&server).await;
    let (mut stays, _) = listen(&rig, "\"stays\"", &["a://1"]).await;
    for _ in 0..5 {
        let (one, two, three) = tokio::join!(
            listen(&rig, "1", &["a://1", "a://2"]),
            listen(&rig, "2", &["a://2"]),
            listen(&rig, "3", &["a://2", "a://1"])
        );
        drop((one, two, three));
    }
    let (mut last, honored) = listen(&rig, "\"last\"", &["a://2"]).await;
    assert_eq!(honored, json!(["a://2"]));
    // Whatever was said before, the last word on each is that it is wanted, once those who left are forgotten.
    let settled = async {
        loop {
            let (on, off) = (
                asked(&server, "resources/subscribe"),
                asked(&server, "resources/unsubscribe"),
            );
            let of = |list: &[String], uri: &str| list.iter().filter(|one| *one == uri).count();
            if of(&on, "a://2") == of(&off, "a://2") + 1 {
                assert_eq!((of(&on, "a://1"), of(&off, "a://1")), (1, 0));
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    testkit::within("the truth", settled).await.unwrap();
    push.event(UPDATED).unwrap();
    assert_eq!(tag(&next(&mut stays).await), &json!("stays"));
    push.event(UPDATED.replace("a://1", "a://2")).unwrap();
    assert_eq!(tag(&next(&mut last).await), &json!("last"));
}

#[tokio::test]
async fn a_session_that_the_server_lost_is_subscribed_again_and_what_may_have_been_missed_is_said_once()
 {
    let (run, opened) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let (push, events) = feed();
    let (first, broken) = feed();
    let now = run.clone();
    let server = RawServer::start(move |seen| {
        let run = now.load(Ordering::Relaxed);
        let is_old = seen.header("mcp-session-id") == Some("own-0");
        if is_old && run > 0 {
            return Script::status(404);
        }
        if &*seen.method == "GET" && is_old {
            return Script::sse().follow(&broken).cut();
        }
        answered(seen, &opened, &events)
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let (mut one, _) = listen(&rig, "1", &["a://1"]).await;
    let (mut two, _) = listen(&rig, "2", &["a://2", "a://1"]).await;
    run.fetch_add(1, Ordering::Relaxed);
    drop(first);
    let missed = async |stream: &mut Reply, count: usize| {
        let mut heard = Vec::new();
        for _ in 0..count {
            let message = next(stream).await;
            assert_eq!(message["method"], "notifications/resources/updated");
            assert!(!tag(&message).is_null());
            heard.push(message["params"]["uri"].as_str().unwrap().to_owned());
        }
        heard.sort();
        heard
    };
    assert_eq!(missed(&mut one, 1).await, ["a://1"]);
    assert_eq!(missed(&mut two, 2).await, ["a://1", "a://2"]);
    is_quiet(&mut one).await;
    let again = server.requests_of("resources/subscribe");
    let new: Vec<&Seen> = again
        .iter()
        .filter(|seen| seen.header("mcp-session-id") != Some("own-0"))
        .collect();
    for uri in ["a://1", "a://2"] {
        assert!(
            new.iter().any(|seen| seen.json()["params"]["uri"] == uri),
            "{uri} is wanted on the new session"
        );
    }
    push.event(UPDATED).unwrap();
    assert_eq!(tag(&next(&mut one).await), &json!(1));
    assert_eq!(tag(&next(&mut two).await), &json!(2));
    drop((one, two));
    server
        .wait_for(2, is("resources/unsubscribe"))
        .await
        .unwrap();
}

#[tokio::test]
async fn on_a_shared_session_a_listener_that_leaves_does_not_end_what_legacy_clients_subscribed_to()
{
    let (push, events) = feed();
    let server = teller(events).await;
    let rig = Rig::start(&toolset(&[("a", &server.url(), "isolation: Shared")])).await;
    let session = rig.session().await;
    let mut stream = session.stream().await;
    let mut subscribed = session
        .request("1", "resources/subscribe", r#"{"uri":"a://1"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(subscribed.answer().await.unwrap()["result"], json!({}));
    let (listener, _) = listen(&rig, "1", &["a://1"]).await;
    let (other, _) = listen(&rig, "2", &["a://2"]).await;
    drop(listener);
    drop(other);
    server
        .wait_for(1, |seen| {
            is("resources/unsubscribe")(seen) && seen.text().contains("a://2")
        })
        .await
        .unwrap();
    assert!(
        !asked(&server, "resources/unsubscribe").contains(&"a://1".to_owned()),
        "somebody else still wants it"
    );
    push.event(UPDATED).unwrap();
    assert_eq!(next(&mut stream).await["params"]["uri"], "a://1");
}

#[tokio::test]
async fn listeners_of_two_servers_hear_shown_names() {
    let ((push, events), (_other, none)) = (feed(), feed());
    let (one, two) = (teller(events).await, teller(none).await);
    let yaml = toolset(&[
        ("one", &one.url(), "prefix: one_"),
        ("two", &two.url(), "prefix: two_"),
    ]);
    let rig = Rig::start(&yaml).await;
    let list = rig.list("resources/list").await;
    let shown: Vec<&str> = list["result"]["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| resource["uri"].as_str().unwrap())
        .collect();
    let (mut stream, honored) = listen(&rig, "1", &[shown[0], shown[3]]).await;
    assert_eq!(honored.as_array().unwrap().len(), 2);
    assert_eq!(asked(&one, "resources/subscribe"), ["a://1"]);
    assert_eq!(asked(&two, "resources/subscribe"), ["a://1"]);
    push.event(UPDATED).unwrap();
    assert_eq!(next(&mut stream).await["params"]["uri"], shown[0]);
    is_quiet(&mut stream).await;
}
