//! The admin listener: readiness in detail, for operators on this machine.

use std::net::SocketAddr;
use std::sync::Arc;

use gateway::{Gateway, Report};
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use transport::body::Body;
use transport::inbound::{Incoming, Limits, ListenSpec, Peer, Service, bind, drain, serve};

use super::reload::State;

struct AdminService {
    gateway: Arc<Gateway>,
    state: watch::Receiver<State>,
}

#[derive(Serialize)]
struct Detail {
    configuration: State,
    #[serde(flatten)]
    report: Report,
}

/// Listens for operators. That nobody can ask is no reason not to serve.
pub(super) async fn start(
    address: SocketAddr,
    gateway: Arc<Gateway>,
    state: watch::Receiver<State>,
    limits: &Arc<Limits>,
    drain: &drain::Watch,
    tasks: &mut JoinSet<()>,
) {
    if !address.ip().is_loopback() {
        tracing::error!(%address, "the admin listener is not started: it tells too much for an address off loopback");
        return;
    }
    match bind(&ListenSpec {
        address,
        tls: None,
        listener: 0,
    })
    .await
    {
        Ok(bound) => {
            tracing::debug!(address = %bound.local_address(), "the admin listener is ready");
            let service = Arc::new(AdminService { gateway, state });
            tasks.spawn(serve(bound, service, limits.clone(), drain.clone()));
        }
        Err(error) => {
            tracing::warn!(%error, "the admin listener is not started; choose another address with --admin")
        }
    }
}

impl Service for AdminService {
    async fn call(self: Arc<Self>, request: Request<Incoming>, _: Peer) -> Response<Body> {
        if !is_local(&request) || *request.method() != Method::GET {
            return respond(
                StatusCode::FORBIDDEN,
                "text/plain",
                "only GET, and only by a loopback name\n".to_owned(),
            );
        }
        match request.uri().path() {
            "/livez" => respond(StatusCode::OK, "text/plain", "alive\n".to_owned()),
            "/readyz" => self.ready(),
            _ => respond(
                StatusCode::NOT_FOUND,
                "text/plain",
                "/livez or /readyz\n".to_owned(),
            ),
        }
    }
}

impl AdminService {
    fn ready(&self) -> Response<Body> {
        let report = self.gateway.report();
        let configuration = self.state.borrow().clone();
        let detail = Detail {
            configuration,
            report,
        };
        let status = if detail.report.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        match serde_json::to_string_pretty(&detail) {
            Ok(text) => respond(status, "application/json", text + "\n"),
            Err(error) => respond(
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain",
                error.to_string(),
            ),
        }
    }
}

/// A page on the web must not reach this listener by a rebound name.
fn is_local(request: &Request<Incoming>) -> bool {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

fn respond(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
