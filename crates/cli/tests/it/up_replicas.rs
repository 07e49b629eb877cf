//! Three processes that serve the same endpoint: every request of a session goes to another one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use testkit::fixture::{Eras, Options, Running, serve_http};
use testkit::http::{self, Reply, Request};

use crate::program::{run, run_with};
use crate::up::{Folder, Up, until};

/// Any port does: each replica has an address of its own.
const PEER_PORT: u16 = 8486;
/// Two keys of the right length.
const HANDLE_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const PEER_KEY: &str = "HxwdHh8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRo";
/// How often is tried again what takes a moment to be known.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// An address of this machine that nobody else in this test run has.
fn address_of_its_own() -> SocketAddr {
    static TAKEN: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let own = 100 + TAKEN.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from((Ipv4Addr::new(127, own, high, low.max(1)), PEER_PORT))
}

/// A folder with a toolset before one fixture.
async fn folder_before(options: Options) -> (Folder, Running) {
    let server = serve_http(([127, 0, 0, 1], 0).into(), options)
        .await
        .unwrap();
    let folder = Folder::new();
    folder.toolset(&[&format!("name: far, url: \"{}\"", server.url())]);
    (folder, server)
}

fn legacy_only() -> Options {
    Options {
        eras: Eras::Legacy,
        ..Options::default()
    }
}

/// Three replicas before one server of the handshake eras.
struct Trio {
    ups: Vec<Up>,
    peers: Vec<SocketAddr>,
    next: AtomicUsize,
    _folder: Folder,
    _server: Running,
}

impl Trio {
    async fn start() -> Self {
        let (folder, server) = folder_before(legacy_only()).await;
        Self::over(folder, server).await
    }

    async fn over(folder: Folder, server: Running) -> Self {
        for (name, key) in [("handle.key", HANDLE_KEY), ("peer.key", PEER_KEY)] {
            std::fs::write(folder.path().join(name), key).unwrap();
        }
        let peers: Vec<SocketAddr> = (0..3).map(|_| address_of_its_own()).collect();
        let places: Vec<String> = peers.iter().map(ToString::to_string).collect();
        let file = |name: &str| format!("file:{}", folder.path().join(name).display());
        let (handle_keys, peer_key) = (file("handle.key"), file("peer.key"));
        let state = folder.path().join("state").display().to_string();
        let mut ups = Vec::new();
        for place in &places {
            let all = places.join(",");
            let mut more = vec!["--peers", &all, "--peer-listen", place];
            more.extend(["--peer-key", &peer_key, "--handle-keys", &handle_keys]);
            more.extend(["--state-dir", &state, "--no-watch"]);
            ups.push(Up::ready(&folder, &more).await);
        }
        Self {
            ups,
            peers,
            next: AtomicUsize::new(0),
            _folder: folder,
            _server: server,
        }
    }

    /// The URL of the next replica, as a balancer would choose it.
    fn url(&self) -> String {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.ups[next % self.ups.len()].url()
    }

    /// Opens a session at the next replica, which owns it then.
    async fn session(&self) -> Session<'_> {
        let params = r#"{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"it","version":"1"}}"#;
        let mut reply = http::legacy(&self.url(), 0, "initialize", params)
            .send()
            .await
            .unwrap();
        let id = reply.header("mcp-session-id").unwrap().to_owned();
        assert!(reply.json().await.unwrap()["result"].is_object());
        assert!(id.len() <= 1024, "{}", id.len());
        let session = Session { trio: self, id };
        let said = http::notification(&self.url(), "notifications/initialized", "{}");
        assert_eq!(session.send(said).await.status, 202);
        session
    }
}

/// A session whose every request goes to the next replica.
struct Session<'t> {
    trio: &'t Trio,
    id: String,
}

impl Session<'_> {
    async fn send(&self, request: Request) -> Reply {
        let request = request.header("Mcp-Session-Id", &self.id);
        request.send().await.unwrap()
    }

    async fn ask(&self, id: u64, method: &str, params: &str) -> Reply {
        self.send(http::legacy(&self.trio.url(), id, method, params))
            .await
    }

    async fn result(&self, id: u64, method: &str, params: &str) -> Value {
        let answer = self.ask(id, method, params).await.answer().await.unwrap();
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].clone()
    }

    async fn call(&self, id: u64, tool: &str, arguments: &str) -> Reply {
        let params = format!(
            r#"{{"name":"{tool}","arguments":{arguments},"_meta":{{"progressToken":{id}}}}}"#
        );
        self.ask(id, "tools/call", &params).await
    }

    async fn text(&self, id: u64, tool: &str) -> String {
        let answer = self.call(id, tool, "{}").await.answer().await.unwrap();
        let text = answer["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn say(&self, body: String) -> u16 {
        let request = http::post(&self.trio.url(), body).unwrap();
        self.send(request).await.status
    }

    async fn stream(&self) -> Reply {
        let request = http::get(&self.trio.url()).unwrap();
        let reply = self
            .send(request.header("Accept", "text/event-stream"))
            .await;
        assert_eq!(reply.status, 200);
        reply
    }

    async fn end(&self) -> u16 {
        self.send(http::delete(&self.trio.url()).unwrap())
            .await
            .status
    }
}

