//! What modern servers tell of resources, to legacy clients.

use serde_json::{Value, json};
use testkit::raw::{Canned, Feed, Gate, RawServer, Script, Seen, canned, feed, gate};

use crate::rig::{Rig, Session, is_quiet, modern, next, toolset};

/// The listen requests that the gateway made for resources, not for lists.
fn listens(server: &RawServer) -> Vec<Seen> {
    let mut found = server.requests_of("subscriptions/listen");
    found.retain(is_listen);
    found
}

fn is_listen(seen: &Seen) -> bool {
    seen.rpc_method().as_deref() == Some("subscriptions/listen")
        && seen.json()["params"]["notifications"]["resourceSubscriptions"].is_array()
}

fn uris(seen: &Seen) -> Vec<String> {
    let uris = &seen.json()["params"]["notifications"]["resourceSubscriptions"];
    let mut uris: Vec<String> = serde_json::from_value(uris.clone()).unwrap();
    uris.sort();
    uris
}

fn acknowledged(seen: &Seen, uris: &[String]) -> String {
    let id = seen.rpc_id().unwrap();
    let uris = json!(uris);
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}},"notifications":{{"resourceSubscriptions":{uris}}}}}}}"#
    )
}

fn updated(seen: &Seen, uri: &str) -> String {
    let id = seen.rpc_id().unwrap();
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id},"a/b":1}},"uri":"{uri}","n":1.0}}}}"#
    )
}

