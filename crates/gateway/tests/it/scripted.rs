//! A server of a story: an honest MCP server of the eras it is told, except where the story has it say something else.

mod offer;
mod say;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Context;
use serde_json::{Value, json};
use testkit::raw::{Gate, Opener, Push, RawServer, Script, Seen, feed, gate};
use tokio::sync::watch;

pub(crate) use offer::Offer;
pub(crate) use offer::raw;
use offer::{Answer, Wire};
use say::Said;

use crate::rig::address_of_its_own;

/// One server.
#[derive(Debug)]
pub(crate) struct Scripted {
    address: SocketAddr,
    raw: Option<RawServer>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    name: String,
    seen: watch::Sender<Vec<Seen>>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    offer: Offer,
    /// How often each scripted answer was given.
    given: Vec<usize>,
    /// Open sessions, and what each is subscribed to.
    sessions: BTreeMap<String, Vec<String>>,
    opened: usize,
    streams: Vec<Stream>,
    lines: Vec<Push>,
    gates: BTreeMap<String, (Opener, Gate)>,
}

/// An open stream on which the server may speak by itself.
#[derive(Debug)]
struct Stream {
    push: Push,
    /// Modern: the raw id of the listen request, and what it asked for.
    listen: Option<(String, Value)>,
    session: Option<String>,
}

impl Stream {
    /// A comment shows whether anybody still reads.
    fn is_open(&self) -> bool {
        self.push.chunk(": \n\n").is_ok()
    }
}

impl Scripted {
    pub(crate) async fn start(name: &str, offer: Offer) -> anyhow::Result<Self> {
        let state = Arc::new(State {
            name: name.to_owned(),
            seen: watch::Sender::default(),
            inner: Mutex::new(Inner {
                given: vec![0; offer.answers.len()],
                offer,
                sessions: BTreeMap::new(),
                opened: 0,
                streams: Vec::new(),
                lines: Vec::new(),
                gates: BTreeMap::new(),
            }),
        });
        let raw = RawServer::start_at(address_of_its_own(), handler(&state)).await?;
        let mut server = Self {
            address: raw.address(),
            raw: Some(raw),
            state,
        };
        if server.state.inner().offer.down {
            server.stop().await;
        }
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Goes away: its port refuses connections, its sessions are lost.
    pub(crate) async fn stop(&mut self) {
        if let Some(raw) = self.raw.take() {
            raw.stop().await;
        }
        let mut inner = self.state.inner();
        inner.streams.clear();
        inner.lines.clear();
        inner.sessions.clear();
    }

    /// Comes back where it was.
    pub(crate) async fn start_again(&mut self) -> anyhow::Result<()> {
        self.raw = Some(RawServer::start_at(self.address, handler(&self.state)).await?);
        Ok(())
    }

    /// Forgets every session, as a restart behind a load balancer does.
    pub(crate) fn forget_sessions(&self) {
        self.state.inner().sessions.clear();
    }

    /// Offers something else from now on.
    pub(crate) fn change(&self, changes: &Value) -> anyhow::Result<()> {
        let mut inner = self.state.inner();
        inner.offer = inner.offer.changed(changes)?;
        inner.given = vec![0; inner.offer.answers.len()];
        Ok(())
    }

    /// Says something by itself on every stream that wants to hear it, if those are as many as `streams`.
    pub(crate) fn say(&self, method: &str, params: &Value, streams: usize) -> bool {
        self.state.inner().say(method, params, streams)
    }

    /// Lets every answer that waits for this gate go on.
    pub(crate) fn release(&self, gate: &str) {
        self.state.inner().gate(gate);
        self.state.inner().gates[gate].0.open();
    }

    /// Waits until at least `count` requests satisfy `which`, and returns all that do.
    pub(crate) async fn wait_for(
        &self,
        count: usize,
        which: impl Fn(&Seen) -> bool,
    ) -> anyhow::Result<Vec<Seen>> {
        let mut seen = self.state.seen.subscribe();
        let matching = |all: &Vec<Seen>| {
            all.iter()
                .filter(|seen| which(seen))
                .cloned()
                .collect::<Vec<_>>()
        };
        let enough = async {
            seen.wait_for(|all| matching(all).len() >= count)
                .await
                .map(drop)
        };
        let waited = testkit::within("a request", enough).await;
        let all = self.state.seen.borrow().clone();
        waited.with_context(|| format!("server `{}` saw {:?}", self.state.name, shown(&all)))??;
        Ok(matching(&all))
    }
}

fn shown(all: &[Seen]) -> Vec<String> {
    all.iter()
        .map(|seen| seen.rpc_method().unwrap_or_else(|| seen.method.to_string()))
        .collect()
}

fn handler(state: &Arc<State>) -> impl Fn(&Seen) -> Script + Send + Sync + 'static {
    let state = state.clone();
    move |seen| {
        let said = state.inner().answer(seen, &state.name);
        state.seen.send_modify(|all| all.push(seen.clone()));
        said
    }
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

impl Inner {
    fn answer(&mut self, seen: &Seen, name: &str) -> Script {
        let line = seen
            .target
            .split_once("?line=")
            .and_then(|(_, line)| line.parse::<usize>().ok());
        match (&*seen.method, self.offer.wire, line) {
            ("GET", Wire::Sse, _) => self.open_line(),
            ("POST", Wire::Sse, Some(line)) => {
                let said = self.said(seen, name);
                for message in said.messages() {
                    drop(self.lines[line].event(message));
                }
                Script::accepted()
            }
            (_, Wire::Sse, _) => Script::status(405),
            ("GET", Wire::Http, _) => self.open_stream(seen),
            ("DELETE", ..) => {
                let known = seen
                    .header("mcp-session-id")
                    .and_then(|id| self.sessions.remove(id));
                Script::status(if known.is_some() { 200 } else { 404 })
            }
            _ => self.said(seen, name).script(),
        }
    }

