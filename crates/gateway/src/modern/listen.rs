//! `subscriptions/listen`: one stream of change notices to a client, from as many servers as it concerns.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use protocol::json::{elements, members, quote, set_member, string};
use protocol::json_rpc::{self, Id, Message};
use protocol::mcp::Era;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::conversation::{Conversation, Outgoing, modern_params};
use crate::gateway::Gateway;
use crate::list;
use crate::refuse::Refusal;
use crate::reply::Reply;
use crate::request::Inbound;
use crate::server::Server;
use crate::table::Epochs;
use crate::upstream::{Answer, Frames};

/// Resources one stream may follow.
const RESOURCES_MAX: usize = 1000;
/// Notices waiting to be read by the client.
const NOTICES_MAX: usize = 64;
/// How long to wait before a server's broken stream is opened again.
const REOPEN_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Debug, Default)]
struct Filter {
    tools: bool,
    prompts: bool,
    resources: bool,
    /// Shown URIs.
    uris: Vec<String>,
    /// Shown task ids.
    tasks: Vec<String>,
}

/// Opens the stream. Its first message says what is honored; nothing comes before it.
pub(crate) async fn listen(gateway: &Arc<Gateway>, inbound: Inbound) -> Result<Reply, Refusal> {
    let id = inbound
        .message
        .id()
        .cloned()
        .ok_or(Refusal::Params("a request needs an id".into()))?;
    let asked = filter(inbound.message.body())?;
    // What a server that is still starting has can be followed as well.
    list::settled(&inbound.toolset, Era::Modern).await;
    let offers = inbound.toolset.view(Era::Modern).offers;
    let mut honored = Filter {
        tools: asked.tools && offers.tools,
        prompts: asked.prompts && offers.prompts,
        resources: asked.resources && offers.resources,
        ..Filter::default()
    };
    let (notices, incoming) = mpsc::channel(NOTICES_MAX);
    let mut tasks = JoinSet::new();
    for (binding, wanted) in by_server(&inbound, &asked) {
        let binding = &inbound.toolset.bindings[binding];
        let Some(frames) = open(&binding.kept.server, &wanted).await else {
            continue;
        };
        honored
            .uris
            .extend(wanted.uris.iter().map(|(shown, _)| shown.clone()));
        honored
            .tasks
            .extend(wanted.tasks.iter().map(|(shown, _)| shown.clone()));
        tasks.spawn(follow(
            binding.kept.server.clone(),
            wanted,
            frames,
            id.clone(),
            notices.clone(),
        ));
    }
    let changes = inbound.toolset.changes.subscribe(Era::Modern);
    let seen = *changes.borrow();
    let stream = Listening {
        seen,
        changes,
        incoming,
        _notices: notices,
        _tasks: tasks,
        closing: gateway.closing(),
        ready: vec![acknowledged(&id, &honored)],
        filter: honored,
        id,
        over: false,
    };
    Ok(Reply::Stream(Box::pin(stream::unfold(
        stream,
        Listening::next,
    ))))
}

fn filter(params: &str) -> Result<Filter, Refusal> {
    let wrong = |reason: &'static str| Refusal::Params(reason.into());
    let found = members(params).map_err(|_| wrong("`params` must be an object"))?;
    let asked = found.iter().find(|member| member.key == "notifications");
    let asked = asked
        .ok_or_else(|| wrong("`params.notifications` is missing"))?
        .value;
    let mut filter = Filter::default();
    for member in members(asked).map_err(|_| wrong("`params.notifications` must be an object"))? {
        match member.key.as_ref() {
            "toolsListChanged" => filter.tools = member.value == "true",
            "promptsListChanged" => filter.prompts = member.value == "true",
            "resourcesListChanged" => filter.resources = member.value == "true",
            "resourceSubscriptions" => filter.uris = texts(member.value)?,
            "taskIds" => filter.tasks = texts(member.value)?,
            _ => {}
        }
    }
    Ok(filter)
}

fn texts(array: &str) -> Result<Vec<String>, Refusal> {
    let items = elements(array).map_err(|_| {
        Refusal::Params("`resourceSubscriptions` and `taskIds` must be arrays of text".into())
    })?;
    if items.len() > RESOURCES_MAX {
        return Err(Refusal::Params(
            format!("one stream follows at most {RESOURCES_MAX} resources and tasks").into(),
        ));
    }
    let text = |item: &str| string(item).map(std::borrow::Cow::into_owned);
    items
        .into_iter()
        .map(|item| text(item).ok_or(Refusal::Params("only text names a resource or task".into())))
        .collect()
}

