//! How the client speaks: what goes with every message besides the message.

use http::{HeaderMap, HeaderName, HeaderValue};
use protocol::mcp::{Version, headers};
use serde_json::{Value, json};

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static(headers::PROTOCOL_VERSION);
const SESSION_ID: HeaderName = HeaderName::from_static(headers::SESSION_ID);
const METHOD: HeaderName = HeaderName::from_static(headers::METHOD);
const NAME: HeaderName = HeaderName::from_static(headers::NAME);

/// How the client speaks.
#[derive(Debug)]
pub(super) enum Speech {
    /// Revision 2026-07-28.
    Modern,
    /// The handshake of the legacy era is under way.
    Opening,
    /// The handshake is done.
    Legacy {
        version: Version,
        session: Option<HeaderValue>,
    },
}

impl Speech {
    /// The headers of a message.
    pub(super) fn headers(&self, method: &str, params: &Value) -> HeaderMap {
        match self {
            Self::Opening => HeaderMap::new(),
            Self::Legacy { version, session } => {
                let version = HeaderValue::from_static(version.as_str());
                let session = session.clone().map(|session| (SESSION_ID, session));
                let headers = [(PROTOCOL_VERSION, version)].into_iter();
                headers.chain(session).collect()
            }
            Self::Modern => mirrored(method, params),
        }
    }

    /// Adds what a modern request says of its client.
    ///
    /// # Spec
    /// MCP 2026-07-28, basic, "Per-request protocol fields".
    pub(super) fn add_meta(&self, params: &mut Value, capabilities: &Value, log_level: &str) {
        if matches!(self, Self::Modern) {
            let meta = &mut params["_meta"];
            meta["io.modelcontextprotocol/protocolVersion"] = Version::NEWEST.as_str().into();
            meta["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
            meta["io.modelcontextprotocol/clientInfo"] = client_info();
            meta["io.modelcontextprotocol/logLevel"] = log_level.into();
        }
    }
}

/// # Spec
/// MCP 2026-07-28, basic/transports/streamable-http, "Standard Request Headers".
fn mirrored(method: &str, params: &Value) -> HeaderMap {
    let name = match method {
        "tools/call" | "prompts/get" => params["name"].as_str(),
        "resources/read" => params["uri"].as_str(),
        _ => None,
    };
    let version = Version::NEWEST.as_str();
    let values = [
        (PROTOCOL_VERSION, Some(version)),
        (METHOD, Some(method)),
        (NAME, name),
    ];
    let encoded = |(name, value): (HeaderName, Option<&str>)| {
        let value = HeaderValue::from_str(&headers::encode(value?)).ok()?;
        Some((name, value))
    };
    values.into_iter().filter_map(encoded).collect()
}

/// Who the client is.
pub(super) fn client_info() -> Value {
    json!({"name": "marque", "version": env!("CARGO_PKG_VERSION")})
}
