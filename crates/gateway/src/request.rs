//! One message of a client, read and checked: which toolset, which era, whose.

mod parts;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use protocol::json_rpc::Message;
use protocol::mcp::{Era, Method, Version, bridge, headers, severity};

use crate::identify::Caller;
use crate::refuse::Refusal;
use crate::session::Session;
use crate::table::Toolset;

pub(crate) use parts::{Parts, Span, text_at};

/// One message of a client.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// The endpoint it came to.
    pub(crate) toolset: Arc<Toolset>,
    /// Whose it is.
    pub(crate) caller: Caller,
    /// The message.
    pub(crate) message: Message,
    /// Where the members lie that are read.
    pub(crate) parts: Parts,
    /// The conversation it belongs to.
    pub(crate) standing: Standing,
    /// Modern: headers that mirror arguments, as they came; none where the wire has no headers.
    pub(crate) mirrored: Option<Vec<(HeaderName, HeaderValue)>>,
}

/// The conversation a message belongs to.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// It speaks for itself.
    Modern,
    /// It belongs to a session.
    Legacy(Arc<Session>),
    /// It opens one.
    Opening,
}

impl Inbound {
    /// The era it is written in.
    pub(crate) const fn era(&self) -> Era {
        match self.standing {
            Standing::Modern => Era::Modern,
            Standing::Legacy(_) | Standing::Opening => Era::Legacy,
        }
    }

    /// The legacy session, if there is one.
    pub(crate) const fn session(&self) -> Option<&Arc<Session>> {
        match &self.standing {
            Standing::Legacy(session) => Some(session),
            Standing::Modern | Standing::Opening => None,
        }
    }

    /// Where the client wants progress reported to, raw.
    pub(crate) fn progress_token(&self) -> Option<Bytes> {
        let span = self.parts.progress_token.clone()?;
        Some(self.message.bytes.slice(span))
    }

    /// Modern: the lowest log level the client wants.
    pub(crate) fn wanted_level(&self) -> Option<u8> {
        severity(&text_at(&self.message, self.parts.log_level.as_ref())?)
    }

    /// Whether the client declared the extension of tasks.
    pub(crate) fn knows_tasks(&self) -> bool {
        let declared = self.parts.capabilities.as_ref();
        declared.is_some_and(|span| bridge::declares_tasks(self.raw(span)))
    }

    /// The raw JSON at a place of the message.
    pub(crate) fn raw(&self, span: &Span) -> &str {
        self.message.part(span)
    }
}

/// The era a message is written in (MCP 2026-07-28, basic/versioning, "Dual-era servers").
///
/// A modern version header or modern `_meta` makes it modern, malformed ones included; everything else is legacy.
pub(crate) fn era(message: &Message, version: Option<&HeaderValue>) -> Era {
    let named = version.map(|version| {
        version
            .to_str()
            .ok()
            .and_then(|text| Version::parse(text.trim()))
    });
    let opens = &*message.method == Method::Initialize.as_str();
    match named {
        Some(Some(version)) => return version.era(),
        // A client may announce in `initialize` a version we have never heard of.
        Some(None) if !opens => return Era::Modern,
        Some(None) | None => {}
    }
    let body = message.body().as_bytes();
    let marked = memchr::memmem::find(body, b"io.modelcontextprotocol/protocolVersion").is_some();
    if marked && Parts::read(message).is_ok_and(|parts| parts.version.is_some()) {
        return Era::Modern;
    }
    if &*message.method == Method::Discover.as_str() {
        Era::Modern
    } else {
        Era::Legacy
    }
}

/// The ladder every modern request climbs (streamable-http, "Server Validation"): headers, then `_meta`, then version, then mirrors.
pub(crate) fn check_modern(
    message: &Message,
    parts: &Parts,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let version = once(headers, headers::PROTOCOL_VERSION)?;
    let method = once(headers, headers::METHOD)?;
    let name = once(headers, headers::NAME)?;
    if message.id().is_none() {
        // "header requirements for notification POSTs are not defined by this revision".
        return Ok(());
    }
    mirrors(
        headers::PROTOCOL_VERSION,
        version,
        &declared_version(message, parts)?,
    )?;
    check_modern_body(message, parts)?;
    mirrors(headers::METHOD, method, &message.method)?;
    match named(message, parts) {
        Some(expected) => mirrors(headers::NAME, name, &expected),
        None => Ok(()),
    }
}

/// The modern checks that have no headers to look at: all there are over stdio.
pub(crate) fn check_modern_body(message: &Message, parts: &Parts) -> Result<(), Refusal> {
    if message.id().is_none() {
        return Ok(());
    }
    let declared = declared_version(message, parts)?;
    if Version::parse(&declared).is_none_or(|version| version.era() != Era::Modern) {
        return Err(Refusal::Version(declared.into_owned()));
    }
    if parts
        .capabilities
        .as_ref()
        .is_none_or(|span| !message.part(span).starts_with('{'))
    {
        return Err(Refusal::Params(
            "`_meta[\"io.modelcontextprotocol/clientCapabilities\"]` must be an object".into(),
        ));
    }
    Ok(())
}

fn declared_version<'m>(message: &'m Message, parts: &Parts) -> Result<Cow<'m, str>, Refusal> {
    text_at(message, parts.version.as_ref()).ok_or(Refusal::Params(
        "`_meta[\"io.modelcontextprotocol/protocolVersion\"]` is missing or no text".into(),
    ))
}

/// What `Mcp-Name` must say, for the methods that have it.
fn named<'m>(message: &'m Message, parts: &Parts) -> Option<Cow<'m, str>> {
    let span = match Method::parse(&message.method, Era::Modern)? {
        Method::ToolsCall | Method::PromptsGet => parts.name.as_ref(),
        Method::ResourcesRead => parts.uri.as_ref(),
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => parts.task_id.as_ref(),
        _ => None,
    };
    text_at(message, span)
}

/// The header must be there, be decodable, and say what the body says.
fn mirrors(
    header: &'static str,
    value: Option<&HeaderValue>,
    expected: &str,
) -> Result<(), Refusal> {
    let wrong = |reason: &'static str| Refusal::HeaderMismatch {
        header: header.to_owned(),
        reason: reason.into(),
    };
    let value = value.ok_or_else(|| wrong("is missing"))?;
    let said = headers::decode(value.as_bytes())
        .ok_or_else(|| wrong("holds bytes or an encoding that may not stand there"))?;
    if said == expected {
        Ok(())
    } else {
        Err(wrong("says something else than the body"))
    }
}

/// A header that may stand at most once; two would be read differently by different hops.
pub(crate) fn once<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refusal::DoubledHeader(name));
    }
    Ok(first)
}

/// The `Mcp-Param-*` headers of a request.
pub(crate) fn mirrored(headers: &HeaderMap) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
    let mut found: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, value) in headers {
        if name.as_str().starts_with(headers::PARAM_PREFIX) {
            let mismatch = |reason: &'static str| Refusal::HeaderMismatch {
                header: name.as_str().to_owned(),
                reason: reason.into(),
            };
            if found.iter().any(|(known, _)| known == name) {
                return Err(mismatch("stands more than once"));
            }
            if found.len() >= headers::PARAMS_MAX || value.len() > headers::VALUE_BYTES_MAX {
                return Err(mismatch("is one too many, or too long"));
            }
            found.push((name.clone(), value.clone()));
        }
    }
    Ok(found)
}
