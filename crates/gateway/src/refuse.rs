//! What the outside hears when a call is not carried: the one table of statuses, codes and texts.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use protocol::json::quote;
use protocol::json_rpc::{self, Id, Malformed, code};
use protocol::mcp::{Era, Version};

use crate::failure::UpstreamFailure;

/// Why a call is not carried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// No toolset has this path.
    #[error("no toolset is served at this path")]
    NoSuchEndpoint,
    /// The `Origin` header names a site that is not allowed.
    #[error(
        "requests from this origin are not allowed; start marque with --allowed-origin to allow it"
    )]
    Origin,
    /// The `Host` header names a host that is not ours.
    #[error(
        "this host name is not served here; name it in a Gateway listener or with --public-url"
    )]
    Host,
    /// A method other than those of MCP.
    #[error("only {0} are answered here")]
    HttpMethod(&'static str),
    /// Not JSON.
    #[error("the content type must be application/json")]
    ContentType,
    /// The client takes neither JSON nor an event stream.
    #[error("the client must accept application/json and text/event-stream")]
    Accept,
    /// The body is over its limit.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// The body did not arrive in time, or not whole.
    #[error("the body did not arrive: {0}")]
    Incomplete(String),
    /// A header that may stand once stands twice.
    #[error("header `{0}` stands more than once")]
    DoubledHeader(&'static str),
    /// The body is not a message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A modern header and the body disagree.
    #[error("header `{header}` {reason}")]
    HeaderMismatch {
        /// Which header.
        header: String,
        /// How.
        reason: Cow<'static, str>,
    },
    /// A revision that is not spoken here.
    #[error("protocol version `{0}` is not spoken here")]
    Version(String),
    /// A session is needed.
    #[error("header `Mcp-Session-Id` is missing; start with `initialize`")]
    NoSession,
    /// The session is unknown, ended, or another caller's.
    #[error("the session is unknown or has ended; start again with `initialize`")]
    UnknownSession,
    /// The event is of no stream of this session.
    #[error(
        "header `Last-Event-ID` names no event that this session knows; open a stream without it"
    )]
    UnknownEvent,
    /// Nothing follows the event.
    #[error("the stream that header `Last-Event-ID` names has ended; nothing follows")]
    StreamOver,
    /// What followed the event is not kept.
    #[error(
        "the rest of this stream is not kept any more; the call may have been carried out, its answer is lost"
    )]
    AnswerLost,
    /// No more sessions.
    #[error("{0} sessions are open already; try again later")]
    TooManySessions(usize),
    /// Whether the session lives cannot be told now.
    #[error("the session's record cannot be read at the moment; try again later")]
    NoRecord,
    /// Words of one replica to another, where only clients speak.
    #[error("header `marque-hop` is for replicas, and these do not come in here")]
    Hop,
    /// No such method, or not offered.
    #[error("method `{0}` is not offered here")]
    Method(String),
    /// Parameters are missing or wrong.
    #[error("{0}")]
    Params(Cow<'static, str>),
    /// No such tool or prompt, or not for this caller.
    #[error("unknown {what} `{name}`")]
    Unknown {
        /// `tool`, `prompt`, or `task`.
        what: &'static str,
        /// The name asked for.
        name: String,
    },
    /// No such resource.
    #[error("unknown resource `{0}`")]
    Resource(String),
    /// The client did not declare the extension this needs.
    #[error("the client did not declare the extension `{0}`, which this request needs")]
    Extension(&'static str),
    /// The caller may not come in.
    #[error("authentication is required")]
    Unauthenticated,
    /// What the caller presents proves nothing.
    #[error("the credential is not valid")]
    Credential,
    /// Whether the credential is valid cannot be told now.
    #[error("credentials cannot be checked at the moment; try again later")]
    CredentialUnknown,
    /// The caller is known, and may not.
    #[error("this caller may not use this endpoint")]
    Denied,
    /// A server that the list needs is not there.
    #[error("server `{0}` is not available, and this toolset requires it")]
    Required(String),
    /// A question of the server to the client has no answer.
    #[error("the server asked the client something and got no answer: {0}")]
    Unanswered(String),
    /// The process that kept a waiting call is gone.
    #[error(
        "the interaction was lost with the process that kept it; the call may have had an effect, so it is not repeated"
    )]
    Lost,
    /// As much as allowed is under way.
    #[error("{0}; try again later")]
    Busy(String),
    /// The client said that it no longer wants an answer.
    #[error("the request was cancelled by the client")]
    Cancelled,
    /// The server did not do it.
    #[error(transparent)]
    Upstream(#[from] UpstreamFailure),
}