/// A modern server with resources, whose listen requests for them are answered as told.
async fn teller(listen: impl Fn(&Seen) -> Script + Send + Sync + 'static) -> RawServer {
    let offer = Canned {
        capabilities: r#"{"tools":{},"resources":{"subscribe":true}}"#,
        ..modern()
    };
    RawServer::start(move |seen| {
        let hints = r#""resultType":"complete","ttlMs":0,"cacheScope":"public""#;
        match seen.rpc_method().as_deref() {
            Some("resources/list") => Script::json(seen.result(&format!(
                r#"{{{hints},"resources":[{{"uri":"a://1","name":"1"}},{{"uri":"a://2","name":"2"}}]}}"#
            ))),
            Some("resources/templates/list") => Script::json(
                seen.result(&format!(r#"{{{hints},"resourceTemplates":[]}}"#)),
            ),
            Some("subscriptions/listen") => listen(seen),
            _ => canned(&offer, seen).unwrap_or_else(Script::accepted),
        }
    })
    .await
    .unwrap()
}

/// One that honors all, and then says what is fed.
async fn honest(feed: Feed) -> RawServer {
    teller(move |seen| {
        Script::sse()
            .event(acknowledged(seen, &uris(seen)))
            .follow(&feed)
            .hold()
    })
    .await
}

async fn ask(session: &Session, method: &str, uri: &str) -> Value {
    let params = format!(r#"{{"uri":"{uri}"}}"#);
    let mut reply = session.request("1", method, &params).send().await.unwrap();
    reply.answer().await.unwrap()
}

async fn subscribe(session: &Session, uri: &str) {
    let answer = ask(session, "resources/subscribe", uri).await;
    assert_eq!(answer["result"], json!({}), "{answer}");
}

#[tokio::test]
async fn updates_reach_the_session_without_a_word_of_the_other_era_until_it_unsubscribes() {
    let (push, events) = feed();
    let server = honest(events).await;
    let rig = Rig::before(&server).await;
    let (session, other) = (rig.session().await, rig.session().await);
    let (mut stream, mut strange) = (session.stream().await, other.stream().await);
    subscribe(&session, "a://1").await;
    let listen = server.wait_for(1, is_listen).await.unwrap().remove(0);
    assert_eq!(uris(&listen), ["a://1"]);
    assert_eq!(listen.header("mcp-method"), Some("subscriptions/listen"));
    push.event(updated(&listen, "a://2")).unwrap();
    push.event(updated(&listen, "a://1")).unwrap();
    let heard = next(&mut stream).await;
    assert_eq!(heard["method"], "notifications/resources/updated");
    assert_eq!(heard["params"]["uri"], "a://1");
    assert_eq!(
        heard["params"]["_meta"],
        json!({"a/b": 1}),
        "its own name for the stream is the server's and ours alone: {heard}"
    );
    is_quiet(&mut strange).await;
    let answer = ask(&session, "resources/unsubscribe", "a://1").await;
    assert_eq!(answer["result"], json!({}));
    server.hung_up(listen.number).await.unwrap();
    is_quiet(&mut stream).await;
    assert_eq!(listens(&server).len(), 1);
}

#[tokio::test]
async fn the_stream_says_all_that_is_wanted_and_is_made_anew_when_that_changes() {
    let server = teller(|seen| {
        let all = uris(seen);
        let updates = all.iter().fold(
            Script::sse().event(acknowledged(seen, &all)),
            |script, uri| script.event(updated(seen, uri)),
        );
        updates.hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut stream = session.stream().await;
    subscribe(&session, "a://1").await;
    assert_eq!(next(&mut stream).await["params"]["uri"], "a://1");
    subscribe(&session, "a://2").await;
    let first = &listens(&server)[0];
    server.hung_up(first.number).await.unwrap();
    let mut heard = [
        next(&mut stream).await["params"]["uri"].to_string(),
        next(&mut stream).await["params"]["uri"].to_string(),
    ];
    heard.sort();
    assert_eq!(heard, [r#""a://1""#, r#""a://2""#]);
    ask(&session, "resources/unsubscribe", "a://1").await;
    let last = server.wait_for(3, is_listen).await.unwrap().pop().unwrap();
    assert_eq!(uris(&last), ["a://2"]);
    assert_eq!(next(&mut stream).await["params"]["uri"], "a://2");
    assert_eq!(session.end().await, 200);
    server.hung_up(last.number).await.unwrap();
}

#[tokio::test]
async fn a_resource_that_the_server_does_not_honor_is_refused() {
    let server = teller(|seen| Script::sse().event(acknowledged(seen, &[])).hold()).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let answer = ask(&session, "resources/subscribe", "a://1").await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    for listen in listens(&server) {
        server.hung_up(listen.number).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_refuses_one_resource_goes_on_telling_of_another() {
    let (push, events) = feed();
    let server = teller(move |seen| {
        let honored: Vec<String> = uris(seen)
            .into_iter()
            .filter(|uri| uri == "a://1")
            .collect();
        Script::sse()
            .event(acknowledged(seen, &honored))
            .follow(&events)
            .hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut stream = session.stream().await;
    subscribe(&session, "a://1").await;
    let answer = ask(&session, "resources/subscribe", "a://2").await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    // Whichever of the streams is open now follows the feed.
    let all = listens(&server);
    for listen in &all[..all.len() - 1] {
        server.hung_up(listen.number).await.unwrap();
    }
    push.event(updated(all.last().unwrap(), "a://1")).unwrap();
    assert_eq!(next(&mut stream).await["params"]["uri"], "a://1");
}

#[tokio::test]
async fn two_subscriptions_at_once_are_both_followed_whichever_is_acknowledged_first() {
    let (open, closed): (_, Gate) = gate();
    let server = teller(move |seen| {
        let all = uris(seen);
        // The first wish, of one resource, is honored late.
        let script = if all.len() == 1 {
            Script::sse().wait(&closed)
        } else {
            Script::sse()
        };
        all.iter()
            .fold(script.event(acknowledged(seen, &all)), |script, uri| {
                script.event(updated(seen, uri))
            })
            .hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    tokio::join!(subscribe(&session, "a://1"), async {
        server.wait_for(1, is_listen).await.unwrap();
        tokio::join!(subscribe(&session, "a://2"), async {
            // Either both streams are asked for at once, or the second waits for the first.
            let both = server.wait_for(2, is_listen);
            drop(tokio::time::timeout(std::time::Duration::from_millis(300), both).await);
            open.open();
        });
    });
    // What is still open follows both.
    let all = listens(&server);
    let gone = async |seen: &Seen| {
        let gone = server.hung_up(seen.number);
        tokio::time::timeout(std::time::Duration::from_millis(300), gone)
            .await
            .is_ok()
    };
    let mut followed = Vec::new();
    for listen in &all {
        if !gone(listen).await {
            followed.extend(uris(listen));
        }
    }
    followed.sort();
    assert_eq!(followed, ["a://1", "a://2"]);
}

#[tokio::test]
async fn a_stream_that_breaks_is_opened_again_and_what_may_have_been_missed_is_said() {
    let (open, closed) = gate();
    let first = std::sync::atomic::AtomicBool::new(true);
    let server = teller(move |seen| {
        let script = Script::sse().event(acknowledged(seen, &uris(seen)));
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            script.wait(&closed).cut()
        } else {
            script.hold()
        }
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut stream = session.stream().await;
    subscribe(&session, "a://1").await;
    is_quiet(&mut stream).await;
    open.open();
    let heard = next(&mut stream).await;
    assert_eq!(
        (&heard["method"], &heard["params"]),
        (
            &json!("notifications/resources/updated"),
            &json!({"uri": "a://1"})
        )
    );
    assert_eq!(listens(&server).len(), 2);
    assert_eq!(uris(&listens(&server)[1]), ["a://1"]);
}

#[tokio::test]
async fn with_several_servers_each_is_told_its_own_name_and_the_client_hears_the_shown_one() {
    let ((push, events), (_other, none)) = (feed(), feed());
    let (one, two) = (honest(events).await, honest(none).await);
    let yaml = toolset(&[
        ("one", &one.url(), "prefix: one_"),
        ("two", &two.url(), "prefix: two_"),
    ]);
    let rig = Rig::start(&yaml).await;
    let session = rig.session().await;
    let mut stream = session.stream().await;
    let mut list = session
        .request("1", "resources/list", "{}")
        .send()
        .await
        .unwrap();
    let list = list.answer().await.unwrap();
    let shown = list["result"]["resources"][0]["uri"].as_str().unwrap();
    subscribe(&session, shown).await;
    let listen = one.wait_for(1, is_listen).await.unwrap().remove(0);
    assert_eq!(uris(&listen), ["a://1"]);
    push.event(updated(&listen, "a://1")).unwrap();
    assert_eq!(next(&mut stream).await["params"]["uri"], shown);
    assert!(listens(&two).is_empty());
}
