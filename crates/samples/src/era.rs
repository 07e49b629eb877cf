//! Which revision of the protocol a request speaks, and how results are said in it.
//!
//! *Legacy* revisions agree on version and capabilities once, in `initialize`.
//! *Modern* revisions repeat them in the `_meta` of every request.

use serde_json::{Map, Value, json};

use crate::wire::Fault;

/// The revisions with a handshake, oldest first.
pub(crate) const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// The revision without one.
pub(crate) const MODERN: &str = "2026-07-28";

const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
const UNSUPPORTED_PROTOCOL_VERSION: i32 = -32022;

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    /// With `initialize`.
    Legacy,
    /// With `_meta` on every request.
    Modern,
}

/// What a request says of the client behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) era: Era,
    /// It can put a form before its user.
    pub(crate) elicits: bool,
    /// The least severe log message that it wants; none, if nothing is set.
    pub(crate) log_level: Option<LogLevel>,
}

/// The severity of a log message, as in RFC 5424; the most severe is the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogLevel(usize);

impl LogLevel {
    const NAMES: [&str; 8] = [
        "emergency",
        "alert",
        "critical",
        "error",
        "warning",
        "notice",
        "info",
        "debug",
    ];
    pub(crate) const INFO: Self = Self(6);
    pub(crate) const DEBUG: Self = Self(7);

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self.0]
    }

    /// Reads the name of a level.
    ///
    /// # Errors
    /// A [`Fault`] that lists the names.
    pub(crate) fn read(value: Option<&Value>) -> Result<Self, Fault> {
        let position = value
            .and_then(Value::as_str)
            .and_then(|name| Self::NAMES.iter().position(|known| *known == name));
        position.map(Self).ok_or_else(|| {
            let names = Self::NAMES.join(", ");
            Fault::invalid_params(format!("a log level is one of {names}"))
        })
    }
}

/// Reads the `_meta` of a modern request; `None` where the request is a legacy one.
///
/// # Errors
/// A [`Fault`] for a modern request that lacks a required field or speaks another revision.
///
/// # Spec
/// MCP 2026-07-28, basic, "`_meta`"; basic/versioning, "Protocol Version Negotiation".
pub(crate) fn modern_client(params: &Map<String, Value>) -> Result<Option<Client>, Fault> {
    let meta = params.get("_meta").and_then(Value::as_object);
    let Some((meta, version)) = meta.and_then(|meta| Some((meta, meta.get(PROTOCOL_VERSION)?)))
    else {
        return Ok(None);
    };
    let Some(version) = version.as_str() else {
        return Err(missing(PROTOCOL_VERSION, "a string"));
    };
    if version != MODERN {
        let fault = Fault::new(UNSUPPORTED_PROTOCOL_VERSION, "unsupported protocol version");
        return Err(fault.with_data(json!({"supported": [MODERN], "requested": version})));
    }
    let Some(capabilities) = meta.get(CLIENT_CAPABILITIES).and_then(Value::as_object) else {
        return Err(missing(CLIENT_CAPABILITIES, "an object"));
    };
    let log_level = match meta.get(LOG_LEVEL) {
        None => None,
        level => Some(LogLevel::read(level)?),
    };
    Ok(Some(Client {
        era: Era::Modern,
        elicits: elicits(capabilities),
        log_level,
    }))
}

/// The refusal of a request that is neither modern nor preceded by `initialize`.
pub(crate) fn no_era() -> Fault {
    let message = format!(
        "send {PROTOCOL_VERSION} and {CLIENT_CAPABILITIES} in params._meta, or initialize first"
    );
    Fault::invalid_params(message)
}

fn missing(field: &str, kind: &str) -> Fault {
    Fault::invalid_params(format!("params._meta[\"{field}\"] must be {kind}"))
}

/// Reads the parameters of `initialize`: the revision to speak, and who the client is.
///
/// # Errors
/// A [`Fault`] when the client names no revision.
///
/// # Spec
/// MCP 2025-11-25, basic/lifecycle, "Version Negotiation": an unknown revision is answered with
/// the latest that the server speaks.
pub(crate) fn legacy_client(params: &Map<String, Value>) -> Result<(&'static str, Client), Fault> {
    let Some(requested) = params.get("protocolVersion").and_then(Value::as_str) else {
        let message = "params.protocolVersion must be a string";
        return Err(Fault::invalid_params(message));
    };
    let known = LEGACY.iter().find(|version| **version == requested);
    let version = known.copied().unwrap_or(LEGACY[LEGACY.len() - 1]);
    let capabilities = params.get("capabilities").and_then(Value::as_object);
    let client = Client {
        era: Era::Legacy,
        elicits: capabilities.is_some_and(elicits),
        log_level: None,
    };
    Ok((version, client))
}

/// An empty `elicitation` means forms, as before URLs could be asked for.
fn elicits(capabilities: &Map<String, Value>) -> bool {
    let elicitation = capabilities.get("elicitation").and_then(Value::as_object);
    elicitation.is_some_and(|modes| modes.is_empty() || modes.contains_key("form"))
}

/// Who a server is and what it can do.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Guidance for the model.
    pub(crate) instructions: &'static str,
    pub(crate) capabilities: Value,
}

/// For how long a result may be kept, and by whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    pub(crate) ttl_ms: u32,
    /// `public` or `private`.
    pub(crate) scope: &'static str,
}

/// Answers `initialize`.
pub(crate) fn initialized(about: &About, version: &str) -> Value {
    json!({
        "protocolVersion": version,
        "capabilities": about.capabilities,
        "serverInfo": server_info(about),
        "instructions": about.instructions,
    })
}

/// Answers `server/discover`.
pub(crate) fn discovered(about: &About) -> Value {
    json!({
        "supportedVersions": [MODERN],
        "capabilities": about.capabilities,
        "instructions": about.instructions,
    })
}

/// Adds what a modern result must say beyond what a legacy one says.
///
/// # Spec
/// MCP 2026-07-28, server/utilities/caching, "Cacheable Results"; basic, "`_meta`".
pub(crate) fn finish(
    result: &mut Value,
    client: Client,
    about: &About,
    freshness: Option<Freshness>,
) {
    if client.era == Era::Legacy {
        return;
    }
    let Some(result) = result.as_object_mut() else {
        return;
    };
    if !result.contains_key("resultType") {
        result.insert("resultType".into(), "complete".into());
        if let Some(freshness) = freshness {
            result.insert("ttlMs".into(), freshness.ttl_ms.into());
            result.insert("cacheScope".into(), freshness.scope.into());
        }
    }
    let meta = result.entry("_meta").or_insert_with(|| json!({}));
    meta[SERVER_INFO] = server_info(about);
}

fn server_info(about: &About) -> Value {
    json!({"name": about.name, "title": about.title, "version": env!("CARGO_PKG_VERSION")})
}
