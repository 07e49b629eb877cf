//! Both ends of HTTP/1.1, as small as the simulation needs: nothing is shared with the code under test.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use transport::simulated::Wire;

/// What is read from one end.
#[derive(Debug)]
pub(crate) struct Reader {
    wire: ReadHalf<Wire>,
    bytes: Vec<u8>,
}

/// Where one end writes.
#[derive(Debug)]
pub(crate) struct Writer(WriteHalf<Wire>);

/// The head of a request or an answer.
#[derive(Debug)]
pub(crate) struct Head {
    /// The method, or the status.
    pub(crate) what: String,
    headers: Vec<(String, String)>,
}

/// How a body ends.
#[derive(Debug, Clone, Copy)]
enum Rest {
    Bytes(usize),
    Chunks,
    Nothing,
}

/// An answer that is being read. Dropped, the connection closes.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    reader: Reader,
    _writer: Writer,
    rest: Rest,
    text: String,
    /// The id of the last event, for whoever wants to come back.
    pub(crate) last_event: Rc<RefCell<Option<String>>>,
}

/// Both halves of a connection.
pub(crate) fn split(wire: Wire) -> (Reader, Writer) {
    let (reader, writer) = tokio::io::split(wire);
    let reader = Reader {
        wire: reader,
        bytes: Vec::new(),
    };
    (reader, Writer(writer))
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|header| header.0 == name);
        found.next().map(|header| &*header.1)
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> u16 {
        self.what.parse().unwrap_or(0)
    }

    fn rest(&self) -> Rest {
        if self.header("transfer-encoding").is_some() {
            return Rest::Chunks;
        }
        let length = self.header("content-length").map(str::parse);
        length.map_or(Rest::Nothing, |length| Rest::Bytes(length.unwrap()))
    }
}

impl Reader {
    /// More bytes, or false at the end.
    async fn more(&mut self) -> bool {
        matches!(self.wire.read_buf(&mut self.bytes).await, Ok(count) if count > 0)
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|two| two == b"\r\n") {
                let line = self.bytes.drain(..end + 2).collect::<Vec<_>>();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.bytes.len() < count {
            if !self.more().await {
                return None;
            }
        }
        Some(self.bytes.drain(..count).collect())
    }

    async fn head(&mut self, word: usize) -> Option<Head> {
        let first = self.line().await?;
        let what = first.split(' ').nth(word)?.to_owned();
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else {
                return Some(Head { what, headers });
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The next request, and its body.
    pub(crate) async fn request(&mut self) -> Option<(Head, String)> {
        let head = self.head(0).await?;
        let body = match head.rest() {
            Rest::Bytes(count) => self.exactly(count).await?,
            Rest::Chunks | Rest::Nothing => Vec::new(),
        };
        Some((head, String::from_utf8(body).unwrap()))
    }

    /// Returns when the other end has closed the connection.
    pub(crate) async fn closed(&mut self) {
        while self.more().await {}
    }
}

impl Writer {
    pub(crate) async fn write(&mut self, text: &str) -> Option<()> {
        self.0.write_all(text.as_bytes()).await.ok()?;
        self.0.flush().await.ok()
    }

    pub(crate) async fn answer(&mut self, status: u16, headers: &str, body: &str) -> Option<()> {
        let length = body.len();
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/json\r\n"
        };
        let head =
            format!("HTTP/1.1 {status} x\r\n{kind}{headers}Content-Length: {length}\r\n\r\n");
        self.write(&(head + body)).await
    }

    pub(crate) async fn begin_events(&mut self) -> Option<()> {
        let head = "HTTP/1.1 200 x\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        self.write(head).await
    }

    pub(crate) async fn event(&mut self, data: &str) -> Option<()> {
        let event = format!("data: {data}\n\n");
        self.write(&format!("{:x}\r\n{event}\r\n", event.len()))
            .await
    }

    pub(crate) async fn end_events(&mut self) -> Option<()> {
        self.write("0\r\n\r\n").await
    }
}

/// Sends a request on a connection of its own and reads the head of the answer; nothing when the other end closes before.
pub(crate) async fn ask(wire: Wire, method: &str, headers: &str, body: &str) -> Option<Answer> {
    let (mut reader, mut writer) = split(wire);
    let length = body.len();
    let head = format!(
        "{method} /mcp/main HTTP/1.1\r\nHost: localhost\r\nAccept: application/json, text/event-stream\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    writer.write(&(head + body)).await?;
    let head = reader.head(1).await?;
    let rest = head.rest();
    Some(Answer {
        head,
        reader,
        _writer: writer,
        rest,
        text: String::new(),
        last_event: Rc::default(),
    })
}

impl Answer {
    pub(crate) fn is_stream(&self) -> bool {
        let kind = self.head.header("content-type");
        kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// The next piece of the body; nothing at its end, an error when it breaks off.
    async fn piece(&mut self) -> Result<Option<String>, ()> {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        match std::mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::Nothing => Ok(None),
            Rest::Bytes(count) => self
                .reader
                .exactly(count)
                .await
                .map(text)
                .map(Some)
                .ok_or(()),
            Rest::Chunks => {
                let size = self.reader.line().await.ok_or(())?;
                let size = usize::from_str_radix(&size, 16).unwrap();
                let chunk = self.reader.exactly(size + 2).await.ok_or(())?;
                if size == 0 {
                    return Ok(None);
                }
                self.rest = Rest::Chunks;
                Ok(Some(text(chunk[..size].to_vec())))
            }
        }
    }

    /// The whole body as JSON.
    pub(crate) async fn json(&mut self) -> Option<Value> {
        while let Some(piece) = self.piece().await.ok()? {
            self.text.push_str(&piece);
        }
        serde_json::from_str(&self.text).ok()
    }

    /// The data of the next event that has any; nothing at the end of the stream, an error when it breaks off.
    pub(crate) async fn event(&mut self) -> Result<Option<Value>, ()> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data:"));
                let data = data.map(|data| serde_json::from_str(data.trim()));
                if let Some(id) = event.lines().find_map(|line| line.strip_prefix("id:")) {
                    self.last_event.replace(Some(id.trim().to_owned()));
                }
                self.text = rest.to_owned();
                if let Some(Ok(data)) = data {
                    return Ok(Some(data));
                }
                continue;
            }
            match self.piece().await? {
                Some(piece) => self.text.push_str(&piece),
                None => return Ok(None),
            }
        }
    }
}
