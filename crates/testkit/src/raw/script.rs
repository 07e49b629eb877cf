//! What the server does with one request: a list of steps, played in order on the socket.

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

/// Most messages waiting in a [`feed`].
const FEED_DEPTH: usize = 1024;

/// The answer to one request. Built by chaining; played from first step to last.
///
/// A script that does not say how it ends leaves the connection open for the next request (a complete answer) or
/// holds it until the client goes away (an unfinished one).
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Bytes straight to the socket.
    Bytes(Bytes),
    /// Bytes as one chunk of a chunked body.
    Chunk(Bytes),
    /// Pause until the gate opens.
    Wait(Gate),
    /// Every event pushed into the feed, until its sender is gone.
    Follow(Feed),
    /// The last chunk: the body is complete.
    End,
    /// FIN in the middle of whatever was said; the reading half stays open.
    HalfClose,
    /// Close the connection now.
    Cut,
    /// Close with RST instead of FIN.
    Reset,
    /// Nothing more, ever: hold until the client goes away.
    Hold,
}

impl Script {
    /// A complete answer: status, these header lines, `content-length`, body. Nothing else is added.
    #[must_use]
    pub fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let mut head = head(status, headers);
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        Self::default().bytes(head).bytes(body)
    }

    /// 200 with a JSON body, verbatim.
    #[must_use]
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::json_with(200, &[], body)
    }

    /// A JSON body with another status and more header lines.
    #[must_use]
    pub fn json_with(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let mut lines = vec![("content-type", "application/json")];
        lines.extend_from_slice(headers);
        Self::answer(status, &lines, body)
    }

    /// Only a status, with an empty body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::answer(status, &[], "")
    }

    /// 202, the answer to a notification or a client's response.
    #[must_use]
    pub fn accepted() -> Self {
        Self::status(202)
    }

    /// The head of an event stream; go on with [`event`](Self::event) and [`end`](Self::end).
    #[must_use]
    pub fn sse() -> Self {
        Self::sse_with(&[])
    }

    /// The head of an event stream with more header lines.
    #[must_use]
    pub fn sse_with(headers: &[(&str, &str)]) -> Self {
        let mut lines = vec![
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store"),
        ];
        lines.extend_from_slice(headers);
        Self::chunked(200, &lines)
    }

    /// The head of a chunked answer of any type; go on with [`chunk`](Self::chunk) and [`end`](Self::end).
    #[must_use]
    pub fn chunked(status: u16, headers: &[(&str, &str)]) -> Self {
        let mut head = head(status, headers);
        head.push_str("transfer-encoding: chunked\r\n\r\n");
        Self::default().bytes(head)
    }

    /// Never answers: holds the request until the client goes away.
    #[must_use]
    pub fn never() -> Self {
        Self::default().step(Step::Hold)
    }

    /// Bytes straight to the socket, outside every framing: garbage, wrong heads, two answers.
    #[must_use]
    pub fn bytes(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Bytes(bytes.into()))
    }

    /// One `message` event with `data`; line breaks in it become several `data` lines.
    #[must_use]
    pub fn event(self, data: impl AsRef<str>) -> Self {
        self.chunk(event_text(None, data.as_ref()))
    }

    /// One event with an id before its data.
    #[must_use]
    pub fn event_with_id(self, id: &str, data: impl AsRef<str>) -> Self {
        self.chunk(event_text(Some(id), data.as_ref()))
    }

    /// Bytes as one chunk of the body: half an event, a comment, `retry:`, garbage inside a valid framing.
    #[must_use]
    pub fn chunk(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Chunk(bytes.into()))
    }

    /// Pauses until the gate is opened; several scripts may wait for the same gate.
    #[must_use]
    pub fn wait(self, gate: &Gate) -> Self {
        self.step(Step::Wait(gate.clone()))
    }

    /// Sends every event pushed into the feed until its [`Push`] is dropped.
    #[must_use]
    pub fn follow(self, feed: &Feed) -> Self {
        self.step(Step::Follow(feed.clone()))
    }

    /// Ends a chunked body properly.
    #[must_use]
    pub fn end(self) -> Self {
        self.step(Step::End)
    }

    /// Sends FIN but goes on reading.
    #[must_use]
    pub fn half_close(self) -> Self {
        self.step(Step::HalfClose).step(Step::Hold)
    }

    /// Closes the connection here: a body that ends before it should.
    #[must_use]
    pub fn cut(self) -> Self {
        self.step(Step::Cut)
    }

    /// Closes the connection here with a reset.
    #[must_use]
    pub fn reset(self) -> Self {
        self.step(Step::Reset)
    }

    /// Says nothing more and holds the connection until the client goes away.
    #[must_use]
    pub fn hold(self) -> Self {
        self.step(Step::Hold)
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

/// A gate a script waits at; made by [`gate`].
#[derive(Clone, Debug)]
pub struct Gate(watch::Receiver<bool>);

/// Opens its [`Gate`]; dropping it opens the gate as well, so that a failed test ends.
#[derive(Debug)]
pub struct Opener(watch::Sender<bool>);

/// A closed gate and what opens it.
#[must_use]
pub fn gate() -> (Opener, Gate) {
    let (sender, receiver) = watch::channel(false);
    (Opener(sender), Gate(receiver))
}

impl Opener {
    /// Lets every waiting script, and every later one, go on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }
}

impl Gate {
    pub(super) async fn pass(&self) {
        let mut seen = self.0.clone();
        drop(seen.wait_for(|open| *open).await);
    }
}

/// The reading end of a [`feed`]. The first script that follows it takes all events.
#[derive(Clone, Debug)]
pub struct Feed(std::sync::Arc<tokio::sync::Mutex<mpsc::Receiver<Bytes>>>);

/// Sends events into an open stream while the test runs.
#[derive(Clone, Debug)]
pub struct Push(mpsc::Sender<Bytes>);

/// A queue of events for a stream that stays open: `Script::sse().follow(&feed)`.
#[must_use]
pub fn feed() -> (Push, Feed) {
    let (sender, receiver) = mpsc::channel(FEED_DEPTH);
    (
        Push(sender),
        Feed(std::sync::Arc::new(tokio::sync::Mutex::new(receiver))),
    )
}

impl Push {
    /// One `message` event with `data`.
    ///
    /// # Errors
    /// When the queue is full or no script can ever follow it any more.
    pub fn event(&self, data: impl AsRef<str>) -> anyhow::Result<()> {
        Ok(self.0.try_send(event_text(None, data.as_ref()).into())?)
    }

    /// Any bytes as one chunk.
    ///
    /// # Errors
    /// As [`event`](Self::event).
    pub fn chunk(&self, bytes: impl Into<Bytes>) -> anyhow::Result<()> {
        Ok(self.0.try_send(bytes.into())?)
    }
}

impl Feed {
    pub(super) async fn next(&self) -> Option<Bytes> {
        self.0.lock().await.recv().await
    }
}

fn head(status: u16, headers: &[(&str, &str)]) -> String {
    let mut head = format!("HTTP/1.1 {status} scripted\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

fn event_text(id: Option<&str>, data: &str) -> String {
    let mut text = String::new();
    if let Some(id) = id {
        text.push_str(&format!("id: {id}\n"));
    }
    for line in data.split('\n') {
        text.push_str(&format!("data: {line}\n"));
    }
    text.push('\n');
    text
}
