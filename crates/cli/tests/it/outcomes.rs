//! How the client ends when things go wrong.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{
    program::{finish, run, run_with, start},
    server::{Says, Seen, Server},
};

fn list(url: &str, more: &[&str]) -> crate::program::Ran {
    run(&[&["tools", "list", url], more].concat())
}

#[test]
fn a_refusal_ends_with_3_and_is_no_evidence_of_an_era() {
    for status in [401, 403] {
        let server = Server::scripted(move |_| Says::Refuses(status, "Bearer scope=\"tools\""));
        let ran = list(&server.url, &[]);
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("Bearer scope=\"tools\""),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("--header"), "{}", ran.stderr);
        assert_eq!(server.seen().len(), 1, "no second attempt in the other era");
    }
}

type Script = fn(&Seen) -> Says;

#[test]
fn a_failing_server_ends_with_4() {
    let cases: [(Script, &str); 6] = [
        (|_| Says::Page(502, "<h1>Bad\x1b[31m Gateway</h1>"), "502"),
        (
            |_| Says::Page(404, "nothing here"),
            "no MCP server at this URL",
        ),
        (
            |seen| Says::Json(200, seen.error(-32603, "broken")),
            "broken (-32603)",
        ),
        (|_| Says::Page(200, "welcome"), "ended without a response"),
        (
            |_| Says::Events(vec!["data: {half\n\n".to_owned()]),
            "not JSON",
        ),
        (
            |seen| {
                Says::Json(
                    200,
                    seen.result(json!({"supportedVersions": ["2199-01-01"]})),
                )
            },
            "2199-01-01",
        ),
    ];
    for (script, expected) in cases {
        let server = Server::scripted(script);
        let ran = list(&server.url, &[]);
        assert_eq!(ran.code, 4, "{expected}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
        assert!(!ran.stderr.contains('\x1b'), "{}", ran.stderr);
    }
}

#[test]
fn silence_and_absence_end_with_5() {
    let server = Server::scripted(|_| Says::Hangs(vec![]));
    let ran = list(&server.url, &["--timeout", "200ms"]);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", nobody.local_addr().unwrap());
    drop(nobody);
    assert_eq!(list(&url, &[]).code, 5);
}

#[test]
fn wrong_arguments_end_with_2() {
    for arguments in [
        vec!["tools", "list", "localhost:8484"],
        vec!["tools", "list", "http://user:secret@localhost/mcp"],
        vec![
            "tools",
            "list",
            "http://localhost/mcp",
            "-H",
            "Mcp-Method: x",
        ],
        vec![
            "tools",
            "list",
            "http://localhost/mcp",
            "-H",
            "A: env:NOT_THERE",
        ],
        vec!["tools", "list", "http://localhost/mcp", "--timeout", "soon"],
        vec![
            "tools",
            "call",
            "http://localhost/mcp",
            "t",
            "--args",
            "@/not/there",
        ],
        vec!["tols"],
    ] {
        let ran = run(&arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    }
}

#[test]
fn headers_are_sent_and_never_shown() {
    let server = Server::scripted(|seen| Says::Json(200, seen.error(-32000, "no")));
    let header = "Authorization: Bearer env:TOKEN";
    let ran = run_with(
        &[
            "tools",
            "list",
            &server.url,
            "-H",
            header,
            "-H",
            "X-Team: docks",
        ],
        &[("TOKEN", "s3cret")],
    );
    assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);
    let seen = &server.seen()[0];
    assert_eq!(seen.header("authorization"), Some("Bearer s3cret"));
    assert_eq!(seen.header("x-team"), Some("docks"));
}

#[test]
fn an_interrupt_closes_the_stream_of_a_modern_server() {
    let server = Server::scripted(|seen| match seen.method() {
        "server/discover" => Says::Json(
            200,
            seen.result(json!({"supportedVersions": ["2026-07-28"]})),
        ),
        "tools/list" => Says::Json(200, seen.result(json!({"tools": [{"name": "slow"}]}))),
        _ => Says::Hangs(vec![]),
    });
    let ran = interrupted(&server);
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    server.wait_for_close();
    assert!(server.seen_of("notifications/cancelled").is_empty());
}

#[test]
fn an_interrupt_is_told_to_a_legacy_server() {
    let server = Server::scripted(|seen| match seen.method() {
        "server/discover" => Says::Json(400, seen.error(-32000, "no session")),
        "initialize" => Says::Json(
            200,
            seen.result(json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}})),
        ),
        "tools/list" => Says::Json(200, seen.result(json!({"tools": [{"name": "slow"}]}))),
        "tools/call" => Says::Hangs(vec![]),
        _ => Says::Json(202, json!(null)),
    });
    let ran = interrupted(&server);
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    let call = &server.seen_of("tools/call")[0];
    let canceled = &server.seen_of("notifications/cancelled")[0];
    assert_eq!(canceled.body["params"]["requestId"], call.body["id"]);
    assert_eq!(canceled.header("mcp-protocol-version"), Some("2025-06-18"));
}

fn interrupted(server: &Server) -> crate::program::Ran {
    let child = start(&["tools", "call", &server.url, "slow"], &[]);
    server.wait_for("tools/call");
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.unwrap(), Signal::INT).unwrap();
    finish(child)
}
