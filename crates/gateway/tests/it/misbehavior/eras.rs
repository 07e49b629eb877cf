//! What counts as evidence of an era, and what never does (`MCP 2026-07-28`, basic/versioning, "Backward Compatibility").

use gateway::EraReport;
use testkit::raw::{Canned, RawServer, Script, Seen, canned};

use crate::rig::{Rig, legacy, server};

fn is_discover(seen: &Seen) -> bool {
    seen.rpc_method().as_deref() == Some("server/discover")
}

/// A server that answers the probe as told, and legacy requests as a server of the handshake eras.
async fn probed(answer: impl Fn(&Seen) -> Script + Send + Sync + 'static) -> RawServer {
    RawServer::start(move |seen| {
        if is_discover(seen) {
            return answer(seen);
        }
        canned(&legacy(), seen).unwrap_or_else(|| Script::json(seen.result(r#"{"content":[]}"#)))
    })
    .await
    .unwrap()
}

fn speaks_legacy_only(rig: &Rig) -> bool {
    let server = &rig.gateway.report().servers[0];
    matches!(
        (&server.modern, &server.legacy),
        (EraReport::NotSpoken { .. }, EraReport::Ready { .. })
    )
}

#[tokio::test]
async fn refusals_of_the_probe_lead_to_the_handshake() {
    let bodies: [fn(&Seen) -> String; 5] = [
        |_| String::new(),
        |_| "Bad Request".to_owned(),
        |seen| seen.error(-32600, "no session"),
        |seen| seen.error(-32601, "method not found"),
        |_| {
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: Server not initialized"}}"#.to_owned()
        },
    ];
    for status in [400, 404, 405, 200] {
        for body in bodies {
            if status == 200 && !body(&dummy()).contains("error") {
                continue;
            }
            let server = probed(move |seen| Script::json_with(status, &[], body(seen))).await;
            let rig = Rig::before(&server).await;
            assert!(
                speaks_legacy_only(&rig),
                "{status}: {:#?}",
                rig.gateway.report().servers
            );
            let session = rig.session().await;
            assert!(session.call("1", "echo").await.answer().await.unwrap()["result"].is_object());
            let listed = rig.list("tools/list").await;
            assert_eq!(
                listed["result"]["tools"][0]["name"], "echo",
                "modern clients are served as well"
            );
        }
    }
}

fn dummy() -> Seen {
    Seen {
        number: 0,
        connection: 0,
        method: "POST".into(),
        target: "/".into(),
        headers: [].into(),
        body: "{}".into(),
    }
}

#[tokio::test]
async fn a_server_of_both_eras_is_used_in_the_era_of_the_client() {
    let server = server(Canned::default(), |seen| {
        Script::json(seen.result(r#"{"resultType":"complete","content":[]}"#))
    })
    .await;
    let rig = Rig::before(&server).await;
    rig.call("1", "echo")
        .send()
        .await
        .unwrap()
        .answer()
        .await
        .unwrap();
    rig.session()
        .await
        .call("1", "echo")
        .await
        .answer()
        .await
        .unwrap();
    let versions: Vec<_> = server
        .requests_of("tools/call")
        .iter()
        .map(|seen| seen.header("mcp-protocol-version").map(str::to_owned))
        .collect();
    assert_eq!(
        versions,
        [Some("2026-07-28".to_owned()), Some("2025-11-25".to_owned())]
    );
}

#[tokio::test]
async fn authentication_and_outages_say_nothing_about_the_era() {
    for status in [401, 403, 429, 500, 502, 503, 504] {
        let server = RawServer::start(move |_| Script::status(status))
            .await
            .unwrap();
        let rig = Rig::before(&server).await;
        let report = rig.gateway.report();
        for era in [&report.servers[0].modern, &report.servers[0].legacy] {
            assert!(
                matches!(era, EraReport::Down { reason, .. } if reason.contains(&status.to_string())),
                "{status}: {era:?}"
            );
        }
        assert!(
            server.requests().iter().all(|seen| &*seen.method == "POST"),
            "{status}: no older transport is tried"
        );
    }
    // Once it is well again, it is known in both eras.
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let server = RawServer::start(move |seen| {
        if calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 4 {
            return Script::status(503);
        }
        canned(&Canned::default(), seen).unwrap_or_else(Script::accepted)
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    rig.until(|report| {
        let server = &report.servers[0];
        matches!(
            (&server.modern, &server.legacy),
            (EraReport::Ready { .. }, EraReport::Ready { .. })
        )
    })
    .await;
}

#[tokio::test]
async fn a_modern_error_to_the_probe_is_no_evidence_of_a_legacy_server() {
    // A server of this era that is busy with something else, in the era's own words.
    let server =
        probed(|seen| Script::json_with(400, &[], seen.error(-32020, "header mismatch"))).await;
    let rig = Rig::before(&server).await;
    assert!(matches!(
        rig.gateway.report().servers[0].modern,
        EraReport::Down { .. }
    ));
}

#[tokio::test]
async fn a_server_that_seems_to_speak_no_era_is_asked_again() {
    // An ingress answers 404 while what is behind it is rolled out.
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let server = RawServer::start(move |seen| {
        if calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 6 {
            return Script::status(404);
        }
        canned(&Canned::default(), seen).unwrap_or_else(Script::accepted)
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    rig.until(|report| {
        let server = &report.servers[0];
        matches!(
            (&server.modern, &server.legacy),
            (EraReport::Ready { .. }, EraReport::Ready { .. })
        )
    })
    .await;
}

/// A server of 2024-11-05: an event stream, and an address to post to.
async fn older(endpoint: &'static str) -> (RawServer, testkit::raw::Push) {
    let (push, feed) = testkit::raw::feed();
    let answers = push.clone();
    let server = RawServer::start(move |seen| {
        if &*seen.method == "GET" {
            return Script::sse().chunk(format!("event: endpoint\ndata: {endpoint}\n\n")).follow(&feed).hold();
        }
        if &*seen.target != "/messages?key=1" {
            return Script::status(405);
        }
        let offer = Canned { modern: false, ..Canned::default() };
        let result = match seen.rpc_method().as_deref() {
            Some("initialize") => r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"old","version":"1"}}"#.to_owned(),
            Some("tools/list") => format!(r#"{{"tools":{}}}"#, offer.tools),
            Some("tools/call") => r#"{"content":[{"type":"text","text":"old but well"}]}"#.to_owned(),
            _ => return Script::accepted(),
        };
        answers.event(seen.result(&result)).unwrap();
        Script::accepted()
    })
    .await
    .unwrap();
    (server, push)
}

#[tokio::test]
async fn the_transport_of_2024_11_05_is_fallen_back_to() {
    let (server, _push) = older("/messages?key=1").await;
    let yaml = crate::rig::toolset(&[("a", &server.url(), "isolation: Shared")]);
    let rig = Rig::start(&yaml).await;
    assert!(
        speaks_legacy_only(&rig),
        "{:#?}",
        rig.gateway.report().servers
    );
    let answer = rig
        .session()
        .await
        .call("\"q\"", "echo")
        .await
        .answer()
        .await
        .unwrap();
    assert_eq!(
        (
            answer["id"].as_str(),
            answer["result"]["content"][0]["text"].as_str()
        ),
        (Some("q"), Some("old but well"))
    );
}

#[tokio::test]
async fn an_endpoint_event_that_names_another_origin_is_refused() {
    let elsewhere = RawServer::start(|_| Script::accepted()).await.unwrap();
    let address: &'static str = Box::leak(elsewhere.url().into_boxed_str());
    for endpoint in [
        address,
        "http://evil.example/messages",
        "//evil.example/messages",
        "https://127.0.0.1/messages",
    ] {
        let (server, _push) = older(endpoint).await;
        let rig = Rig::before(&server).await;
        assert!(
            !matches!(
                rig.gateway.report().servers[0].legacy,
                EraReport::Ready { .. }
            ),
            "{endpoint}"
        );
        assert!(
            server
                .requests()
                .iter()
                .all(|seen| seen.rpc_method().as_deref() != Some("tools/list")),
            "{endpoint}"
        );
    }
    assert!(
        elsewhere.requests().is_empty(),
        "nothing, and no credential, went to another origin"
    );
}

#[tokio::test]
async fn a_pinned_server_is_not_probed() {
    for (pin, version) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
    ] {
        let server = server(Canned::default(), |seen| Script::json(seen.result("{}"))).await;
        let rig = Rig::start(&crate::rig::toolset(&[(
            "a",
            &server.url(),
            &format!("protocol: \"{pin}\""),
        )]))
        .await;
        assert!(speaks_legacy_only(&rig));
        assert!(server.requests_of("server/discover").is_empty());
        assert_eq!(
            server.requests_of("initialize")[0].json()["params"]["protocolVersion"],
            version
        );
    }
    let server = server(Canned::default(), |seen| Script::json(seen.result("{}"))).await;
    let rig = Rig::start(&crate::rig::toolset(&[(
        "a",
        &server.url(),
        "protocol: \"2026-07-28\"",
    )]))
    .await;
    assert!(matches!(
        rig.gateway.report().servers[0].legacy,
        EraReport::NotSpoken { .. }
    ));
    assert!(server.requests_of("initialize").is_empty());
}

#[tokio::test]
async fn a_version_that_nobody_speaks_is_a_failure_that_says_so() {
    let server = RawServer::start(|seen| match seen.rpc_method().as_deref() {
        Some("initialize") => Script::json(seen.result(r#"{"protocolVersion":"1999-01-01","capabilities":{},"serverInfo":{"name":"x","version":"1"}}"#)),
        _ => Script::status(400),
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let report = rig.gateway.report();
    assert!(
        matches!(&report.servers[0].legacy, EraReport::Down { reason, .. } if reason.contains("version")),
        "{report:#?}"
    );
}
