//! Servers that take their time: every wait ends, each by its own limit.

use std::time::{Duration, Instant};

use gateway::EraReport;
use testkit::raw::{RawServer, Script};

use crate::rig::{Rig, legacy, modern, server, toolset};

const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/other","params":{}}"#;
/// Long enough that a wait which does not end is seen, short enough to wait for.
const SOON: Duration = Duration::from_secs(5);

async fn rig(server: &RawServer, timeouts: &str) -> Rig {
    Rig::start(&toolset(&[(
        "a",
        &server.url(),
        &format!("timeouts: {{{timeouts}}}"),
    )]))
    .await
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_by_each_limit() {
    let cases = [
        ("firstByte: 200ms", Script::never()),
        ("idle: 200ms", Script::sse().hold()),
        ("idle: 200ms", Script::sse().event(PROGRESS).hold()),
        (
            "idle: 200ms",
            Script::chunked(200, &[("content-type", "application/json")])
                .chunk("{")
                .hold(),
        ),
        ("total: 200ms", Script::sse().event(PROGRESS).hold()),
        ("total: 200ms", Script::never()),
        (
            "total: 200ms",
            Script::chunked(200, &[("content-type", "application/json")])
                .chunk("{")
                .hold(),
        ),
    ];
    for offer in [legacy(), modern()] {
        for (timeouts, answer) in &cases {
            let answer = answer.clone();
            let server = server(offer, move |_| answer.clone()).await;
            let rig = rig(&server, timeouts).await;
            let session = if offer.legacy {
                Some(rig.session().await)
            } else {
                None
            };
            let began = Instant::now();
            let mut reply = match &session {
                Some(session) => session.call("1", "echo").await,
                None => rig.call("1", "echo").send().await.unwrap(),
            };
            let error = reply.answer().await.unwrap();
            assert!(began.elapsed() < SOON, "{timeouts}: {:?}", began.elapsed());
            assert_eq!(
                (&error["id"], &error["error"]["code"]),
                (&1.into(), &(-32603).into()),
                "{timeouts}: {error}"
            );
            let text = error["error"]["message"].as_str().unwrap();
            assert!(text.contains("main/a") || text.contains("`a`"), "{text}");
            let call = server.requests_of("tools/call");
            assert_eq!(
                call.len(),
                1,
                "{timeouts}: a call that may have had an effect is not repeated"
            );
            server.hung_up(call[0].number).await.unwrap();
        }
    }
}

#[tokio::test]
async fn progress_does_not_stretch_the_total() {
    let server = server(legacy(), |_| {
        (0..400)
            .fold(Script::sse(), |script, _| script.event(PROGRESS))
            .hold()
    })
    .await;
    let rig = rig(&server, "total: 300ms").await;
    let error = rig
        .session()
        .await
        .call("1", "echo")
        .await
        .answer()
        .await
        .unwrap();
    assert_eq!(error["error"]["code"], -32603, "{error}");
    let cancelled = server
        .wait_for(1, |seen| {
            seen.rpc_method().as_deref() == Some("notifications/cancelled")
        })
        .await
        .unwrap();
    assert_eq!(
        cancelled[0].json()["params"]["requestId"],
        server.requests_of("tools/call")[0].json()["id"]
    );
}

#[tokio::test]
async fn an_address_that_takes_no_connection_is_given_up() {
    // TEST-NET-1 of RFC 5737: nobody answers, or the system refuses at once; both must end soon.
    let yaml = toolset(&[(
        "gone",
        "http://192.0.2.1:9/mcp",
        "timeouts: {connect: 200ms}",
    )]);
    let rig = Rig::starting(&yaml, "/bin/false".into()).await;
    let began = Instant::now();
    rig.until(|report| report.settled).await;
    assert!(began.elapsed() < SOON);
    let listed = rig.list("tools/list").await;
    assert!(
        listed["result"]["_meta"].to_string().contains("gone"),
        "the list says what it lacks: {listed}"
    );
}

#[tokio::test]
async fn a_server_that_never_answers_holds_up_neither_lists_nor_other_servers() {
    let silent = RawServer::start(|_| Script::never()).await.unwrap();
    let good = server(modern(), |seen| {
        Script::json(seen.result(r#"{"resultType":"complete","content":[]}"#))
    })
    .await;
    let yaml = toolset(&[("silent", &silent.url(), ""), ("good", &good.url(), "")]);
    let rig = Rig::starting(&yaml, "/bin/false".into()).await;
    let is_ready = |report: &gateway::Report| {
        report
            .servers
            .iter()
            .any(|server| matches!(server.modern, EraReport::Ready { .. }))
    };
    rig.until(is_ready).await;
    silent.wait_for(2, |_| true).await.unwrap();
    // From here on, waiting costs nothing: the clock jumps when nobody has anything to do.
    tokio::time::pause();
    for wait_max in [10, 1] {
        let began = tokio::time::Instant::now();
        let listed = rig.list("tools/list").await;
        assert_eq!(listed["result"]["tools"][0]["name"], "echo", "{listed}");
        assert!(
            listed["result"]["_meta"].to_string().contains("silent"),
            "the list says that it is not whole: {listed}"
        );
        assert!(
            began.elapsed().as_secs() < wait_max,
            "{:?}",
            began.elapsed()
        );
        let called = rig
            .call("1", "echo")
            .send()
            .await
            .unwrap()
            .answer()
            .await
            .unwrap();
        assert!(called["result"].is_object());
    }
}