    fn open_line(&mut self) -> Script {
        let (push, events) = feed();
        let endpoint = format!("event: endpoint\ndata: /mcp?line={}\n\n", self.lines.len());
        self.lines.push(push.clone());
        self.streams.push(Stream {
            push,
            listen: None,
            session: None,
        });
        Script::sse().chunk(endpoint).follow(&events).end()
    }

    fn open_stream(&mut self, seen: &Seen) -> Script {
        if self.offer.no_events || !self.offer.legacy() || is_modern(seen) {
            return Script::status(405);
        }
        let session = seen.header("mcp-session-id").map(str::to_owned);
        if self.offer.sessions
            && !session
                .as_ref()
                .is_some_and(|id| self.sessions.contains_key(id))
        {
            return Script::status(404);
        }
        let (push, events) = feed();
        self.streams.push(Stream {
            push,
            listen: None,
            session,
        });
        Script::sse().follow(&events).end()
    }

    fn said(&mut self, seen: &Seen, name: &str) -> Said {
        let Some(method) = seen.rpc_method() else {
            return Said::accepted();
        };
        let modern = is_modern(seen);
        let message = seen.json();
        let id = seen.rpc_id().unwrap_or_default();
        if id.is_empty() {
            return Said::accepted();
        }
        if modern && !self.offer.modern() {
            return Said::error(&id, 400, -32600, "bad request: not initialized");
        }
        if !modern && !self.offer.legacy() {
            return Said::error(&id, 400, -32022, "unsupported protocol version");
        }
        if let Some(answer) = self.scripted(&method, &message["params"], modern) {
            return self.play(&answer, &message, &id);
        }
        let session = seen.header("mcp-session-id");
        let missing =
            self.offer.sessions && self.offer.wire == Wire::Http && method != "initialize";
        if !modern && missing && !session.is_some_and(|id| self.sessions.contains_key(id)) {
            return Said::error(&id, 404, -32001, "session not found");
        }
        match method.as_str() {
            "initialize" => self.initialize(&id, &message, name),
            "subscriptions/listen" => self.listen(&id, &message["params"]["notifications"]),
            "resources/subscribe" | "resources/unsubscribe" => {
                self.subscribe(session, &method, &message["params"]["uri"]);
                Said::result(&id, "{}")
            }
            _ => match self.offer.honest(&method, &message["params"], modern, name) {
                Ok(result) => Said::result(&id, &result),
                Err((code, text)) => Said::error(&id, 200, code, &text),
            },
        }
    }

    /// The first scripted answer that is meant for this request and not used up.
    fn scripted(&mut self, method: &str, params: &Value, modern: bool) -> Option<Answer> {
        let answers = self.offer.answers.iter().zip(&mut self.given);
        let mut meant = answers.filter(|(answer, given)| {
            answer.is_for(method, params, modern)
                && answer.times.is_none_or(|times| **given < times)
        });
        let (answer, given) = meant.next()?;
        *given += 1;
        Some(answer.clone())
    }

