//! `marque up` as a running program, on free ports, over a folder of its own.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use testkit::http::{self, Reply, Request};

use crate::program::start;

/// Longest wait for anything the program should do.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// How often is looked whether it did.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Marks every process that a server of a test starts, however it is called.
const MARK: &str = "MARQUE_TEST_MARK";

/// What a shell program says as an MCP server; the body is a `case` over `$method`.
const WORDS: &str = r#"#!/bin/sh
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
fail() { printf '{"jsonrpc":"2.0","id":%s,"error":{"code":%s,"message":"no"}}\n' "$id" "$1"; }
handshake() { answer '{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"sh","version":"1"}}'; }
tools() { answer "{\"tools\":[{\"name\":\"$1\",\"inputSchema\":{\"type\":\"object\"}}]}"; }
"#;
const LOOP: &str = r#"
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  method=$(printf '%s' "$line" | sed -n 's/.*"method":"\([^"]*\)".*/\1/p')
"#;

/// A folder of resources that ends with the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file as editors do: whole, by renaming it into place.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let fresh = self.path().join(format!(".{name}.fresh"));
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, self.path().join(name)).unwrap();
    }

    /// Writes a toolset `main` over servers: each in YAML's flow form, without braces.
    pub(crate) fn toolset(&self, servers: &[&str]) {
        self.write("main.yaml", &toolset("", servers));
    }

    /// A shell program that is an MCP server, as one server of a toolset.
    ///
    /// It does `first` once and then `body`, a `case` over `$method`, for every message.
    pub(crate) fn shell(&self, name: &str, first: &str, body: &str) -> String {
        let path = self.path().join(format!("{name}.sh"));
        std::fs::write(&path, format!("{WORDS}{first}{LOOP}{body}\ndone\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.program(name, &format!("\"{}\"", path.display()))
    }

    /// Any program as one server of a toolset, marked.
    pub(crate) fn program(&self, name: &str, command: &str) -> String {
        format!(
            "name: {name}, command: [{command}], env: {{{MARK}: \"{}\"}}",
            self.path().display()
        )
    }

    /// The processes alive that servers of this folder have started.
    pub(crate) fn processes(&self) -> Vec<String> {
        let mark = format!("{MARK}={}", self.path().display());
        let of_ours = |process: &Path| {
            let environment = std::fs::read(process.join("environ")).unwrap_or_default();
            let is_marked = environment
                .split(|byte| *byte == 0)
                .any(|entry| entry == mark.as_bytes());
            let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
            is_marked
                && stat
                    .rsplit_once(')')
                    .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
        };
        let all = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| Some(entry.ok()?.path()));
        let found = all.filter(|process| of_ours(process));
        found
            .map(|process| process.file_name().unwrap().to_string_lossy().into_owned())
            .collect()
    }

    /// Waits until no process of it is left.
    pub(crate) async fn empties(&self) {
        until("every process to end", || self.processes().is_empty()).await;
    }
}

/// A toolset `main`, with more lines of its spec.
pub(crate) fn toolset(more: &str, servers: &[&str]) -> String {
    let servers: String = servers
        .iter()
        .map(|server| format!("  - {{{server}}}\n"))
        .collect();
    format!(
        "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {{name: main}}\nspec:\n{more}  servers:\n{servers}"
    )
}

/// Waits until `done`.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + WAIT_MAX;
    while !done() {
        assert!(Instant::now() < end, "waited {WAIT_MAX:?} for {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A running `marque up`. It is killed when dropped.
pub(crate) struct Up {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Arc<Mutex<Vec<String>>>,
    /// Every line of stdout so far.
    pub(crate) said: Vec<String>,
}

impl Up {
    /// Starts it on free ports over a folder; returns at once.
    pub(crate) fn start(folder: &Folder, more: &[&str]) -> Self {
        let fixed = [
            "up",
            folder.path().to_str().unwrap(),
            "--admin",
            "127.0.0.1:0",
            "--log",
            "debug",
            "--log-format",
            "json",
        ];
        let listen: &[&str] = if more.contains(&"--listen") {
            &[]
        } else {
            &["--listen", "127.0.0.1:0"]
        };
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = start(&[&fixed, listen, more].concat(), &[("PATH", &path)]);
        let (sender, lines) = mpsc::channel();
        follow(child.stdout.take().unwrap(), move |line| {
            drop(sender.send(line))
        });
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = log.clone();
        follow(child.stderr.take().unwrap(), move |line| {
            kept.lock().unwrap().push(line)
        });
        Self {
            child,
            lines,
            log,
            said: Vec::new(),
        }
    }

    /// Starts it and waits until it said what it serves.
    pub(crate) async fn ready(folder: &Folder, more: &[&str]) -> Self {
        let mut up = Self::start(folder, more);
        up.says(|line| line.contains("tools from") || line.contains("tool from"))
            .await;
        up
    }

    /// Waits for a line of stdout.
    pub(crate) async fn says(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + WAIT_MAX;
        loop {
            match self.lines.try_recv() {
                Ok(line) => {
                    self.said.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(_) => {
                    assert!(
                        Instant::now() < end,
                        "it said {:#?}\n{:#?}",
                        self.said,
                        self.log()
                    );
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }

    /// The first URL it printed.
    pub(crate) fn url(&self) -> String {
        self.said
            .iter()
            .find(|line| line.starts_with("http"))
            .unwrap()
            .clone()
    }

    /// Every line of stderr so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// What the admin listener says about readiness.
    pub(crate) async fn detail(&self) -> Value {
        let line = self
            .log()
            .into_iter()
            .find(|line| line.contains("the admin listener is ready"))
            .unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let url = format!("http://{}/readyz", line["address"].as_str().unwrap());
        http::get(&url)
            .unwrap()
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    /// A modern call of a tool.
    pub(crate) fn call(&self, tool: &str, arguments: &str) -> Request {
        let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
        http::modern(&self.url(), 1, "tools/call", &params).header("Mcp-Name", tool)
    }

    /// The names of the tools it lists to modern clients.
    pub(crate) async fn tools(&self) -> Vec<String> {
        let mut reply = http::modern(&self.url(), 1, "tools/list", "{}")
            .send()
            .await
            .unwrap();
        names(&reply.json().await.unwrap())
    }

    /// A legacy session, by its id.
    pub(crate) async fn session(&self) -> String {
        let params = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"it","version":"1"}}"#;
        let mut reply = http::legacy(&self.url(), 0, "initialize", params)
            .send()
            .await
            .unwrap();
        let id = reply.header("mcp-session-id").map(str::to_owned);
        assert!(reply.json().await.unwrap()["result"].is_object());
        id.unwrap()
    }

    /// A legacy request in a session.
    pub(crate) fn legacy(&self, session: &str, method: &str, params: &str) -> Request {
        http::legacy(&self.url(), 2, method, params).header("Mcp-Session-Id", session)
    }

    /// The own stream of a legacy session.
    pub(crate) async fn stream(&self, session: &str) -> Reply {
        let request = http::get(&self.url())
            .unwrap()
            .header("Accept", "text/event-stream");
        request
            .header("Mcp-Session-Id", session)
            .send()
            .await
            .unwrap()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_child(&self.child);
        kill_process(id, signal).unwrap();
    }

    /// Waits for its end; gives its exit code, or none when a signal ended it.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        until("the program to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The names in the answer to a list request.
pub(crate) fn names(answer: &Value) -> Vec<String> {
    let tools = answer["result"]["tools"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"));
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

fn follow(stream: impl Read + Send + 'static, mut take: impl FnMut(String) + Send + 'static) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            take(line);
        }
    });
}
