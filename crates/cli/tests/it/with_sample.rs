//! The client with a real server, in both eras.

use serde_json::{Value, json};

use crate::{program::run, server::Server};

#[test]
fn the_era_is_found_out_or_told() {
    let server = Server::of_time();
    for (era, first, last) in [
        ("auto", "server/discover", "tools/call"),
        ("modern", "server/discover", "tools/call"),
        ("legacy", "initialize", ""),
    ] {
        let before = server.seen().len();
        let ran = run(&[
            "tools",
            "call",
            &server.url,
            "now",
            "zone=Asia/Tokyo",
            "--era",
            era,
        ]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{era}");
        assert_eq!(ran.stdout, "2026-03-02T21:00:00+09:00 (Monday, JST)\n");
        let seen = server.seen().split_off(before);
        assert_eq!(seen.first().unwrap().method(), first);
        assert_eq!(seen.last().unwrap().method(), last);
    }
    let farewell = server.seen().pop().unwrap();
    assert_eq!(farewell.verb, "DELETE");
    assert_eq!(farewell.header("mcp-session-id"), Some("the session"));
    assert_eq!(farewell.header("mcp-protocol-version"), Some("2025-11-25"));
}

#[test]
fn the_list_is_a_table_or_json() {
    let server = Server::of_time();
    let table = run(&["tools", "list", &server.url]);
    assert_eq!(table.code, 0, "{}", table.stderr);
    let names: Vec<&str> = table
        .stdout
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(names, ["TOOL", "now", "convert", "zones", "meeting_hours"]);
    let json = run(&["tools", "list", &server.url, "--format", "json"]);
    let tools: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        tools[3]["inputSchema"]["properties"]["zones"]["maxItems"],
        20
    );
    let long = run(&["tools", "list", &server.url, "--long"]);
    assert!(
        long.stdout
            .contains("from (string, required)  The zone in which"),
        "{}",
        long.stdout
    );
}

#[test]
fn arguments_take_their_types_from_the_schema() {
    let server = Server::of_time();
    let call = [
        "tools",
        "call",
        &server.url,
        "meeting_hours",
        "--format",
        "json",
    ];
    let pairs = [
        "zones=Europe/Berlin",
        "zones=America/New_York",
        "startHour=8",
    ];
    let ran = run(&[call.as_slice(), pairs.as_slice()].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let result: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(result["structuredContent"]["everybody"], true);
    let sent = &server.seen_of("tools/call")[0].body["params"]["arguments"];
    assert_eq!(
        *sent,
        json!({"zones": ["Europe/Berlin", "America/New_York"], "startHour": 8})
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), r#"{"zones": ["UTC"]}"#).unwrap();
    let given = format!("@{}", file.path().display());
    let ran = run(&[call.as_slice(), &["--args", &given, "endHour=12"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let sent = &server.seen_of("tools/call")[1].body["params"]["arguments"];
    assert_eq!(*sent, json!({"zones": ["UTC"], "endHour": 12}));
}

#[test]
fn a_tool_error_is_shown_and_ends_with_1() {
    let server = Server::of_time();
    let ran = run(&["tools", "call", &server.url, "now", "zone=Atlantis"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stdout.contains("unknown time zone \"Atlantis\""),
        "{}",
        ran.stdout
    );
}

#[test]
fn what_the_user_gets_wrong_ends_with_2_and_a_hint() {
    let server = Server::of_time();
    let cases: [(&[&str], &str); 5] = [
        (&["conver"], "did you mean \"convert\"?"),
        (&["now"], "missing argument zone"),
        (&["now", "zoen=UTC"], "did you mean \"zone\"?"),
        (
            &["meeting_hours", "zones=UTC", "startHour=early"],
            "expected integer",
        ),
        (&["now", "--args", "[]"], "not a JSON object"),
    ];
    for (arguments, expected) in cases {
        let call = ["tools", "call", &server.url];
        let ran = run(&[call.as_slice(), arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(
            ran.stderr.contains(expected),
            "{arguments:?}: {}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "");
    }
    assert!(
        server.seen_of("tools/call").is_empty(),
        "nothing of this reached the server"
    );
}

#[test]
fn prompts_and_resources_are_listed_and_read() {
    let server = Server::of_time();
    for era in ["modern", "legacy"] {
        let run = |arguments: &[&str]| {
            let ran = run(&[arguments, &["--era", era]].concat());
            assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
            ran.stdout
        };
        let listed = run(&["prompts", "list", &server.url]);
        assert!(listed.contains("plan_meeting  zones topic?"), "{listed}");
        let filled = run(&["prompts", "get", &server.url, "plan_meeting", "zones=UTC"]);
        assert!(filled.starts_with("user\nPlan a meeting"), "{filled}");
        let listed = run(&["resources", "list", &server.url]);
        assert!(
            listed.contains("time://zones  text/plain  The names"),
            "{listed}"
        );
        let read = run(&["resources", "read", &server.url, "time://zones"]);
        assert!(read.contains("\nEurope/Berlin\n"), "{read}");
    }
    let missing = run(&["resources", "read", &server.url, "time://nowhere"]);
    assert_eq!(missing.code, 2, "{}", missing.stderr);
}

#[test]
fn log_messages_go_to_stderr_at_the_level_asked_for() {
    let server = Server::of_time();
    for era in ["modern", "legacy"] {
        let call = [
            "tools",
            "call",
            &server.url,
            "now",
            "zone=UTC",
            "--era",
            era,
        ];
        let quiet = run(&call);
        assert_eq!(quiet.stderr, "");
        let loud = run(&[call.as_slice(), &["--server-log", "debug"]].concat());
        assert!(
            loud.stderr
                .contains("server debug marque-sample-time: tool now"),
            "{}",
            loud.stderr
        );
        assert_eq!(loud.stdout, quiet.stdout);
    }
}
