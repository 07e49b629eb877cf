//! One server's part of a listen stream: opened, acknowledged, followed, and opened again when it breaks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::json::{members, quote, set_member, string};
use protocol::json_rpc::{self, Id, Message, Shape};
use protocol::mcp::Era;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::listen::{ACKNOWLEDGED, Filter, filter, tag};
use crate::binding::{is_part, shown_beside};
use crate::conversation::{Conversation, Outgoing, modern_params};
use crate::server::Server;
use crate::upstream::{Answer, Frames};

/// How long a server may take to say what it honors.
const ACK_WAIT: Duration = Duration::from_secs(5);
/// The first wait before a server's broken stream is opened again; each further one doubles it.
const REOPEN_FIRST: Duration = Duration::from_secs(1);
/// The longest such wait. A stream that lived longer was no failure.
const REOPEN_MAX: Duration = Duration::from_secs(30);

/// What one server is asked for: shown names beside its own.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) uris: Vec<(String, String)>,
    pub(super) tasks: Vec<(String, String)>,
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

/// A server's own stream, and what it said it will tell there.
pub(super) struct Opened {
    frames: Frames,
    pub(super) wanted: Wanted,
}

/// Opens a server's own stream for what is wanted of it; nothing when it honors nothing of that.
pub(super) async fn open(server: &Arc<Server>, wanted: &Wanted) -> Option<Opened> {
    let opening = async {
        let mut frames = request(server, wanted).await?;
        let honored = acknowledgement(&mut frames).await?;
        let wanted = wanted.only(&honored);
        let any = !wanted.uris.is_empty() || !wanted.tasks.is_empty();
        any.then_some(Opened { frames, wanted })
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

/// Passes on a server's notices; a broken stream is opened again, and what may have been missed is said once.
pub(super) async fn follow(
    server: Arc<Server>,
    opened: Opened,
    id: Id,
    notices: mpsc::Sender<Bytes>,
) {
    let Opened { mut frames, wanted } = opened;
    let mut wait = REOPEN_FIRST;
    loop {
        let since = Instant::now();
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
        if since.elapsed() > REOPEN_MAX {
            wait = REOPEN_FIRST;
        }
        let again = loop {
            sleep(jittered(wait)).await;
            wait = (wait * 2).min(REOPEN_MAX);
            if notices.is_closed() {
                return;
            }
            if let Some(again) = open(&server, &wanted).await {
                break again;
            }
        };
        frames = again.frames;
        for (shown, _) in &again.wanted.uris {
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

/// A quarter more or less, so that streams broken together are not opened together.
fn jittered(wait: Duration) -> Duration {
    let mut random = [0];
    // Without randomness there is no spread, and no harm.
    let _spread = getrandom::fill(&mut random).is_ok();
    wait * (192 + u32::from(random[0] / 2)) / 256
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
    let shown = match pairs.iter().find(|(_, known)| **known == *own) {
        Some((shown, _)) => shown.clone(),
        // A part of the resource subscribed to (server/resources, "Subscriptions").
        None if key == "uri" => {
            let whole = pairs.iter().find(|(_, known)| is_part(&own, known))?;
            shown_beside(&whole.0, &own)
        }
        None => return None,
    };
    let meta = found
        .iter()
        .find(|member| member.key == "_meta")
        .map_or("{}", |member| member.value);
    let raw_id = String::from_utf8_lossy(id.raw());
    let meta = set_member(meta, protocol::mcp::meta_key::SUBSCRIPTION_ID, &raw_id)?;
    let params = set_member(message.body(), key, &quote(&shown))?;
    Some(json_rpc::notification(
        &message.method,
        &set_member(&params, "_meta", &meta)?,
    ))
}
