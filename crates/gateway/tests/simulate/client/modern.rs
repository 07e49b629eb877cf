//! A client of the stateless era.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};

use super::{Call, Client, Ended, in_time, reply};

/// Requests of one call, after which the client loses its patience.
const ATTEMPTS_MAX: u64 = 40;

/// What a request came back with.
enum Back {
    Ended(Ended),
    Asked(Asked),
}

/// What the client has to answer.
#[derive(Debug, Clone)]
struct Asked {
    state: Option<String>,
    questions: Map<String, Value>,
}

/// What a retry brings.
#[derive(Debug, Default)]
struct Brought {
    state: Option<String>,
    answers: Map<String, Value>,
}

impl Client {
    pub(super) async fn call_modern(self: Rc<Self>, call: Call) {
        let story = &self.shared.story;
        story.count("calls of modern clients");
        story.note(
            &self.name,
            format!(
                "calls {} with {:?}, honest: {}",
                call.tool, call.plan, call.is_honest
            ),
        );
        let mut brought = Brought::default();
        let mut attempt = 0;
        let ended = loop {
            attempt += 1;
            let patience = (!call.is_honest && call.dice.percent(12))
                .then(|| call.dice.wait(Duration::from_secs(900)));
            let asks = in_time_or(patience, self.attempt(&call, attempt, &brought)).await;
            match asks {
                None => {
                    story.note(&self.name, format!("hangs up on {}", call.mark));
                    // A call that asks something may just have begun to wait for its client.
                    if call.plan.rounds.is_empty() {
                        self.check_given_up(&call).await;
                    }
                    break Ended::Left;
                }
                Some(Back::Ended(ended)) => break ended,
                Some(Back::Asked(_)) if attempt > ATTEMPTS_MAX => break Ended::Left,
                Some(Back::Asked(asked)) => {
                    story.count("rounds of modern clients");
                    match self.bring(&call, &mut attempt, asked, &brought).await {
                        Some(next) => brought = next,
                        None => break Ended::Left,
                    }
                }
            }
        };
        let is_first = brought.state.is_none();
        // What was used already stays used.
        if !is_first && ended == Ended::Answered && call.dice.percent(20) {
            story.note(
                &self.name,
                format!("repeats the last request of {}", call.mark),
            );
            let again = self.attempt(&call, attempt + 1, &brought).await;
            if let Back::Ended(Ended::Silently(how)) = again {
                story.fault(
                    &self.name,
                    format!("{} repeated got no answer: {how}", call.mark),
                );
            }
        }
        let can_all = self.offers.len() == 3;
        self.ends(&call, &ended, can_all);
    }

