//! `subscriptions/listen`: one stream of change notices to a client, from as many servers as it concerns.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::{future, stream};
use protocol::json::quote;
use protocol::json_rpc::{self, Id};
use protocol::mcp::Era;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::binding::Binding;
use crate::exchange::Held;
use crate::follow::{ACKNOWLEDGED, Filter, Wanted, filter, follow, open, tag, tagged};
use crate::gateway::Gateway;
use crate::list;
use crate::refuse::Refusal;
use crate::reply::Reply;
use crate::request::Inbound;
use crate::select::{declares_tasks, holder};
use crate::server::Server;
use crate::table::Epochs;
use crate::task::Tasks;

/// Notices waiting to be read by the client.
const NOTICES_MAX: usize = 64;

/// Opens the stream. Its first message says what is honored; nothing comes before it.
pub(crate) async fn listen(gateway: &Arc<Gateway>, inbound: Inbound) -> Result<Reply, Refusal> {
    let id = inbound.message.id().cloned();
    let id = id.ok_or(Refusal::Params("a request needs an id".into()))?;
    let asked = asked(&inbound)?;
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
    let (mut tasks, mut followed) = (JoinSet::new(), Vec::new());
    let opening = by_server(&inbound, &asked)
        .into_iter()
        .map(async |(binding, wanted)| {
            let binding = &inbound.toolset.bindings[binding];
            let server = &binding.kept.server;
            let era = server.era_for(Era::Modern);
            Some((binding, open(server, era, &wanted).await?))
        });
    for (binding, opened) in future::join_all(opening).await.into_iter().flatten() {
        let shown = |pairs: &[(String, String)]| -> Vec<String> {
            pairs.iter().map(|(shown, _)| shown.clone()).collect()
        };
        honored.uris.extend(shown(&opened.wanted.uris));
        honored.tasks.extend(shown(&opened.wanted.tasks));
        followed.push((binding.label.clone(), Arc::downgrade(&binding.kept.server)));
        tasks.spawn(follow(
            binding.kept.server.clone(),
            opened,
            Some(id.clone()),
            notices.clone(),
        ));
    }
    for (shown, held) in held(gateway, &inbound, &asked) {
        honored.tasks.push(shown);
        tasks.spawn(tell(held, id.clone(), notices.clone()));
    }
    let mut applied = gateway.applied();
    // There may be a new table since this request came in.
    applied.mark_changed();
    let changes = inbound.toolset.changes.subscribe(Era::Modern);
    let seen = *changes.borrow();
    let stream = Listening {
        seen,
        changes,
        incoming,
        _notices: notices,
        tasks,
        closing: gateway.closing(),
        table: Served {
            gateway: Arc::downgrade(gateway),
            path: inbound.toolset.path.clone(),
            toolset: inbound.toolset.name.clone(),
            followed,
        },
        applied,
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

fn asked(inbound: &Inbound) -> Result<Filter, Refusal> {
    let asked = filter(inbound.message.body())?;
    if !asked.tasks.is_empty() {
        declares_tasks(inbound)?;
    }
    Ok(asked)
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
    let tasks = Tasks::of(&inbound.caller, &inbound.toolset);
    for shown in asked.tasks.iter().filter(|_| view.offers.tasks) {
        let found = tasks.own(shown).and_then(|(label, own)| {
            let named = |binding: &Binding| *binding.label == *label;
            Some((bindings.iter().position(named)?, own))
        });
        if let Some((binding, own)) = found {
            servers
                .entry(binding)
                .or_default()
                .tasks
                .push((shown.clone(), own));
        }
    }
    servers
}

/// The tasks that this process holds; those of another replica are not told of here, and their clients go on asking for them.
fn held(gateway: &Gateway, inbound: &Inbound, asked: &Filter) -> Vec<(String, Arc<Held>)> {
    let tasks = Tasks::of(&inbound.caller, &inbound.toolset);
    let held = asked.tasks.iter().filter_map(|shown| {
        let held = gateway.holding.here(&tasks.held(shown)?)?;
        holder(&inbound.toolset, held.label())?;
        Some((shown.clone(), held))
    });
    held.collect()
}

/// Tells of one task until it is over, and first how far it is: what changed before the stream was open is not missed.
async fn tell(held: Arc<Held>, id: Id, notices: mpsc::Sender<Bytes>) {
    let mut changes = held.changes();
    changes.mark_changed();
    while changes.changed().await.is_ok() {
        // What is seen after this is not the last if the task was not over before.
        let is_over = held.is_over();
        let params = held.notice().and_then(|params| tagged(&params, Some(&id)));
        let Some(params) = params else {
            return;
        };
        let notice = json_rpc::notification("notifications/tasks", &params);
        if notices.send(notice).await.is_err() || is_over {
            return;
        }
    }
}

/// One open stream.
struct Listening {
    id: Id,
    filter: Filter,
    changes: watch::Receiver<Epochs>,
    seen: Epochs,
    incoming: mpsc::Receiver<Bytes>,
    _notices: mpsc::Sender<Bytes>,
    tasks: JoinSet<()>,
    closing: watch::Receiver<bool>,
    table: Served,
    applied: watch::Receiver<u64>,
    ready: Vec<Bytes>,
    over: bool,
}

/// What a stream was opened on.
struct Served {
    gateway: Weak<Gateway>,
    path: Box<str>,
    toolset: Arc<str>,
    /// The servers that are followed, under their short names.
    followed: Vec<(Box<str>, Weak<Server>)>,
}

impl Served {
    /// Whether all of it is still there, unchanged.
    fn is_current(&self) -> bool {
        let Some(gateway) = self.gateway.upgrade() else {
            return false;
        };
        let table = gateway.table();
        let Some(toolset) = table.paths.get(&self.path) else {
            return false;
        };
        let is_bound = |(label, server): &(Box<str>, Weak<Server>)| {
            let bindings = &mut toolset.bindings.iter();
            bindings.any(|binding| {
                binding.label == *label && Arc::as_ptr(&binding.kept.server) == server.as_ptr()
            })
        };
        toolset.name == self.toolset && self.followed.iter().all(is_bound)
    }
}

enum Wake {
    Over,
    Applied,
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
                applied = self.applied.changed() => if applied.is_ok() { Wake::Applied } else { Wake::Over },
                changed = self.changes.changed() => if changed.is_ok() { Wake::Changed } else { Wake::Over },
                notice = self.incoming.recv() => Wake::Notice(notice),
            };
            match wake {
                Wake::Changed => self.changed(),
                Wake::Notice(notice) => self.ready.extend(notice),
                // The client opens another, and learns from its acknowledgement what there is now.
                Wake::Applied if self.table.is_current() => {}
                Wake::Applied | Wake::Over => self.end(),
            }
        }
    }

    /// "Graceful Closure": the answer to the listen request ends the stream.
    fn end(&mut self) {
        self.over = true;
        // Servers that were replaced must not live on for a client that is slow to read this.
        self.tasks.abort_all();
        self.ready.push(ended(&self.id));
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
    json_rpc::notification(ACKNOWLEDGED, &params)
}

fn ended(id: &Id) -> Bytes {
    json_rpc::result(
        id,
        format!("{{\"resultType\":\"complete\",{}}}", tag(id)).as_bytes(),
    )
}