    fn play(&mut self, answer: &Answer, message: &Value, id: &str) -> Said {
        let token = message["params"]["_meta"]["progressToken"].to_string();
        let mut said = answer.said(id, &token);
        said.wait = answer.wait.as_deref().map(|name| self.gate(name));
        said
    }

    fn gate(&mut self, name: &str) -> Gate {
        self.gates
            .entry(name.to_owned())
            .or_insert_with(gate)
            .1
            .clone()
    }

    fn initialize(&mut self, id: &str, message: &Value, name: &str) -> Said {
        let mut said = Said::result(
            id,
            &self
                .offer
                .opening(&message["params"]["protocolVersion"], name),
        );
        if self.offer.sessions && self.offer.wire == Wire::Http {
            self.opened += 1;
            let session = format!("{name}-{}", self.opened);
            said.headers
                .push(("mcp-session-id".to_owned(), session.clone()));
            self.sessions.insert(session, Vec::new());
        }
        said
    }

    fn subscribe(&mut self, session: Option<&str>, method: &str, uri: &Value) {
        let uri = uri.as_str().unwrap_or_default();
        let key = session.unwrap_or_default().to_owned();
        let subscribed = self.sessions.entry(key).or_default();
        subscribed.retain(|known| known != uri);
        if method == "resources/subscribe" {
            subscribed.push(uri.to_owned());
        }
    }

    fn listen(&mut self, id: &str, filter: &Value) -> Said {
        let (push, events) = feed();
        self.streams.push(Stream {
            push,
            listen: Some((id.to_owned(), filter.clone())),
            session: None,
        });
        let key = "io.modelcontextprotocol/subscriptionId";
        let acknowledged = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"{key}":{id}}},"notifications":{filter}}}}}"#
        );
        Said {
            events: vec![acknowledged],
            follow: Some(events),
            ..Said::default()
        }
    }

    fn say(&mut self, method: &str, params: &Value, streams: usize) -> bool {
        let Self {
            streams: open,
            sessions,
            ..
        } = self;
        open.retain(|stream| stream.is_open());
        let meant = |stream: &&Stream| match &stream.listen {
            Some((_, filter)) => wants(filter, method, params),
            None => subscribed(sessions, stream, method, params),
        };
        if open.iter().filter(meant).count() < streams {
            return false;
        }
        for stream in open.iter().filter(meant) {
            let message = match &stream.listen {
                Some((id, _)) => tagged(method, params, id),
                None => json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string(),
            };
            drop(stream.push.event(message));
        }
        true
    }
}

/// Whether the request claims the stateless era, by header or by `_meta`.
fn is_modern(seen: &Seen) -> bool {
    let version = "io.modelcontextprotocol/protocolVersion";
    seen.header("mcp-protocol-version")
        .is_some_and(|version| version >= "2026-07-28")
        || !seen.json()["params"]["_meta"][version].is_null()
}

fn wants(filter: &Value, method: &str, params: &Value) -> bool {
    let uris = filter["resourceSubscriptions"].as_array();
    match method {
        "notifications/tools/list_changed" => filter["toolsListChanged"] == true,
        "notifications/prompts/list_changed" => filter["promptsListChanged"] == true,
        "notifications/resources/list_changed" => filter["resourcesListChanged"] == true,
        "notifications/resources/updated" => uris.is_some_and(|uris| uris.contains(&params["uri"])),
        _ => false,
    }
}

fn subscribed(
    sessions: &BTreeMap<String, Vec<String>>,
    stream: &Stream,
    method: &str,
    params: &Value,
) -> bool {
    let uri = params["uri"].as_str().unwrap_or_default();
    method != "notifications/resources/updated"
        || sessions
            .get(stream.session.as_deref().unwrap_or_default())
            .is_some_and(|uris| uris.iter().any(|known| known == uri))
}

fn tagged(method: &str, params: &Value, id: &str) -> String {
    let mut params = params.clone();
    if !params.is_object() {
        params = json!({});
    }
    params["_meta"]["io.modelcontextprotocol/subscriptionId"] =
        serde_json::from_str(id).unwrap_or_default();
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}
