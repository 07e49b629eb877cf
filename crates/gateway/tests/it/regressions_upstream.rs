//! What a server says or does must stay with whom it concerns, and must not be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gateway::EraReport;
use serde_json::Value;
use testkit::raw::{Canned, RawServer, Script, Seen, canned, feed, gate};

use crate::misbehavior::programs::Shell;
use crate::rig::{Rig, legacy, server, toolset};

const WELL: &str = r#"{"resultType":"complete","content":[]}"#;
const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

const DISCOVERY: &str = r#"{"resultType":"complete","ttlMs":0,"cacheScope":"public","supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"logging":{}}}"#;

fn problems(era: &EraReport) -> Vec<String> {
    match era {
        EraReport::Ready { problems, .. } => problems.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn log_lines_of_a_shared_process_reach_nobody_by_guessing() {
    let shell = Shell::new(&format!(
        r#"case "$method" in
           server/discover) answer '{DISCOVERY}';;
           tools/list) answer '{{"resultType":"complete","ttlMs":0,"cacheScope":"public","tools":[{{"name":"echo","inputSchema":{{"type":"object"}}}}]}}';;
           tools/call) case "$line" in
             *first*) ;;
             *) echo '{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"error","data":"SECRET of the first"}}}}'; answer '{WELL}';;
             esac;;
           initialize) fail -32601;;
           esac"#
    ));
    let rig = shell.rig("").await;
    let call = |who: &str| {
        let meta = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":"debug""#;
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":"{who}","method":"tools/call","params":{{"name":"echo","arguments":{{"who":"{who}"}},"_meta":{{{meta}}}}}}}"#
        );
        rig.call("1", "echo").body(body)
    };
    let mut first = testkit::http::socket(&rig.url()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut first, &call("first").bytes())
        .await
        .unwrap();
    shell.hears("tools/call").await;
    drop(first);
    shell.hears("notifications/cancelled").await;
    let second = call("second").send().await.unwrap().text().await.unwrap();
    assert!(second.contains(r#""content":[]"#), "{second}");
    assert!(!second.contains("SECRET"), "{second}");
}

#[tokio::test]
async fn a_server_that_says_much_before_its_list_is_not_held_up() {
    let shell = Shell::new(
        r#"case "$method" in
           server/discover) fail -32601;;
           initialize) handshake;;
           tools/list) i=0; while [ $i -lt 700 ]; do echo '{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a://b"}}'; i=$((i+1)); done; tools;;
           tools/call) i=0; while [ $i -lt 700 ]; do echo '{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a://b"}}'; i=$((i+1)); done; answer '{"content":[]}';;
           esac"#,
    );
    let rig = shell.rig("").await;
    let report = rig.gateway.report();
    assert!(
        matches!(report.servers[0].legacy, EraReport::Ready { tools: 1, .. }),
        "{report:#?}"
    );
    let answer = rig.session().await.call("1", "echo").await.answer().await;
    assert!(answer.unwrap()["result"].is_object());
}

#[tokio::test]
async fn a_line_that_is_too_long_fails_one_call_and_leaves_the_process_alive() {
    let shell = Shell::new(
        r#"case "$method" in
           server/discover) fail -32601;;
           initialize) handshake;;
           tools/list) tools;;
           tools/call) case "$line" in *long*) head -c 17000000 /dev/zero | tr '\0' 'x'; echo;; *) answer "{\"content\":[],\"pid\":$$}";; esac;;
           esac"#,
    );
    let rig = shell.rig("").await;
    let session = rig.session().await;
    let pid = async |id: &str| -> Value {
        session.call(id, "echo").await.answer().await.unwrap()["result"]["pid"].clone()
    };
    let before = pid("1").await;
    assert!(before.is_u64(), "{before}");
    let params = r#"{"name":"echo","arguments":{"how":"long"}}"#;
    let mut reply = session
        .request("2", "tools/call", params)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.answer().await.unwrap()["error"]["code"], -32603);
    assert_eq!(pid("3").await, before, "the same process goes on");
}

