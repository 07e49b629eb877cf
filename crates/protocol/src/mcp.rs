//! The Model Context Protocol in all its revisions: versions, methods, headers and the few members we read.

pub mod bridge;
pub mod headers;
mod log_level;
mod method;
mod names;
mod uri;
mod version;
mod view;

pub use log_level::severity;
pub use method::Method;
pub use names::{NAME_BYTES_MAX, safe_name};
pub use uri::{own_uri, shown_template, shown_uri};
pub use version::{Era, Version};
pub use view::{CallParams, Meta, meta_key};
