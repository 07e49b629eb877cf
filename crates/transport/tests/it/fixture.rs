//! Servers, clients and certificates to test with.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use transport::inbound::{self, Limits, ListenSpec, Peer, Service, drain};
use transport::outbound::{Target, TargetLimits, Waits};
use transport::{Body, Identity, Trust};

/// No test waits longer for what must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for what must happen.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what)
        .await
        .expect("happens before the deadline")
}

/// A service that is one function.
struct Answers<F>(F);

impl<F, A> Service for Answers<F>
where
    F: Fn(Request<Incoming>, Peer) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send,
{
    async fn call(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        (self.0)(request, peer).await
    }
}

/// A server of ours that is running.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) trigger: Option<drain::Trigger>,
    pub(crate) serving: JoinSet<()>,
}

impl Served {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn secure_url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

pub(crate) async fn serve<F, A>(limits: Limits, tls: Option<Identity>, answer: F) -> Served
where
    F: Fn(Request<Incoming>, Peer) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let spec = ListenSpec {
        address: ([127, 0, 0, 1], 0).into(),
        tls,
        listener: 7,
    };
    let bound = inbound::bind(&spec).await.unwrap();
    let address = bound.local_address();
    let (trigger, watch) = drain::channel();
    let mut serving = JoinSet::new();
    serving.spawn(inbound::serve(
        bound,
        Arc::new(Answers(answer)),
        Arc::new(limits),
        watch,
    ));
    Served {
        address,
        trigger: Some(trigger),
        serving,
    }
}

pub(crate) fn text(body: &'static str) -> Response<Body> {
    Response::new(Body::full(body))
}

/// A body that never ends, and tells when it is dropped.
pub(crate) fn endless(dropped: oneshot::Sender<()>) -> Body {
    let first = futures_util::stream::iter([Ok(Bytes::from_static(b"first"))]);
    let rest = futures_util::stream::poll_fn(move |_| {
        let _keep = &dropped;
        std::task::Poll::Pending
    });
    Body::stream(futures_util::StreamExt::chain(first, rest))
}

pub(crate) fn target(url: &str) -> Target {
    target_with(
        url,
        &Trust::System,
        Waits::default(),
        TargetLimits::default(),
    )
}

pub(crate) fn target_with(url: &str, trust: &Trust, waits: Waits, limits: TargetLimits) -> Target {
    Target::new(&url.parse().unwrap(), trust, waits, limits).unwrap()
}

pub(crate) fn post(body: &'static str) -> Request<Bytes> {
    Request::post("/mcp?a=b")
        .body(Bytes::from_static(body.as_bytes()))
        .unwrap()
}

/// A connection without any HTTP of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are the other side of the door"
)]
pub(crate) async fn raw(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

pub(crate) async fn write(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Reads until the text has come, or the end: everything read.
pub(crate) async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    let mut chunk = [0; 4096];
    while !String::from_utf8_lossy(&read).contains(text) {
        match soon(stream.read(&mut chunk)).await {
            Ok(0) | Err(_) => break,
            Ok(count) => read.extend_from_slice(&chunk[..count]),
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// Reads to the end of the connection.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    read_until(stream, "\u{0}never").await
}

/// A server that does what a script says with each connection.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Scripted {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// The script gets each connection and its number, from 1.
pub(crate) async fn scripted<F, A>(script: F) -> Scripted
where
    F: Fn(TcpStream, usize) -> A + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut running = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            running.spawn(script(stream, number));
        }
    });
    Scripted {
        address,
        connections,
        _tasks: tasks,
    }
}

/// Certificates for `localhost` and 127.0.0.1.
pub(crate) struct Certified {
    pub(crate) identity: Identity,
    pub(crate) trust: Trust,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

pub(crate) fn certify() -> Certified {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (certificate_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
    Certified {
        identity: transport::identity(certificate_pem.as_bytes(), key_pem.as_bytes()).unwrap(),
        trust: Trust::Certificates(
            transport::parse_certificates(certificate_pem.as_bytes()).unwrap(),
        ),
        certificate_pem,
        key_pem,
    }
}
