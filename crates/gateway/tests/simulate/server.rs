//! A simulated MCP server: answers over the network in memory, and sees what it gets.

mod legacy;
mod modern;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use transport::simulated::{Network, Wire};

use crate::http::{Head, Reader, Writer, split};
use crate::plan::Plan;
use crate::story::Story;

/// Which eras a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Legacy,
    Modern,
    Both,
}

/// A simulated server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    story: Story,
    network: Network,
    speaks: Cell<Speaks>,
    /// Grows with each life; connections of a former one are gone.
    life: watch::Sender<u64>,
    is_up: watch::Sender<bool>,
    sessions: RefCell<BTreeMap<String, Rc<Session>>>,
    next_session: Cell<u64>,
    calls: RefCell<Vec<Rc<Call>>>,
    /// What was executed: nothing is executed twice.
    executed: RefCell<HashSet<String>>,
    /// Each session is one client's alone.
    pub(crate) is_shared: bool,
}

/// A legacy session.
#[derive(Debug)]
struct Session {
    id: String,
    questions: RefCell<BTreeMap<u64, Question>>,
    next_question: Cell<u64>,
    aside: RefCell<Option<mpsc::UnboundedSender<String>>>,
    /// The client's session whose calls came in it.
    client: RefCell<Option<String>>,
    over: watch::Sender<bool>,
}

#[derive(Debug)]
struct Question {
    mark: String,
    waits: Option<oneshot::Sender<bool>>,
    withdrawn: bool,
    answered: bool,
}

/// One call, as the server saw it.
#[derive(Debug)]
struct Call {
    mark: String,
    session: Option<String>,
    id: Value,
    since: Instant,
    state: Cell<State>,
    cancelled: watch::Sender<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The server has said its last word.
    Said,
    /// The connection was closed from the other side.
    Closed,
    /// The server broke it off, or lost it.
    Lost,
}

/// What a request says.
struct Asked {
    head: Head,
    message: Value,
    text: String,
}

/// What the client wrote into the arguments.
struct Wanted {
    mark: String,
    plan: Plan,
}

impl Wanted {
    fn read(message: &Value) -> Option<Self> {
        let arguments = &message["params"]["arguments"];
        Some(Self {
            mark: arguments["mark"].as_str()?.to_owned(),
            plan: Plan::read(&arguments["plan"])?,
        })
    }

    fn result(&self, modern: bool) -> Value {
        let mut result =
            json!({"content": [{"type": "text", "text": format!("done {}", self.mark)}]});
        if modern {
            result["resultType"] = "complete".into();
        }
        result
    }
}

impl Server {
    pub(crate) fn new(
        name: &'static str,
        speaks: Speaks,
        is_shared: bool,
        story: &Story,
        network: &Network,
    ) -> Rc<Self> {
        story.note(
            name,
            format!("is a server that speaks {speaks:?}, shared: {is_shared}"),
        );
        Rc::new(Self {
            name,
            story: story.clone(),
            network: network.clone(),
            speaks: Cell::new(speaks),
            life: watch::Sender::new(0),
            is_up: watch::Sender::new(true),
            sessions: RefCell::default(),
            next_session: Cell::new(1),
            calls: RefCell::default(),
            executed: RefCell::default(),
            is_shared,
        })
    }

