//! One way of talking to one server: a legacy session, or the stateless way.

mod settle;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use protocol::json_rpc::{self, Id, Message};
use protocol::mcp::{Era, Version, headers};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use crate::failure::UpstreamFailure;
use crate::handles::random;
use crate::upstream::{
    Answer, Audience, Duplex, Frames, Head, HttpLink, Program, open_legacy_sse, start_program,
};

/// How long a request of our own may take.
pub(crate) const ASK_WAIT: Duration = Duration::from_secs(30);
/// The longest answer to a request of our own, in bytes.
pub(crate) const ASK_BYTES_MAX: usize = 32 * 1024 * 1024;
/// HTTP answer by which a server says that a legacy session is gone.
const SESSION_GONE: u16 = 404;
/// How long a server may take to hear that a session is over.
const END_WAIT: Duration = Duration::from_secs(2);

/// The request whose answer is a stream that rests most of the time.
const LISTEN: &str = "subscriptions/listen";

/// How a server is reached.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// Over Streamable HTTP.
    Http(Arc<HttpLink>, url::Url),
    /// Over the transport of 2024-11-05.
    LegacySse(Arc<HttpLink>, url::Url),
    /// As a child process.
    Program(Arc<Program>),
}

/// What opens a legacy session.
#[derive(Debug, Clone)]
pub(crate) struct Hello {
    /// The revision asked for.
    pub(crate) version: Version,
    /// The client's capabilities, raw JSON.
    pub(crate) capabilities: String,
    /// Who the client says it is, raw JSON.
    pub(crate) client_info: String,
}

/// One message to a server, in the server's own words.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// Our number for it.
    pub(crate) id: u64,
    /// All of it.
    pub(crate) message: Bytes,
    /// Its method.
    pub(crate) method: &'static str,
    /// The name or URI for `Mcp-Name`.
    pub(crate) name: Option<HeaderValue>,
    /// Mirrored arguments.
    pub(crate) params: Vec<(HeaderName, HeaderValue)>,
}

/// An open conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    server: Arc<str>,
    version: Version,
    wire: Wire,
    ids: Arc<AtomicU64>,
    /// Its place among the server's processes, given back with the conversation.
    place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Wire {
    /// The sender is only held: with it, the owner's receiver lives as long as the conversation.
    Http {
        link: Arc<HttpLink>,
        session: Option<HeaderValue>,
        _owner: mpsc::Sender<Bytes>,
    },
    Duplex(Duplex),
}

impl Conversation {
    /// The stateless way: nothing is exchanged beforehand.
    pub(crate) async fn modern(
        server: Arc<str>,
        way: &Way,
        ids: Arc<AtomicU64>,
        uncorrelated: mpsc::Sender<Bytes>,
    ) -> Result<Self, UpstreamFailure> {
        let wire = match way {
            Way::Http(link, _) => Wire::Http {
                link: link.clone(),
                session: None,
                _owner: uncorrelated,
            },
            Way::Program(program) => {
                Wire::Duplex(start_program(program, Audience::Many, uncorrelated).await?)
            }
            Way::LegacySse(..) => {
                let reason = "it is reached over the transport of 2024-11-05".to_owned();
                return Err(UpstreamFailure::OtherEra {
                    server,
                    era: Era::Modern.as_str(),
                    reason,
                });
            }
        };
        Ok(Self {
            server,
            version: Version::NEWEST,
            wire,
            ids,
            place: None,
        })
    }

    /// Opens a legacy session and returns the server's answer to `initialize`.
    pub(crate) async fn legacy(
        server: Arc<str>,
        way: &Way,
        ids: Arc<AtomicU64>,
        hello: &Hello,
        audience: Audience,
        uncorrelated: mpsc::Sender<Bytes>,
    ) -> Result<(Self, Message), UpstreamFailure> {
        let wire = match way {
            Way::Http(link, _) => Wire::Http {
                link: link.clone(),
                session: None,
                _owner: uncorrelated,
            },
            Way::Program(program) => {
                Wire::Duplex(start_program(program, audience, uncorrelated).await?)
            }
            Way::LegacySse(link, base) => {
                Wire::Duplex(open_legacy_sse(link, base, audience, uncorrelated).await?)
            }
        };
        let mut conversation = Self {
            server,
            version: hello.version,
            wire,
            ids,
            place: None,
        };
        let answer = timeout(ASK_WAIT, conversation.initialize(hello)).await;
        let answer = answer.unwrap_or_else(|_| Err(conversation_silent(&conversation.server)));
        if answer.is_err() {
            // The server may have opened a session all the same.
            conversation.end().await;
        }
        Ok((conversation, answer?))
    }

