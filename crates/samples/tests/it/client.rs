//! The smallest client: writes lines, reads lines.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines, split},
    io::{ReadHalf, WriteHalf},
    task::JoinSet,
    time::timeout,
};

/// Noon of 2026-03-02, a Monday, in UTC.
const NOW: i64 = 1_772_452_800;
const PATIENCE: Duration = Duration::from_secs(10);

/// How the client speaks.
#[derive(Clone, Debug)]
pub(crate) enum Speech {
    /// After `initialize` with this revision and these capabilities.
    Legacy(&'static str, Value),
    /// With these capabilities on every request.
    Modern(Value),
}

pub(crate) struct Client {
    speech: Speech,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    writer: WriteHalf<DuplexStream>,
    /// Messages that came while another was waited for.
    early: VecDeque<Value>,
    asked: i64,
    server: JoinSet<std::io::Result<()>>,
}

impl Client {
    pub(crate) async fn of_files(root: &Path, speech: Speech) -> Self {
        let root: PathBuf = root.to_owned();
        Self::connect(speech, |server| async move {
            let (reader, writer) = split(server);
            samples::files::serve(&root, reader, writer).await
        })
        .await
    }

    pub(crate) async fn of_time(speech: Speech) -> Self {
        Self::connect(speech, |server| async move {
            let (reader, writer) = split(server);
            samples::time::serve(reader, writer, || NOW).await
        })
        .await
    }

    async fn connect<F>(speech: Speech, serve: impl FnOnce(DuplexStream) -> F) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let mut server = JoinSet::new();
        server.spawn(serve(theirs));
        let (reader, writer) = split(ours);
        let mut client = Self {
            speech,
            lines: BufReader::new(reader).lines(),
            writer,
            early: VecDeque::new(),
            asked: 0,
            server,
        };
        client.handshake().await;
        client
    }

    async fn handshake(&mut self) {
        if let Speech::Legacy(version, capabilities) = self.speech.clone() {
            let params = json!({"protocolVersion": version, "capabilities": capabilities, "clientInfo": {"name": "test", "version": "1"}});
            let result = self.ask("initialize", params).await;
            assert_eq!(result["protocolVersion"], version);
            self.tell("notifications/initialized", json!({})).await;
        }
    }

    /// Sends a request and waits for its result.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let response = self.request(method, params).await;
        assert!(response["error"].is_null(), "{method}: {response}");
        response["result"].clone()
    }

    /// Sends a request and waits for its error.
    pub(crate) async fn fail(&mut self, method: &str, params: Value) -> Value {
        let response = self.request(method, params).await;
        assert!(!response["error"].is_null(), "{method}: {response}");
        response["error"].clone()
    }

    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))
            .await
    }

    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.start(method, params).await;
        self.response(&id).await
    }

    /// Sends a request and does not wait.
    pub(crate) async fn start(&mut self, method: &str, mut params: Value) -> Value {
        self.asked += 1;
        let id = json!(self.asked);
        if let Speech::Modern(capabilities) = &self.speech {
            let meta = &mut params["_meta"];
            meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
            meta["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
        }
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await;
        id
    }

    pub(crate) async fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}))
            .await;
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_line(&message.to_string()).await;
    }

    pub(crate) async fn send_line(&mut self, line: &str) {
        self.writer.write_all(line.as_bytes()).await.unwrap();
        self.writer.write_all(b"\n").await.unwrap();
    }

    pub(crate) async fn response(&mut self, id: &Value) -> Value {
        self.wait(|message| message["id"] == *id && message["method"].is_null())
            .await
    }

    pub(crate) async fn notification(&mut self, method: &str) -> Value {
        self.wait(|message| message["method"] == method).await["params"].clone()
    }

    /// Waits for the first message of a kind; others stay for later.
    pub(crate) async fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.early.iter().position(&wanted) {
            return self.early.remove(at).unwrap();
        }
        loop {
            let message = self.next().await;
            if wanted(&message) {
                return message;
            }
            self.early.push_back(message);
        }
    }

    pub(crate) async fn next(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("a message in time").unwrap();
        serde_json::from_str(&line.expect("an open stream")).unwrap()
    }

    /// Closes our end, and returns what the server still said.
    pub(crate) async fn close(mut self) -> Vec<Value> {
        self.writer.shutdown().await.unwrap();
        let mut rest: Vec<Value> = self.early.drain(..).collect();
        while let Some(line) = timeout(PATIENCE, self.lines.next_line())
            .await
            .expect("the server ends")
            .unwrap()
        {
            rest.push(serde_json::from_str(&line).unwrap());
        }
        self.server.join_next().await.unwrap().unwrap().unwrap();
        rest
    }
}

/// One client of each kind, without capabilities.
pub(crate) fn speeches() -> Vec<Speech> {
    let legacy = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
    let mut speeches: Vec<Speech> = legacy
        .into_iter()
        .map(|version| Speech::Legacy(version, json!({})))
        .collect();
    speeches.push(modern());
    speeches
}

pub(crate) fn legacy() -> Speech {
    Speech::Legacy("2025-11-25", json!({}))
}

pub(crate) fn modern() -> Speech {
    Speech::Modern(json!({}))
}
