//! From a shown name to a server and its own name for it.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use http::header::HeaderValue;
use protocol::json::{members, quote, span_of, string};
use protocol::mcp::{Era, Method, bridge, headers};
use resources::Uris;

use crate::conversation::name_header;
use crate::inventory::ListKind;
use crate::list;
use crate::refuse::Refusal;
use crate::request::{Inbound, Span, text_at};
use crate::server::Server;
use crate::table::Toolset;
use crate::task::{HeldId, Tasks};
use crate::view::View;

/// Where a request goes, and what it must say there.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) server: Arc<Server>,
    /// The era in which it is asked: the client's own where it can be.
    pub(crate) spoken: Era,
    /// The server's short name in the toolset.
    pub(crate) name: Box<str>,
    /// The same, if its URIs carry it.
    pub(crate) label: Option<Box<str>>,
    /// Spans of the message to replace, with raw JSON.
    pub(crate) own: Vec<(Range<usize>, Vec<u8>)>,
    /// `Mcp-Name` towards the server.
    pub(crate) header: Option<HeaderValue>,
    /// Whether a legacy server runs the tool only as a task.
    pub(crate) as_task: bool,
    /// The arguments mirrored into headers.
    pub(crate) params: Arc<[headers::Param]>,
}

impl Selected {
    /// The server's own URI, when it differs from the shown one.
    pub(crate) fn own_uri(&self) -> Option<String> {
        let (_, raw) = self.own.first()?;
        string(std::str::from_utf8(raw).ok()?).map(Cow::into_owned)
    }
}

/// Finds the server a request is meant for.
pub(crate) async fn select(inbound: &Inbound, method: Method) -> Result<Selected, Refusal> {
    let found = find(inbound, method);
    let is_known = match &found {
        // A URI names its server before that has said how it can be asked.
        Ok(selected) => !selected.server.is_starting(selected.spoken),
        Err(refusal) => !matches!(refusal, Refusal::Unknown { .. } | Refusal::Resource(_)),
    };
    if is_known {
        return found;
    }
    // A server that is still starting may have it: wait as a list would, then look once more.
    if list::settled(&inbound.toolset, inbound.era()).await {
        find(inbound, method)
    } else {
        found
    }
}

fn find(inbound: &Inbound, method: Method) -> Result<Selected, Refusal> {
    let view = inbound.toolset.view(inbound.era());
    let parts = &inbound.parts;
    match method {
        Method::ToolsCall => named(inbound, &view, ListKind::Tools, parts.name.as_ref()),
        Method::PromptsGet => named(inbound, &view, ListKind::Prompts, parts.name.as_ref()),
        Method::ResourcesRead | Method::Subscribe | Method::Unsubscribe => {
            resource(inbound, &view, parts.uri.as_ref())
        }
        Method::Complete => completion(inbound, &view, parts.reference.as_ref()),
        _ => task(inbound, parts.task_id.as_ref()),
    }
}

fn named(
    inbound: &Inbound,
    view: &View,
    kind: ListKind,
    name: Option<&Span>,
) -> Result<Selected, Refusal> {
    let offered = if kind == ListKind::Tools {
        view.offers.tools
    } else {
        view.offers.prompts
    };
    offered_or(offered, inbound)?;
    let (span, text) = text(inbound, name, "params.name")?;
    let what = if kind == ListKind::Tools {
        "tool"
    } else {
        "prompt"
    };
    let route = view.route(kind, &text).ok_or_else(|| Refusal::Unknown {
        what,
        name: text.into_owned(),
    })?;
    let own = route
        .own_raw
        .iter()
        .map(|own| (span.clone(), own.to_vec()))
        .collect();
    let mut selected = at(inbound, route.binding, own, route.header.clone());
    selected.params = route.params.clone();
    selected.as_task = route.as_task;
    Ok(selected)
}

fn resource(inbound: &Inbound, view: &View, uri: Option<&Span>) -> Result<Selected, Refusal> {
    offered_or(view.offers.resources, inbound)?;
    let (span, text) = text(inbound, uri, "params.uri")?;
    let found = view.resource(&inbound.toolset.bindings, &text);
    let (binding, own) = found.ok_or_else(|| Refusal::Resource(text.clone().into_owned()))?;
    let header = name_header(&own);
    let change = (own != text).then(|| (span.clone(), quote(&own).into_bytes()));
    Ok(at(inbound, binding, change.into_iter().collect(), header))
}

