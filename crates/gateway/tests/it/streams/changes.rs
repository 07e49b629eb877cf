//! Changes of resources and lists: who wants them gets them, tagged with its own names, and nobody else.

use testkit::http;
use testkit::raw::{Canned, Push, RawServer, Script, canned, feed};

use crate::rig::{Rig, next, toolset};

const RESOURCES: &str = r#"{"resultType":"complete","ttlMs":0,"cacheScope":"public","resources":[{"uri":"file:///x","name":"x"}]}"#;

/// A server with resources whose listen streams (modern) or own streams (legacy) say what is pushed.
async fn server(modern: bool) -> (RawServer, Push) {
    let (push, events) = feed();
    let capabilities = r#"{"tools":{},"resources":{"subscribe":true}}"#;
    let offer = Canned {
        modern,
        legacy: !modern,
        capabilities,
        session: Some("own"),
        ..Canned::default()
    };
    let server =
        RawServer::start(
            move |seen| match (&*seen.method, seen.rpc_method().as_deref()) {
                ("GET", _) => Script::sse().follow(&events).hold(),
                (_, Some("subscriptions/listen")) => {
                    let notifications = &seen.json()["params"]["notifications"];
                    Script::sse()
                        .event(format!(r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"notifications":{notifications}}}}}"#))
                        .follow(&events)
                        .hold()
                }
                (_, Some("resources/list")) => Script::json(seen.result(RESOURCES)),
                (_, Some("resources/templates/list")) => Script::json(
                    seen.result(
                        &RESOURCES
                            .replace("resources", "resourceTemplates")
                            .replace("uri", "uriTemplate"),
                    ),
                ),
                (_, Some("resources/subscribe" | "resources/unsubscribe")) => {
                    Script::json(seen.result("{}"))
                }
                _ => canned(&offer, seen).unwrap_or_else(Script::accepted),
            },
        )
        .await
        .unwrap();
    (server, push)
}

fn updated(uri: &str, more: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{{more}"uri":"{uri}","n":1.0}}}}"#
    )
}

#[tokio::test]
async fn a_listen_stream_is_acknowledged_first_tagged_and_ended_properly() {
    let (server, push) = server(true).await;
    let rig = Rig::before(&server).await;
    let wanted = r#"{"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourceSubscriptions":["file:///x"]}}"#;
    let mut stream = http::modern(&rig.url(), "\"l\"", "subscriptions/listen", wanted)
        .send()
        .await
        .unwrap();
    let first = next(&mut stream).await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        first["params"]["notifications"]["resourceSubscriptions"][0],
        "file:///x"
    );
    assert_eq!(
        first["params"]["notifications"].get("promptsListChanged"),
        None,
        "only what is honored"
    );
    assert_eq!(
        first["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        "l"
    );
    // What was not subscribed to is not passed on, and the server's tag becomes the client's.
    push.event(updated("file:///y", "")).unwrap();
    push.event(updated(
        "file:///x",
        r#""_meta":{"io.modelcontextprotocol/subscriptionId":4711,"x.example/y":[1.0]},"#,
    ))
    .unwrap();
    let notice = next(&mut stream).await;
    assert_eq!(notice["params"]["uri"], "file:///x");
    assert_eq!(
        notice["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        "l"
    );
    assert_eq!(
        notice["params"]["_meta"]["x.example/y"].to_string(),
        "[1.0]"
    );
    let listen = server.requests_of("subscriptions/listen").pop().unwrap();
    drop(stream);
    server.hung_up(listen.number).await.unwrap();
}

#[tokio::test]
async fn closing_the_gateway_ends_streams_properly() {
    let (server, _push) = server(true).await;
    let rig = Rig::before(&server).await;
    let wanted = r#"{"notifications":{"toolsListChanged":true}}"#;
    let mut stream = http::modern(&rig.url(), "\"l\"", "subscriptions/listen", wanted)
        .send()
        .await
        .unwrap();
    next(&mut stream).await;
    rig.gateway.close_streams();
    let last = next(&mut stream).await;
    assert_eq!(
        (&last["id"], &last["result"]["resultType"]),
        (&"l".into(), &"complete".into()),
        "{last}"
    );
    assert_eq!(stream.event().await.unwrap(), None);
}

#[tokio::test]
async fn wrong_filters_are_refused() {
    let (server, _push) = server(true).await;
    let rig = Rig::before(&server).await;
    for params in [
        "{}",
        r#"{"notifications":7}"#,
        r#"{"notifications":{"resourceSubscriptions":"file:///x"}}"#,
        r#"{"notifications":{"resourceSubscriptions":[7]}}"#,
    ] {
        let mut reply = http::modern(&rig.url(), 1, "subscriptions/listen", params)
            .send()
            .await
            .unwrap();
        assert!(!reply.is_stream(), "{params}");
        assert_eq!(
            reply.json().await.unwrap()["error"]["code"],
            -32602,
            "{params}"
        );
    }
}

#[tokio::test]
async fn legacy_updates_reach_the_session_that_subscribed() {
    let (server, push) = server(false).await;
    let rig = Rig::start(&toolset(&[("a", &server.url(), "isolation: PerSession")])).await;
    let session = rig.session().await;
    let subscribe = async |method: &str, uri: &str| {
        let mut reply = session
            .request("1", method, &format!(r#"{{"uri":"{uri}"}}"#))
            .send()
            .await
            .unwrap();
        reply.json().await.unwrap()
    };
    assert_eq!(
        subscribe("resources/subscribe", "file:///x").await["result"],
        serde_json::json!({})
    );
    let mut stream = session.stream().await;
    push.event(updated("file:///z", "")).unwrap();
    push.event(updated("file:///x", "")).unwrap();
    let notice = next(&mut stream).await;
    assert_eq!(
        notice["params"].to_string(),
        r#"{"uri":"file:///x","n":1.0}"#
    );
    assert_eq!(
        subscribe("resources/unsubscribe", "file:///x").await["result"],
        serde_json::json!({})
    );
    push.event(updated("file:///x", "")).unwrap();
    push.event(r#"{"jsonrpc":"2.0","method":"notifications/other","params":{}}"#)
        .unwrap();
    assert_eq!(
        next(&mut stream).await["method"],
        "notifications/other",
        "nothing of what is no longer wanted"
    );
}
