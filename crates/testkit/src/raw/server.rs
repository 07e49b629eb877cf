//! The listening side: accepts, reads requests, asks the handler, plays its script.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::script::{Script, Step};
use super::seen::Seen;
use crate::{MESSAGE_BYTES_MAX, within};

/// Most header lines of one request.
const HEADERS_MAX: usize = 256;

/// A scripted HTTP/1.1 server on a free loopback port. Stops when dropped.
#[derive(Debug)]
pub struct RawServer {
    address: SocketAddr,
    log: Arc<Log>,
    tasks: JoinSet<()>,
}

/// What happened so far; tests wait on it.
#[derive(Debug)]
struct Log {
    requests: watch::Sender<Vec<Seen>>,
    /// Numbers of the requests whose client went away before the script was over.
    hung_up: watch::Sender<Vec<usize>>,
    connections: AtomicUsize,
}

type Handler = dyn Fn(&Seen) -> Script + Send + Sync;

impl RawServer {
    /// Listens on a free loopback port and answers each request with what `handler` makes of it.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start<H>(handler: H) -> anyhow::Result<Self>
    where
        H: Fn(&Seen) -> Script + Send + Sync + 'static,
    {
        Self::start_at("127.0.0.1:0".parse().expect("a constant address"), handler).await
    }

    /// The same on a given address: a server that comes back where one went away.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn start_at<H>(address: SocketAddr, handler: H) -> anyhow::Result<Self>
    where
        H: Fn(&Seen) -> Script + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on {address}"))?;
        let address = listener.local_addr()?;
        let log = Arc::new(Log {
            requests: watch::Sender::new(Vec::new()),
            hung_up: watch::Sender::new(Vec::new()),
            connections: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::new(handler), Arc::clone(&log)));
        Ok(Self {
            address,
            log,
            tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the path `/mcp`; every other path reaches the handler as well.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Every request so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.log.requests.borrow().clone()
    }

    /// The requests with that JSON-RPC method so far.
    #[must_use]
    pub fn requests_of(&self, method: &str) -> Vec<Seen> {
        let mut found = self.requests();
        found.retain(|seen| seen.rpc_method().as_deref() == Some(method));
        found
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.log.connections.load(Ordering::Relaxed)
    }

    /// Waits until `count` requests satisfy `which`, and returns all that do.
    ///
    /// # Errors
    /// After [`crate::WAIT_MAX`].
    pub async fn wait_for(
        &self,
        count: usize,
        which: impl Fn(&Seen) -> bool,
    ) -> anyhow::Result<Vec<Seen>> {
        let mut requests = self.log.requests.subscribe();
        let enough =
            requests.wait_for(|all| all.iter().filter(|seen| which(seen)).count() >= count);
        let all = within("a request of the server under test", enough)
            .await??
            .clone();
        Ok(all.into_iter().filter(which).collect())
    }

    /// Waits until the client has closed the connection of that request before its script was over.
    ///
    /// # Errors
    /// After [`crate::WAIT_MAX`].
    pub async fn hung_up(&self, number: usize) -> anyhow::Result<()> {
        let mut hung_up = self.log.hung_up.subscribe();
        within(
            "the client to hang up",
            hung_up.wait_for(|all| all.contains(&number)),
        )
        .await??;
        Ok(())
    }

    /// Stops at once: the listener and every connection close.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn accept(listener: TcpListener, handler: Arc<Handler>, log: Arc<Log>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let number = log.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(converse(
            socket,
            number,
            Arc::clone(&handler),
            Arc::clone(&log),
        ));
        while connections.try_join_next().is_some() {}
    }
}

/// One connection: requests one after another until a script, the client or an unreadable head ends it.
async fn converse(socket: TcpStream, connection: usize, handler: Arc<Handler>, log: Arc<Log>) {
    drop(socket.set_nodelay(true));
    let (reader, mut writer) = socket.into_split();
    let mut incoming = Incoming {
        reader,
        buffer: BytesMut::new(),
    };
    while let Some(mut seen) = incoming.request(&mut writer).await {
        seen.connection = connection;
        log.requests.send_modify(|all| {
            seen.number = all.len();
            all.push(seen.clone());
        });
        match play(handler(&seen), &mut incoming, &mut writer).await {
            Outcome::Next => {}
            Outcome::Closed => return,
            Outcome::HungUp => {
                log.hung_up.send_modify(|all| all.push(seen.number));
                return;
            }
        }
    }
}

enum Outcome {
    Next,
    Closed,
    HungUp,
}

async fn play(script: Script, incoming: &mut Incoming, writer: &mut OwnedWriteHalf) -> Outcome {
    for step in script.steps {
        let hung_up = match step {
            Step::Bytes(bytes) => writer.write_all(&bytes).await.is_err(),
            Step::Chunk(bytes) => write_chunk(writer, &bytes).await.is_err(),
            Step::End => writer.write_all(b"0\r\n\r\n").await.is_err(),
            Step::Wait(gate) => tokio::select! {
                () = gate.pass() => false,
                () = incoming.gone() => true,
            },
            Step::Follow(feed) => loop {
                let next = tokio::select! {
                    next = feed.next() => next,
                    () = incoming.gone() => break true,
                };
                match next {
                    Some(bytes) if write_chunk(writer, &bytes).await.is_err() => break true,
                    Some(_) => {}
                    None => break false,
                }
            },
            Step::HalfClose => writer.shutdown().await.is_err(),
            Step::Hold => {
                incoming.gone().await;
                true
            }
            Step::Cut => return Outcome::Closed,
            Step::Reset => {
                drop(writer.as_ref().set_zero_linger());
                return Outcome::Closed;
            }
        };
        if hung_up {
            return Outcome::HungUp;
        }
    }
    Outcome::Next
}

async fn write_chunk(writer: &mut OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<()> {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    writer.write_all(&framed).await
}

/// The reading half with what was read ahead.
struct Incoming {
    reader: OwnedReadHalf,
    buffer: BytesMut,
}

impl Incoming {
    /// The next request; `None` when the client is gone or sends what is not HTTP.
    async fn request(&mut self, writer: &mut OwnedWriteHalf) -> Option<Seen> {
        let head = self.head().await?;
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.into(), first.next()?.into());
        let headers: Vec<_> = lines.take(HEADERS_MAX).filter_map(header_line).collect();
        let value = |name: &str| {
            headers
                .iter()
                .find(|line| line.0.eq_ignore_ascii_case(name))
                .map(|line| line.1.as_str())
        };
        if value("expect").is_some() {
            writer
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .ok()?;
        }
        let chunked =
            value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        let length = value("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        let body = if chunked {
            self.chunked_body().await?
        } else {
            self.take(length).await?
        };
        Some(Seen {
            number: 0,
            connection: 0,
            method,
            target,
            headers: headers.into(),
            body,
        })
    }

    async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                return Some(String::from_utf8_lossy(&head[..end]).into_owned());
            }
            self.more().await?;
        }
    }

    async fn chunked_body(&mut self) -> Option<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Some(body.freeze());
            }
            body.extend_from_slice(&self.take(size).await?);
            self.line().await?;
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.more().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Option<Bytes> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Some(self.buffer.split_to(length).freeze())
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.reader.read_buf(&mut self.buffer).await.ok()?;
        (read > 0 && self.buffer.len() <= MESSAGE_BYTES_MAX).then_some(())
    }

    /// Resolves when the client closes its side; what it sends ahead is kept.
    async fn gone(&mut self) {
        while self.more().await.is_some() {}
    }
}

fn header_line(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_owned(), value.trim().to_owned()))
}