/// `ref/prompt` names a prompt, `ref/resource` a resource or template.
fn completion(
    inbound: &Inbound,
    view: &View,
    reference: Option<&Span>,
) -> Result<Selected, Refusal> {
    offered_or(view.offers.completions, inbound)?;
    let reference = reference.ok_or(Refusal::Params("`params.ref` is missing".into()))?;
    let found = members(inbound.raw(reference))
        .map_err(|_| Refusal::Params("`params.ref` must be an object".into()))?;
    let member = |key: &str| {
        found
            .iter()
            .find(|member| member.key == key)
            .map(|member| member.value)
    };
    let (binding, raw, own) = match (member("name"), member("uri")) {
        (Some(raw), _) => {
            let name =
                string(raw).ok_or(Refusal::Params("`params.ref.name` must be text".into()))?;
            let unknown = || Refusal::Unknown {
                what: "prompt",
                name: name.clone().into_owned(),
            };
            let route = view.route(ListKind::Prompts, &name).ok_or_else(unknown)?;
            (route.binding, raw, route.own.to_string())
        }
        (None, Some(raw)) => {
            let uri = string(raw).ok_or(Refusal::Params("`params.ref.uri` must be text".into()))?;
            let bindings = &inbound.toolset.bindings;
            let found = view
                .template(bindings, &uri)
                .or_else(|| view.resource(bindings, &uri));
            let (binding, own) =
                found.ok_or_else(|| Refusal::Resource(uri.clone().into_owned()))?;
            (binding, raw, own)
        }
        (None, None) => return Err(Refusal::Params("`params.ref` needs `name` or `uri`".into())),
    };
    let own = vec![(
        span_of(&inbound.message.bytes, raw),
        quote(&own).into_bytes(),
    )];
    Ok(at(inbound, binding, own, None))
}

fn task(inbound: &Inbound, task: Option<&Span>) -> Result<Selected, Refusal> {
    declares_tasks(inbound)?;
    let (span, text) = text(inbound, task, "params.taskId")?;
    let bindings = &inbound.toolset.bindings;
    let (label, own) = Tasks::of(&inbound.caller, &inbound.toolset)
        .own(&text)
        .ok_or_else(|| unknown_task(inbound))?;
    let binding = bindings
        .iter()
        .position(|binding| *binding.label == *label)
        .ok_or_else(|| unknown_task(inbound))?;
    let change = vec![(span.clone(), quote(&own).into_bytes())];
    Ok(at(inbound, binding, change, name_header(&own)))
}

/// The task that a request speaks of, where it is one that a process of ours holds.
pub(crate) fn held(inbound: &Inbound) -> Result<Option<HeldId>, Refusal> {
    declares_tasks(inbound)?;
    let (_, text) = text(inbound, inbound.parts.task_id.as_ref(), "params.taskId")?;
    Ok(Tasks::of(&inbound.caller, &inbound.toolset).held(&text))
}

/// The server with this short name, while the toolset has it.
pub(crate) fn holder<'t>(toolset: &'t Toolset, label: &str) -> Option<&'t Arc<Server>> {
    let mut bindings = toolset.bindings.iter();
    let binding = bindings.find(|binding| *binding.label == *label)?;
    Some(&binding.kept.server)
}

/// Foreign, forgotten and made-up ids look the same.
pub(crate) fn unknown_task(inbound: &Inbound) -> Refusal {
    let name = text_at(&inbound.message, inbound.parts.task_id.as_ref());
    Refusal::Unknown {
        what: "task",
        name: name.unwrap_or_default().into_owned(),
    }
}

/// Who did not declare the extension may not speak of tasks, nor listen to them (ext-tasks, "Protocol Errors").
pub(crate) fn declares_tasks(inbound: &Inbound) -> Result<(), Refusal> {
    if inbound.knows_tasks() {
        Ok(())
    } else {
        Err(Refusal::Extension(bridge::TASKS_EXTENSION))
    }
}

fn at(
    inbound: &Inbound,
    binding: usize,
    own: Vec<(Range<usize>, Vec<u8>)>,
    header: Option<HeaderValue>,
) -> Selected {
    let binding = &inbound.toolset.bindings[binding];
    let label = (binding.uris == Uris::Authority).then(|| binding.label.clone());
    let (server, binding_name) = (&binding.kept.server, binding.label.clone());
    Selected {
        spoken: server.era_for(inbound.era()),
        server: server.clone(),
        name: binding_name,
        label,
        own,
        header,
        as_task: false,
        params: Arc::new([]),
    }
}

/// A method works exactly when its capability is advertised.
fn offered_or(offered: bool, inbound: &Inbound) -> Result<(), Refusal> {
    if offered {
        Ok(())
    } else {
        Err(Refusal::Method(inbound.message.method.to_string()))
    }
}

fn text<'a>(
    inbound: &'a Inbound,
    span: Option<&'a Span>,
    field: &str,
) -> Result<(&'a Span, Cow<'a, str>), Refusal> {
    let span = span.ok_or_else(|| Refusal::Params(format!("`{field}` is missing").into()))?;
    let text = string(inbound.raw(span));
    let text = text.ok_or_else(|| Refusal::Params(format!("`{field}` must be text").into()))?;
    Ok((span, text))
}
