//! A wire on which everything comes one after the other: standard output, or the stream of 2024-11-05.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, bail};
use gateway::Gateway;
use serde_json::Value;
use testkit::http::{self, Reply};
use tokio::io::{
    AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf, WriteHalf,
};
use tokio::task::JoinSet;

use super::Answer;

/// Bytes in flight on the pipe.
const PIPE_BYTES: usize = 64 * 1024;

/// One wire, and what came on it before anybody asked.
#[derive(Debug)]
pub(super) struct Line {
    end: End,
    answers: Vec<String>,
    heard: VecDeque<String>,
}

#[derive(Debug)]
enum End {
    Stdio {
        input: WriteHalf<DuplexStream>,
        output: BufReader<ReadHalf<DuplexStream>>,
        _served: JoinSet<()>,
    },
    Sse {
        stream: Reply,
        post: String,
    },
}

impl Line {
    /// Standard input and output of a gateway.
    pub(super) fn stdio(gateway: Arc<Gateway>, path: &str) -> Self {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let (output, input) = tokio::io::split(ours);
        let path = path.to_owned();
        let mut served = JoinSet::new();
        served.spawn(async move {
            let (input, output) = tokio::io::split(theirs);
            gateway::serve_stdio(gateway, &path, input, output)
                .await
                .unwrap();
        });
        Self::new(End::Stdio {
            input,
            output: BufReader::new(output),
            _served: served,
        })
    }

    /// The two addresses of 2024-11-05, under the endpoint's own URL.
    pub(super) async fn sse(url: &str) -> anyhow::Result<Self> {
        let mut stream = http::get(url)?
            .header("Accept", "text/event-stream")
            .send()
            .await?;
        let endpoint = stream.event().await?.context("no event came")?;
        if endpoint.name != "endpoint" {
            bail!("the first event is {endpoint:?}");
        }
        let root: String = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let post = format!("{root}{}", endpoint.data);
        Ok(Self::new(End::Sse { stream, post }))
    }

    fn new(end: End) -> Self {
        Self {
            end,
            answers: Vec::new(),
            heard: VecDeque::new(),
        }
    }

    pub(super) async fn say(&mut self, text: &str) -> anyhow::Result<()> {
        match &mut self.end {
            End::Stdio { input, .. } => {
                input.write_all(text.as_bytes()).await?;
                input.write_all(b"\n").await?;
                Ok(input.flush().await?)
            }
            End::Sse { post, .. } => {
                let reply = http::post(post, text.to_owned())?.send().await?;
                if reply.status != 202 {
                    bail!("posting a message was answered {}", reply.status);
                }
                Ok(())
            }
        }
    }

    async fn read(&mut self) -> anyhow::Result<Option<String>> {
        match &mut self.end {
            End::Stdio { output, .. } => {
                let mut text = String::new();
                let read = testkit::within("a line", output.read_line(&mut text)).await??;
                Ok((read > 0).then(|| text.trim_end_matches('\n').to_owned()))
            }
            End::Sse { stream, .. } => Ok(stream.event().await?.map(|event| event.data)),
        }
    }

    /// The next message that is no answer; `None` when the answer to `until` has come in its place.
    pub(super) async fn hear(&mut self, until: Option<&str>) -> anyhow::Result<Option<String>> {
        loop {
            if let Some(message) = self.heard.pop_front() {
                return Ok(Some(message));
            }
            if let Some(at) =
                until.and_then(|id| self.answers.iter().position(|answer| is_to(answer, id)))
            {
                return Ok(Some(self.answers.remove(at)));
            }
            let Some(message) = self.read().await? else {
                return Ok(None);
            };
            self.sort(message)?;
        }
    }

    /// The answer to a request; what was heard before it on this wire comes first.
    pub(super) async fn answer(&mut self, id: &str) -> anyhow::Result<(Vec<Value>, String)> {
        loop {
            if let Some(at) = self.answers.iter().position(|answer| is_to(answer, id)) {
                let of_calls = |text: &String| {
                    text.contains("notifications/progress")
                        || text.contains("notifications/message")
                };
                let events = self.heard.iter().filter(|text| of_calls(text));
                let events = events
                    .map(|text| serde_json::from_str(text))
                    .collect::<Result<_, _>>()?;
                self.heard.retain(|text| !of_calls(text));
                return Ok((events, self.answers.remove(at)));
            }
            let message = self.read().await?.context("the wire has ended")?;
            self.sort(message)?;
        }
    }

    fn sort(&mut self, message: String) -> anyhow::Result<()> {
        if Answer::parse(&message)?.is_answer() {
            self.answers.push(message);
        } else {
            self.heard.push_back(message);
        }
        Ok(())
    }
}

fn is_to(answer: &str, id: &str) -> bool {
    Answer::parse(answer).is_ok_and(|answer| answer.id.is_some_and(|own| own.get() == id))
}
