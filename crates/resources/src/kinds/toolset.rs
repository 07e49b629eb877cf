//! A published selection of tools, prompts and resources: one MCP endpoint.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::mcp_server::{
    EnvValue, FailureMode, Header, Isolation, ProtocolPin, RemoteTransport, ServerAuth, ServerTls,
    Timeouts,
};

/// One MCP endpoint over one or more servers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolsetSpec {
    /// The listeners that serve this toolset. Default: every listener.
    #[serde(default)]
    pub parent_refs: Vec<ParentRef>,
    /// Where the endpoint is. Default `/mcp/NAME`.
    #[schemars(extend("format" = "marque-path"))]
    pub path: Option<String>,
    /// Who gets in without a policy. Omitted: `Anonymous` on loopback while no policy and no issuer is declared at all, else `Policy`.
    pub access: Option<Access>,
    /// How tools and prompts are named. Default `Prefix`: each server's prefix and renames apply.
    #[serde(default)]
    pub naming: Naming,
    /// How resource URIs are shown. Default `Authority` with several servers, `Passthrough` with one.
    pub uris: Option<Uris>,
    /// Text shown to clients as instructions. Default: the servers' own, each under its name.
    pub instructions: Option<String>,
    /// Servers declared in documents of their own, in the order in which their tools are listed.
    #[serde(default)]
    pub backend_refs: Vec<BackendRef>,
    /// Servers declared here, listed after `backendRefs`.
    #[serde(default)]
    pub servers: Vec<InlineServer>,
}

/// A listener of a `Gateway` document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentRef {
    /// The Gateway's name.
    pub name: String,
    /// The Gateway's namespace. Default: that of the toolset.
    pub namespace: Option<String>,
    /// One listener of it. Default: all of them.
    pub section_name: Option<String>,
}

/// Who gets in without a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Access {
    /// Anybody. Off loopback this also needs the flag `--allow-anonymous`.
    Anonymous,
    /// Anybody who has proved who they are.
    Authenticated,
    /// Only whom a policy allows.
    Policy,
}

/// How tools and prompts are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Naming {
    /// Prefixes and renames apply; names are made safe for hosted models (`[A-Za-z0-9_-]{1,64}`).
    #[default]
    Prefix,
    /// Names as the server gave them. For toolsets with one server.
    Passthrough,
}

/// How resource URIs are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Uris {
    /// The server's name becomes part of the URI, so that equal URIs of two servers stay apart.
    Authority,
    /// URIs as the server gave them. For toolsets with one server.
    Passthrough,
}

/// One server of a toolset, declared in its own document.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendRef {
    /// The MCPServer's name.
    pub name: String,
    /// Put before the name of every tool and prompt of this server. Default: empty.
    #[serde(default)]
    #[schemars(extend("format" = "marque-prefix"))]
    pub prefix: String,
    /// Names or globs of tools to publish. Default: all.
    #[serde(default)]
    #[schemars(extend("x-marque-items" = "marque-glob"))]
    pub include: Vec<String>,
    /// Names or globs of tools not to publish; stronger than `include`.
    #[serde(default)]
    #[schemars(extend("x-marque-items" = "marque-glob"))]
    pub exclude: Vec<String>,
    /// Changes to single tools, keyed by the server's own name for them.
    #[serde(default)]
    pub tools: BTreeMap<String, ToolOverride>,
}

/// One server of a toolset, declared in place. Exactly one of `url` and `command`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-marque-one-of" = ["url", "command"]))]
pub struct InlineServer {
    /// The server's name, unique in the toolset.
    #[schemars(extend("format" = "marque-name"))]
    pub name: String,
    /// See `MCPServer.spec.remote.url`.
    #[schemars(extend("format" = "marque-url"))]
    pub url: Option<String>,
    /// See `MCPServer.spec.remote.transport`.
    #[serde(default)]
    pub transport: RemoteTransport,
    /// See `MCPServer.spec.stdio.command`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// See `MCPServer.spec.stdio.env`.
    #[serde(default)]
    #[schemars(extend("x-marque-keys" = "marque-variable"))]
    pub env: BTreeMap<String, EnvValue>,
    /// See `MCPServer.spec.stdio.passEnv`.
    #[serde(default)]
    #[schemars(extend("x-marque-items" = "marque-variable"))]
    pub pass_env: Vec<String>,
    /// See `MCPServer.spec.stdio.workingDirectory`.
    pub working_directory: Option<String>,
    /// See `MCPServer.spec.protocol`.
    #[serde(default)]
    pub protocol: ProtocolPin,
    /// See `MCPServer.spec.auth`.
    pub auth: Option<ServerAuth>,
    /// See `MCPServer.spec.headers`.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// See `MCPServer.spec.timeouts`.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// See `MCPServer.spec.failureMode`.
    #[serde(default)]
    pub failure_mode: FailureMode,
    /// See `MCPServer.spec.isolation`.
    #[serde(default)]
    pub isolation: Isolation,
    /// See `MCPServer.spec.tls`.
    pub tls: Option<ServerTls>,
    /// Put before the name of every tool and prompt of this server. Default: empty.
    #[serde(default)]
    #[schemars(extend("format" = "marque-prefix"))]
    pub prefix: String,
    /// Names or globs of tools to publish. Default: all.
    #[serde(default)]
    #[schemars(extend("x-marque-items" = "marque-glob"))]
    pub include: Vec<String>,
    /// Names or globs of tools not to publish; stronger than `include`.
    #[serde(default)]
    #[schemars(extend("x-marque-items" = "marque-glob"))]
    pub exclude: Vec<String>,
    /// Changes to single tools, keyed by the server's own name for them.
    #[serde(default)]
    pub tools: BTreeMap<String, ToolOverride>,
}

/// What a toolset changes about one tool.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolOverride {
    /// The name shown to clients, in place of prefix and own name.
    #[schemars(extend("format" = "marque-tool"))]
    pub name: Option<String>,
    /// The description shown to clients.
    pub description: Option<String>,
    /// Annotations shown to clients, merged over the server's own.
    #[serde(default)]
    pub annotations: BTreeMap<String, serde_json::Value>,
}
