//! Borrowed looks at the few members the gateway reads.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::string;

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
    /// `params.task` of the experimental tasks of 2025-11-25.
    #[serde(borrow)]
    pub task: Option<&'a RawValue>,
    /// `params.inputResponses` of a modern retry.
    #[serde(borrow, rename = "inputResponses")]
    pub input_responses: Option<&'a RawValue>,
}

impl<'a> CallParams<'a> {
    /// Reads them.
    ///
    /// # Errors
    /// When `params` is not an object or doubles a member.
    pub fn parse(params: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(params)
    }
}

/// A name in two forms: decoded, and raw where it stands.
#[derive(Debug, Clone)]
pub struct Name<'a> {
    /// The decoded text.
    pub text: Cow<'a, str>,
    /// The JSON string as it came.
    pub raw: &'a str,
}

impl<'a> Name<'a> {
    /// The name in a JSON string.
    #[must_use]
    pub fn from_raw(raw: &'a RawValue) -> Option<Self> {
        string(raw.get()).map(|text| Self {
            text,
            raw: raw.get(),
        })
    }
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
    /// Who a modern client says it is.
    #[serde(borrow, rename = "io.modelcontextprotocol/clientInfo")]
    pub client_info: Option<&'a RawValue>,
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
        serde_json::from_str(meta)
    }
}

/// Who a client or server says it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Implementation {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its name for people.
    pub title: Option<String>,
}
