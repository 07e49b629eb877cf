//! The stateless era: questions end the request, and the answers come with the next.

use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{Asked, Call, Server, State, Wanted, error, notification, question, result};
use crate::http::{Reader, Writer};
use crate::plan::End;

impl Server {
    pub(super) async fn answer_modern(
        &self,
        asked: Asked,
        reader: &mut Reader,
        writer: &mut Writer,
    ) -> Option<()> {
        let message = &asked.message;
        match message["method"].as_str() {
            Some("server/discover") => {
                let versions: &[&str] = &["2026-07-28"];
                let found = json!({
                    "resultType": "complete", "ttlMs": 0, "cacheScope": "public", "supportedVersions": versions,
                    "capabilities": {"tools": {"listChanged": true}},
                    "serverInfo": {"name": self.name, "version": "1"},
                });
                writer.answer(200, "", &result(message, &found)).await
            }
            Some("tools/list") => writer.answer(200, "", &Self::lists(message, true)).await,
            Some("subscriptions/listen") => {
                writer.begin_events().await?;
                let honored = json!({"notifications": {"toolsListChanged": true}});
                writer
                    .event(&notification(
                        "notifications/subscriptions/acknowledged",
                        &honored,
                    ))
                    .await?;
                reader.closed().await;
                None
            }
            Some("tools/call") => self.call_modern(&asked, reader, writer).await,
            _ => {
                writer
                    .answer(400, "", &error(message, -32601, "no such method"))
                    .await
            }
        }
    }

    async fn call_modern(
        &self,
        asked: &Asked,
        reader: &mut Reader,
        writer: &mut Writer,
    ) -> Option<()> {
        let Some(wanted) = Wanted::read(&asked.message) else {
            return writer
                .answer(400, "", &error(&asked.message, -32602, "no plan"))
                .await;
        };
        let params = &asked.message["params"];
        let state = params["requestState"].as_str();
        // A modern client numbers its requests; the gateway sends each round of a legacy one's once.
        let unique = match &params["_meta"]["example.org/attempt"] {
            Value::Null => format!("state {state:?}"),
            attempt => format!("attempt {attempt}"),
        };
        let call = self.begin(&wanted, None, asked, &unique);
        self.check_answers(&wanted, &asked.text);
        let done = tokio::select! {
            done = self.play_modern(asked, &wanted, state, &call, writer) => done,
            () = reader.closed() => {
                self.story.note(self.name, format!("sees {} closed", wanted.mark));
                call.ends(State::Closed);
                None
            }
        };
        call.ends(if done.is_some() {
            State::Said
        } else {
            State::Closed
        });
        done
    }

    /// Arguments and answers are those of one conversation, whosever the state is.
    fn check_answers(&self, wanted: &Wanted, text: &str) {
        // What a client tries with somebody else's state is its own fault.
        if wanted.mark.starts_with("mark-l") {
            self.story
                .only(self.name, text, |found| found == wanted.mark);
        }
    }

    async fn play_modern(
        &self,
        asked: &Asked,
        wanted: &Wanted,
        state: Option<&str>,
        call: &Call,
        writer: &mut Writer,
    ) -> Option<()> {
        let (message, plan) = (&asked.message, &wanted.plan);
        let mut round = 0;
        if let Some(state) = state {
            let known = state
                .split_once(' ')
                .and_then(|(at, mark)| Some((at.parse::<usize>().ok()?, mark)));
            match known {
                Some((at, mark)) if mark == wanted.mark && at < plan.rounds.len() => round = at,
                _ => {
                    call.ends(State::Said);
                    return writer
                        .answer(400, "", &error(message, -32602, "not a state of this call"))
                        .await;
                }
            }
            if Self::has_all(&plan.rounds[round].kinds, message) {
                round += 1;
            }
        }
        let Some(next) = plan.rounds.get(round) else {
            return self.end_modern(asked, wanted, call, writer).await;
        };
        sleep(next.pause).await;
        let entry = |(at, kind): (usize, &&str)| {
            let asked = json!({"method": kind, "params": question(kind, &wanted.mark)});
            (format!("q{at}"), asked)
        };
        let requests: Map<String, Value> = next.kinds.iter().enumerate().map(entry).collect();
        self.story.note(
            self.name,
            format!(
                "asks {} in round {round} of {}",
                requests.len(),
                wanted.mark
            ),
        );
        self.story.count("rounds of modern servers");
        let mut asks = json!({"resultType": "input_required", "requestState": format!("{round} {}", wanted.mark)});
        if !requests.is_empty() {
            asks["inputRequests"] = requests.into();
        }
        let asks = result(message, &asks);
        if plan.plain && plan.noise == 0 {
            call.ends(State::Said);
            return writer.answer(200, "", &asks).await;
        }
        writer.begin_events().await?;
        self.noise(asked, wanted, writer).await?;
        call.ends(State::Said);
        writer.event(&asks).await?;
        writer.end_events().await
    }

    fn has_all(kinds: &[&str], message: &Value) -> bool {
        let answers = &message["params"]["inputResponses"];
        (0..kinds.len()).all(|at| answers[format!("q{at}")].is_object())
    }

    async fn end_modern(
        &self,
        asked: &Asked,
        wanted: &Wanted,
        call: &Call,
        writer: &mut Writer,
    ) -> Option<()> {
        let plan = &wanted.plan;
        sleep(plan.pause).await;
        if plan.plain && plan.noise == 0 && matches!(plan.end, End::Answer | End::Error) {
            let answer = match plan.end {
                End::Error => error(&asked.message, -32000, &format!("no {}", wanted.mark)),
                _ => result(&asked.message, &wanted.result(true)),
            };
            call.ends(State::Said);
            return writer.answer(200, "", &answer).await;
        }
        writer.begin_events().await?;
        self.noise(asked, wanted, writer).await?;
        self.end(asked, wanted, true, call, writer).await
    }
}