/// The next message of a stream that is wanted.
async fn next(stream: &mut Reply, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let event = stream.event().await.unwrap().expect("one more event");
        let message = event.json();
        if wanted(&message) {
            return message;
        }
    }
}

fn is(method: &'static str) -> impl Fn(&Value) -> bool {
    move |message| message["method"] == method
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_a_session_may_go_to_another_replica() {
    let trio = Trio::start().await;
    let session = trio.session().await;

    let tools = session.result(1, "tools/list", "{}").await;
    assert!(tools["tools"].as_array().unwrap().len() > 10);

    // Progress comes before the answer, in one stream, through the owner.
    let mut working = session.call(2, "slow", r#"{"steps":3,"step_ms":30}"#).await;
    let progress = next(&mut working, is("notifications/progress")).await;
    assert_eq!(progress["params"]["progressToken"], 2);
    let done = next(&mut working, |message| message["id"] == 2).await;
    assert!(done["result"].is_object(), "{done}");

    // What the server says by itself reaches the one stream.
    let mut stream = session.stream().await;
    let watched = r#"{"uri":"test://watched-resource"}"#;
    session.result(3, "resources/subscribe", watched).await;
    assert_eq!(session.text(4, "test_touch_resource").await, "touched");
    let updated = next(&mut stream, is("notifications/resources/updated")).await;
    assert_eq!(updated["params"]["uri"], "test://watched-resource");

    // A question is asked on one replica and answered on another.
    let mut asking = session
        .call(5, "test_elicitation", r#"{"message":"who?"}"#)
        .await;
    let question = next(&mut asking, is("elicitation/create")).await;
    let answer = format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"accept","content":{{"username":"ada","email":"a@b.c"}}}}}}"#,
        question["id"]
    );
    assert_eq!(session.say(answer).await, 202);
    let told = next(&mut asking, |message| message["id"] == 5).await;
    assert!(told["result"].to_string().contains("ada"), "{told}");

    // A cancellation finds the call, wherever it comes in.
    let mut long = session
        .call(6, "slow", r#"{"steps":600,"step_ms":100}"#)
        .await;
    next(&mut long, is("notifications/progress")).await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":6}}"#;
    assert_eq!(session.say(cancel.to_owned()).await, 202);
    let canceled = async {
        while !session
            .text(7, "slow_report")
            .await
            .contains("\"canceled\":1")
        {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    testkit::within("the cancellation", canceled).await.unwrap();

    assert_eq!(session.end().await, 200);
    for _ in 0..trio.ups.len() {
        assert_eq!(session.ask(8, "tools/list", "{}").await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_a_dead_replica_goes_on_at_another() {
    let trio = Trio::start().await;
    let session = trio.session().await;
    // From here on the owner gets nothing but what is passed on to it.
    let mut turns = (0..).filter(|turn| turn % trio.ups.len() != 0);
    let mut turn = || trio.next.store(turns.next().unwrap(), Ordering::Relaxed);

    turn();
    let watched = r#"{"uri":"test://watched-resource"}"#;
    session.result(1, "resources/subscribe", watched).await;
    turn();
    let mut stream = session.stream().await;
    turn();
    let mut long = session
        .call(2, "slow", r#"{"steps":600,"step_ms":100}"#)
        .await;
    next(&mut long, is("notifications/progress")).await;
    let owner = &trio.ups[0];
    until("the record of the session", || {
        let log = owner.log();
        log.iter()
            .any(|line| line.contains("records of sessions are written"))
    })
    .await;
    owner.signal(Signal::KILL);

    // The call ends with an error and is never sent again.
    let lost = next(&mut long, |message| message["id"] == 2).await;
    assert_eq!(lost["error"]["code"], -32603, "{lost}");
    while let Ok(Some(_)) = stream.event().await {}
    for id in 3..7 {
        turn();
        let report = session.text(id, "slow_report").await;
        assert!(report.contains("\"started\":1"), "{report}");
    }

    // What the client had subscribed to still reaches it.
    turn();
    let mut stream = session.stream().await;
    turn();
    assert_eq!(session.text(8, "test_touch_resource").await, "touched");
    let updated = next(&mut stream, is("notifications/resources/updated")).await;
    assert_eq!(updated["params"]["uri"], "test://watched-resource");
    turn();
    assert_eq!(session.end().await, 200);
    turn();
    assert_eq!(session.ask(9, "tools/list", "{}").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_replicas_come_in_where_replicas_do() {
    let trio = Trio::start().await;
    let session = trio.session().await;
    // A client cannot act as a replica.
    let request = http::legacy(&trio.url(), 1, "tools/list", "{}").header("Marque-Hop", "AQID");
    assert_eq!(session.send(request).await.status, 400);
    for peer in &trio.peers {
        let url = format!("http://{peer}/mcp/main");
        let request = http::legacy(&url, 1, "tools/list", "{}");
        assert_eq!(session.send(request.clone()).await.status, 403);
        let forged = request.header("Marque-Hop", "AQID");
        assert_eq!(session.send(forged).await.status, 403);
    }
    // A handle that was changed is nobody's, everywhere.
    let changed = Session {
        trio: &trio,
        id: format!("{}A", &session.id[..session.id.len() - 1]),
    };
    let other = if changed.id == session.id { "B" } else { "A" };
    let changed = Session {
        id: format!("{}{other}", &session.id[..session.id.len() - 1]),
        ..changed
    };
    for _ in 0..3 {
        assert_eq!(changed.ask(1, "tools/list", "{}").await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_another_caller_is_unknown_on_every_replica() {
    let (folder, server) = folder_before(legacy_only()).await;
    let state = folder.path().join("state").display().to_string();
    let key = |name: &str| {
        let ran = run(&["keys", "add", name, "--state-dir", &state]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        format!("Bearer {}", ran.stdout.lines().next().unwrap().trim())
    };
    let (ada, bob) = (key("ada"), key("bob"));
    let trio = Trio::over(folder, server).await;
    let params = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"it","version":"1"}}"#;
    let opened = http::legacy(&trio.url(), 0, "initialize", params)
        .header("Authorization", &ada)
        .send()
        .await
        .unwrap();
    let id = opened.header("mcp-session-id").unwrap().to_owned();
    let session = Session { trio: &trio, id };
    for _ in 0..3 {
        let request = http::legacy(&trio.url(), 1, "tools/list", "{}");
        let by = |key: &str| session.send(request.clone().header("Authorization", key));
        assert_eq!(by(&bob).await.status, 404);
        assert_eq!(session.send(request.clone()).await.status, 404, "nobody");
        assert_eq!(by(&ada).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_asked_to_stop_finishes_what_others_passed_on() {
    let trio = Trio::start().await;
    let session = trio.session().await;
    trio.next.store(1, Ordering::Relaxed);
    let mut working = session
        .call(1, "slow", r#"{"steps":8,"step_ms":100}"#)
        .await;
    next(&mut working, is("notifications/progress")).await;
    trio.ups[0].signal(Signal::TERM);
    let done = next(&mut working, |message| message["id"] == 1).await;
    assert!(done["result"].is_object(), "{done}");
    // Whoever inherits the session does so when its owner is gone.
    for id in 2..5 {
        trio.next.store(1, Ordering::Relaxed);
        let report = session.text(id, "slow_report").await;
        assert!(report.contains("\"finished\":1"), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_started_again_knows_its_sessions() {
    let (folder, _server) = folder_before(legacy_only()).await;
    let state = folder.path().join("state").display().to_string();
    let more = ["--state-dir", state.as_str(), "--no-watch"];
    let before = Up::ready(&folder, &more).await;
    let (kept, ended) = (before.session().await, before.session().await);
    let delete = http::delete(&before.url()).unwrap();
    let answer = delete.header("Mcp-Session-Id", &ended).send().await;
    assert_eq!(answer.unwrap().status, 200);
    before.signal(Signal::KILL);
    let again = Up::ready(&folder, &more).await;
    let status = |session: String| {
        let request = again.legacy(&session, "tools/list", "{}");
        async move { request.send().await.unwrap().status }
    };
    assert_eq!(status(ended).await, 404);
    assert_eq!(status(kept.clone()).await, 200);
    assert_eq!(status(kept).await, 200);
}

#[test]
fn replicas_need_their_keys_and_an_address() {
    let folder = Folder::new();
    folder.toolset(&["name: a, url: \"http://127.0.0.1:1/mcp\""]);
    let path = folder.path().to_str().unwrap();
    let keys = [("KEY", HANDLE_KEY), ("SHORT", "AAEC")];
    let up = |more: &[&str]| {
        let fixed = ["up", path, "--listen", "127.0.0.1:0", "--admin", "off"];
        run_with(&[&fixed, more].concat(), &keys)
    };
    let place = "127.0.0.1:1";
    for (more, said) in [
        (vec!["--peers", place], "--handle-keys"),
        (
            vec!["--peers", place, "--handle-keys", "env:KEY"],
            "--peer-key",
        ),
        (
            vec![
                "--peers",
                place,
                "--handle-keys",
                "env:KEY",
                "--peer-key",
                "env:KEY",
            ],
            "--peer-listen",
        ),
        (vec!["--handle-keys", "env:NONE"], "env:NONE is not set"),
        (vec!["--handle-keys", "env:SHORT"], "key 1 is not 32 bytes"),
    ] {
        let ran = up(&more);
        assert_eq!(ran.code, 1, "{more:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{more:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains(HANDLE_KEY) && !ran.stderr.contains("AAEC"));
    }
    let ran = run(&["up", path, "--peers", "nowhere"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}

/// A modern call of the fixture's tool that asks the user, at the next replica.
async fn asks(trio: &Trio, more: &str) -> Value {
    let params = format!(r#"{{"name":"test_elicitation","arguments":{{"message":"who?"}}{more}}}"#);
    let capabilities = r#"{"elicitation":{}}"#;
    let request = http::modern_with(&trio.url(), 1, "tools/call", &params, capabilities);
    let mut reply = request
        .header("Mcp-Name", "test_elicitation")
        .send()
        .await
        .unwrap();
    reply.answer().await.unwrap()
}

/// What the client adds when it calls again with its answer.
fn answered(asked: &Value) -> String {
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked}");
    let key = result["inputRequests"].as_object().unwrap().keys().next();
    format!(
        r#","requestState":{},"inputResponses":{{"{}":{{"action":"accept","content":{{"username":"ada","email":"a@b.c"}}}}}}"#,
        result["requestState"],
        key.unwrap()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_its_client_is_found_from_every_replica_and_dies_with_its_own() {
    let trio = Trio::start().await;
    // Twice: the answer comes in at either of the other two.
    for turn in [1, 2] {
        trio.next.store(0, Ordering::Relaxed);
        let again = answered(&asks(&trio, "").await);
        trio.next.store(turn, Ordering::Relaxed);
        let told = asks(&trio, &again).await;
        assert!(told["result"].to_string().contains("ada"), "{told}");
    }
    trio.next.store(0, Ordering::Relaxed);
    let again = answered(&asks(&trio, "").await);
    trio.ups[0].signal(Signal::KILL);
    for turn in [1, 2] {
        trio.next.store(turn, Ordering::Relaxed);
        let lost = asks(&trio, &again).await;
        assert_eq!(lost["error"]["code"], -32603, "{lost}");
    }
}

/// A modern request of a client that knows tasks, at the next replica.
async fn of_a_task(trio: &Trio, method: &str, name: &str, params: &str) -> Value {
    let capabilities = r#"{"elicitation":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
    let request = http::modern_with(&trio.url(), 1, method, params, capabilities);
    let mut reply = request.header("Mcp-Name", name).send().await.unwrap();
    reply.answer().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_held_for_a_server_is_found_from_every_replica_and_dies_with_its_own() {
    let trio = Trio::start().await;
    let ask = r#"{"name":"test_elicitation","arguments":{"message":"who?"}}"#;
    trio.next.store(0, Ordering::Relaxed);
    let begun = of_a_task(&trio, "tools/call", "test_elicitation", ask).await;
    assert_eq!(begun["result"]["resultType"], "task", "{begun}");
    let id = begun["result"]["taskId"].as_str().unwrap().to_owned();
    let about = format!(r#"{{"taskId":"{id}"}}"#);
    let mut keys = Vec::new();
    for turn in [1, 2, 0] {
        trio.next.store(turn, Ordering::Relaxed);
        let state = of_a_task(&trio, "tasks/get", &id, &about).await["result"].clone();
        assert_eq!(state["status"], "input_required", "{state}");
        let asked = state["inputRequests"].as_object().unwrap();
        keys.push(asked.keys().next().unwrap().clone());
    }
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let answers = format!(
        r#"{{"taskId":"{id}","inputResponses":{{"{}":{{"action":"accept","content":{{"username":"ada","email":"a@b.c"}}}}}}}}"#,
        keys[0]
    );
    trio.next.store(2, Ordering::Relaxed);
    let told = of_a_task(&trio, "tasks/update", &id, &answers).await;
    assert_eq!(told["result"]["resultType"], "complete", "{told}");
    let over = async {
        loop {
            trio.next.store(1, Ordering::Relaxed);
            let state = of_a_task(&trio, "tasks/get", &id, &about).await["result"].clone();
            if state["status"] == "completed" {
                return state;
            }
        }
    };
    let state = testkit::within("the end of the task", over).await.unwrap();
    assert!(state["result"].to_string().contains("ada"), "{state}");
    trio.ups[0].signal(Signal::KILL);
    for (turn, method) in [(1, "tasks/get"), (2, "tasks/update"), (1, "tasks/cancel")] {
        trio.next.store(turn, Ordering::Relaxed);
        let lost = of_a_task(&trio, method, &id, &answers).await;
        assert_eq!(lost["error"]["code"], -32603, "{lost}");
    }
}
