//! Merged lists: complete, stable, and never held up by one slow server.

use std::time::Duration;

use auth::Purpose;
use futures_util::future::join_all;
use protocol::json::string;
use protocol::mcp::{Era, Method};
use tokio::time::timeout_at;

use crate::inventory::ListKind;
use crate::refuse::Refusal;
use crate::reply::Reply;
use crate::request::Inbound;
use crate::table::Toolset;
use crate::view::{Lack, Page, Text, View};

/// How long after its start a server whose first attempt is still under way is waited for.
const START_WAIT: Duration = Duration::from_secs(8);

/// One page of a merged list.
pub(crate) async fn page(inbound: &Inbound, method: Method) -> Result<Reply, Refusal> {
    let era = inbound.era();
    settled(&inbound.toolset, era).await;
    // Counted before the view is looked at: at worst, the client is told what it knows.
    let epochs = inbound.toolset.changes.now(era);
    let view = inbound.toolset.view(era);
    let kind = match method {
        Method::ToolsList => ListKind::Tools,
        Method::PromptsList => ListKind::Prompts,
        Method::ResourcesList => ListKind::Resources,
        _ => ListKind::Templates,
    };
    if let Some(missing) = view.degraded.iter().find(|part| part.is_missed()) {
        return Err(Refusal::Required(missing.server.to_string()));
    }
    if !offered(&view, kind) {
        return Err(Refusal::Method(inbound.message.method.to_string()));
    }
    let cursor = match inbound.parts.cursor.as_ref().map(|span| inbound.raw(span)) {
        // Python's SDK sends `"cursor": null` for none.
        Some(raw) if raw != "null" => {
            Some(string(raw).ok_or(Refusal::Params("`params.cursor` must be text".into()))?)
        }
        Some(_) | None => None,
    };
    let (caller, toolset) = (&inbound.caller, &inbound.toolset);
    let unknown = || {
        Refusal::Params(
            "the cursor is unknown or the list has changed; list again from the start".into(),
        )
    };
    let position = cursor.map(|cursor| {
        let handles = &toolset.handles;
        let opened = handles.open(Purpose::Cursor, caller, &toolset.name, cursor.as_bytes());
        opened.map_err(|_| unknown())
    });
    match view.pages(kind).page(position.transpose()?.as_deref()) {
        Page::Found(result) => {
            if let Some(session) = inbound.session() {
                session.has_listed(kind, epochs);
            }
            Ok(framed(inbound, result))
        }
        Page::Unknown => Err(unknown()),
    }
}

/// The page between the parts of its envelope; the page itself is not copied.
fn framed(inbound: &Inbound, page: &Text) -> Reply {
    let id = inbound
        .message
        .id()
        .map(|id| String::from_utf8_lossy(id.raw()))
        .unwrap_or_default();
    let before = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":");
    let toolset = &inbound.toolset;
    let next = page.next.map_or_else(String::new, |next| {
        let sealed =
            toolset
                .handles
                .seal_same(Purpose::Cursor, &inbound.caller, &toolset.name, &next);
        format!(",\"nextCursor\":\"{sealed}\"")
    });
    let tail = String::from_utf8_lossy(&page.tail);
    let after = format!("{next}{tail}}}");
    Reply::Parts([before.into(), page.head.clone(), after.into()])
}

/// Waits a bounded time for first attempts; says whether anything was waited for.
pub(crate) async fn settled(toolset: &Toolset, era: Era) -> bool {
    if !toolset
        .view(era)
        .degraded
        .iter()
        .any(|part| part.state == Lack::Starting)
    {
        return false;
    }
    let starting = toolset
        .bindings
        .iter()
        .map(|binding| &binding.kept.server)
        .map(|server| timeout_at(server.born + START_WAIT, server.settled(era)));
    drop(join_all(starting).await);
    // The refresh that follows a start is asynchronous; what is known now is merged here.
    toolset.refresh();
    true
}

fn offered(view: &View, kind: ListKind) -> bool {
    match kind {
        ListKind::Tools => view.offers.tools,
        ListKind::Prompts => view.offers.prompts,
        ListKind::Resources | ListKind::Templates => view.offers.resources,
    }
}
