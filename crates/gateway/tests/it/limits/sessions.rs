//! Legacy sessions: whose they are, and what happens to strange ids.

use testkit::http;
use testkit::raw::{Script, gate};

use crate::rig::{Rig, Session, legacy, server, set, toolset};

#[tokio::test]
async fn missing_is_400_and_unknown_or_ended_is_404() {
    let server = server(legacy(), |seen| Script::json(seen.result("{}"))).await;
    let rig = Rig::before(&server).await;
    let mut reply = http::legacy(&rig.url(), 5, "tools/list", "{}")
        .send()
        .await
        .unwrap();
    let error = reply.json().await.unwrap();
    assert_eq!((reply.status, &error["id"]), (400, &5.into()), "{error}");
    for id in [
        "forged",
        "",
        "AAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "a b",
        &"A".repeat(5000),
    ] {
        let reply = http::legacy(&rig.url(), 5, "tools/list", "{}")
            .header("Mcp-Session-Id", id)
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status, 404, "{id}");
    }
    let session = rig.session().await;
    assert_eq!(session.call("1", "echo").await.status, 200);
    let twice = session
        .request("2", "ping", "{}")
        .header("Mcp-Session-Id", &session.id);
    assert_eq!(twice.send().await.unwrap().status, 400);
    assert_eq!(session.end().await, 200);
    for request in [
        session.request("3", "ping", "{}"),
        http::delete(&rig.url())
            .unwrap()
            .header("Mcp-Session-Id", &session.id),
    ] {
        assert_eq!(request.send().await.unwrap().status, 404);
    }
    assert_eq!(session.notify("notifications/initialized", "{}").await, 404);
    server
        .wait_for(1, |seen| &*seen.method == "DELETE")
        .await
        .unwrap();
    assert_eq!(
        http::delete(&rig.url())
            .unwrap()
            .send()
            .await
            .unwrap()
            .status,
        400
    );
}

#[tokio::test]
async fn a_session_belongs_to_its_toolset() {
    let server = server(legacy(), |seen| Script::json(seen.result("{}"))).await;
    let one = toolset(&[("a", &server.url(), "")]);
    let rig = Rig::start(&format!(
        "{one}---\n{}",
        one.replace("name: main", "name: other")
    ))
    .await;
    let session = rig.session().await;
    let elsewhere = Session {
        url: rig.at("/mcp/other"),
        ..rig.session().await
    };
    assert_eq!(elsewhere.call("1", "echo").await.status, 404);
    assert_eq!(elsewhere.end().await, 404);
    assert_eq!(session.call("1", "echo").await.status, 200);
}

#[tokio::test]
async fn a_wrong_initialize_opens_nothing() {
    let server = server(legacy(), |seen| Script::json(seen.result("{}"))).await;
    let rig = Rig::before(&server).await;
    let long = format!(
        r#"{{"protocolVersion":"2025-11-25","capabilities":{{"x":"{}"}}}}"#,
        "x".repeat(5000)
    );
    for params in [
        "{}",
        "[]",
        r#"{"protocolVersion":7}"#,
        r#"{"protocolVersion":"2025-11-25","capabilities":[]}"#,
        &long,
    ] {
        let mut reply = http::legacy(&rig.url(), 1, "initialize", params)
            .send()
            .await
            .unwrap();
        let error = reply.json().await.unwrap();
        assert_eq!(error["error"]["code"], -32602, "{params}: {error}");
        assert_eq!(reply.header("mcp-session-id"), None, "{params}");
    }
    let params = r#"{"protocolVersion":"1999-01-01","capabilities":{}}"#;
    let mut reply = http::legacy(&rig.url(), 1, "initialize", params)
        .send()
        .await
        .unwrap();
    assert_eq!(
        reply.json().await.unwrap()["result"]["protocolVersion"],
        "2025-11-25"
    );
    let notice = http::notification(&rig.url(), "initialize", params)
        .send()
        .await
        .unwrap();
    assert_eq!(
        notice.header("mcp-session-id"),
        None,
        "a notification opens nothing"
    );
}

#[tokio::test]
async fn one_id_is_open_once_and_free_again_afterwards() {
    let (open, closed) = gate();
    let server = server(legacy(), move |seen| {
        Script::sse()
            .wait(&closed)
            .event(seen.result(r#"{"content":[]}"#))
            .end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let second = async {
        server
            .wait_for(1, |seen| seen.rpc_method().as_deref() == Some("tools/call"))
            .await
            .unwrap();
        let mut second = session.call("7", "echo").await;
        let error = second.json().await.unwrap();
        assert_eq!(
            (error["error"]["code"].as_i64(), error["id"].as_i64()),
            (Some(-32602), Some(7)),
            "{error}"
        );
        open.open();
    };
    let (mut first, ()) = tokio::join!(session.call("7", "echo"), second);
    assert_eq!(first.answer().await.unwrap()["id"], 7);
    assert_eq!(
        session.call("7", "echo").await.answer().await.unwrap()["id"],
        7
    );
    assert_eq!(server.requests_of("tools/call").len(), 2);
}

#[tokio::test]
async fn answers_to_no_question_are_taken_and_go_nowhere() {
    let server = server(legacy(), |seen| {
        Script::json(seen.result(r#"{"content":[]}"#))
    })
    .await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    session.call("1", "echo").await.answer().await.unwrap();
    let before = server.requests().len();
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":"x","error":{"code":1,"message":"no"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":[]}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/nobody/knows"}"#,
    ] {
        assert_eq!(session.post(body).await.status, 202, "{body}");
    }
    assert_eq!(server.requests().len(), before);
}

#[tokio::test]
async fn sessions_live_on_when_the_table_is_swapped() {
    let server = server(legacy(), |seen| {
        Script::json(seen.result(r#"{"content":[]}"#))
    })
    .await;
    let yaml = toolset(&[("a", &server.url(), "")]);
    let rig = Rig::start(&yaml).await;
    let session = rig.session().await;
    session.call("1", "echo").await.answer().await.unwrap();
    rig.gateway.apply(&set(&yaml)).unwrap();
    session.call("2", "echo").await.answer().await.unwrap();
    let opened = server.requests_of("initialize").len();
    assert_eq!(
        opened, 2,
        "one for the gateway, one for the session: the swap opened none"
    );
    rig.gateway
        .apply(&set(&yaml.replace("name: a", "name: b")))
        .unwrap();
    rig.until(|report| report.settled).await;
    session.call("3", "echo").await.answer().await.unwrap();
}
