//! Borrowed looks at the few members the gateway reads.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Keys of `_meta` with a meaning of their own (MCP 2026-07-28, basic/index).
pub mod meta_key {
    /// The revision a request is written in.
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// What the client can do.
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// Who the client says it is.
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    /// Which log messages the client wants for this request.
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    /// Who the server says it is.
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    /// The listen request that a notification belongs to.
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
}

/// The members of `params` that route a request. Doubled members are refused by the parser.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CallParams<'a> {
    /// `params.name` of tools and prompts.
    #[serde(borrow)]
    pub name: Option<&'a RawValue>,
    /// `params.uri` of resources.
    #[serde(borrow)]
    pub uri: Option<&'a RawValue>,
    /// `params.taskId` of tasks.
    #[serde(borrow, rename = "taskId")]
    pub task_id: Option<&'a RawValue>,
    /// `params.arguments`.
    #[serde(borrow)]
    pub arguments: Option<&'a RawValue>,
    /// `params.cursor` of lists.
    #[serde(borrow)]
    pub cursor: Option<&'a RawValue>,
    /// `params.ref` of completion.
    #[serde(borrow, rename = "ref")]
    pub reference: Option<&'a RawValue>,
    /// `params._meta`.
    #[serde(borrow, rename = "_meta")]
    pub meta: Option<&'a RawValue>,
}

impl<'a> CallParams<'a> {
    /// Reads them.
    ///
    /// # Errors
    /// When `params` is not an object or doubles a member.
    pub fn parse(params: &'a str) -> Result<Self, serde_json::Error> {
        object(params)
    }
}

/// Reads an object; an array of the members' values, which the parser would take too, is none.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    if text.trim_start().starts_with('[') {
        return Err(serde::de::Error::custom("expected an object"));
    }
    serde_json::from_str(text)
}

/// `_meta` of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Meta<'a> {
    /// The revision a modern request is written in.
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    pub protocol_version: Option<&'a RawValue>,
    /// What a modern client can do.
    #[serde(borrow, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub client_capabilities: Option<&'a RawValue>,
    /// Which log messages a modern client wants.
    #[serde(borrow, rename = "io.modelcontextprotocol/logLevel")]
    pub log_level: Option<&'a RawValue>,
    /// Where progress is reported to.
    #[serde(borrow, rename = "progressToken")]
    pub progress_token: Option<&'a RawValue>,
}

impl<'a> Meta<'a> {
    /// Reads them.
    ///
    /// # Errors
    /// When `_meta` is not an object or doubles a member.
    pub fn parse(meta: &'a str) -> Result<Self, serde_json::Error> {
        object(meta)
    }
}