/// What one server is asked for: shown names beside its own.
#[derive(Debug, Default)]
struct Wanted {
    uris: Vec<(String, String)>,
    tasks: Vec<(String, String)>,
}

fn by_server(inbound: &Inbound, asked: &Filter) -> BTreeMap<usize, Wanted> {
    let view = inbound.toolset.view(Era::Modern);
    let bindings = &inbound.toolset.bindings;
    let mut servers: BTreeMap<usize, Wanted> = BTreeMap::new();
    for shown in asked.uris.iter().filter(|_| view.offers.subscribe) {
        if let Some((binding, own)) = view.resource(bindings, shown) {
            servers
                .entry(binding)
                .or_default()
                .uris
                .push((shown.clone(), own));
        }
    }
    for shown in asked.tasks.iter().filter(|_| view.offers.tasks) {
        let named = crate::exchange::own_task(shown).and_then(|(label, own)| {
            Some((
                bindings
                    .iter()
                    .position(|binding| *binding.label == *label)?,
                own,
            ))
        });
        let found = match bindings.as_slice() {
            [only] if only.uris == resources::Uris::Passthrough => Some((0, shown.as_str())),
            _ => named,
        };
        if let Some((binding, own)) = found {
            servers
                .entry(binding)
                .or_default()
                .tasks
                .push((shown.clone(), own.to_owned()));
        }
    }
    servers
}

/// Opens a server's own stream for what is wanted of it.
async fn open(server: &Arc<Server>, wanted: &Wanted) -> Option<Frames> {
    let conversation: Arc<Conversation> = server.shared(Era::Modern).ok()?;
    let own = |pairs: &[(String, String)]| {
        pairs
            .iter()
            .map(|(_, own)| quote(own))
            .collect::<Vec<_>>()
            .join(",")
    };
    let mut filter = Vec::new();
    if !wanted.uris.is_empty() {
        filter.push(format!("\"resourceSubscriptions\":[{}]", own(&wanted.uris)));
    }
    if !wanted.tasks.is_empty() {
        filter.push(format!("\"taskIds\":[{}]", own(&wanted.tasks)));
    }
    let mut params = modern_params(&format!("{{\"notifications\":{{{}}}}}", filter.join(",")));
    if !wanted.tasks.is_empty() {
        params = params.replace(
            "\"io.modelcontextprotocol/clientCapabilities\":{}",
            "\"io.modelcontextprotocol/clientCapabilities\":{\"extensions\":{\"io.modelcontextprotocol/tasks\":{}}}",
        );
    }
    let id = conversation.next_id();
    let message = json_rpc::request(&Id::number(id), "subscriptions/listen", &params);
    let outgoing = Outgoing {
        id,
        message,
        method: "subscriptions/listen",
        name: None,
        params: Vec::new(),
    };
    match conversation.call(outgoing).await {
        Ok(Answer::Frames(frames)) => Some(frames),
        Ok(Answer::Json(_) | Answer::Accepted | Answer::Failed { .. }) | Err(_) => None,
    }
}

