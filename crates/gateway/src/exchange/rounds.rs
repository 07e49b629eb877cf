//! A modern server behind a legacy client (mcp-requirements §2.4 C).
//!
//! The server's `input_required` becomes requests to the client, on the stream of the very call; the answers go with the next round.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use protocol::json::{members, set_member};
use protocol::json_rpc::{self, ErrorObject, Id, Message, Shape, code};
use protocol::mcp::bridge::{self, InputRequired, LegacyError, Outcome, Question};
use protocol::mcp::{Method, Version};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::lent::may_ask;
use super::polled::Polled;
use crate::conversation::{Conversation, Outgoing};
use crate::handles::random;
use crate::refuse::Refusal;
use crate::server::Server;
use crate::session::{RoundAnswers, Session};
use crate::upstream::Answer;

/// Rounds of questions in one call.
const ROUNDS_MAX: u32 = 10;
/// Questions of one round.
const QUESTIONS_MAX: usize = 32;
/// How long a client may think about the questions of one round.
const THINK_MAX: Duration = Duration::from_secs(600);
/// How long is waited before a round without questions goes on.
const PACE: Duration = Duration::from_millis(250);

/// A call in rounds.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(super) session: Arc<Session>,
    pub(super) version: Version,
    pub(super) method: Method,
    pub(super) conversation: Arc<Conversation>,
    pub(super) server: Arc<Server>,
    /// What is said in each round beside the answers.
    params: String,
    header: Option<HeaderValue>,
    mirrored: Vec<(HeaderName, HeaderValue)>,
    round: u32,
    /// The task that the server made of the call.
    pub(super) polled: Option<Polled>,
    /// The round that the client is asked for.
    asking: Option<Asking>,
    sender: RoundAnswers,
    answers: mpsc::Receiver<(Box<str>, Message)>,
}

#[derive(Debug)]
struct Asking {
    open: Vec<Open>,
    /// The server's state, raw.
    state: Option<String>,
    /// Questions that the client has not got yet.
    ready: VecDeque<Bytes>,
    until: Instant,
}

#[derive(Debug)]
struct Open {
    key: String,
    method: String,
    answer: Option<String>,
}

impl Rounds {
    pub(crate) fn new(
        session: Arc<Session>,
        method: Method,
        (server, conversation): (Arc<Server>, Arc<Conversation>),
        first: &Outgoing,
    ) -> Self {
        let params = Message::parse(first.message.clone())
            .map_or_else(|_| "{}".to_owned(), |message| message.body().to_owned());
        let (sender, answers) = mpsc::channel(QUESTIONS_MAX);
        Self {
            version: session.version,
            session,
            method,
            conversation,
            server,
            params,
            header: first.name.clone(),
            mirrored: first.params.clone(),
            round: 0,
            polled: None,
            asking: None,
            sender,
            answers,
        }
    }

    /// What the server's answer means for the client; nothing when it asks for another round.
    pub(super) fn take(
        &mut self,
        server_said: &Message,
        shown: &Message,
        id: &Id,
    ) -> Result<Option<Bytes>, String> {
        if let Shape::Error(_) = server_said.shape {
            if self.polled.take().is_some() {
                return Err("its task cannot be looked at".to_owned());
            }
            return Ok(Some(self.error(shown.body(), id)));
        }
        if self.polled.is_some() {
            return self.take_state(server_said, shown, id);
        }
        match bridge::outcome(server_said.body()).map_err(|wrong| wrong.to_string())? {
            Outcome::Complete => self.complete(shown.body(), id).map(Some),
            Outcome::InputRequired(_) => {
                // As the client sees it: it is marked who asks.
                match bridge::outcome(shown.body()).map_err(|wrong| wrong.to_string())? {
                    Outcome::InputRequired(asked) => self.ask(&asked, id)?,
                    _ => return Err("the questions cannot be read".to_owned()),
                }
                Ok(None)
            }
            Outcome::Task(task) => {
                self.polled = Some(Polled::new(&task));
                Ok(None)
            }
            Outcome::Unknown(kind) => Err(format!("its `resultType` `{kind}` is not known")),
        }
    }

    /// A complete result in the client's words.
    pub(super) fn complete(&self, result: &str, id: &Id) -> Result<Bytes, String> {
        let result = bridge::result_to_legacy(self.method, self.version, result);
        let result = result.ok_or("the result is not an object")?;
        Ok(json_rpc::result(id, result.as_bytes()))
    }

