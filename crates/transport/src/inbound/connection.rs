//! One connection, from the handshake to its end.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use super::limits::HEADER_COUNT_UNTUNED;
use super::pulse::{Beat, Beating, Metered, Overdue, Pulse, Verdict};
use super::{Limits, Peer, Service, drain};
use crate::body::Body;
use crate::socket::Socket;
use crate::tls;

/// What every connection of a listener has in common.
#[derive(Debug)]
pub(super) struct Shared<S> {
    pub(super) service: Arc<S>,
    pub(super) limits: Arc<Limits>,
    pub(super) drain: drain::Watch,
}

/// Serves one connection to its end. Errors of a client are the client's: they are told to a developer only.
pub(super) async fn run<S: Service>(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    peer: Peer,
    shared: Arc<Shared<S>>,
) {
    let ended = match tls {
        None => http1(Socket::Plain(stream), peer, &shared).await,
        Some(server) => {
            let accepted = timeout(
                shared.limits.tls_handshake,
                TlsAcceptor::from(server).accept(stream),
            );
            match accepted.await {
                Err(_) => Err("TLS handshake took too long".to_owned()),
                Ok(Err(error)) => Err(format!("TLS handshake failed: {error}")),
                Ok(Ok(stream)) => {
                    let is_http2 = tls::is_http2(stream.get_ref().1.alpn_protocol());
                    let socket = Socket::Tls(Box::new(stream.into()));
                    if is_http2 {
                        http2(socket, peer, &shared).await
                    } else {
                        http1(socket, peer, &shared).await
                    }
                }
            }
        }
    };
    if let Err(reason) = ended {
        tracing::debug!(peer = %peer.address, %reason, "connection ended");
    }
}

/// Serves one connection of a network in memory to its end.
#[cfg(feature = "simulated")]
pub(super) async fn run_simulated<S: Service>(
    wire: crate::simulated::Wire,
    peer: Peer,
    shared: Arc<Shared<S>>,
) {
    if let Err(reason) = http1(Socket::Simulated(wire), peer, &shared).await {
        tracing::debug!(%reason, "connection ended");
    }
}

async fn http1<S: Service>(socket: Socket, peer: Peer, shared: &Shared<S>) -> Result<(), String> {
    let pulse = Arc::new(Pulse::new(true));
    let mut builder = http1::Builder::new();
    builder.max_header_size(shared.limits.header_bytes);
    if shared.limits.header_count > HEADER_COUNT_UNTUNED {
        builder.max_headers(shared.limits.header_count);
    }
    let (service, header_count) = (Arc::clone(&shared.service), shared.limits.header_count);
    let beats = Arc::clone(&pulse);
    let answers = service_fn(move |request| {
        answer(
            Arc::clone(&service),
            request,
            peer,
            header_count,
            Beat::start(&beats),
        )
    });
    let socket = TokioIo::new(Metered {
        socket,
        pulse: Arc::clone(&pulse),
    });
    let connection = pin!(builder.serve_connection(socket, answers));
    drive(
        connection,
        http1::Connection::graceful_shutdown,
        &pulse,
        shared,
    )
    .await
}

async fn http2<S: Service>(socket: Socket, peer: Peer, shared: &Shared<S>) -> Result<(), String> {
    let pulse = Arc::new(Pulse::new(false));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(shared.limits.http2_streams_max)
        .max_header_list_size(u32::try_from(shared.limits.header_bytes).unwrap_or(u32::MAX));
    let (service, header_count) = (Arc::clone(&shared.service), shared.limits.header_count);
    let beats = Arc::clone(&pulse);
    let answers = service_fn(move |request| {
        answer(
            Arc::clone(&service),
            request,
            peer,
            header_count,
            Beat::start(&beats),
        )
    });
    let socket = TokioIo::new(Metered {
        socket,
        pulse: Arc::clone(&pulse),
    });
    let connection = pin!(builder.serve_connection(socket, answers));
    drive(
        connection,
        http2::Connection::graceful_shutdown,
        &pulse,
        shared,
    )
    .await
}

/// Answers one request; the beat lasts until the answer is written or dropped.
async fn answer<S: Service>(
    service: Arc<S>,
    request: Request<Incoming>,
    peer: Peer,
    header_count: usize,
    beat: Beat,
) -> Result<Response<Beating>, Infallible> {
    let answer = if request.headers().len() > header_count {
        let mut refusal = Response::new(Body::empty());
        *refusal.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        refusal
    } else {
        service.call(request, peer).await
    };
    Ok(answer.map(|body| Beating { body, beat }))
}

/// Runs a connection until it ends, is overdue, or is drained.
///
/// Must be the only future of its task: the drain and the timer are polled once and again only when they have something
/// to say, because the task's waker, once registered, stays the right one. A poll then costs two loads, not two locks.
async fn drive<C, S>(
    mut connection: Pin<&mut C>,
    finish: impl Fn(Pin<&mut C>),
    pulse: &Pulse,
    shared: &Shared<S>,
) -> Result<(), String>
where
    C: Future<Output = hyper::Result<()>>,
{
    let limits = &*shared.limits;
    let mut draining = pin!(shared.drain.draining());
    let mut timer = pin!(sleep_until(first_look(pulse, limits)));
    let (mut registered, mut finishing) = (false, false);
    poll_fn(|ctx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(ctx) {
            return Poll::Ready(ended.map_err(|error| error.to_string()));
        }
        if shared.drain.is_draining() && !finishing {
            finishing = true;
            finish(connection.as_mut());
            if let Poll::Ready(ended) = connection.as_mut().poll(ctx) {
                return Poll::Ready(ended.map_err(|error| error.to_string()));
            }
        }
        if timer.is_elapsed() {
            match pulse.judge(Instant::now(), limits) {
                Verdict::End(overdue) => return Poll::Ready(overdue.outcome()),
                Verdict::LookAgain(at) => timer.as_mut().reset(at),
            }
            registered = false;
        }
        if !registered {
            let _ = draining.as_mut().poll(ctx);
            let _ = timer.as_mut().poll(ctx);
            // A task that has used up its turn is refused, and then nothing is registered.
            registered = has_budget_remaining();
            if !registered || timer.is_elapsed() || shared.drain.is_draining() != finishing {
                ctx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    })
    .await
}

fn first_look(pulse: &Pulse, limits: &Limits) -> Instant {
    match pulse.judge(Instant::now(), limits) {
        Verdict::LookAgain(at) => at,
        Verdict::End(_) => Instant::now(),
    }
}

impl Overdue {
    fn outcome(self) -> Result<(), String> {
        match self {
            Self::Idle => Ok(()),
            Self::Head => Err("request head took too long".to_owned()),
            Self::Stalled => Err("client takes no bytes".to_owned()),
        }
    }
}
