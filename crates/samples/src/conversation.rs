//! The talk with one client, from the first line to the end of the stream.
//!
//! One loop reads; every request is answered in a task of its own; one writer keeps lines whole.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufRead, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    call::Call,
    era::{self, About, Client, Era, LogLevel},
    in_flight::InFlight,
    outcome::Stop,
    questions::Questions,
    server::{Server, tool_error},
    subscriptions::{Filter, Subscriptions},
    wire::{self, BATCH_MAX, Fault, Incoming, Request},
};

/// The most messages that wait to be written; whoever adds one more waits as well.
const QUEUE_MAX: usize = 256;
/// How long requests may take to finish once the client has closed its end.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Talks with one client until it closes its end.
///
/// # Errors
/// What the streams report.
pub(crate) async fn converse<S: Server>(
    server: S,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let (outbox, queue) = mpsc::channel(QUEUE_MAX);
    let conversation = Arc::new(Conversation::new(server, outbox));
    let reading = async move {
        let mut tasks = JoinSet::new();
        let read = tokio::select! {
            read = conversation.read(BufReader::new(input), &mut tasks) => read,
            () = conversation.server.watch(&conversation.subscriptions) => Ok(()),
        };
        conversation.close(&mut tasks).await;
        read
    };
    // The queue ends when the reader is done and has dropped every sender.
    tokio::try_join!(reading, write(queue, output)).map(drop)
}

async fn write(
    mut queue: mpsc::Receiver<String>,
    mut output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    while let Some(mut line) = queue.recv().await {
        line.push('\n');
        output.write_all(line.as_bytes()).await?;
        output.flush().await?;
    }
    Ok(())
}

struct Conversation<S> {
    server: S,
    about: About,
    outbox: mpsc::Sender<String>,
    subscriptions: Subscriptions,
    questions: Questions,
    /// Who said `initialize`, if anybody did.
    legacy: Mutex<Option<Legacy>>,
    in_flight: InFlight,
    closing: watch::Sender<bool>,
}

#[derive(Clone, Copy)]
struct Legacy {
    version: &'static str,
    client: Client,
}

/// The answer to a message, known at once or found out by a task.
enum Reply {
    Now(Value),
    Later {
        request: Request,
        client: Client,
        canceled: oneshot::Receiver<()>,
    },
}

impl<S: Server> Conversation<S> {
    fn new(server: S, outbox: mpsc::Sender<String>) -> Self {
        Self {
            about: server.about(),
            server,
            subscriptions: Subscriptions::new(outbox.clone()),
            questions: Questions::new(outbox.clone()),
            outbox,
            legacy: Mutex::default(),
            in_flight: InFlight::default(),
            closing: watch::Sender::new(false),
        }
    }