#[tokio::test]
async fn a_message_that_the_older_transport_refuses_fails_only_itself() {
    let (push, stream) = feed();
    let answers = push.clone();
    let server = RawServer::start(move |seen| {
        if &*seen.method == "GET" {
            return Script::sse()
                .chunk("event: endpoint\ndata: /messages\n\n")
                .follow(&stream)
                .hold();
        }
        if &*seen.target != "/messages" {
            return Script::status(405);
        }
        let result = match seen.rpc_method().as_deref() {
            Some("initialize") => r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"old","version":"1"}}"#.to_owned(),
            Some("tools/list") => format!(r#"{{"tools":{}}}"#, Canned::default().tools),
            Some("tools/call") if seen.text().contains("bad") => return Script::status(413),
            Some("tools/call") => r#"{"content":[]}"#.to_owned(),
            _ => return Script::accepted(),
        };
        answers.event(seen.result(&result)).unwrap();
        Script::accepted()
    })
    .await
    .unwrap();
    let rig = Rig::start(&toolset(&[("a", &server.url(), "isolation: Shared")])).await;
    let session = rig.session().await;
    let params = r#"{"name":"echo","arguments":{"how":"bad"}}"#;
    let mut reply = session
        .request("1", "tools/call", params)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.answer().await.unwrap()["error"]["code"], -32603);
    let well = session.call("2", "echo").await.answer().await.unwrap();
    assert!(well["result"].is_object(), "{well}");
    let streams = server
        .requests()
        .iter()
        .filter(|seen| &*seen.method == "GET" && seen.header("mcp-protocol-version").is_none())
        .count();
    assert_eq!(streams, 1, "the connection is the same");
}