    /// A legacy session that another process has opened; only those over HTTP are bound to no connection.
    pub(crate) fn resumed(
        server: Arc<str>,
        way: &Way,
        session: HeaderValue,
        version: Version,
        uncorrelated: mpsc::Sender<Bytes>,
    ) -> Option<Self> {
        let Way::Http(link, _) = way else {
            return None;
        };
        // No number may be used twice in one session, and the other process counted from the start (basic, "Requests").
        let [a, b, c, d] = random();
        let beyond = (u64::from(u32::from_be_bytes([a, b, c, d])) | 1) << 20;
        Some(Self {
            server,
            version,
            wire: Wire::Http {
                link: link.clone(),
                session: Some(session),
                _owner: uncorrelated,
            },
            ids: Arc::new(AtomicU64::new(beyond)),
            place: None,
        })
    }

    /// The id of the server's session, where one is said with each message.
    pub(crate) const fn session_id(&self) -> Option<&HeaderValue> {
        match &self.wire {
            Wire::Http { session, .. } => session.as_ref(),
            Wire::Duplex(_) => None,
        }
    }

    /// Takes a place among the server's processes for as long as it lives.
    pub(crate) fn with_place(mut self, place: Option<OwnedSemaphorePermit>) -> Self {
        self.place = place;
        self
    }

    async fn initialize(&mut self, hello: &Hello) -> Result<Message, UpstreamFailure> {
        let id = self.next_id();
        let params = format!(
            "{{\"protocolVersion\":\"{}\",\"capabilities\":{},\"clientInfo\":{}}}",
            hello.version.as_str(),
            hello.capabilities,
            hello.client_info
        );
        let message = json_rpc::request(&Id::number(id), "initialize", &params);
        let (session, answer) = match &self.wire {
            Wire::Http { link, .. } => link.post_with_session(Head::default(), message).await?,
            Wire::Duplex(duplex) => (
                None,
                Answer::Frames(Frames::Call(duplex.call(id, message, None).await?)),
            ),
        };
        if let Wire::Http { session: own, .. } = &mut self.wire {
            *own = session;
        }
        let answer = self.settle("initialize", id, answer).await?;
        self.version = negotiated(&answer).ok_or_else(|| UpstreamFailure::Garbage {
            server: self.server.clone(),
            reason: "`initialize` was answered without a protocol version that Marque speaks"
                .to_owned(),
        })?;
        self.notify("notifications/initialized", "{}").await?;
        Ok(answer)
    }

