//! MCP servers over HTTP in this process: scripted ones, and a real sample behind a small bridge.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    thread,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream},
    net::TcpListener,
    sync::{Notify, mpsc},
    task::JoinSet,
};

/// What a script says to a request.
pub(crate) enum Says {
    /// One JSON value, or nothing, with this status.
    Json(u16, Value),
    /// A page, as a server says it that knows nothing of MCP.
    Page(u16, &'static str),
    /// A stream of events that ends.
    Events(Vec<String>),
    /// A stream of events that stays open.
    Hangs(Vec<Value>),
    /// A challenge.
    Refuses(u16, &'static str),
}

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) verb: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Seen {
    pub(crate) fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A response to it.
    pub(crate) fn result(&self, result: Value) -> Value {
        let mut response = json!({"jsonrpc": "2.0", "id": self.body["id"]});
        response["result"] = result;
        response
    }

    /// An error to it.
    pub(crate) fn error(&self, code: i64, message: &str) -> Value {
        json!({"jsonrpc": "2.0", "id": self.body["id"], "error": {"code": code, "message": message}})
    }
}

type Script = dyn Fn(&Seen) -> Says + Send + Sync;

/// A running server; it ends with the test.
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<State>,
}

struct State {
    script: Option<Box<Script>>,
    seen: Mutex<Vec<Seen>>,
    /// Requests, and streams that the client closed.
    happened: Notify,
    closed: Notify,
    sessions: tokio::sync::Mutex<HashMap<String, BufReader<DuplexStream>>>,
}

impl Server {
    /// Starts a server that answers by a script.
    pub(crate) fn scripted(script: impl Fn(&Seen) -> Says + Send + Sync + 'static) -> Self {
        Self::start(Some(Box::new(script)))
    }

    /// Starts the sample server of time zones behind HTTP, in both eras.
    pub(crate) fn of_time() -> Self {
        Self::start(None)
    }

    fn start(script: Option<Box<Script>>) -> Self {
        let state = Arc::new(State {
            script,
            seen: Mutex::default(),
            happened: Notify::new(),
            closed: Notify::new(),
            sessions: tokio::sync::Mutex::default(),
        });
        let (tell, told) = std::sync::mpsc::channel();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                serve(listener, shared).await;
            });
        });
        let address = told.recv().unwrap();
        Self {
            url: format!("http://{address}/mcp"),
            state,
        }
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Every request of a method so far.
    pub(crate) fn seen_of(&self, method: &str) -> Vec<Seen> {
        let seen = self.seen();
        seen.into_iter()
            .filter(|seen| seen.method() == method)
            .collect()
    }

    /// Waits until a request of this method is here.
    pub(crate) fn wait_for(&self, method: &str) {
        wait(async {
            while self.seen_of(method).is_empty() {
                self.state.happened.notified().await;
            }
        });
    }

    /// Waits until the client has closed a stream that hangs.
    pub(crate) fn wait_for_close(&self) {
        wait(self.state.closed.notified());
    }
}

fn wait(event: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let patience = std::time::Duration::from_secs(20);
    let waiting = async {
        tokio::time::timeout(patience, event)
            .await
            .expect("it happens in time")
    };
    runtime.unwrap().block_on(waiting);
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    #[expect(clippy::infinite_loop, reason = "ends with the test's thread")]
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(request, state).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            // A client that goes away in the middle is no failure of the server.
            drop(
                connection
                    .serve_connection(TokioIo::new(socket), service)
                    .await,
            );
        });
    }
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let seen = Seen {
        verb: head.method.to_string(),
        headers: head.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    state.seen.lock().unwrap().push(seen.clone());
    state.happened.notify_one();
    let Some(script) = &state.script else {
        return bridge(&seen, &state).await;
    };
    match script(&seen) {
        Says::Json(status, Value::Null) => reply(status, "", Body::default()),
        Says::Json(status, value) => reply(status, "application/json", Body::of(value.to_string())),
        Says::Page(status, page) => reply(status, "text/html", Body::of(page)),
        Says::Refuses(status, challenge) => {
            let mut response = reply(status, "", Body::default());
            let challenge = challenge.parse().unwrap();
            response.headers_mut().insert("www-authenticate", challenge);
            response
        }
        Says::Events(events) => reply(200, "text/event-stream", Body::of(events.concat())),
        Says::Hangs(messages) => {
            let (sender, body) = Body::open();
            for message in messages {
                sender.try_send(Bytes::from(event(&message))).unwrap();
            }
            watch(sender, state);
            reply(200, "text/event-stream", body)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "ends with the test's thread")]
fn watch(sender: mpsc::Sender<Bytes>, state: Arc<State>) {
    tokio::spawn(async move {
        sender.closed().await;
        state.closed.notify_one();
    });
}

/// A message as an event.
pub(crate) fn event(message: &Value) -> String {
    format!("event: message\ndata: {message}\n\n")
}

fn reply(status: u16, kind: &str, body: Body) -> Response<Body> {
    let mut response = Response::builder().status(status);
    if !kind.is_empty() {
        response = response.header("content-type", kind);
    }
    response.body(body).unwrap()
}

/// Hands a message to the sample: modern ones to a talk of their own, legacy ones to their session's.
async fn bridge(seen: &Seen, state: &State) -> Response<Body> {
    if seen.verb == "DELETE" {
        return reply(204, "", Body::default());
    }
    if seen.header("mcp-protocol-version") == Some("2026-07-28") {
        return reply(
            200,
            "text/event-stream",
            Body::of(talk(&mut open(), &seen.body).await),
        );
    }
    let mut sessions = state.sessions.lock().await;
    let id = seen
        .header("mcp-session-id")
        .unwrap_or("the session")
        .to_owned();
    let session = sessions.entry(id.clone()).or_insert_with(open);
    if seen.body["id"].is_null() {
        session
            .write_all(format!("{}\n", seen.body).as_bytes())
            .await
            .unwrap();
        return reply(202, "", Body::default());
    }
    let events = talk(session, &seen.body).await;
    let mut response = reply(200, "text/event-stream", Body::of(events));
    response
        .headers_mut()
        .insert("mcp-session-id", id.parse().unwrap());
    response
}

#[expect(clippy::disallowed_methods, reason = "ends with its stream")]
fn open() -> BufReader<DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let (reader, writer) = tokio::io::split(theirs);
        // Noon of 2026-03-02 in UTC.
        samples::time::serve(reader, writer, || 1_772_452_800).await
    });
    BufReader::new(ours)
}

async fn talk(stream: &mut BufReader<DuplexStream>, message: &Value) -> String {
    stream
        .write_all(format!("{message}\n").as_bytes())
        .await
        .unwrap();
    let mut events = String::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        events.push_str(&event(&said));
        if said["id"] == message["id"] {
            return events;
        }
    }
}

/// A body that is known, or one that stays open.
#[derive(Default)]
struct Body {
    known: Option<Bytes>,
    open: Option<mpsc::Receiver<Bytes>>,
}

impl Body {
    fn of(text: impl Into<Bytes>) -> Self {
        Self {
            known: Some(text.into()),
            open: None,
        }
    }

    fn open() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, open) = mpsc::channel(16);
        let open = Some(open);
        (sender, Self { known: None, open })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.known.take(), &mut self.open) {
            (Some(bytes), _) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            (None, Some(open)) => open
                .poll_recv(ctx)
                .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
            (None, None) => Poll::Ready(None),
        }
    }
}
