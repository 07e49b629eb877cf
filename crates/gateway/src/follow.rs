//! What one server tells of its resources and tasks, followed for one client: opened, acknowledged, and opened again when it breaks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::json::{elements, members, quote, remove_member, set_member, string};
use protocol::json_rpc::{self, Id, Message, Shape};
use protocol::mcp::Era;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::binding::{is_part, shown_beside};
use crate::chance;
use crate::conversation::{Conversation, Outgoing, modern_params};
use crate::refuse::Refusal;
use crate::server::{Heard, Server, Subscribed};
use crate::upstream::{Answer, Frames};

/// How long a server may take to say what it honors.
const ACK_WAIT: Duration = Duration::from_secs(5);
/// The first wait before a server's broken stream is opened again; each further one doubles it.
const REOPEN_FIRST: Duration = Duration::from_secs(1);
/// The longest such wait. A stream that lived longer was no failure.
const REOPEN_MAX: Duration = Duration::from_secs(30);

/// Resources one stream may follow.
const RESOURCES_MAX: usize = 1000;
/// The message that says what is honored.
pub(crate) const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// What somebody wants to hear of.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) tools: bool,
    pub(crate) prompts: bool,
    pub(crate) resources: bool,
    /// URIs of resources.
    pub(crate) uris: Vec<String>,
    /// Ids of tasks.
    pub(crate) tasks: Vec<String>,
}

/// What one server is asked for: shown names beside its own.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) uris: Vec<(String, String)>,
    pub(crate) tasks: Vec<(String, String)>,
}

impl Wanted {
    /// What is left of it when only this is honored.
    fn only(&self, honored: &Filter) -> Self {
        let among = |pairs: &[(String, String)], honored: &[String]| -> Vec<(String, String)> {
            let honored = |pair: &&(String, String)| honored.contains(&pair.1);
            pairs.iter().filter(honored).cloned().collect()
        };
        Self {
            uris: among(&self.uris, &honored.uris),
            tasks: among(&self.tasks, &honored.tasks),
        }
    }
}

/// What one server tells, and what of it was wanted.
pub(crate) struct Opened {
    source: Source,
    pub(crate) wanted: Wanted,
}

enum Source {
    /// A modern server's stream for this listener.
    Stream(Frames),
    /// A legacy server's own session, which many listen to.
    Line(Subscribed),
}

/// Has a server tell what is wanted of it, in the era it is asked in; nothing when it honors nothing of that.
pub(crate) async fn open(server: &Arc<Server>, era: Era, wanted: &Wanted) -> Option<Opened> {
    let opening = async {
        let (source, wanted) = match era {
            Era::Modern => {
                let mut frames = request(server, wanted).await?;
                let honored = acknowledgement(&mut frames).await?;
                (Source::Stream(frames), wanted.only(&honored))
            }
            Era::Legacy => {
                let uris = wanted.uris.iter().map(|(_, own)| own.as_str());
                let subscribed = server.subscribe(uris).await.ok()?;
                let honored = Filter {
                    uris: subscribed.uris(),
                    ..Filter::default()
                };
                (Source::Line(subscribed), wanted.only(&honored))
            }
        };
        let any = !wanted.uris.is_empty() || !wanted.tasks.is_empty();
        any.then_some(Opened { source, wanted })
    };
    timeout(ACK_WAIT, opening).await.ok().flatten()
}

/// The acknowledgement comes first and lists what is honored (MCP 2026-07-28, subscriptions/listen): what is not in it is not told.
async fn acknowledgement(frames: &mut Frames) -> Option<Filter> {
    loop {
        let message = Message::parse(frames.next().await?.ok()?).ok()?;
        match &message.shape {
            Shape::Notification if &*message.method == ACKNOWLEDGED => {
                return filter(message.body()).ok();
            }
            Shape::Notification | Shape::Request(_) => {}
            Shape::Result(_) | Shape::Error(_) => return None,
        }
    }
}

