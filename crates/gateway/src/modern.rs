//! What a modern client says to the gateway itself: discovery, and streams of change notices.

mod listen;

use protocol::json::quote;
use protocol::json_rpc;
use protocol::mcp::Era;

use crate::conversation::own_info;
use crate::list;
use crate::refuse::{Refusal, supported};
use crate::reply::Reply;
use crate::request::Inbound;

pub(crate) use listen::listen;

/// Tells what this toolset is and can (MCP 2026-07-28, server/discover).
pub(crate) async fn discover(inbound: &Inbound) -> Result<Reply, Refusal> {
    list::settled(&inbound.toolset, Era::Modern).await;
    let view = inbound.toolset.view(Era::Modern);
    let versions: Vec<String> = supported(Era::Modern)
        .map(|version| quote(version.as_str()))
        .collect();
    let instructions = view
        .instructions
        .as_deref()
        .map(|text| format!(",\"instructions\":{}", quote(text)))
        .unwrap_or_default();
    let result = format!(
        "{{\"supportedVersions\":[{}],\"capabilities\":{},\"resultType\":\"complete\",{}{instructions},\"_meta\":{{\"io.modelcontextprotocol/serverInfo\":{}}}}}",
        versions.join(","),
        view.capabilities,
        view.cache_hints,
        own_info(),
    );
    let id = inbound
        .message
        .id()
        .ok_or(Refusal::Params("a request needs an id".into()))?;
    Ok(Reply::message(json_rpc::result(id, result.as_bytes())))
}
