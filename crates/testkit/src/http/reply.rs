//! An answer, read as far as the test wants.

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::{MESSAGE_BYTES_MAX, within};

/// An answer whose head is read; the body follows on demand. Dropping it hangs up.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Header lines in order, names as spelled.
    pub headers: Vec<(String, String)>,
    socket: TcpStream,
    buffer: BytesMut,
    framing: Framing,
    /// Body bytes that are free of framing but not yet handed out.
    decoded: BytesMut,
}

#[derive(Debug)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
    Done,
}

/// One server-sent event.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Event {
    /// The `event` field; empty when absent.
    pub name: String,
    /// The `id` field.
    pub id: Option<String>,
    /// The `retry` field.
    pub retry: Option<u64>,
    /// The `data` lines joined by line breaks.
    pub data: String,
}

impl Event {
    /// The data as a value; `Null` when it is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap_or_default()
    }
}

impl Reply {
    /// The first header line of that name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|line| line.0.eq_ignore_ascii_case(name))
            .map(|line| line.1.as_str())
    }

    /// Whether the body is an event stream.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// The rest of the body.
    ///
    /// # Errors
    /// When the body is cut off, badly framed, too long or does not end in time.
    pub async fn bytes(&mut self) -> anyhow::Result<Bytes> {
        within("the end of the body", async {
            while self.more().await? {}
            Ok(self.decoded.split().freeze())
        })
        .await?
    }

    /// The rest of the body as text.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), or when it is not UTF-8.
    pub async fn text(&mut self) -> anyhow::Result<String> {
        Ok(String::from_utf8(self.bytes().await?.to_vec())?)
    }

    /// The body as one JSON value.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), or when it is not JSON.
    pub async fn json(&mut self) -> anyhow::Result<serde_json::Value> {
        let text = self.text().await?;
        serde_json::from_str(&text)
            .with_context(|| format!("status {}: not JSON: {text}", self.status))
    }

    /// The answer to a request whichever way it came: the JSON body, or the first event that carries `result` or
    /// `error`.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), or when the stream ends without an answer.
    pub async fn answer(&mut self) -> anyhow::Result<serde_json::Value> {
        if !self.is_stream() {
            return self.json().await;
        }
        while let Some(event) = self.event().await? {
            let message = event.json();
            if message.get("result").is_some() || message.get("error").is_some() {
                return Ok(message);
            }
        }
        bail!("the stream ended without an answer")
    }

    /// The next event with data; `None` at the proper end of the stream. Comments, keep-alives and events that only
    /// prime a stream are skipped.
    ///
    /// # Errors
    /// When the stream is cut off or nothing comes in time.
    pub async fn event(&mut self) -> anyhow::Result<Option<Event>> {
        loop {
            match self.any_event().await? {
                Some(event) if event.data.is_empty() => {}
                event => return Ok(event),
            }
        }
    }

    /// The next event, with or without data; `None` at the proper end of the stream.
    ///
    /// # Errors
    /// As [`event`](Self::event).
    pub async fn any_event(&mut self) -> anyhow::Result<Option<Event>> {
        within("the next event", async {
            loop {
                let end = self
                    .decoded
                    .windows(2)
                    .position(|two| two == b"\n\n")
                    .map(|at| (at, 2));
                let end_crlf = self
                    .decoded
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n")
                    .map(|at| (at, 4));
                if let Some((at, gap)) = end.into_iter().chain(end_crlf).min() {
                    let block = self.decoded.split_to(at + gap);
                    match parse_event(&String::from_utf8_lossy(&block[..at])) {
                        Some(event) => return Ok(Some(event)),
                        None => continue,
                    }
                }
                if !self.more().await? {
                    return Ok(None);
                }
            }
        })
        .await?
    }

    /// The next block of the stream as text, comments included.
    ///
    /// # Errors
    /// As [`event`](Self::event).
    pub async fn block(&mut self) -> anyhow::Result<Option<String>> {
        within("the next block", async {
            loop {
                if let Some(at) = self.decoded.windows(2).position(|two| two == b"\n\n") {
                    let block = self.decoded.split_to(at + 2);
                    return Ok(Some(String::from_utf8_lossy(&block[..at]).into_owned()));
                }
                if !self.more().await? {
                    return Ok(None);
                }
            }
        })
        .await?
    }

    pub(super) async fn read(mut socket: TcpStream) -> anyhow::Result<Self> {
        let mut buffer = BytesMut::new();
        let head = within("the head of the answer", head(&mut socket, &mut buffer)).await??;
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.with_context(|| format!("not an HTTP answer: {head}"))?;
        let split = |line: &str| {
            line.split_once(':')
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        };
        let headers: Vec<_> = lines.filter_map(split).collect();
        let mut reply = Self {
            status,
            headers,
            socket,
            buffer,
            framing: Framing::UntilClose,
            decoded: BytesMut::new(),
        };
        reply.framing = reply.framing_of_head();
        Ok(reply)
    }

    fn framing_of_head(&self) -> Framing {
        if self
            .header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            return Framing::Chunked;
        }
        if matches!(self.status, 204 | 304) {
            return Framing::Done;
        }
        match self
            .header("content-length")
            .and_then(|length| length.parse().ok())
        {
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        }
    }

    /// Decodes one more piece of the body; false at its end.
    async fn more(&mut self) -> anyhow::Result<bool> {
        match self.framing {
            Framing::Done | Framing::Length(0) => return Ok(false),
            Framing::Chunked => return self.chunk().await,
            Framing::Length(_) | Framing::UntilClose => {}
        }
        if self.buffer.is_empty() && !self.fill().await? {
            if let Framing::Length(missing) = self.framing {
                bail!("the body was cut off {missing} bytes before its end");
            }
            self.framing = Framing::Done;
            return Ok(false);
        }
        let taken = match self.framing {
            Framing::Length(missing) => missing.min(self.buffer.len()),
            Framing::Chunked | Framing::UntilClose | Framing::Done => self.buffer.len(),
        };
        if let Framing::Length(missing) = &mut self.framing {
            *missing -= taken;
        }
        self.decoded.extend_from_slice(&self.buffer.split_to(taken));
        Ok(true)
    }

    async fn chunk(&mut self) -> anyhow::Result<bool> {
        let line = self.line().await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16)
            .with_context(|| format!("not a chunk size: {line:?}"))?;
        while self.buffer.len() < size + 2 {
            if !self.fill().await? {
                bail!("the body was cut off inside a chunk");
            }
        }
        self.decoded.extend_from_slice(&self.buffer.split_to(size));
        drop(self.buffer.split_to(2));
        if size == 0 {
            self.framing = Framing::Done;
        }
        Ok(size > 0)
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.fill().await? {
                bail!("the body was cut off between chunks");
            }
        }
    }

    async fn fill(&mut self) -> anyhow::Result<bool> {
        if self.decoded.len() + self.buffer.len() > MESSAGE_BYTES_MAX {
            bail!("the body is longer than {MESSAGE_BYTES_MAX} bytes");
        }
        Ok(self.socket.read_buf(&mut self.buffer).await? > 0)
    }
}

async fn head(socket: &mut TcpStream, buffer: &mut BytesMut) -> anyhow::Result<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            drop(buffer.split_to(end + 4));
            if !head.starts_with("HTTP/1.1 100") {
                return Ok(head);
            }
        } else if socket.read_buf(buffer).await? == 0 {
            bail!(
                "the peer closed before its answer: {:?}",
                String::from_utf8_lossy(buffer)
            );
        }
    }
}

fn parse_event(block: &str) -> Option<Event> {
    let mut event = Event::default();
    let mut data = Vec::new();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event.name = value.to_owned(),
            "id" => event.id = Some(value.to_owned()),
            "retry" => event.retry = value.parse().ok(),
            "data" => data.push(value),
            _ => {}
        }
    }
    event.data = data.join("\n");
    (event != Event::default()).then_some(event)
}
