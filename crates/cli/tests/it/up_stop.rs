//! How `marque up` ends: what is under way finishes, streams end properly, and no process is left.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use testkit::http;
use testkit::raw::{Canned, RawServer, Script, canned, gate};

use crate::up::{Folder, Up, until};

const WELL: &str = r#"{"resultType":"complete","content":[]}"#;

#[tokio::test]
async fn a_signal_lets_calls_finish_ends_streams_and_leaves_no_process() {
    for signal in [Signal::TERM, Signal::INT] {
        let (open, closed) = gate();
        let server = RawServer::start(move |seen| {
            canned(&Canned::default(), seen)
                .unwrap_or_else(|| Script::sse().wait(&closed).event(seen.result(WELL)).end())
        })
        .await
        .unwrap();
        let folder = Folder::new();
        folder.toolset(&[
            &format!("name: slow, url: \"{}\"", server.url()),
            &folder.program("time", "marque, sample, time"),
        ]);
        let mut up = Up::ready(&folder, &["--drain-limit", "10s"]).await;
        let session = up.session().await;
        assert!(
            up.legacy(
                &session,
                "tools/call",
                r#"{"name":"now","arguments":{"zone":"UTC"}}"#
            )
            .send()
            .await
            .unwrap()
            .answer()
            .await
            .unwrap()["result"]
                .is_object()
        );
        assert!(!folder.processes().is_empty());
        let mut own = up.stream(&session).await;
        let listen = r#"{"notifications":{"toolsListChanged":true}}"#;
        let mut listening = http::modern(&up.url(), "\"l\"", "subscriptions/listen", listen)
            .send()
            .await
            .unwrap();
        listening.event().await.unwrap().unwrap();
        let stopping = async {
            server
                .wait_for(1, |seen| seen.rpc_method().as_deref() == Some("tools/call"))
                .await
                .unwrap();
            up.signal(signal);
            assert_eq!(
                own.event().await.unwrap(),
                None,
                "the session's stream has its proper end"
            );
            assert_eq!(
                listening.event().await.unwrap().unwrap().json()["result"]["resultType"],
                "complete"
            );
            assert_eq!(listening.event().await.unwrap(), None);
            assert!(
                http::get(&up.url()).unwrap().send().await.is_err(),
                "nobody new comes in"
            );
            open.open();
        };
        let call = async {
            up.call("echo", "{}")
                .send()
                .await
                .unwrap()
                .answer()
                .await
                .unwrap()
        };
        let (answer, ()) = tokio::join!(call, stopping);
        assert!(answer["result"].is_object(), "{answer}");
        assert_eq!(up.ended().await, Some(0));
        folder.empties().await;
        let ended = server
            .requests()
            .iter()
            .filter(|seen| &*seen.method == "DELETE")
            .count();
        assert!(ended <= 2, "sessions are ended once each");
    }
}

#[tokio::test]
async fn what_does_not_finish_is_cut_at_the_limit() {
    let server = RawServer::start(|seen| {
        canned(&Canned::default(), seen).unwrap_or_else(|| Script::sse().hold())
    })
    .await
    .unwrap();
    let folder = Folder::new();
    folder.toolset(&[&format!("name: never, url: \"{}\"", server.url())]);
    let mut up = Up::ready(&folder, &["--drain-limit", "500ms"]).await;
    let stopping = async {
        server
            .wait_for(1, |seen| seen.rpc_method().as_deref() == Some("tools/call"))
            .await
            .unwrap();
        up.signal(Signal::TERM);
        Instant::now()
    };
    let request = up.call("echo", "{}");
    let call = async {
        match request.send().await {
            Ok(mut reply) => reply.answer().await,
            Err(cut) => Err(cut),
        }
    };
    let (answer, asked) = tokio::join!(call, stopping);
    assert!(answer.is_err(), "cut, not answered: {answer:?}");
    assert_eq!(up.ended().await, Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(6),
        "{:?}",
        asked.elapsed()
    );
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let server = RawServer::start(|seen| {
        canned(&Canned::default(), seen).unwrap_or_else(|| Script::sse().hold())
    })
    .await
    .unwrap();
    let folder = Folder::new();
    folder.toolset(&[
        &format!("name: never, url: \"{}\"", server.url()),
        &folder.program("time", "marque, sample, time"),
    ]);
    let mut up = Up::ready(&folder, &["--drain-limit", "1m"]).await;
    let mut held = http::socket(&up.url()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut held, &up.call("echo", "{}").bytes())
        .await
        .unwrap();
    server
        .wait_for(1, |seen| seen.rpc_method().as_deref() == Some("tools/call"))
        .await
        .unwrap();
    up.signal(Signal::INT);
    until("the stop to be logged", || {
        up.log().iter().any(|line| line.contains("\"stopping;"))
    })
    .await;
    up.signal(Signal::INT);
    let began = Instant::now();
    assert_eq!(up.ended().await, Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    folder.empties().await;
}