#[tokio::test]
async fn a_known_server_whose_place_something_else_takes_stays_listed_as_down() {
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = gone.clone();
    let server = RawServer::start(move |seen| {
        if is_gone.load(Ordering::SeqCst) {
            return Script::status(404);
        }
        match seen.rpc_method().as_deref() {
            // A short time to live: what is listed is soon read again.
            Some("tools/list") => Script::json(seen.result(&format!(
                r#"{{"resultType":"complete","ttlMs":1,"cacheScope":"public","tools":{}}}"#,
                Canned::default().tools
            ))),
            Some("server/discover") => Script::json(seen.result(DISCOVERY)),
            _ => canned(&Canned::default(), seen).unwrap_or_else(Script::accepted),
        }
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    gone.store(true, Ordering::SeqCst);
    let known = server.requests_of("server/discover").len();
    // More than one look finds the wrong server.
    server
        .wait_for(known + 3, |seen| {
            seen.rpc_method().as_deref() == Some("server/discover")
        })
        .await
        .unwrap();
    let report = rig.gateway.report();
    assert!(
        matches!(&report.servers[0].modern, EraReport::Down { .. }),
        "{report:#?}"
    );
    let listed = rig.list("tools/list").await;
    assert_eq!(listed["result"]["tools"][0]["name"], "echo", "{listed}");
    gone.store(false, Ordering::SeqCst);
    rig.until(|report| matches!(report.servers[0].modern, EraReport::Ready { .. }))
        .await;
}

#[tokio::test]
async fn an_outage_with_a_message_in_its_body_says_nothing_about_the_era() {
    let answers: [fn(&Seen) -> Script; 5] = [
        |seen| Script::json_with(503, &[], seen.error(-32603, "starting")),
        |seen| Script::json_with(500, &[], seen.error(-32000, "starting")),
        |seen| Script::json_with(401, &[], seen.error(-32001, "who are you")),
        |seen| Script::json_with(429, &[], seen.error(-32000, "slowly")),
        |seen| Script::json(seen.error(-32603, "starting")),
    ];
    for answer in answers {
        let asked = AtomicUsize::new(0);
        let server = RawServer::start(move |seen| {
            let is_opening = matches!(
                seen.rpc_method().as_deref(),
                Some("server/discover" | "initialize")
            );
            if is_opening && asked.fetch_add(1, Ordering::SeqCst) < 2 {
                return answer(seen);
            }
            canned(&Canned::default(), seen).unwrap_or_else(Script::accepted)
        })
        .await
        .unwrap();
        let rig = Rig::before(&server).await;
        rig.until(|report| {
            let server = &report.servers[0];
            assert!(!matches!(server.modern, EraReport::NotSpoken { .. }));
            assert!(!matches!(server.legacy, EraReport::NotSpoken { .. }));
            matches!(
                (&server.modern, &server.legacy),
                (EraReport::Ready { .. }, EraReport::Ready { .. })
            )
        })
        .await;
    }
}

#[tokio::test]
async fn one_list_that_cannot_be_read_does_not_take_the_others_along() {
    let offer = Canned {
        capabilities: r#"{"tools":{},"prompts":{}}"#,
        session: Some("own"),
        ..legacy()
    };
    let server = RawServer::start(move |seen| match seen.rpc_method().as_deref() {
        Some("prompts/list") => Script::json(seen.error(-32603, "broken\u{1b}[31m")),
        _ => canned(&offer, seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let report = rig.gateway.report();
    let found = problems(&report.servers[0].legacy);
    assert!(
        found.len() == 1 && found[0].contains("prompts/list") && !found[0].contains('\u{1b}'),
        "{found:?}"
    );
    assert_eq!(server.requests_of("initialize").len(), 1);
    let listed = rig.session().await.request("1", "tools/list", "{}");
    let listed = listed.send().await.unwrap().json().await.unwrap();
    assert_eq!(listed["result"]["tools"][0]["name"], "echo", "{listed}");
}

#[tokio::test]
async fn problems_of_a_list_are_told_up_to_a_limit() {
    let tools = format!(
        r#"[{}{{"name":"echo","inputSchema":{{"type":"object"}}}}]"#,
        "0,".repeat(5000)
    );
    let server = RawServer::start(move |seen| match seen.rpc_method().as_deref() {
        Some("tools/list") => Script::json(seen.result(&format!(r#"{{"tools":{tools}}}"#))),
        _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let report = rig.gateway.report();
    let EraReport::Ready {
        tools, problems, ..
    } = &report.servers[0].legacy
    else {
        panic!("{report:#?}")
    };
    assert_eq!((*tools, problems.len()), (1, 100));
}

#[tokio::test]
async fn a_change_announced_while_lists_are_read_is_not_lost() {
    let (opener, held) = gate();
    let lists = AtomicUsize::new(0);
    let server = RawServer::start(move |seen| match seen.rpc_method().as_deref() {
        Some("tools/list") => {
            let number = lists.fetch_add(1, Ordering::SeqCst);
            let body = seen.result(&format!(
                r#"{{"tools":[{{"name":"echo","description":"{number}","inputSchema":{{"type":"object"}}}}]}}"#
            ));
            if number != 1 {
                return Script::json(body);
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            Script::default().wait(&held).bytes(head).bytes(body)
        }
        Some("tools/call") => Script::sse()
            .event(CHANGED)
            .event(seen.result(WELL))
            .end(),
        _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    let is_list = |seen: &Seen| seen.rpc_method().as_deref() == Some("tools/list");
    session.call("1", "echo").await.answer().await.unwrap();
    server.wait_for(2, is_list).await.unwrap();
    // The second list is on its way when the server changes once more.
    session.call("2", "echo").await.answer().await.unwrap();
    opener.open();
    server.wait_for(3, is_list).await.unwrap();
    let probes = server.requests_of("server/discover").len();
    assert_eq!(
        probes, 1,
        "an era that is not spoken is not asked for again"
    );
}

#[tokio::test]
async fn our_own_session_is_ended_after_a_failed_visit_and_at_the_end() {
    let lists = AtomicUsize::new(0);
    let sessions = AtomicUsize::new(0);
    let server = RawServer::start(move |seen| match seen.rpc_method().as_deref() {
        Some("initialize") => {
            let id = format!("s{}", sessions.fetch_add(1, Ordering::SeqCst));
            let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}"#;
            Script::json_with(200, &[("mcp-session-id", &id)], seen.result(result))
        }
        Some("tools/list") if lists.fetch_add(1, Ordering::SeqCst) == 0 => Script::default().cut(),
        _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap();
    let rig = Rig::before(&server).await;
    rig.until(|report| matches!(report.servers[0].legacy, EraReport::Ready { .. }))
        .await;
    let is_end = |seen: &Seen| &*seen.method == "DELETE";
    let ends = server.wait_for(1, is_end).await.unwrap();
    assert_eq!(ends[0].header("mcp-session-id"), Some("s0"));
    rig.gateway.close().await;
    let ends = server.wait_for(2, is_end).await.unwrap();
    assert_eq!(ends[1].header("mcp-session-id"), Some("s1"));
}

#[tokio::test]
async fn a_pinned_revision_holds_for_clients_own_sessions() {
    let server = server(Canned::default(), |seen| Script::json(seen.result(WELL))).await;
    let yaml = toolset(&[("a", &server.url(), "protocol: \"2025-03-26\"")]);
    let rig = Rig::start(&yaml).await;
    let answer = rig.session().await.call("1", "echo").await.answer().await;
    assert!(answer.unwrap()["result"].is_object());
    let asked: Vec<_> = server
        .requests_of("initialize")
        .iter()
        .map(|seen| seen.json()["params"]["protocolVersion"].clone())
        .collect();
    assert_eq!(asked, ["2025-03-26", "2025-03-26"]);
}

#[tokio::test]
async fn a_stream_of_changes_that_ends_at_once_is_opened_ever_less_often() {
    let server = RawServer::start(move |seen| match &*seen.method {
        "GET" => Script::sse().end(),
        _ => canned(&legacy(), seen).unwrap_or_else(Script::accepted),
    })
    .await
    .unwrap();
    let _rig = Rig::before(&server).await;
    let is_stream = |seen: &Seen| {
        &*seen.method == "GET" && seen.header("mcp-session-id") == Some("own-session")
    };
    server.wait_for(1, is_stream).await.unwrap();
    let began = std::time::Instant::now();
    server.wait_for(5, is_stream).await.unwrap();
    // At the least half of 250 ms, 500 ms, 1 s and 2 s.
    assert!(began.elapsed().as_millis() > 1800, "{:?}", began.elapsed());
}
