//! A request, line by line.

use std::fmt::Write as _;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::reply::Reply;
use super::{connect, split};

/// A request in the making. Header lines are sent in the order given; `Host`, `Content-Length` and `Connection: close`
/// are added unless a line of that name was given or [`without`](Self::without) was called.
#[derive(Clone, Debug)]
pub struct Request {
    authority: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    omitted: Vec<String>,
    body: Bytes,
}

/// A `POST` of `body` with the content type and accept lines every MCP client sends.
///
/// # Errors
/// When `url` is not `http://host:port/…`.
pub fn post(url: &str, body: impl Into<Bytes>) -> anyhow::Result<Request> {
    Ok(Request::new("POST", url)?
        .header("Content-Type", "application/json")
        .header("Accept", "application/json, text/event-stream")
        .body(body))
}

/// A `GET` without further header lines.
///
/// # Errors
/// As [`post`].
pub fn get(url: &str) -> anyhow::Result<Request> {
    Request::new("GET", url)
}

/// A `DELETE` without further header lines.
///
/// # Errors
/// As [`post`].
pub fn delete(url: &str) -> anyhow::Result<Request> {
    Request::new("DELETE", url)
}

impl Request {
    /// Any method.
    ///
    /// # Errors
    /// As [`post`].
    pub fn new(method: &str, url: &str) -> anyhow::Result<Self> {
        let (authority, target) = split(url)?;
        Ok(Self {
            authority: authority.to_owned(),
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            omitted: Vec::new(),
            body: Bytes::new(),
        })
    }

    /// Adds a header line; lines of the same name are kept.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces every line of that name by one.
    #[must_use]
    pub fn set(self, name: &str, value: &str) -> Self {
        let mut request = self.without(name);
        request.omitted.pop();
        request.header(name, value)
    }

    /// Removes every line of that name, also one that would be added by itself.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|line| !line.0.eq_ignore_ascii_case(name));
        self.omitted.push(name.to_owned());
        self
    }

    /// Replaces the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it on a connection of its own and reads the head of the answer.
    ///
    /// # Errors
    /// When the peer cannot be reached, closes early or answers what is not HTTP/1.
    pub async fn send(&self) -> anyhow::Result<Reply> {
        let mut socket = connect(&self.authority).await?;
        socket.write_all(&self.bytes()).await?;
        Reply::read(socket).await
    }

    /// The bytes that [`send`](Self::send) writes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let length = self.body.len().to_string();
        let added = [
            ("Host", self.authority.as_str()),
            ("Content-Length", &length),
            ("Connection", "close"),
        ];
        for (name, value) in added {
            let given = self
                .headers
                .iter()
                .any(|line| line.0.eq_ignore_ascii_case(name));
            let omitted = self
                .omitted
                .iter()
                .any(|other| other.eq_ignore_ascii_case(name));
            if !given && !omitted {
                write!(head, "{name}: {value}\r\n").expect("a string takes everything");
            }
        }
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").expect("a string takes everything");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}
