//! One tool backend: where it is, how to speak to it, how to authenticate to it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Duration, ValueSource};

/// One MCP server that Marque may call. Exactly one of `remote` and `stdio` is given.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-marque-one-of" = ["remote", "stdio"]))]
pub struct McpServerSpec {
    /// A server reached over HTTP.
    pub remote: Option<Remote>,
    /// A server started as a child process and spoken to over its standard input and output.
    pub stdio: Option<Stdio>,
    /// Which revision of MCP to speak. Default `Auto`: ask the server, modern first.
    #[serde(default)]
    pub protocol: ProtocolPin,
    /// How Marque proves itself to the server. Default: not at all.
    pub auth: Option<ServerAuth>,
    /// Headers added to every HTTP request. Names starting with `Mcp-` are refused.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// How long to wait for what.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// What a list does while this server is down. Default `Optional`: leave its part out and say so.
    #[serde(default)]
    pub failure_mode: FailureMode,
    /// Who shares a stateful session or a process. Default `PerSession`: nobody.
    #[serde(default)]
    pub isolation: Isolation,
    /// TLS towards the server. Default: the system's trusted roots.
    pub tls: Option<ServerTls>,
}

/// A server reached over HTTP.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remote {
    /// The full URL of the MCP endpoint, `http://` or `https://`.
    #[schemars(extend("format" = "marque-url"))]
    pub url: String,
    /// How HTTP is used. Default `StreamableHTTP`, falling back to `SSE` when the server answers as an old one does.
    #[serde(default)]
    pub transport: RemoteTransport,
}

/// How MCP uses HTTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum RemoteTransport {
    /// One endpoint for everything (MCP 2025-03-26 and later).
    #[default]
    StreamableHTTP,
    /// The two-endpoint transport of MCP 2024-11-05.
    SSE,
}

/// A server started as a child process.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stdio {
    /// Program and arguments, for example `[npx, -y, "@modelcontextprotocol/server-everything"]`. The word `marque` alone names the running program.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// Environment variables given to the process.
    #[serde(default)]
    #[schemars(extend("x-marque-keys" = "marque-variable"))]
    pub env: BTreeMap<String, EnvValue>,
    /// Names of variables passed on from Marque's own environment, beside the always passed `PATH HOME USER LANG LC_ALL TZ TMPDIR TERM SHELL LOGNAME`.
    #[serde(default)]
    #[schemars(extend("x-marque-items" = "marque-variable"))]
    pub pass_env: Vec<String>,
    /// Where the process starts. Relative paths start at the folder of the document. Default: that folder.
    pub working_directory: Option<String>,
}

/// The value of one environment variable: a plain text or a source.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EnvValue {
    /// Written here. Values that look like secrets are refused: name a source instead.
    Plain(String),
    /// Read from somewhere else.
    From(ValueSource),
}

/// The MCP revision spoken to a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ProtocolPin {
    /// Ask the server.
    #[default]
    Auto,
    /// The stateless revision.
    #[serde(rename = "2026-07-28")]
    V2026_07_28,
    /// The newest revision with a handshake.
    #[serde(rename = "2025-11-25")]
    V2025_11_25,
    /// An older revision with a handshake.
    #[serde(rename = "2025-06-18")]
    V2025_06_18,
    /// The first revision of Streamable HTTP.
    #[serde(rename = "2025-03-26")]
    V2025_03_26,
    /// The first published revision.
    #[serde(rename = "2024-11-05")]
    V2024_11_05,
}

/// How Marque proves itself to the server.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerAuth {
    /// Sent as `Authorization: Bearer …`.
    pub bearer: Option<ValueSource>,
}

/// One header added to every request. Exactly one of `value` and `valueFrom`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-marque-one-of" = ["value", "valueFrom"]))]
pub struct Header {
    /// The header's name.
    #[schemars(extend("format" = "marque-header"))]
    pub name: String,
    /// A plain value. Names like `Authorization` and `X-Api-Key` need `valueFrom`.
    #[schemars(extend("format" = "marque-header-value"))]
    pub value: Option<String>,
    /// A value read from somewhere else.
    pub value_from: Option<ValueSource>,
}

/// How long to wait for what. Every wait ends.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
    /// Until a connection stands or a process has started. Default `5s`.
    pub connect: Duration,
    /// From the end of the request to the first byte of the answer. Default `60s`.
    pub first_byte: Duration,
    /// Between two bytes of an answer. Default `5m`.
    pub idle: Duration,
    /// For a whole call, progress or not. Default `30m`.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(300),
            total: Duration::from_secs(1800),
        }
    }
}

/// What a list does while a server is down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum FailureMode {
    /// Its part is left out; the rest is served and marked as degraded.
    #[default]
    Optional,
    /// The list fails with an error that names the server.
    Required,
}

/// Who shares a stateful upstream session or a child process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Isolation {
    /// Every client session has its own.
    #[default]
    PerSession,
    /// All clients share one. Only for servers that keep no state per client.
    Shared,
}

/// TLS towards a server.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerTls {
    /// PEM certificates to trust instead of the system's roots.
    pub ca: Option<ValueSource>,
}
