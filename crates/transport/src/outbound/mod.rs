//! Calling out: a request to a server and its answer back.
//!
//! No redirect is followed, no proxy is used, no cookie is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use http_body_util::Full;
use rustls_pki_types::ServerName;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::tls;

mod dial;
mod failure;
mod http1;
mod http2;
mod incoming;
mod pool;
mod waits;

use self::dial::{Dialed, Dialer, Host, Tls};
use self::failure::causes;
use self::http1::{Link, Outcome};
use self::pool::{Lease, Pool, Use};

pub use self::dial::resolve;
pub use self::failure::{Awaited, Failure};
pub use self::incoming::Incoming;
pub use self::waits::{TargetLimits, Waits};
pub use crate::tls::{CertificateDer, TlsError, Trust, parse_certificates};

/// How often one request may be found unsent because the server had closed a connection at rest.
const TRIES_MAX: usize = 3;

/// One server: scheme, host, port and whom to trust. Share it, so that its connections are shared.
#[derive(Debug)]
pub struct Target {
    pool: Arc<Pool>,
    dialer: Dialer,
    /// One connection is opened at a time while it may turn out to be one for all.
    opening: tokio::sync::Mutex<()>,
    /// The server has chosen HTTP/1.1.
    is_http1: AtomicBool,
    host: HeaderValue,
    authority: Authority,
    waits: Waits,
}

/// Why a URL cannot be called. The operator must change the resource.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TargetError {
    /// Not a web address.
    #[error("`{scheme}` cannot be called: expected a URL that begins with http:// or https://")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// No host, or not the name of one.
    #[error("`{url}` names no host that can be called")]
    Host {
        /// The URL without user, password, query and fragment.
        url: String,
    },
    /// User or password in the URL, where they would be logged.
    #[error("the URL of `{host}` holds a user or password: give credentials by reference")]
    Credentials {
        /// The host.
        host: String,
    },
    /// The trust cannot be established.
    #[error(transparent)]
    Trust(#[from] TlsError),
}

/// The way of one call.
enum Way {
    /// Over the lease's own connection; true when it has just been opened.
    Http1 { fresh: bool },
    /// Over the shared connection; true when it has just been opened.
    Http2 { sender: http2::Sender, fresh: bool },
}

