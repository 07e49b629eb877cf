//! A reverse proxy of nothing but the two doors, to measure what they cost: `hop LISTEN UPSTREAM_URL`.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use transport::Body;
use transport::inbound::{self, Limits, ListenSpec, Peer, Service, drain, read_body};
use transport::outbound::{Target, TargetLimits, Trust, Waits};

const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Larger answers are passed on as they come.
const WHOLE_BYTES_MAX: u64 = 64 * 1024;

struct Hop(Target);

impl Service for Hop {
    async fn call(self: Arc<Self>, request: Request<Incoming>, _peer: Peer) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let Ok(body) = read_body(body, BODY_BYTES_MAX, Duration::from_secs(10)).await else {
            return status(StatusCode::BAD_REQUEST);
        };
        parts.headers.remove(CONNECTION);
        let Ok(answer) = self.0.send(Request::from_parts(parts, body)).await else {
            return status(StatusCode::BAD_GATEWAY);
        };
        let (parts, body) = answer.into_parts();
        let size = http_body::Body::size_hint(&body).exact();
        let body = if size.is_some_and(|size| size <= WHOLE_BYTES_MAX) {
            match body.collect(BODY_BYTES_MAX).await {
                Ok(bytes) => Body::full(bytes),
                Err(_) => return status(StatusCode::BAD_GATEWAY),
            }
        } else {
            Body::forward(body)
        };
        Response::from_parts(parts, body)
    }
}

fn status(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (args.next(), args.next()) else {
        return Err("usage: hop LISTEN UPSTREAM_URL [THREADS]".into());
    };
    let threads: usize = args.next().map_or(Ok(1), |threads| threads.parse())?;
    let runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
        more => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(more)
            .enable_all()
            .build()?,
    };
    runtime.block_on(async {
        let target = Target::new(
            &upstream.parse()?,
            &Trust::System,
            Waits::default(),
            TargetLimits::default(),
        )?;
        let spec = ListenSpec {
            address: listen.parse()?,
            tls: None,
            listener: 0,
        };
        let bound = inbound::bind(&spec).await?;
        let (_trigger, watch) = drain::channel();
        inbound::serve(
            bound,
            Arc::new(Hop(target)),
            Arc::new(Limits::default()),
            watch,
        )
        .await;
        Ok(())
    })
}