    /// One request of a call.
    async fn attempt(&self, call: &Call, attempt: u64, brought: &Brought) -> Back {
        let story = &self.shared.story;
        let mut params = json!({
            "name": call.tool,
            "arguments": call.arguments(),
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": self.capabilities(),
                "io.modelcontextprotocol/clientInfo": {"name": self.name, "version": "1"},
                "io.modelcontextprotocol/logLevel": "debug",
                "example.org/attempt": attempt,
                "progressToken": format!("token {}", call.mark),
            },
        });
        if let Some(state) = &brought.state {
            params["requestState"] = state.as_str().into();
        }
        if !brought.answers.is_empty() {
            params["inputResponses"] = brought.answers.clone().into();
        }
        let body =
            json!({"jsonrpc": "2.0", "id": attempt, "method": "tools/call", "params": params})
                .to_string();
        let headers = format!(
            "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {}\r\n",
            call.tool
        );
        let Some(mut answer) = self.ask("POST", &headers, &body).await else {
            return Back::Ended(Ended::Silently("closed before the head"));
        };
        if !answer.is_stream() {
            let status = answer.head.status();
            let Some(message) = answer.json().await else {
                let ended = if status >= 400 {
                    Ended::Refused(status.into())
                } else {
                    Ended::Silently("no JSON")
                };
                return Back::Ended(ended);
            };
            return self.back(call, attempt, &message);
        }
        let mut back = None;
        loop {
            let message = match answer.event().await {
                Ok(Some(message)) => message,
                Ok(None) => {
                    return back.unwrap_or(Back::Ended(Ended::Silently("the stream ended")));
                }
                Err(()) => {
                    return back.unwrap_or(Back::Ended(Ended::Silently("the stream broke off")));
                }
            };
            if back.is_some() {
                story.fault(
                    &self.name,
                    format!("{} got more than an answer: {message}", call.mark),
                );
            }
            if message["method"].is_null() {
                back = Some(self.back(call, attempt, &message));
                continue;
            }
            story.only(&self.name, &message.to_string(), |mark| mark == call.mark);
            if !message["id"].is_null() {
                story.fault(
                    &self.name,
                    format!("{} got a request: {message}", call.mark),
                );
            }
        }
    }

    fn back(&self, call: &Call, attempt: u64, message: &Value) -> Back {
        let story = &self.shared.story;
        if message["id"] != attempt {
            story.fault(
                &self.name,
                format!("{} got an answer with another id: {message}", call.mark),
            );
        }
        if message["result"]["resultType"] != "input_required" {
            return Back::Ended(call.ended(story, message));
        }
        story.only(&self.name, &message.to_string(), |mark| mark == call.mark);
        let questions = message["result"]["inputRequests"].as_object().cloned();
        let asked = Asked {
            state: message["result"]["requestState"]
                .as_str()
                .map(str::to_owned),
            questions: questions.unwrap_or_default(),
        };
        if asked.state.is_none() && asked.questions.is_empty() {
            story.fault(
                &self.name,
                format!("{} is asked nothing: {message}", call.mark),
            );
        }
        Back::Asked(asked)
    }

    /// What the client brings next; nothing when it does not come back.
    async fn bring(
        &self,
        call: &Call,
        attempt: &mut u64,
        asked: Asked,
        before: &Brought,
    ) -> Option<Brought> {
        let story = &self.shared.story;
        let answers: Map<String, Value> = asked
            .questions
            .iter()
            .map(|(key, question)| {
                (
                    key.clone(),
                    reply(question["method"].as_str().unwrap_or(""), &call.mark),
                )
            })
            .collect();
        if let Some(state) = &asked.state {
            self.shared
                .states
                .borrow_mut()
                .push((call.mark.clone(), state.clone()));
        }
        let mut brought = Brought {
            state: asked.state.clone(),
            answers,
        };
        if call.is_honest {
            sleep(call.dice.wait(Duration::from_secs(590))).await;
            return Some(brought);
        }
        sleep(call.dice.wait(Duration::from_secs(700))).await;
        match call.dice.between(0, 11) {
            0 => {
                story.note(&self.name, format!("does not come back for {}", call.mark));
                return None;
            }
            1 => {
                let first = brought.answers.keys().next().cloned();
                first.map(|first| brought.answers.remove(&first));
            }
            2 => drop(brought.answers.insert(
                "nobody".to_owned(),
                reply("elicitation/create", "mark-nobody.end"),
            )),
            3 => drop(
                brought
                    .answers
                    .insert("elicitation-1".to_owned(), json!("nonsense")),
            ),
            4 | 5 => {
                // First with a state that is not the one, then with it.
                let (wrong, may_pass) = self.wrong_state(call, &asked, before);
                story.note(&self.name, format!("tries a wrong state for {}", call.mark));
                let wrong = Brought {
                    state: wrong,
                    answers: brought.answers.clone(),
                };
                *attempt += 1;
                match self.attempt(call, *attempt, &wrong).await {
                    Back::Ended(Ended::Silently(how)) => {
                        story.fault(
                            &self.name,
                            format!("{} with a wrong state got no answer: {how}", call.mark),
                        );
                    }
                    Back::Ended(Ended::Refused(_) | Ended::Left) => {
                        story.count("wrong states refused")
                    }
                    Back::Ended(Ended::Answered) | Back::Asked(_) if !may_pass => {
                        story.fault(
                            &self.name,
                            format!("{} went on with a wrong state", call.mark),
                        );
                    }
                    Back::Ended(Ended::Answered) | Back::Asked(_) => {}
                }
            }
            6 => {
                story.note(&self.name, format!("hurries with {}", call.mark));
                *attempt += 1;
                let other = *attempt;
                let hurry = timeout(
                    call.dice.wait(Duration::from_secs(2)),
                    self.attempt(call, other, &brought),
                );
                drop(hurry.await);
            }
            _ => {}
        }
        Some(brought)
    }

    /// A state that is not the one, and whether a modern server, which gets it as it is, may take it all the same.
    fn wrong_state(&self, call: &Call, asked: &Asked, before: &Brought) -> (Option<String>, bool) {
        let known = self.shared.states.borrow();
        let others: Vec<&String> = known
            .iter()
            .filter(|(mark, _)| *mark != call.mark)
            .map(|(_, state)| state)
            .collect();
        match (call.dice.between(0, 3), &before.state, &asked.state) {
            (0, Some(before), _) => (Some(before.clone()), before.contains("mark-")),
            (1, _, _) if !others.is_empty() => {
                // Of a call that may still wait.
                let last = others.len()
                    - usize::try_from(call.dice.between(1, 3))
                        .unwrap()
                        .min(others.len());
                (Some(others[last].clone()), false)
            }
            (2, _, Some(state)) => {
                let mut bytes = state.clone().into_bytes();
                let at = usize::try_from(call.dice.next() % bytes.len() as u64).unwrap();
                bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
                (Some(String::from_utf8(bytes).unwrap()), false)
            }
            _ => (Some("made up".to_owned()), false),
        }
    }
}

/// What comes back, unless the client hangs up before.
async fn in_time_or(patience: Option<Duration>, asks: impl Future<Output = Back>) -> Option<Back> {
    let mut back = None;
    let ends = async {
        back = Some(asks.await);
        Ended::Answered
    };
    match patience {
        Some(patience) => {
            if timeout(patience, in_time(ends)).await.is_err() {
                return None;
            }
        }
        None => {
            if let Ended::Silently(how) = in_time(ends).await {
                return Some(Back::Ended(Ended::Silently(how)));
            }
        }
    }
    back
}