async fn request(server: &Arc<Server>, wanted: &Wanted) -> Option<Frames> {
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

/// Passes on a server's notices, tagged with the listen request of a modern client.
pub(crate) async fn follow(
    server: Arc<Server>,
    opened: Opened,
    tag: Option<Id>,
    notices: mpsc::Sender<Bytes>,
) {
    let Opened { source, wanted } = opened;
    let told = Told {
        wanted,
        tag,
        notices,
    };
    match source {
        Source::Stream(frames) => told.follow_stream(&server, frames).await,
        Source::Line(subscribed) => told.follow_line(subscribed).await,
    }
}

/// One listener.
struct Told {
    wanted: Wanted,
    tag: Option<Id>,
    notices: mpsc::Sender<Bytes>,
}

impl Told {
    /// A broken stream is opened again, and what may have been missed is said once.
    async fn follow_stream(self, server: &Arc<Server>, mut frames: Frames) {
        let mut wait = REOPEN_FIRST;
        loop {
            let since = Instant::now();
            while let Some(Ok(frame)) = frames.next().await {
                if self.pass_on(frame).await.is_none() {
                    return;
                }
            }
            if since.elapsed() > REOPEN_MAX {
                wait = REOPEN_FIRST;
            }
            frames = loop {
                sleep(jittered(wait)).await;
                wait = (wait * 2).min(REOPEN_MAX);
                if self.notices.is_closed() {
                    return;
                }
                let again = open(server, Era::Modern, &self.wanted).await;
                if let Some(Source::Stream(again)) = again.map(|again| again.source) {
                    break again;
                }
            };
            if self.missed().await.is_none() {
                return;
            }
        }
    }

    async fn follow_line(self, mut subscribed: Subscribed) {
        loop {
            let heard = tokio::select! {
                heard = subscribed.next() => heard,
                () = self.notices.closed() => return,
            };
            let told = match heard {
                Heard::Message(message) => self.pass_on(message).await,
                Heard::Missed => self.missed().await,
                Heard::Ended => None,
            };
            if told.is_none() {
                return;
            }
        }
    }

    /// Nothing when nobody listens any more.
    async fn pass_on(&self, frame: Bytes) -> Option<()> {
        let notice = Message::parse(frame)
            .ok()
            .and_then(|message| notice(&message, &self.wanted, self.tag.as_ref()));
        match notice {
            Some(notice) => self.notices.send(notice).await.ok(),
            None => Some(()),
        }
    }

    /// Says of every resource that it may have changed.
    async fn missed(&self) -> Option<()> {
        for (shown, _) in &self.wanted.uris {
            let tag = self
                .tag
                .as_ref()
                .map_or_else(String::new, |id| format!(",{}", tag(id)));
            let params = format!("{{\"uri\":{}{tag}}}", quote(shown));
            let updated = json_rpc::notification("notifications/resources/updated", &params);
            self.notices.send(updated).await.ok()?;
        }
        Some(())
    }
}

/// A quarter more or less, so that streams broken together are not opened together.
fn jittered(wait: Duration) -> Duration {
    let random: [u8; 1] = chance::bytes();
    wait * (192 + u32::from(random[0] / 2)) / 256
}

/// A server's notice with the client's names and the client's listen id, if it has one.
fn notice(message: &Message, wanted: &Wanted, tag: Option<&Id>) -> Option<Bytes> {
    let (key, pairs) = match &*message.method {
        "notifications/resources/updated" => ("uri", &wanted.uris),
        "notifications/tasks" => ("taskId", &wanted.tasks),
        _ => return None,
    };
    let found = members(message.body()).ok()?;
    let own = string(found.iter().find(|member| member.key == key)?.value)?;
    let shown = match pairs.iter().find(|(_, known)| **known == *own) {
        Some((shown, _)) => shown.clone(),
        // A part of the resource subscribed to (server/resources, "Subscriptions").
        None if key == "uri" => {
            let whole = pairs.iter().find(|(_, known)| is_part(&own, known))?;
            shown_beside(&whole.0, &own)
        }
        None => return None,
    };
    let params = set_member(message.body(), key, &quote(&shown))?;
    let params = tagged(&params, tag)?;
    Some(json_rpc::notification(&message.method, &params))
}

/// The params with this listen id in `_meta`, or with none.
pub(crate) fn tagged(params: &str, tag: Option<&Id>) -> Option<String> {
    let found = members(params).ok()?;
    let meta = found.iter().find(|member| member.key == "_meta");
    let subscription = protocol::mcp::meta_key::SUBSCRIPTION_ID;
    let meta = match (meta, tag) {
        (None, None) => return Some(params.to_owned()),
        (Some(meta), None) => remove_member(meta.value, subscription)?,
        (meta, Some(id)) => {
            let meta = meta.map_or("{}", |member| member.value);
            set_member(meta, subscription, &String::from_utf8_lossy(id.raw()))?
        }
    };
    set_member(params, "_meta", &meta)
}

/// Reads `params.notifications`.
pub(crate) fn filter(params: &str) -> Result<Filter, Refusal> {
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

/// `_meta` that names the listen request.
pub(crate) fn tag(id: &Id) -> String {
    let key = protocol::mcp::meta_key::SUBSCRIPTION_ID;
    format!(
        "\"_meta\":{{\"{key}\":{}}}",
        String::from_utf8_lossy(id.raw())
    )
}
