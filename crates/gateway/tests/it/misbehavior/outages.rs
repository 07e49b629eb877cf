//! Servers that are gone, come back, or lose what they knew; and what is never sent twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gateway::EraReport;
use testkit::raw::{Canned, RawServer, Script, canned};

use crate::rig::{Rig, legacy, modern, server, toolset};

const WELL: &str = r#"{"resultType":"complete","content":[]}"#;

#[tokio::test]
async fn a_server_that_went_away_fails_calls_stays_listed_and_comes_back() {
    for offer in [legacy(), modern()] {
        let first = server(offer, |seen| Script::json(seen.result(WELL))).await;
        let address = first.address();
        let rig = Rig::before(&first).await;
        let session = if offer.legacy {
            Some(rig.session().await)
        } else {
            None
        };
        let call = async || match &session {
            Some(session) => session.call("1", "echo").await.answer().await.unwrap(),
            None => rig
                .call("1", "echo")
                .send()
                .await
                .unwrap()
                .answer()
                .await
                .unwrap(),
        };
        assert!(call().await["result"].is_object());
        first.stop().await;
        let error = call().await;
        assert_eq!(error["error"]["code"], -32603, "{error}");
        let listed = match &session {
            Some(session) => session
                .request("2", "tools/list", "{}")
                .send()
                .await
                .unwrap()
                .json()
                .await
                .unwrap(),
            None => rig.list("tools/list").await,
        };
        assert_eq!(
            listed["result"]["tools"][0]["name"], "echo",
            "what it offered stays listed for a while: {listed}"
        );
        let again = RawServer::start_at(address, move |seen| {
            canned(&offer, seen).unwrap_or_else(|| Script::json(seen.result(WELL)))
        });
        let _again = again.await.unwrap();
        let back = async {
            while call().await.get("result").is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        testkit::within("the server to be back", back)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_required_server_that_is_down_fails_the_list_by_its_name() {
    let good = server(modern(), |seen| Script::json(seen.result(WELL))).await;
    let bad = RawServer::start(|_| Script::status(503)).await.unwrap();
    let yaml = toolset(&[
        ("good", &good.url(), ""),
        ("bad", &bad.url(), "failureMode: Required"),
    ]);
    let rig = Rig::start(&yaml).await;
    let error = rig.list("tools/list").await;
    assert_eq!(error["error"]["code"], -32603, "{error}");
    assert!(
        error["error"]["message"].as_str().unwrap().contains("bad"),
        "{error}"
    );
    assert!(!rig.gateway.report().ready);
    assert!(
        rig.call("1", "echo")
            .send()
            .await
            .unwrap()
            .answer()
            .await
            .unwrap()["result"]
            .is_object()
    );
    let optional = Rig::start(&yaml.replace("Required", "Optional")).await;
    assert!(optional.gateway.report().ready);
    assert_eq!(
        optional.list("tools/list").await["result"]["tools"][0]["name"],
        "echo"
    );
}

#[tokio::test]
async fn a_server_that_fails_again_and_again_is_left_alone_for_a_while() {
    let failing: [fn() -> Script; 2] = [|| Script::status(503), || Script::status(502)];
    for fail in failing {
        let server = server(modern(), move |_| fail()).await;
        let rig = Rig::before(&server).await;
        let mut resting = None;
        for _ in 0..12 {
            let error = rig
                .call("1", "echo")
                .send()
                .await
                .unwrap()
                .answer()
                .await
                .unwrap();
            let text = error["error"]["message"].as_str().unwrap().to_owned();
            if text.contains("tried again in") {
                resting = Some(text);
                break;
            }
        }
        let text = resting.expect("the breaker opens");
        assert!(
            text.contains("a`") && text.contains("down for"),
            "it says who and since when: {text}"
        );
        let sent = server.requests_of("tools/call").len();
        rig.call("1", "echo")
            .send()
            .await
            .unwrap()
            .answer()
            .await
            .unwrap();
        assert_eq!(
            server.requests_of("tools/call").len(),
            sent,
            "nothing is sent while it rests"
        );
        assert!(
            !rig.list("tools/list").await["result"]["tools"]
                .as_array()
                .unwrap()
                .is_empty()
        );
    }
}

#[tokio::test]
async fn errors_that_speak_of_one_call_do_not_open_the_breaker() {
    let answers: [fn(&testkit::raw::Seen) -> Script; 3] = [
        |seen| Script::json(seen.error(-32000, "no")),
        |seen| Script::json_with(400, &[], seen.error(-32602, "no")),
        |_| Script::json("garbage"),
    ];
    for answer in answers {
        let server = server(modern(), answer).await;
        let rig = Rig::before(&server).await;
        for _ in 0..12 {
            rig.call("1", "echo")
                .send()
                .await
                .unwrap()
                .answer()
                .await
                .unwrap();
        }
        assert_eq!(server.requests_of("tools/call").len(), 12);
    }
}

#[tokio::test]
async fn a_call_that_may_have_reached_the_server_is_never_sent_again() {
    for offer in [legacy(), modern()] {
        for cut in [
            Script::default().cut(),
            Script::default().reset(),
            Script::sse().cut(),
            Script::status(503),
        ] {
            let cut_here = cut.clone();
            let server = server(offer, move |seen| {
                if seen.json()["params"]["arguments"]["well"] == true {
                    Script::json(seen.result(WELL))
                } else {
                    cut_here.clone()
                }
            })
            .await;
            let rig = Rig::before(&server).await;
            let session = if offer.legacy {
                Some(rig.session().await)
            } else {
                None
            };
            let call = async |params: &str| {
                let request = match &session {
                    Some(session) => session.request("1", "tools/call", params),
                    None => testkit::http::modern(&rig.url(), 1, "tools/call", params)
                        .header("Mcp-Name", "echo"),
                };
                request.send().await.unwrap().answer().await.unwrap()
            };
            // The first one warms a connection, on which the second one is lost.
            assert!(
                call(r#"{"name":"echo","arguments":{"well":true}}"#).await["result"].is_object()
            );
            let error = call(r#"{"name":"echo","arguments":{}}"#).await;
            assert_eq!(error["error"]["code"], -32603, "{error}");
            assert_eq!(server.requests_of("tools/call").len(), 2, "{cut:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_closed_at_rest_costs_nothing() {
    let server = server(modern(), |seen| {
        // Says nothing of closing, and closes.
        let body = seen.result(WELL);
        Script::json(body).cut()
    })
    .await;
    let rig = Rig::before(&server).await;
    for at in 1..=10 {
        let answer = rig
            .call(&at.to_string(), "echo")
            .send()
            .await
            .unwrap()
            .answer()
            .await
            .unwrap();
        assert_eq!(answer["id"], at, "{answer}");
        assert!(answer["result"].is_object(), "{answer}");
    }
    assert_eq!(server.requests_of("tools/call").len(), 10);
}

#[tokio::test]
async fn a_session_that_the_server_lost_is_opened_again_once() {
    let (lost, forever) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (losing, dead) = (lost.clone(), forever.clone());
    let server = server(legacy(), move |seen| {
        if dead.load(Ordering::Relaxed) > 0 || losing.fetch_add(1, Ordering::Relaxed) == 1 {
            return Script::status(404);
        }
        Script::json(seen.result(WELL))
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    assert!(session.call("1", "echo").await.answer().await.unwrap()["result"].is_object());
    let opened = server.requests_of("initialize").len();
    assert!(
        session.call("2", "echo").await.answer().await.unwrap()["result"].is_object(),
        "the client notices nothing"
    );
    assert_eq!(server.requests_of("initialize").len(), opened + 1);
    assert_eq!(server.requests_of("tools/call").len(), 3);
    forever.store(1, Ordering::Relaxed);
    let error = session.call("3", "echo").await.answer().await.unwrap();
    assert!(error["error"].is_object(), "{error}");
    assert_eq!(
        server.requests_of("tools/call").len(),
        5,
        "once, not for ever"
    );
}

#[tokio::test]
async fn lists_are_read_again_when_the_server_says_so() {
    let (push, feed) = testkit::raw::feed();
    let changed = Arc::new(AtomicUsize::new(0));
    let state = changed.clone();
    let server = RawServer::start(move |seen| {
        if &*seen.method == "GET" {
            return Script::sse().follow(&feed).hold();
        }
        let tools = if state.load(Ordering::Relaxed) == 0 {
            Canned::default().tools
        } else {
            r#"[{"name":"new","inputSchema":{"type":"object"}}]"#
        };
        canned(&Canned { tools, ..legacy() }, seen)
            .unwrap_or_else(|| Script::json(seen.result("{}")))
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let mut stream = session.stream().await;
    server
        .wait_for(1, |seen| &*seen.method == "GET")
        .await
        .unwrap();
    changed.store(1, Ordering::Relaxed);
    push.event(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)
        .unwrap();
    // An earlier notice may tell of the server's start.
    loop {
        let event = stream.event().await.unwrap().unwrap();
        assert_eq!(event.json()["method"], "notifications/tools/list_changed");
        let request = session.request("1", "tools/list", "{}");
        let listed = request.send().await.unwrap().json().await.unwrap();
        if listed["result"]["tools"][0]["name"] == "new" {
            break;
        }
    }
    let report = rig.gateway.report();
    assert!(matches!(
        report.servers[0].legacy,
        EraReport::Ready { tools: 1, .. }
    ));
}
