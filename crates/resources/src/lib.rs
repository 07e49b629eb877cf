//! What people declare: the kinds, their documents, their findings.
//!
//! Invariants: no I/O, no environment, no clock; text and values come in as arguments.
//! Every rejected field becomes one [`Finding`] with file, line, column and path.
//! A [`ResourceSet`] exists only when nothing in it is an error, and a [`Secret`] can be neither printed nor serialized.
//!
//! Start reading at [`set`], then [`document`] for how text becomes documents.

pub mod set;

pub mod build;
pub mod document;
pub mod finding;
pub mod kinds;
pub mod listener;
mod mcp_json;
pub mod reference;
pub mod schema;
pub mod selection;
pub mod value;

mod conform;
mod duration;
mod format;
mod literal;
mod name;
mod nearest;
mod node;
mod secret;
mod yaml;

pub use build::{Built, build, wanted};
pub use document::{Document, Parsed, parse};
pub use duration::Duration;
pub use finding::{Finding, Origin, Severity};
pub use kinds::Kind;
pub use kinds::gateway::GatewaySpec;
pub use kinds::mcp_server::{
    EnvValue, FailureMode, Header, Isolation, McpServerSpec, ProtocolPin, Remote, RemoteTransport,
    ServerAuth, ServerTls, Stdio, Timeouts,
};
pub use kinds::toolset::{
    Access, BackendRef, InlineServer, Naming, ParentRef, ToolOverride, ToolsetSpec, Uris,
};
pub use listener::{Certificate, Listener, ListenerTls};
pub use name::Name;
pub use reference::{ResourceId, ServerId};
pub use secret::Secret;
pub use selection::{Filter, Selection};
pub use set::{Backend, Gateway, ResourceSet, Server, Toolset};
pub use value::{KeyRef, ValueSource, Values, Wanted};
