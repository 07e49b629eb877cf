//! One answer of a scripted server, before it becomes bytes of one wire or the other.

use serde_json::Value;
use testkit::raw::{Feed, Gate, Script};

/// What a server says to one request: messages before the answer, a pause, the answer.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) status: Option<u16>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) events: Vec<String>,
    /// The answer comes when this gate is open.
    pub(super) wait: Option<Gate>,
    /// The answer comes as the last event of a stream.
    pub(super) stream: bool,
    pub(super) answer: Option<String>,
    /// After the events, what is pushed here.
    pub(super) follow: Option<Feed>,
    /// The connection is cut in place of an answer.
    pub(super) cut: bool,
}

impl Said {
    pub(super) fn accepted() -> Self {
        Self {
            status: Some(202),
            ..Self::default()
        }
    }

    pub(super) fn result(id: &str, result: &str) -> Self {
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
        Self {
            answer: Some(answer),
            ..Self::default()
        }
    }

    pub(super) fn error(id: &str, status: u16, code: i64, text: &str) -> Self {
        let text = Value::from(text);
        let answer =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{text}}}}}"#);
        Self {
            status: Some(status),
            answer: Some(answer),
            ..Self::default()
        }
    }

    /// As HTTP says it.
    pub(super) fn script(self) -> Script {
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        if self.events.is_empty() && !self.stream && self.follow.is_none() {
            return self.whole(&headers);
        }
        let mut script = Script::sse_with(&headers);
        for event in &self.events {
            script = script.event(event);
        }
        if let Some(gate) = &self.wait {
            script = script.wait(gate);
        }
        if let Some(feed) = &self.follow {
            script = script.follow(feed);
        }
        match &self.answer {
            _ if self.cut => script.cut(),
            Some(answer) => script.event(answer).end(),
            None if self.follow.is_some() => script.end(),
            None => script.hold(),
        }
    }

    fn whole(&self, headers: &[(&str, &str)]) -> Script {
        let script = match &self.wait {
            Some(gate) => Script::default().wait(gate),
            None => Script::default(),
        };
        let status = self.status.unwrap_or(200);
        let Some(answer) = &self.answer else {
            return match status {
                _ if self.cut => script.cut(),
                202 => Script::accepted(),
                200 => script.hold(),
                status => Script::status(status),
            };
        };
        let mut head = format!("HTTP/1.1 {status} scripted\r\ncontent-type: application/json\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", answer.len()));
        script.bytes(head).bytes(answer.clone())
    }

    /// As the transport of 2024-11-05 says it: everything on the one stream, at once.
    pub(super) fn messages(self) -> Vec<String> {
        self.events.into_iter().chain(self.answer).collect()
    }
}
