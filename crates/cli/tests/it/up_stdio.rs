//! `marque up --stdio`: a server for a desktop host.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout};

use serde_json::{Value, json};

use crate::program::start;
use crate::up::Folder;

struct Host {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Host {
    fn start(folder: &Folder) -> Self {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = start(
            &["up", folder.path().to_str().unwrap(), "--stdio"],
            &[("PATH", &path)],
        );
        let (to, from) = (
            child.stdin.take(),
            BufReader::new(child.stdout.take().unwrap()),
        );
        Self { child, to, from }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.to.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next message; everything on stdout is one.
    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, id: u32, method: &str, params: &Value) -> Value {
        self.say(
            &json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string(),
        );
        loop {
            let message = self.hear();
            if message["id"] == id {
                return message;
            }
        }
    }
}

fn modern(mut params: Value) -> Value {
    params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    params
}

#[tokio::test]
async fn a_host_of_either_era_lists_and_calls_and_its_leaving_ends_everything() {
    let folder = Folder::new();
    folder.toolset(&[&folder.program("time", "marque, sample, time")]);
    let mut host = Host::start(&folder);
    let opened = host.ask(1, "initialize", &json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "host", "version": "1"}}));
    assert_eq!(opened["result"]["protocolVersion"], "2025-06-18");
    host.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    let listed = host.ask(2, "tools/list", &json!({}));
    assert_eq!(listed["result"]["tools"][0]["name"], "now");
    let called = host.ask(
        3,
        "tools/call",
        &json!({"name": "now", "arguments": {"zone": "UTC"}}),
    );
    assert_eq!(called["result"]["content"][0]["type"], "text", "{called}");
    let discovered = host.ask(4, "server/discover", &modern(json!({})));
    assert_eq!(discovered["result"]["supportedVersions"][0], "2026-07-28");
    let called = host.ask(
        5,
        "tools/call",
        &modern(json!({"name": "now", "arguments": {"zone": "UTC"}})),
    );
    assert_eq!(called["result"]["resultType"], "complete", "{called}");
    drop(host.to.take());
    let status = tokio::task::spawn_blocking(move || host.child.wait().unwrap())
        .await
        .unwrap();
    assert_eq!(status.code(), Some(0));
    folder.empties().await;
}

#[test]
fn bad_lines_are_one_error_each_and_the_line_lives_on() {
    let folder = Folder::new();
    folder.toolset(&["name: time, command: [marque, sample, time]"]);
    let mut host = Host::start(&folder);
    for (line, code) in [
        ("nonsense", -32700),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600),
    ] {
        host.say(line);
        assert_eq!(host.hear()["error"]["code"], code, "{line}");
    }
    host.say("");
    let listed = host.ask(9, "tools/list", &modern(json!({})));
    assert_eq!(listed["result"]["tools"][0]["name"], "now");
    let opened = host.ask(10, "initialize", &json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "host", "version": "1"}}));
    assert!(opened["result"].is_object());
    drop(host.to.take());
    assert_eq!(host.child.wait().unwrap().code(), Some(0));
}