    /// An error in the client's words.
    pub(super) fn error(&self, body: &str, id: &Id) -> Bytes {
        let Ok(error) = serde_json::from_str::<ErrorObject<'_>>(body) else {
            return json_rpc::error(Some(id), code::INTERNAL_ERROR, "unreadable error", None);
        };
        let data = error.data.map(|data| data.get());
        match bridge::error_to_legacy(self.method, &error) {
            LegacyError::Same => {
                let id = String::from_utf8_lossy(id.raw());
                format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{body}}}").into()
            }
            LegacyError::Code(code) => json_rpc::error(Some(id), code, &error.message, data),
            LegacyError::Text { code, message } => json_rpc::error(Some(id), code, &message, None),
            LegacyError::ToolResult(result) => json_rpc::result(id, result.as_bytes()),
        }
    }

    /// Opens the questions of a round. One that the client never said it can answer is the server's fault.
    pub(super) fn ask(&mut self, asked: &InputRequired<'_>, call: &Id) -> Result<(), String> {
        self.round += 1;
        if self.round > ROUNDS_MAX {
            return Err(format!("it asked more than {ROUNDS_MAX} times"));
        }
        if asked.requests.len() > QUESTIONS_MAX {
            return Err(format!(
                "it asked more than {QUESTIONS_MAX} questions at once"
            ));
        }
        let declared = self.session.standing().capabilities;
        let mut asking = Asking {
            open: Vec::new(),
            state: asked.state.map(str::to_owned),
            ready: VecDeque::new(),
            until: Instant::now() + THINK_MAX,
        };
        if !may_ask(self.method) {
            return Err(format!(
                "it asked in the middle of `{}`",
                self.method.as_str()
            ));
        }
        for (_, question) in &asked.requests {
            if !bridge::may_be_asked(&declared, question) {
                return Err(format!(
                    "it asked for `{}`, which the client did not offer",
                    question.method
                ));
            }
        }
        let mut said = Vec::new();
        for (key, question) in &asked.requests {
            said.push((key, question, self.said(key, question)?));
        }
        for (key, question, params) in said {
            let method = &question.method;
            let put = self
                .session
                .ask_in_round(method, &params, call, key, &self.sender);
            let put = put.ok_or("the client has too many questions open")?;
            asking.ready.push_back(put);
            asking.open.push(Open {
                key: key.clone().into_owned(),
                method: method.clone().into_owned(),
                answer: None,
            });
        }
        self.asking = Some(asking);
        Ok(())
    }

    /// The params of a question as the client gets them.
    fn said(&self, key: &str, question: &Question<'_>) -> Result<String, String> {
        let elicitation = random::<8>().map(|byte| format!("{byte:02x}")).concat();
        let params = bridge::question_to_legacy(question, &elicitation)
            .ok_or_else(|| format!("its question `{key}` is not an object"))?;
        Ok(match &*question.method {
            "sampling/createMessage" => {
                bridge::sampling_for_version(self.version, &params).into_owned()
            }
            _ => params,
        })
    }

    /// Whether the client is asked something at the moment.
    pub(super) const fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// A question that the client has not got yet.
    pub(super) fn question(&mut self) -> Option<Bytes> {
        self.asking.as_mut()?.ready.pop_front()
    }

    /// Waits until all is answered. Nothing is lost when this is dropped while it waits.
    pub(super) async fn answered(&mut self) -> Result<(), Refusal> {
        let Some(asking) = &mut self.asking else {
            return Ok(());
        };
        while asking.open.iter().any(|open| open.answer.is_none()) {
            let next = timeout_at(asking.until, self.answers.recv()).await;
            let Ok(Some((key, message))) = next else {
                let waited = THINK_MAX.as_secs();
                return Err(Refusal::Unanswered(format!("no answer within {waited} s")));
            };
            if let Some(open) = asking.open.iter_mut().find(|open| open.key == *key) {
                open.answer = Some(answer(&open.method, &message)?);
            }
        }
        if asking.open.is_empty() {
            sleep(PACE).await;
        }
        Ok(())
    }

    /// Sends the next round.
    pub(super) async fn again(&mut self) -> Result<(u64, Answer), Refusal> {
        let asking = self.asking.take();
        let (open, state) =
            asking.map_or_else(Default::default, |asking| (asking.open, asking.state));
        let answers: Vec<(String, String)> = open
            .into_iter()
            .filter_map(|open| Some((open.key, open.answer?)))
            .collect();
        if self.polled.is_some() {
            return self.update(&answers).await;
        }
        let number = self.conversation.next_id();
        let params = with_token(&self.params, number);
        let params = bridge::with_answers(&params, &answers, state.as_deref())
            .ok_or(Refusal::Params("`params` must be an object".into()))?;
        let outgoing = Outgoing {
            id: number,
            message: json_rpc::request(&Id::number(number), self.method.as_str(), &params),
            method: self.method.as_str(),
            name: self.header.clone(),
            params: self.mirrored.clone(),
        };
        Ok((number, self.conversation.call(outgoing).await?))
    }
}

/// The client's answer in the words of a modern server.
///
/// A client that refuses a form has canceled it; without a model's words or roots, the call cannot go on.
fn answer(method: &str, message: &Message) -> Result<String, Refusal> {
    match message.shape {
        Shape::Result(_) => bridge::answer_to_modern(message.body()).ok_or(Refusal::Unanswered(
            format!("`{method}` was not answered with an object"),
        )),
        _ if method == "elicitation/create" => Ok("{\"action\":\"cancel\"}".to_owned()),
        _ => Err(Refusal::Unanswered(format!(
            "the client refused `{method}`"
        ))),
    }
}

/// The params with the call's new number where progress is reported to, if it is.
fn with_token(params: &str, number: u64) -> String {
    let changed = || {
        let found = members(params).ok()?;
        let meta = found.iter().find(|member| member.key == "_meta")?.value;
        let has = members(meta)
            .ok()?
            .iter()
            .any(|member| member.key == "progressToken");
        let meta = set_member(meta, "progressToken", &number.to_string()).filter(|_| has)?;
        set_member(params, "_meta", &meta)
    };
    changed().unwrap_or_else(|| params.to_owned())
}