/// Passes on a server's notices; a broken stream is opened again, and what may have been missed is said once.
async fn follow(
    server: Arc<Server>,
    wanted: Wanted,
    mut frames: Frames,
    id: Id,
    notices: mpsc::Sender<Bytes>,
) {
    loop {
        while let Some(Ok(frame)) = frames.next().await {
            let Ok(message) = Message::parse(frame) else {
                continue;
            };
            if let Some(notice) = notice(&message, &wanted, &id)
                && notices.send(notice).await.is_err()
            {
                return;
            }
        }
        frames = loop {
            tokio::time::sleep(REOPEN_WAIT).await;
            if notices.is_closed() {
                return;
            }
            if let Some(frames) = open(&server, &wanted).await {
                break frames;
            }
        };
        for (shown, _) in &wanted.uris {
            let params = format!("{{\"uri\":{},{}}}", quote(shown), tag(&id));
            if notices
                .send(json_rpc::notification(
                    "notifications/resources/updated",
                    &params,
                ))
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

/// A server's notice with the client's names and the client's listen id.
fn notice(message: &Message, wanted: &Wanted, id: &Id) -> Option<Bytes> {
    let (key, pairs) = match &*message.method {
        "notifications/resources/updated" => ("uri", &wanted.uris),
        "notifications/tasks" => ("taskId", &wanted.tasks),
        _ => return None,
    };
    let found = members(message.body()).ok()?;
    let own = string(found.iter().find(|member| member.key == key)?.value)?;
    let (shown, _) = pairs.iter().find(|(_, known)| **known == *own)?;
    let meta = found
        .iter()
        .find(|member| member.key == "_meta")
        .map_or("{}", |member| member.value);
    let raw_id = String::from_utf8_lossy(id.raw());
    let meta = set_member(meta, protocol::mcp::meta_key::SUBSCRIPTION_ID, &raw_id)?;
    let params = set_member(message.body(), key, &quote(shown))?;
    Some(json_rpc::notification(
        &message.method,
        &set_member(&params, "_meta", &meta)?,
    ))
}

/// One open stream.
struct Listening {
    id: Id,
    filter: Filter,
    changes: watch::Receiver<Epochs>,
    seen: Epochs,
    incoming: mpsc::Receiver<Bytes>,
    _notices: mpsc::Sender<Bytes>,
    _tasks: JoinSet<()>,
    closing: watch::Receiver<bool>,
    ready: Vec<Bytes>,
    over: bool,
}

enum Wake {
    Over,
    Changed,
    Notice(Option<Bytes>),
}

impl Listening {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if let Some(message) = self.ready.pop() {
                return Some((message, self));
            }
            if self.over {
                return None;
            }
            let wake = tokio::select! {
                biased;
                () = crate::gateway::closed(&mut self.closing) => Wake::Over,
                changed = self.changes.changed() => if changed.is_ok() { Wake::Changed } else { Wake::Over },
                notice = self.incoming.recv() => Wake::Notice(notice),
            };
            match wake {
                Wake::Changed => self.changed(),
                Wake::Notice(notice) => self.ready.extend(notice),
                Wake::Over => {
                    // "Graceful Closure": the answer to the listen request ends the stream.
                    self.over = true;
                    self.ready.push(ended(&self.id));
                }
            }
        }
    }

    fn changed(&mut self) {
        let now = *self.changes.borrow_and_update();
        let before = std::mem::replace(&mut self.seen, now);
        let lists = [
            (self.filter.tools && now.tools != before.tools, "tools"),
            (
                self.filter.prompts && now.prompts != before.prompts,
                "prompts",
            ),
            (
                self.filter.resources && now.resources != before.resources,
                "resources",
            ),
        ];
        for (_, list) in lists.iter().filter(|(changed, _)| *changed) {
            let method = format!("notifications/{list}/list_changed");
            self.ready.push(json_rpc::notification(
                &method,
                &format!("{{{}}}", tag(&self.id)),
            ));
        }
    }
}

fn acknowledged(id: &Id, honored: &Filter) -> Bytes {
    let mut filter = Vec::new();
    let flags = [
        (honored.tools, "toolsListChanged"),
        (honored.prompts, "promptsListChanged"),
        (honored.resources, "resourcesListChanged"),
    ];
    filter.extend(
        flags
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, key)| format!("\"{key}\":true")),
    );
    let lists = [
        ("resourceSubscriptions", &honored.uris),
        ("taskIds", &honored.tasks),
    ];
    filter.extend(
        lists
            .iter()
            .filter(|(_, items)| !items.is_empty())
            .map(|(key, items)| {
                format!(
                    "\"{key}\":[{}]",
                    items
                        .iter()
                        .map(|item| quote(item))
                        .collect::<Vec<_>>()
                        .join(",")
                )
            }),
    );
    let params = format!("{{{},\"notifications\":{{{}}}}}", tag(id), filter.join(","));
    json_rpc::notification("notifications/subscriptions/acknowledged", &params)
}

fn ended(id: &Id) -> Bytes {
    json_rpc::result(
        id,
        format!("{{\"resultType\":\"complete\",{}}}", tag(id)).as_bytes(),
    )
}

/// `_meta` that names the listen request.
fn tag(id: &Id) -> String {
    let key = protocol::mcp::meta_key::SUBSCRIPTION_ID;
    format!(
        "\"_meta\":{{\"{key}\":{}}}",
        String::from_utf8_lossy(id.raw())
    )
}