impl Target {
    /// Prepares calls to the server of a URL; path and query are not used. Opens nothing yet.
    ///
    /// # Errors
    /// The URL or the trust cannot be used; the text says what to change.
    pub fn new(
        url: &Url,
        trust: &Trust,
        waits: Waits,
        limits: TargetLimits,
    ) -> Result<Self, TargetError> {
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            scheme => {
                return Err(TargetError::Scheme {
                    scheme: scheme.to_owned(),
                });
            }
        };
        let no_host = || TargetError::Host {
            url: format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()),
        };
        let name = url
            .host_str()
            .filter(|name| !name.is_empty())
            .ok_or_else(no_host)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials {
                host: name.to_owned(),
            });
        }
        let authority = url
            .port()
            .map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let server: Arc<str> = format!("{}://{authority}", url.scheme()).into();
        let host = match url.host().ok_or_else(no_host)? {
            url::Host::Domain(name) => Host::Name(name.to_owned()),
            url::Host::Ipv4(address) => Host::Address(address.into()),
            url::Host::Ipv6(address) => Host::Address(address.into()),
        };
        let tls = if tls {
            let name = match &host {
                Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| no_host())?,
                Host::Address(address) => ServerName::from(*address),
            };
            Some(Tls {
                client: tls::client(trust)?,
                name,
            })
        } else {
            None
        };
        Ok(Self {
            pool: Pool::new(Arc::clone(&server), limits),
            is_http1: AtomicBool::new(tls.is_none()),
            dialer: Dialer {
                server,
                host,
                port: url.port_or_known_default().ok_or_else(no_host)?,
                tls,
            },
            opening: tokio::sync::Mutex::new(()),
            host: HeaderValue::from_str(&authority).map_err(|_| no_host())?,
            authority: Authority::try_from(authority).map_err(|_| no_host())?,
            waits,
        })
    }

    /// The server as `scheme://host:port`, for people.
    pub fn server(&self) -> &str {
        &self.dialer.server
    }

    /// Sends a request and returns when the head of the answer is here.
    /// The request's URI is path and query; `Host` and `Content-Length` are set here.
    ///
    /// # Errors
    /// There is no answer; the text says which server and what happened.
    ///
    /// # Cancellation
    /// The connection is closed (HTTP/1.1) or the stream reset (HTTP/2).
    pub fn send(
        &self,
        request: Request<Bytes>,
    ) -> impl Future<Output = Result<Response<Incoming>, Failure>> + Send {
        self.send_with(request, self.waits)
    }

    /// Opens a stream that may rest for as long as it likes; it takes no place among the calls.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn open_stream(
        &self,
        request: Request<Bytes>,
    ) -> impl Future<Output = Result<Response<Incoming>, Failure>> + Send {
        let waits = Waits {
            idle: None,
            ..self.waits
        };
        self.deliver(self.prepare(request), waits, Use::Stream)
    }

    /// As [`send`](Self::send), with other waits than the target's own.
    ///
    /// # Errors
    /// As `send`.
    pub fn send_with(
        &self,
        request: Request<Bytes>,
        waits: Waits,
    ) -> impl Future<Output = Result<Response<Incoming>, Failure>> + Send {
        // Not async itself: a future is moved with room for all it was ever given.
        self.deliver(self.prepare(request), waits, Use::Call)
    }

    async fn deliver(
        &self,
        mut request: Request<Full<Bytes>>,
        waits: Waits,
        used_for: Use,
    ) -> Result<Response<Incoming>, Failure> {
        let now = Instant::now();
        let mut lease = self.pool.lease(now, used_for).await?;
        let mut tries = 0;
        loop {
            tries += 1;
            let way = self.way(&mut lease, waits.connect).await?;
            let (outcome, fresh) = match way {
                Way::Http1 { fresh } => {
                    let now = if fresh { Instant::now() } else { now };
                    let outcome = http1::exchange(&mut lease, request, waits.first_byte, now).await;
                    (outcome, fresh)
                }
                Way::Http2 { sender, fresh } => {
                    self.make_absolute(&mut request);
                    let now = if fresh { Instant::now() } else { now };
                    match http2::exchange(&lease, sender, request, waits.first_byte, now).await {
                        Outcome::Answered(answer) => {
                            return Ok(answer.map(|body| Incoming::http2(body, lease, waits.idle)));
                        }
                        outcome => (outcome, fresh),
                    }
                }
            };
            match outcome {
                Outcome::Answered(answer) => {
                    return Ok(answer.map(|body| Incoming::http1(body, lease, waits.idle)));
                }
                Outcome::Failed(failure) => return Err(failure),
                // The server had closed a connection at rest. Nothing was sent, so once more, on a new one.
                Outcome::Unsent(again, _) if !fresh && tries < TRIES_MAX => {
                    request = *again;
                    lease.link = None;
                    self.pool.unshare();
                }
                Outcome::Unsent(_, reason) => {
                    return Err(Failure::Closed {
                        server: lease.server(),
                        sent: false,
                        reason,
                    });
                }
            }
        }
    }

    fn prepare(&self, request: Request<Bytes>) -> Request<Full<Bytes>> {
        let promises_body = request.body().is_empty()
            && matches!(
                *request.method(),
                Method::POST | Method::PUT | Method::PATCH
            );
        let mut request = request.map(Full::new);
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        // hyper writes the length of what it sends; a copied one, or a copied chunked, would contradict it.
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        headers.insert(HOST, self.host.clone());
        if promises_body {
            // RFC 9110, 8.6: where a body is expected, its absence is said; hyper leaves that to us.
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        request
    }

    /// RFC 9113, 8.3.1: `:scheme` and `:authority` take the place of `Host`.
    fn make_absolute(&self, request: &mut Request<Full<Bytes>>) {
        let path = request.uri().path_and_query().cloned();
        let uri = Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(self.authority.clone())
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build()
            .expect("scheme, authority and path are each valid");
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(HOST);
    }

    /// Finds or opens a connection for the lease.
    async fn way(&self, lease: &mut Lease, wait: Duration) -> Result<Way, Failure> {
        if lease.link.is_some() {
            return Ok(Way::Http1 { fresh: false });
        }
        if !self.is_http1.load(Ordering::Relaxed)
            && let Some(sender) = self.pool.shared()
        {
            return Ok(Way::Http2 {
                sender,
                fresh: false,
            });
        }
        // Boxed: every call is moved about with the room for this, and few calls need it.
        Box::pin(self.new_way(lease, wait)).await
    }

    async fn new_way(&self, lease: &mut Lease, wait: Duration) -> Result<Way, Failure> {
        if self.is_http1.load(Ordering::Relaxed) {
            return self.open(lease, wait).await;
        }
        let Ok(_opening) = timeout(wait, self.opening.lock()).await else {
            return Err(self.dialer.too_slow(wait));
        };
        // Somebody else may have opened one while we waited.
        match self.pool.shared() {
            Some(sender) => Ok(Way::Http2 {
                sender,
                fresh: false,
            }),
            None => self.open(lease, wait).await,
        }
    }

    async fn open(&self, lease: &mut Lease, wait: Duration) -> Result<Way, Failure> {
        let Dialed { socket, is_http2 } = self.dialer.dial(wait).await?;
        let refused = |error: hyper::Error| Failure::Connect {
            server: self.pool.server.clone(),
            reason: causes(&error),
        };
        self.is_http1.store(!is_http2, Ordering::Relaxed);
        if is_http2 {
            let begun = timeout(wait, http2::begin(socket, &self.pool.limits)).await;
            let (sender, driver) = begun
                .map_err(|_| self.dialer.too_slow(wait))?
                .map_err(refused)?;
            self.pool.share(sender.clone(), driver);
            return Ok(Way::Http2 {
                sender,
                fresh: true,
            });
        }
        let link = Link::new(socket, &self.pool.limits)
            .await
            .map_err(refused)?;
        lease.link = Some(Box::new(link));
        Ok(Way::Http1 { fresh: true })
    }
}