    /// Serves for ever.
    pub(crate) async fn serve(self: Rc<Self>) {
        let mut is_up = self.is_up.subscribe();
        loop {
            is_up.wait_for(|is_up| *is_up).await.unwrap();
            let mut door = self.network.listen(self.name);
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Some(wire) = door.accept() => {
                        connections.spawn_local(self.clone().connection(wire));
                    }
                    Some(_) = connections.join_next() => {}
                    _ = is_up.wait_for(|is_up| !is_up) => break,
                }
            }
        }
    }

    /// Goes away with all it knows, and comes back after a while, perhaps as another.
    pub(crate) async fn restart(&self, away: Duration, speaks: Speaks) {
        self.story
            .note(self.name, format!("goes away for {away:?}"));
        self.story.count("restarts of servers");
        self.lose_sessions();
        for call in self.calls.borrow().iter() {
            call.ends(State::Lost);
        }
        self.is_up.send_replace(false);
        self.life.send_modify(|life| *life += 1);
        sleep(away).await;
        self.story
            .note(self.name, format!("is back and speaks {speaks:?}"));
        self.speaks.set(speaks);
        self.is_up.send_replace(true);
    }

    /// Forgets its sessions; the calls in them end.
    pub(crate) fn lose_sessions(&self) {
        self.story.note(self.name, "loses its sessions");
        let sessions = std::mem::take(&mut *self.sessions.borrow_mut());
        for call in self
            .calls
            .borrow()
            .iter()
            .filter(|call| call.session.is_some())
        {
            call.ends(State::Lost);
        }
        for session in sessions.values() {
            session.over.send_replace(true);
        }
    }

    /// Whether it still works on a call.
    pub(crate) fn works_on(&self, mark: &str) -> bool {
        let calls = self.calls.borrow();
        calls
            .iter()
            .any(|call| call.mark == mark && call.state.get() == State::Open)
    }

    /// Sessions that are open.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.borrow().len()
    }

    /// Sees that no call is open any more, and that nobody waits for what was given up.
    pub(crate) fn check_ended(&self) {
        for call in self.calls.borrow().iter() {
            let age = call.since.elapsed();
            match call.state.get() {
                State::Open => self.story.fault(
                    self.name,
                    format!("{} is still open after {age:?}", call.mark),
                ),
                State::Closed if call.must_be_cancelled() && !*call.cancelled.borrow() => {
                    self.story.fault(
                        self.name,
                        format!("{} was given up and not cancelled", call.mark),
                    );
                }
                State::Closed | State::Said | State::Lost => {}
            }
        }
    }

    async fn connection(self: Rc<Self>, wire: Wire) {
        let (mut reader, mut writer) = split(wire);
        let mut life = self.life.subscribe();
        life.mark_unchanged();
        let talk = async {
            while let Some((head, text)) = reader.request().await {
                let message = serde_json::from_str(&text).unwrap_or_default();
                let asked = Asked {
                    head,
                    message,
                    text,
                };
                if self.answer(asked, &mut reader, &mut writer).await.is_none() {
                    return;
                }
            }
        };
        tokio::select! {
            () = talk => {}
            _ = life.changed() => {}
        }
    }

    /// Answers one request; nothing when the connection is to be closed.
    async fn answer(&self, asked: Asked, reader: &mut Reader, writer: &mut Writer) -> Option<()> {
        let version = asked.head.header("mcp-protocol-version").unwrap_or("");
        let is_modern = version >= "2026"
            || asked
                .text
                .contains("io.modelcontextprotocol/protocolVersion")
            || asked.message["method"] == "server/discover";
        match (is_modern, self.speaks.get()) {
            (true, Speaks::Legacy) => {
                let error = error(&asked.message, -32600, "bad request: not initialized");
                writer.answer(400, "", &error).await
            }
            (false, Speaks::Modern) => {
                let error = error(&asked.message, -32022, "unsupported protocol version");
                writer.answer(400, "", &error).await
            }
            (true, _) => self.answer_modern(asked, reader, writer).await,
            (false, _) => self.answer_legacy(asked, reader, writer).await,
        }
    }

    /// Notes a call, once.
    fn begin(
        &self,
        wanted: &Wanted,
        session: Option<&Session>,
        asked: &Asked,
        unique: &str,
    ) -> Rc<Call> {
        let mark = &wanted.mark;
        self.story.count("calls at servers");
        self.story.note(
            self.name,
            format!(
                "gets {mark} {unique} as {} in {:?}",
                asked.message["id"],
                session.map(|session| &session.id)
            ),
        );
        if !self
            .executed
            .borrow_mut()
            .insert(format!("{mark} {unique}"))
        {
            self.story
                .fault(self.name, format!("{mark} {unique} is executed again"));
        }
        let call = Rc::new(Call {
            mark: mark.clone(),
            session: session.map(|session| session.id.clone()),
            id: asked.message["id"].clone(),
            since: Instant::now(),
            state: Cell::new(State::Open),
            cancelled: watch::Sender::new(false),
        });
        self.calls.borrow_mut().push(call.clone());
        call
    }

    fn lists(message: &Value, modern: bool) -> String {
        let tools = json!([{"name": "play", "inputSchema": {"type": "object"}}]);
        let result = if modern {
            json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public", "tools": tools})
        } else {
            json!({"tools": tools})
        };
        self::result(message, &result)
    }
}

impl Call {
    fn ends(&self, state: State) {
        if self.state.get() == State::Open {
            self.state.set(state);
        }
    }

    /// A legacy server does not take a closed connection for a cancellation, and a modern client has nothing else.
    fn must_be_cancelled(&self) -> bool {
        self.session.is_some() && self.mark.starts_with("mark-m")
    }
}

fn result(message: &Value, result: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string()
}

fn error(message: &Value, code: i64, text: &str) -> String {
    json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": code, "message": text}})
        .to_string()
}

fn notification(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}

/// A question of a call, in which its mark stands.
fn question(kind: &str, mark: &str) -> Value {
    match kind {
        "elicitation/create" => {
            json!({"message": format!("what of {mark}?"), "requestedSchema": {"type": "object", "properties": {"text": {"type": "string"}}}})
        }
        "sampling/createMessage" => {
            json!({"messages": [{"role": "user", "content": {"type": "text", "text": mark}}], "maxTokens": 10})
        }
        _ => json!({}),
    }
}