    async fn read(
        self: &Arc<Self>,
        mut input: impl AsyncBufRead + Unpin,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<()> {
        while let Some(line) = wire::read_line(&mut input).await? {
            while tasks.try_join_next().is_some() {}
            match line {
                Ok(line) if line.trim_ascii().is_empty() => {}
                Ok(line) => match serde_json::from_slice(&line) {
                    Ok(Value::Array(batch)) => self.take_batch(batch, tasks).await,
                    Ok(message) => self.take_single(message, tasks),
                    Err(error) => {
                        self.send(Fault::parse(error.to_string()).response(None))
                            .await
                    }
                },
                Err(fault) => self.send(fault.response(None)).await,
            }
        }
        Ok(())
    }

    fn take_single(self: &Arc<Self>, message: Value, tasks: &mut JoinSet<()>) {
        let Some(reply) = self.take(message) else {
            return;
        };
        let conversation = Arc::clone(self);
        tasks.spawn(async move {
            if let Some(answer) = conversation.reply(reply).await {
                conversation.send(answer).await;
            }
        });
    }

    /// Answers a batch with a batch.
    ///
    /// # Spec
    /// MCP 2025-03-26, basic, "Batches": only this revision has them.
    async fn take_batch(self: &Arc<Self>, batch: Vec<Value>, tasks: &mut JoinSet<()>) {
        let version = self.legacy().map(|legacy| legacy.version);
        if version != Some("2025-03-26") || batch.is_empty() || batch.len() > BATCH_MAX {
            let message = format!("only 2025-03-26 has batches, of 1 to {BATCH_MAX} messages");
            self.send(Fault::invalid_request(message).response(None))
                .await;
            return;
        }
        let replies: Vec<Reply> = batch.into_iter().filter_map(|one| self.take(one)).collect();
        let mut answering = JoinSet::new();
        for reply in replies {
            let conversation = Arc::clone(self);
            answering.spawn(async move { conversation.reply(reply).await });
        }
        let conversation = Arc::clone(self);
        tasks.spawn(async move {
            let answers = answering.join_all().await;
            let answers: Vec<Value> = answers.into_iter().flatten().collect();
            if !answers.is_empty() {
                conversation.send(Value::Array(answers)).await;
            }
        });
    }

    /// Takes a message in the order in which it came: whatever changes the conversation happens
    /// here, so that the next line already finds it changed.
    fn take(&self, message: Value) -> Option<Reply> {
        match wire::read_message(message) {
            Incoming::Request(request) => Some(self.take_request(request)),
            Incoming::Notification { method, params } => {
                if method == "notifications/cancelled"
                    && let Some(id) = params.get("requestId")
                {
                    self.in_flight.end(id);
                }
                None
            }
            Incoming::Response { id, result } => {
                self.questions.settle(&id, result);
                None
            }
            Incoming::Malformed { id, fault } => Some(Reply::Now(fault.response(id.as_ref()))),
        }
    }

    fn take_request(&self, request: Request) -> Reply {
        let taken = self.client(&request).and_then(|client| {
            let quick = (client.era == Era::Legacy)
                .then(|| self.legacy_request(&request, client))
                .flatten();
            match quick {
                Some(result) => Ok(Err(result?)),
                None => Ok(Ok((client, self.in_flight.start(&request.id)?))),
            }
        });
        match taken {
            Ok(Ok((client, canceled))) => Reply::Later {
                request,
                client,
                canceled,
            },
            Ok(Err(result)) => Reply::Now(wire::response(&request.id, &result)),
            Err(fault) => Reply::Now(fault.response(Some(&request.id))),
        }
    }

    fn client(&self, request: &Request) -> Result<Client, Fault> {
        if let Some(client) = era::modern_client(&request.params)? {
            return Ok(client);
        }
        match (self.legacy(), request.method.as_str()) {
            (Some(legacy), _) => Ok(legacy.client),
            (None, "initialize") => era::legacy_client(&request.params).map(|(_, client)| client),
            // MCP 2025-11-25, basic/lifecycle: pings may come before the handshake is over.
            (None, "ping") => Ok(Client {
                era: Era::Legacy,
                elicits: false,
                log_level: None,
            }),
            (None, _) => Err(era::no_era()),
        }
    }

    /// Answers what opens and steers a legacy conversation.
    fn legacy_request(&self, request: &Request, client: Client) -> Option<Result<Value, Fault>> {
        let params = &request.params;
        match request.method.as_str() {
            "initialize" => Some(era::legacy_client(params).map(|(version, client)| {
                self.subscriptions.forget_legacy();
                self.set_legacy(Legacy { version, client });
                era::initialized(&self.about, version)
            })),
            "ping" => Some(Ok(json!({}))),
            "logging/setLevel" => Some(LogLevel::read(params.get("level")).map(|level| {
                let client = Client {
                    log_level: Some(level),
                    ..client
                };
                let version = self
                    .legacy()
                    .map_or(era::LEGACY[0], |legacy| legacy.version);
                self.set_legacy(Legacy { version, client });
                json!({})
            })),
            _ => None,
        }
    }

    async fn reply(&self, reply: Reply) -> Option<Value> {
        match reply {
            Reply::Now(answer) => Some(answer),
            Reply::Later {
                request,
                client,
                canceled,
            } => {
                let id = request.id.clone();
                let answer = tokio::select! {
                    biased;
                    // MCP 2026-07-28, basic/patterns/cancellation: nothing more is sent for it.
                    _ = canceled => None,
                    answer = self.answer(request, client) => Some(answer),
                };
                self.in_flight.end(&id);
                answer
            }
        }
    }

    async fn answer(&self, request: Request, client: Client) -> Value {
        let Request { id, method, params } = request;
        let call = Call {
            method,
            params,
            client,
            outbox: self.outbox.clone(),
            questions: self.questions.clone(),
        };
        let result = match (call.method.as_str(), client.era) {
            ("server/discover", Era::Modern) => Ok(era::discovered(&self.about)),
            ("subscriptions/listen", Era::Modern) => Ok(self.listen(&id, &call).await),
            ("resources/subscribe", Era::Legacy) => self.subscribe(&call).await,
            ("resources/unsubscribe", Era::Legacy) => self.unsubscribe(&call),
            ("resources/list", Era::Legacy) => {
                self.subscribe_list().await;
                self.server.answer(&call).await
            }
            ("tools/call", _) => self.timed(&call).await,
            _ => self.server.answer(&call).await,
        };
        let mut result = match result {
            Ok(result) => result,
            Err(Stop::Tool(text)) => tool_error(text),
            Err(Stop::NeedsInput { requests, state }) => json!({
                "resultType": "input_required", "inputRequests": requests, "requestState": state,
            }),
            Err(Stop::Fault(fault)) => return fault.response(Some(&id)),
        };
        let freshness = self.server.freshness(&call.method);
        era::finish(&mut result, client, &self.about, freshness);
        wire::response(&id, &result)
    }

    async fn timed(&self, call: &Call) -> Result<Value, Stop> {
        let started = Instant::now();
        let result = self.server.answer(call).await;
        let millis = started.elapsed().as_secs_f64() * 1000.0;
        let data = json!(format!("tool {} took {millis:.1} ms", call.name()));
        call.log(LogLevel::DEBUG, self.about.name, &data).await;
        result
    }

    async fn subscribe(&self, call: &Call) -> Result<Value, Stop> {
        self.can_subscribe(call)?;
        let uri = call.text("uri");
        let asked = Filter {
            uris: [uri.to_owned()].into(),
            ..Filter::default()
        };
        if self.server.honor(asked).await.uris.is_empty() {
            return Err(call.unknown_resource(uri));
        }
        self.subscriptions.subscribe(uri);
        Ok(json!({}))
    }

    fn unsubscribe(&self, call: &Call) -> Result<Value, Stop> {
        self.can_subscribe(call)?;
        self.subscriptions.unsubscribe(call.text("uri"));
        Ok(json!({}))
    }

    fn can_subscribe(&self, call: &Call) -> Result<(), Stop> {
        let can = self.about.capabilities["resources"]["subscribe"] == true;
        can.then_some(()).ok_or_else(|| call.unknown_method())
    }

    /// A legacy client that has seen the list is told when that is out of date.
    async fn subscribe_list(&self) {
        let asked = Filter {
            resources_list: true,
            ..Filter::default()
        };
        if self.server.honor(asked).await.resources_list {
            self.subscriptions.listed();
        }
    }

    async fn listen(&self, id: &Value, call: &Call) -> Value {
        let filter = self.server.honor(Filter::read(&call.params)).await;
        let mut closing = self.closing.subscribe();
        tokio::select! {
            () = self.subscriptions.listen(id, filter) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
        Subscriptions::ended(id)
    }

    async fn close(&self, tasks: &mut JoinSet<()>) {
        self.closing.send_replace(true);
        let finishing = async { while tasks.join_next().await.is_some() {} };
        if timeout(CLOSE_WAIT_MAX, finishing).await.is_err() {
            tasks.shutdown().await;
        }
    }

    fn legacy(&self) -> Option<Legacy> {
        *self.legacy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_legacy(&self, legacy: Legacy) {
        *self.legacy.lock().unwrap_or_else(PoisonError::into_inner) = Some(legacy);
    }

    async fn send(&self, message: Value) {
        // A closed outbox means that the client is gone.
        drop(self.outbox.send(message.to_string()).await);
    }
}