    /// The revision spoken.
    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    /// A number for the next request, unique at this server.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the connection behind it has ended.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.wire {
            Wire::Http { .. } => false,
            Wire::Duplex(duplex) => duplex.is_closed(),
        }
    }

    /// Whether messages outside any call were dropped since the last time this was asked.
    pub(crate) fn take_missed(&self) -> bool {
        match &self.wire {
            Wire::Http { .. } => false,
            Wire::Duplex(duplex) => duplex.take_missed(),
        }
    }

    /// Sends one request of a client.
    pub(crate) async fn call(&self, outgoing: Outgoing) -> Result<Answer, UpstreamFailure> {
        match &self.wire {
            Wire::Http { link, session, .. } => {
                let head = self.head(session.as_ref(), &outgoing);
                let answer = if outgoing.method == LISTEN {
                    link.listen(head, outgoing.message).await?
                } else {
                    link.post(head, outgoing.message).await?
                };
                match answer {
                    Answer::Failed {
                        status: SESSION_GONE,
                        ..
                    } if session.is_some() => Err(UpstreamFailure::SessionLost {
                        server: self.server.clone(),
                    }),
                    answer => Ok(answer),
                }
            }
            Wire::Duplex(duplex) => {
                // A modern client leaves by closing its stream; over a shared connection that must be said.
                let cancel = (self.version.era() == Era::Modern).then(|| cancellation(outgoing.id));
                let frames = duplex.call(outgoing.id, outgoing.message, cancel).await?;
                Ok(Answer::Frames(Frames::Call(frames)))
            }
        }
    }

    fn head(&self, session: Option<&HeaderValue>, outgoing: &Outgoing) -> Head {
        let version = Some(self.version);
        if self.version.era() == Era::Legacy {
            return Head {
                version,
                session: session.cloned(),
                ..Head::default()
            };
        }
        Head {
            version,
            session: None,
            method: Some(HeaderValue::from_static(outgoing.method)),
            name: outgoing.name.clone(),
            params: outgoing.params.clone(),
        }
    }

    /// Asks something for ourselves and waits for the result.
    pub(crate) async fn ask(
        &self,
        method: &'static str,
        params: &str,
    ) -> Result<Message, UpstreamFailure> {
        let id = self.next_id();
        let params = if self.version.era() == Era::Modern {
            modern_params(params)
        } else {
            params.to_owned()
        };
        let message = json_rpc::request(&Id::number(id), method, &params);
        let outgoing = Outgoing {
            id,
            message,
            method,
            name: None,
            params: Vec::new(),
        };
        let asked = async {
            let answer = self.call(outgoing).await?;
            self.settle(method, id, answer).await
        };
        timeout(ASK_WAIT, asked)
            .await
            .map_err(|_| conversation_silent(&self.server))?
    }

    /// Sends a notification.
    pub(crate) async fn notify(&self, method: &str, params: &str) -> Result<(), UpstreamFailure> {
        self.say(json_rpc::notification(method, params)).await
    }

    /// Sends a message that wants no answer: a notification, or an answer to the server's question.
    pub(crate) async fn say(&self, message: Bytes) -> Result<(), UpstreamFailure> {
        match &self.wire {
            Wire::Http { link, session, .. } => {
                let head = Head {
                    version: Some(self.version),
                    session: session.clone(),
                    ..Head::default()
                };
                match link.post(head, message).await? {
                    Answer::Failed { status, body } => Err(self.status(status, &body)),
                    Answer::Json(_) | Answer::Frames(_) | Answer::Accepted => Ok(()),
                }
            }
            Wire::Duplex(duplex) => duplex.send(message).await,
        }
    }

    /// Tells a legacy server that nobody waits for request `id` any more.
    pub(crate) async fn cancel(&self, id: u64) {
        if let Err(failure) = self.say(cancellation(id)).await {
            tracing::debug!(server = %self.server, %failure, "a cancellation could not be sent");
        }
    }

    /// Opens the stream on which an HTTP server of the legacy era speaks up by itself.
    ///
    /// `None` for other wires: there, such messages come to the owner anyway.
    pub(crate) async fn events(&self) -> Option<Result<Frames, UpstreamFailure>> {
        let Wire::Http { link, session, .. } = &self.wire else {
            return None;
        };
        let head = Head {
            version: Some(self.version),
            session: session.clone(),
            ..Head::default()
        };
        Some(link.events(head).await)
    }

    /// Ends a legacy session at the server, which has a bounded time to hear of it.
    pub(crate) async fn end(&self) {
        if let Wire::Http {
            link,
            session: Some(session),
            ..
        } = &self.wire
        {
            let head = Head {
                version: Some(self.version),
                session: Some(session.clone()),
                ..Head::default()
            };
            if timeout(END_WAIT, link.end(&head)).await.is_err() {
                tracing::debug!(server = %self.server, "the server did not say in time that the session is over");
            }
        }
    }
}

/// Authentication, limits and outages are not the server's word on what it was asked, whatever the body.
const fn is_outage(status: u16) -> bool {
    matches!(status, 401 | 403 | 407 | 408 | 429 | 500..)
}

fn conversation_silent(server: &Arc<str>) -> UpstreamFailure {
    let reason = format!("no answer within {} s", ASK_WAIT.as_secs());
    UpstreamFailure::NoAnswer {
        server: server.clone(),
        reason,
    }
}

/// `notifications/cancelled` for request `id`.
pub(crate) fn cancellation(id: u64) -> Bytes {
    json_rpc::notification(
        "notifications/cancelled",
        &format!("{{\"requestId\":{id}}}"),
    )
}

fn negotiated(answer: &Message) -> Option<Version> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Initialized<'a> {
        #[serde(borrow)]
        protocol_version: std::borrow::Cow<'a, str>,
    }
    let answer: Initialized<'_> = serde_json::from_str(answer.body()).ok()?;
    Version::parse(&answer.protocol_version).filter(|version| version.era() == Era::Legacy)
}

/// Our own modern requests say who we are and that nobody here can be asked anything.
pub(crate) fn modern_params(params: &str) -> String {
    let version = Version::NEWEST.as_str();
    let info = own_info();
    let meta = format!(
        "{{\"io.modelcontextprotocol/protocolVersion\":\"{version}\",\"io.modelcontextprotocol/clientInfo\":{info},\"io.modelcontextprotocol/clientCapabilities\":{{}}}}"
    );
    protocol::json::set_member(params, "_meta", &meta)
        .unwrap_or_else(|| format!("{{\"_meta\":{meta}}}"))
}

/// Who we say we are, raw JSON.
pub(crate) fn own_info() -> String {
    format!(
        "{{\"name\":\"marque\",\"version\":\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    )
}

/// A header value for a name or URI.
pub(crate) fn name_header(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&headers::encode(text)).ok()
}
