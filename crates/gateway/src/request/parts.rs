//! Where the members of a request lie that the gateway reads; found once, used by every step.

use std::borrow::Cow;
use std::ops::Range;

use protocol::json::{span_of, string};
use protocol::json_rpc::Message;
use protocol::mcp::{CallParams, Meta};
use serde_json::value::RawValue;

use crate::refuse::Refusal;

/// A place in the message.
pub(crate) type Span = Range<usize>;

/// Where the members of `params` lie that the gateway reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    pub(crate) name: Option<Span>,
    pub(crate) uri: Option<Span>,
    pub(crate) task_id: Option<Span>,
    pub(crate) arguments: Option<Span>,
    pub(crate) cursor: Option<Span>,
    pub(crate) reference: Option<Span>,
    /// `_meta["io.modelcontextprotocol/protocolVersion"]`.
    pub(crate) version: Option<Span>,
    /// `_meta["io.modelcontextprotocol/clientCapabilities"]`.
    pub(crate) capabilities: Option<Span>,
    /// `_meta["io.modelcontextprotocol/logLevel"]`.
    pub(crate) log_level: Option<Span>,
    /// `_meta.progressToken`.
    pub(crate) progress_token: Option<Span>,
}

impl Parts {
    /// Finds them.
    ///
    /// # Errors
    /// When `params` or `_meta` is not an object, or doubles a member that is read.
    pub(crate) fn read(message: &Message) -> Result<Self, Refusal> {
        let wrong = |what: &str, error: serde_json::Error| {
            Refusal::Params(format!("`{what}`: {error}").into())
        };
        let params = CallParams::parse(message.body()).map_err(|error| wrong("params", error))?;
        let meta = params
            .meta
            .map(|meta| Meta::parse(meta.get()).map_err(|error| wrong("params._meta", error)));
        let meta = meta.transpose()?.unwrap_or_default();
        let span = |raw: Option<&RawValue>| raw.map(|raw| span_of(&message.bytes, raw.get()));
        Ok(Self {
            name: span(params.name),
            uri: span(params.uri),
            task_id: span(params.task_id),
            arguments: span(params.arguments),
            cursor: span(params.cursor),
            reference: span(params.reference),
            version: span(meta.protocol_version),
            capabilities: span(meta.client_capabilities),
            log_level: span(meta.log_level),
            progress_token: span(meta.progress_token),
        })
    }
}

/// The decoded text at a place, when it is a JSON string.
pub(crate) fn text_at<'m>(message: &'m Message, span: Option<&Span>) -> Option<Cow<'m, str>> {
    string(message.part(span?))
}
