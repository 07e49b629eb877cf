//! Simulated clients: they call, answer, hesitate, repeat themselves, hang up and try what is not theirs.

mod legacy;
mod modern;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use transport::simulated::{Network, Wire};

use crate::dice::Dice;
use crate::http::{self, Answer};
use crate::keys;
use crate::plan::Plan;
use crate::server::Server;
use crate::story::Story;

/// A request that has not ended after this time never will.
const ENDLESS: Duration = Duration::from_secs(3 * 3600);
/// After this time a server knows that nobody waits any more.
const KNOWN_WAIT: Duration = Duration::from_secs(5);
/// By this name the clients reach the gateway.
pub(crate) const GATEWAY: &str = "gateway.sim";

/// Which era a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Legacy,
    Modern,
}

/// What all clients of a seed have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) story: Story,
    pub(crate) network: Network,
    pub(crate) servers: Vec<Rc<Server>>,
    /// Names of tools.
    pub(crate) tools: Vec<&'static str>,
    /// Servers do what they should, and stay.
    pub(crate) is_tame: bool,
    /// Request states that anybody got, and of which call.
    pub(crate) states: RefCell<Vec<(String, String)>>,
    /// Session ids that anybody got, and whose they are.
    pub(crate) sessions: RefCell<Vec<(char, String)>>,
}

/// A simulated client.
#[derive(Debug)]
pub(crate) struct Client {
    name: String,
    /// Whose key it has.
    caller: char,
    shared: Rc<Shared>,
    dice: Dice,
    next_call: Cell<u64>,
    /// What it says it can be asked.
    offers: Vec<&'static str>,
}

