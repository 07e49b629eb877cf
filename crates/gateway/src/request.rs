//! One message of a client, read and checked: which toolset, which era, whose.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use protocol::json_rpc::Message;
use protocol::mcp::{CallParams, Era, Meta, Method, Version, headers};

use crate::identify::Caller;
use crate::refuse::Refusal;
use crate::session::Session;
use crate::table::Toolset;

/// One message of a client.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// The endpoint it came to.
    pub(crate) toolset: Arc<Toolset>,
    /// Whose it is.
    pub(crate) caller: Caller,
    /// The message.
    pub(crate) message: Message,
    /// The conversation it belongs to.
    pub(crate) standing: Standing,
    /// Modern: headers that mirror arguments, as they came.
    pub(crate) mirrored: Vec<(HeaderName, HeaderValue)>,
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

    /// The members of `params` that route it.
    pub(crate) fn params(&self) -> Result<CallParams<'_>, Refusal> {
        CallParams::parse(self.message.body())
            .map_err(|error| Refusal::Params(format!("`params`: {error}").into()))
    }
}

/// The era a message is written in (MCP 2026-07-28, basic/versioning, "Dual-era servers").
///
/// A modern version header or modern `_meta` makes it modern, malformed ones included; everything else is legacy.
pub(crate) fn era(message: &Message, version: Option<&HeaderValue>) -> Era {
    let named = version.map(|version| version.to_str().ok().and_then(|text| Version::parse(text.trim())));
    let opens = &*message.method == Method::Initialize.as_str();
    match named {
        Some(Some(version)) => return version.era(),
        // A client may announce in `initialize` a version we have never heard of.
        Some(None) if !opens => return Era::Modern,
        Some(None) | None => {}
    }
    let body = message.body().as_bytes();
    let marked = memchr::memmem::find(body, b"io.modelcontextprotocol/protocolVersion").is_some();
    if marked && meta(message).is_ok_and(|meta| meta.is_some_and(|meta| meta.protocol_version.is_some())) {
        return Era::Modern;
    }
    if &*message.method == Method::Discover.as_str() { Era::Modern } else { Era::Legacy }
}

fn meta(message: &Message) -> Result<Option<Meta<'_>>, Refusal> {
    let wrong =
        |error: serde_json::Error| Refusal::Params(format!("`params._meta`: {error}").into());
    let params = CallParams::parse(message.body()).map_err(wrong)?;
    params
        .meta
        .map(|meta| Meta::parse(meta.get()).map_err(wrong))
        .transpose()
}

/// The ladder every modern request climbs (streamable-http, "Server Validation"): headers, then `_meta`, then version, then mirrors.
pub(crate) fn check_modern(message: &Message, headers: &HeaderMap) -> Result<(), Refusal> {
    let version = once(headers, headers::PROTOCOL_VERSION)?;
    let method = once(headers, headers::METHOD)?;
    let name = once(headers, headers::NAME)?;
    if message.id().is_none() {
        // "header requirements for notification POSTs are not defined by this revision".
        return Ok(());
    }
    let params = CallParams::parse(message.body())
        .map_err(|error| Refusal::Params(format!("`params`: {error}").into()))?;
    let meta = meta(message)?.unwrap_or_default();
    let declared = match meta.protocol_version {
        Some(raw) => protocol::json::string(raw.get()).ok_or(Refusal::Params(
            "`_meta[\"io.modelcontextprotocol/protocolVersion\"]` must be text".into(),
        ))?,
        None => {
            return Err(Refusal::Params(
                "`_meta[\"io.modelcontextprotocol/protocolVersion\"]` is missing".into(),
            ));
        }
    };
    mirrors(headers::PROTOCOL_VERSION, version, &declared)?;
    if Version::parse(&declared).is_none_or(|version| version.era() != Era::Modern) {
        return Err(Refusal::Version(declared.into_owned()));
    }
    if meta
        .client_capabilities
        .is_none_or(|raw| !raw.get().starts_with('{'))
    {
        return Err(Refusal::Params(
            "`_meta[\"io.modelcontextprotocol/clientCapabilities\"]` must be an object".into(),
        ));
    }
    mirrors(headers::METHOD, method, &message.method)?;
    match named(&message.method, &params) {
        Some(expected) => mirrors(headers::NAME, name, &expected),
        None => Ok(()),
    }
}

/// The modern checks that have no headers to look at: over stdio.
pub(crate) fn check_modern_body(message: &Message) -> Result<(), Refusal> {
    if message.id().is_none() {
        return Ok(());
    }
    let meta = meta(message)?.unwrap_or_default();
    let version = meta
        .protocol_version
        .and_then(|raw| protocol::json::string(raw.get()));
    let version = version.ok_or(Refusal::Params(
        "`_meta[\"io.modelcontextprotocol/protocolVersion\"]` is missing".into(),
    ))?;
    if Version::parse(&version).is_none_or(|version| version.era() != Era::Modern) {
        return Err(Refusal::Version(version.into_owned()));
    }
    if meta
        .client_capabilities
        .is_none_or(|raw| !raw.get().starts_with('{'))
    {
        return Err(Refusal::Params(
            "`_meta[\"io.modelcontextprotocol/clientCapabilities\"]` must be an object".into(),
        ));
    }
    Ok(())
}

/// What `Mcp-Name` must say, for the methods that have it.
fn named<'a>(method: &str, params: &CallParams<'a>) -> Option<std::borrow::Cow<'a, str>> {
    let raw = match Method::parse(method, Era::Modern)? {
        Method::ToolsCall | Method::PromptsGet => params.name,
        Method::ResourcesRead => params.uri,
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => params.task_id,
        _ => None,
    };
    protocol::json::string(raw?.get())
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