impl Refusal {
    /// The HTTP status.
    pub(crate) fn status(&self, era: Era) -> StatusCode {
        match self {
            Self::NoSuchEndpoint | Self::UnknownSession => StatusCode::NOT_FOUND,
            Self::Origin | Self::Denied => StatusCode::FORBIDDEN,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            // "The server MUST either return an event stream, or else HTTP 405" (MCP 2025-11-25, basic/transports).
            Self::HttpMethod(_) | Self::StreamOver => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Accept => StatusCode::NOT_ACCEPTABLE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Unauthenticated | Self::Credential => StatusCode::UNAUTHORIZED,
            Self::CredentialUnknown => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManySessions(_) | Self::NoRecord => StatusCode::SERVICE_UNAVAILABLE,
            Self::DoubledHeader(_)
            | Self::Malformed(_)
            | Self::HeaderMismatch { .. }
            | Self::Version(_)
            | Self::NoSession
            | Self::UnknownEvent
            | Self::Hop
            | Self::Extension(_) => StatusCode::BAD_REQUEST,
            // MCP 2026-07-28, streamable-http, "Protocol Version Header": 404 with a JSON-RPC body.
            Self::Method(_) if era == Era::Modern => StatusCode::NOT_FOUND,
            Self::Params(_) if era == Era::Modern => StatusCode::BAD_REQUEST,
            Self::Cancelled => StatusCode::ACCEPTED,
            Self::Method(_)
            | Self::Params(_)
            | Self::Unknown { .. }
            | Self::Resource(_)
            | Self::Required(_)
            | Self::Unanswered(_)
            | Self::Lost
            | Self::Busy(_)
            | Self::AnswerLost
            | Self::Upstream(_) => StatusCode::OK,
        }
    }

    fn code(&self, era: Era) -> i32 {
        match self {
            Self::Malformed(Malformed::Json(_)) => code::PARSE_ERROR,
            Self::HeaderMismatch { .. } => code::HEADER_MISMATCH,
            Self::DoubledHeader(_) if era == Era::Modern => code::HEADER_MISMATCH,
            Self::Version(_) if era == Era::Modern => code::UNSUPPORTED_VERSION,
            Self::Method(_) => code::METHOD_NOT_FOUND,
            Self::Params(_) | Self::Unknown { .. } => code::INVALID_PARAMS,
            Self::Resource(_) if era == Era::Legacy => code::RESOURCE_NOT_FOUND,
            Self::Resource(_) => code::INVALID_PARAMS,
            Self::Extension(_) if era == Era::Modern => code::MISSING_CAPABILITY,
            Self::Required(_)
            | Self::AnswerLost
            | Self::Unanswered(_)
            | Self::Lost
            | Self::NoRecord
            | Self::Busy(_)
            | Self::Upstream(_) => code::INTERNAL_ERROR,
            Self::Malformed(Malformed::Message { .. })
            | Self::DoubledHeader(_)
            | Self::Version(_)
            | Self::Extension(_)
            | Self::NoSuchEndpoint
            | Self::Origin
            | Self::Host
            | Self::HttpMethod(_)
            | Self::ContentType
            | Self::Accept
            | Self::TooLarge(_)
            | Self::Incomplete(_)
            | Self::NoSession
            | Self::UnknownSession
            | Self::UnknownEvent
            | Self::StreamOver
            | Self::TooManySessions(_)
            | Self::Hop
            | Self::Unauthenticated
            | Self::Credential
            | Self::CredentialUnknown
            | Self::Denied
            | Self::Cancelled => code::INVALID_REQUEST,
        }
    }

    /// The JSON-RPC error, echoing the request's id.
    pub(crate) fn message(&self, era: Era, id: Option<&Id>) -> Bytes {
        if let Self::Upstream(failure) = self {
            tracing::warn!(%failure, "a call failed");
        }
        let known = match self {
            Self::Malformed(Malformed::Message { id, .. }) => id.as_ref(),
            _ => id,
        };
        json_rpc::error(
            known,
            self.code(era),
            &self.for_caller(),
            self.data(era).as_deref(),
        )
    }

    /// The text for the caller. The operator's text, with addresses and foreign words, is `Display`.
    fn for_caller(&self) -> String {
        match self {
            Self::Upstream(failure) => failure.for_caller(),
            refusal => refusal.to_string(),
        }
    }

    fn data(&self, era: Era) -> Option<String> {
        match self {
            Self::Version(requested) => {
                let supported: Vec<String> = supported(era)
                    .map(|version| format!("\"{}\"", version.as_str()))
                    .collect();
                Some(format!(
                    "{{\"supported\":[{}],\"requested\":{}}}",
                    supported.join(","),
                    quote(requested)
                ))
            }
            Self::Resource(uri) => Some(format!("{{\"uri\":{}}}", quote(uri))),
            Self::Extension(name) => Some(format!(
                "{{\"requiredCapabilities\":{{\"extensions\":{{{}:{{}}}}}}}}",
                quote(name)
            )),
            _ => None,
        }
    }
}

/// The revisions we speak in one era, newest first.
pub(crate) fn supported(era: Era) -> impl Iterator<Item = Version> {
    Version::ALL
        .into_iter()
        .rev()
        .filter(move |version| version.era() == era)
}