/// How one call is to go, on the client's side.
#[derive(Debug)]
struct Call {
    mark: String,
    tool: &'static str,
    plan: Plan,
    dice: Dice,
    /// The client does nothing that could keep the call from succeeding.
    is_honest: bool,
    /// What could be kept of it was not: it may fail.
    is_excused: Cell<bool>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ended {
    Answered,
    Refused(i64),
    /// The client went away or cancelled.
    Left,
    /// Without a word, which may not be.
    Silently(&'static str),
}

impl Client {
    /// `name` ends with the caller.
    pub(crate) fn new(name: String, shared: &Rc<Shared>, dice: Dice) -> Rc<Self> {
        let mut offers = vec!["elicitation", "sampling", "roots"];
        if !shared.is_tame && dice.percent(30) {
            offers.remove(usize::try_from(dice.between(0, 2)).unwrap());
        }
        Rc::new(Self {
            caller: name.chars().last().unwrap(),
            name,
            shared: shared.clone(),
            dice,
            next_call: Cell::new(1),
            offers,
        })
    }

    /// Does all it wants to do.
    pub(crate) async fn live(self: Rc<Self>, speaks: Speaks) {
        sleep(self.dice.wait(Duration::from_secs(5))).await;
        match speaks {
            Speaks::Legacy => {
                for session in 0..self.dice.between(1, 2) {
                    self.live_legacy(session).await;
                }
            }
            Speaks::Modern => {
                let mut calls = JoinSet::new();
                for _ in 0..self.dice.between(1, 5) {
                    let call = self.draw("");
                    calls.spawn_local(self.clone().call_modern(call));
                    sleep(self.dice.wait(Duration::from_secs(30))).await;
                }
                join(calls).await;
            }
        }
        self.trespass().await;
    }

    fn capabilities(&self) -> Value {
        let offers = self
            .offers
            .iter()
            .map(|offer| ((*offer).to_owned(), json!({})));
        Value::Object(offers.collect())
    }

    /// The next call, of a session if there is one.
    fn draw(&self, session: &str) -> Call {
        let number = self.next_call.replace(self.next_call.get() + 1);
        let tame = self.shared.is_tame;
        let plan = Plan::draw(&self.dice, tame);
        Call {
            mark: format!("mark-{}{session}-{number}.end", self.name),
            tool: self.dice.pick(&self.shared.tools),
            is_honest: (tame && plan.is_honest()) || self.dice.percent(50),
            plan,
            is_excused: Cell::new(false),
            dice: self.dice.fork(),
        }
    }

    async fn connect(&self) -> Wire {
        self.shared.network.connect(GATEWAY).await.unwrap()
    }

    async fn ask(&self, method: &str, headers: &str, body: &str) -> Option<Answer> {
        let headers = keys::header(self.caller) + headers;
        http::ask(self.connect().await, method, &headers, body).await
    }

    /// Tries sessions of others: for this client there are none.
    async fn trespass(&self) {
        let story = &self.shared.story;
        let known = self.shared.sessions.borrow().clone();
        for (owner, id) in known.iter().filter(|(owner, _)| *owner != self.caller) {
            let method = self.dice.pick(&["POST", "GET", "DELETE"]);
            let headers = format!("Mcp-Session-Id: {id}\r\nMCP-Protocol-Version: 2025-11-25\r\n");
            let body = match method {
                "POST" => r#"{"jsonrpc":"2.0","id":1,"result":{"text":"mark-nobody.end"}}"#,
                _ => "",
            };
            let answer = self.ask(method, &headers, body).await;
            let status = answer.map_or(0, |answer| answer.head.status());
            story.count("tries of others' sessions");
            if status != 404 {
                story.fault(
                    &self.name,
                    format!("{method} to a session of {owner} is answered {status}"),
                );
            }
        }
    }

    /// The client has told that it does not want an answer: the server hears of it.
    async fn check_given_up(&self, call: &Call) {
        sleep(KNOWN_WAIT).await;
        for server in &self.shared.servers {
            if server.works_on(&call.mark) {
                self.shared.story.fault(
                    &self.name,
                    format!("{} was given up, and {} works on", call.mark, server.name),
                );
            }
        }
    }

    /// Notes how a call ended, and sees that it might.
    fn ends(&self, call: &Call, ended: &Ended, is_expected: bool) {
        let story = &self.shared.story;
        story.note(&self.name, format!("{} has ended: {ended:?}", call.mark));
        match ended {
            Ended::Answered => story.count("calls answered"),
            Ended::Refused(_) => story.count("calls refused"),
            Ended::Left => story.count("calls left"),
            Ended::Silently(how) => {
                story.fault(&self.name, format!("{} got no answer: {how}", call.mark))
            }
        }
        let must_succeed =
            self.shared.is_tame && call.is_honest && is_expected && !call.is_excused.get();
        if must_succeed && *ended != Ended::Answered {
            story.fault(
                &self.name,
                format!("{} ended with {ended:?}, and nothing was wrong", call.mark),
            );
        }
    }
}

impl Call {
    fn arguments(&self) -> Value {
        json!({"mark": self.mark, "plan": self.plan.write()})
    }

    /// Sees that an answer is this call's, and says what it is.
    fn ended(&self, story: &Story, message: &Value) -> Ended {
        story.only(&self.mark, &message.to_string(), |mark| mark == self.mark);
        if message["error"].is_object() {
            return Ended::Refused(message["error"]["code"].as_i64().unwrap_or(0));
        }
        if !message["result"]["content"]
            .to_string()
            .contains(&self.mark)
            && message["result"]["isError"] != true
        {
            story.fault(
                &self.mark,
                format!("got an answer without its mark: {message}"),
            );
        }
        Ended::Answered
    }
}

/// The answer to a question, in which a mark stands.
fn reply(kind: &str, mark: &str) -> Value {
    match kind {
        "elicitation/create" => json!({"action": "accept", "content": {"text": mark}}),
        "sampling/createMessage" => {
            json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": mark}})
        }
        _ => json!({"roots": [{"uri": format!("file:///{mark}")}]}),
    }
}

async fn join(mut calls: JoinSet<()>) {
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
}

/// The end of what must end.
async fn in_time(ends: impl Future<Output = Ended>) -> Ended {
    timeout(ENDLESS, ends)
        .await
        .unwrap_or(Ended::Silently("for three hours"))
}
