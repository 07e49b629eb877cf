//! A dumb HTTP balancer: every request goes to the next target, whatever it is about.
//!
//! It keeps nothing between requests, opens one connection per request, streams both ways, and passes a hang-up on.
//! A target that cannot be connected to is skipped, as a health check would have it; a request that was sent is never
//! sent again.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::http::connect;

type Body = BoxBody<Bytes, hyper::Error>;

/// A balancer that listens. Stops when dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it ends, which only an error of the listener brings about.
    pub async fn wait(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Starts a balancer on `address` (port 0 for a free one).
///
/// # Errors
/// When there is no target, or the address cannot be had.
pub async fn serve(address: SocketAddr, targets: Vec<SocketAddr>) -> anyhow::Result<Running> {
    anyhow::ensure!(!targets.is_empty(), "a balancer needs a target");
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))?;
    let address = listener.local_addr()?;
    let round = Arc::new(Round {
        targets,
        next: AtomicUsize::new(0),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(listener, round));
    Ok(Running { address, tasks })
}

struct Round {
    targets: Vec<SocketAddr>,
    next: AtomicUsize,
}

async fn accept(listener: TcpListener, round: Arc<Round>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        drop(socket.set_nodelay(true));
        connections.spawn(converse(socket, Arc::clone(&round)));
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(socket: TcpStream, round: Arc<Round>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let round = Arc::clone(&round);
        async move { Ok::<_, Infallible>(forward(&round, request).await) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer);
    // Clients go away as they like.
    drop(connection.await);
}

async fn forward(round: &Round, request: Request<Incoming>) -> Response<Body> {
    match try_forward(round, request).await {
        Ok(response) => response,
        Err(_) => bad_gateway(),
    }
}

async fn try_forward(
    round: &Round,
    mut request: Request<Incoming>,
) -> anyhow::Result<Response<Body>> {
    let socket = connect_to_next(round).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move { drop(connection.await) });
    // Each side has a connection of its own.
    request.headers_mut().remove("connection");
    request.headers_mut().remove("keep-alive");
    let mut response = sender.send_request(request).await?;
    response.headers_mut().remove("connection");
    response.headers_mut().remove("keep-alive");
    // The connection lives as long as the answer: dropped with it, it closes.
    Ok(response.map(|body| {
        body.map_frame(move |frame| {
            let _ = &driver;
            frame
        })
        .boxed()
    }))
}

async fn connect_to_next(round: &Round) -> anyhow::Result<TcpStream> {
    let first = round.next.fetch_add(1, Ordering::Relaxed);
    let mut refused = None;
    for step in 0..round.targets.len() {
        let target = round.targets[first.wrapping_add(step) % round.targets.len()];
        match connect(&target.to_string()).await {
            Ok(socket) => return Ok(socket),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.context("no target")?)
}

fn bad_gateway() -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
