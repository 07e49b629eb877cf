//! One server over the transport of 2024-11-05: an event stream to listen to, and an address to post to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use protocol::json_rpc::{Message, Shape};
use protocol::mcp::Version;
use protocol::sse;
use tokio::sync::mpsc;
use transport::outbound::Incoming;

use super::duplex::Switch;
use super::http::{Head, HttpLink};
use super::{Answer, Audience, Duplex};
use crate::failure::UpstreamFailure;

/// How long the first event may take.
const ENDPOINT_WAIT: Duration = Duration::from_secs(10);
/// The answer to a message for a session that the server does not know any more.
const SESSION_GONE: u16 = 404;

/// Opens the event stream and learns where to post.
pub(crate) async fn open(
    link: &Arc<HttpLink>,
    base: &url::Url,
    audience: Audience,
    uncorrelated: mpsc::Sender<Bytes>,
) -> Result<Duplex, UpstreamFailure> {
    let head = Head {
        version: Some(Version::V2024_11_05),
        ..Head::default()
    };
    let mut events = Events {
        body: link.open_events(&head, None).await?,
        decoder: sse::Decoder::new(),
    };
    let silent = || {
        link.garbage(format!(
            "no `endpoint` event within {} s",
            ENDPOINT_WAIT.as_secs()
        ))
    };
    let first = tokio::time::timeout(ENDPOINT_WAIT, events.next())
        .await
        .map_err(|_| silent())?;
    let first = first
        .filter(|event| event.name == "endpoint")
        .ok_or_else(silent)?;
    let post = Arc::new(link.at(post_path(link, base, &first.data)?));
    Ok(Duplex::new(
        link.server(),
        audience,
        uncorrelated,
        |switch, mut wire, tasks| {
            let writing = switch.clone();
            tasks.spawn(async move {
                while let Some(message) = wire.recv().await {
                    send(&post, message, &writing).await;
                }
            });
            tasks.spawn(read(events, switch));
        },
    ))
}

/// The address must be of the same origin: a server may not send our credentials elsewhere.
fn post_path(link: &HttpLink, base: &url::Url, data: &[u8]) -> Result<Uri, UpstreamFailure> {
    let text = String::from_utf8_lossy(data);
    let url = base
        .join(text.trim())
        .map_err(|error| link.garbage(format!("bad `endpoint`: {error}")))?;
    if url.origin() != base.origin() {
        return Err(link.garbage("the `endpoint` event names another origin".to_owned()));
    }
    let path = url.query().map_or_else(
        || url.path().to_owned(),
        |query| format!("{}?{query}", url.path()),
    );
    path.parse()
        .map_err(|_| link.garbage("bad path in the `endpoint` event".to_owned()))
}

async fn send(link: &Arc<HttpLink>, message: Bytes, switch: &Switch) {
    let head = Head {
        version: Some(Version::V2024_11_05),
        ..Head::default()
    };
    match link.post(head, message.clone()).await {
        Ok(Answer::Failed { status, .. }) => {
            let reason = format!("posting a message was answered HTTP {status}");
            match posted(message) {
                // Others share the connection: the one message that was refused fails.
                Some(id) if status != SESSION_GONE => switch.fail(id, reason),
                None if status != SESSION_GONE => {
                    tracing::debug!(server = %link.server(), reason, "a message was not taken");
                }
                Some(_) | None => switch.close(reason),
            }
        }
        Ok(Answer::Json(_) | Answer::Frames(_) | Answer::Accepted) => {}
        Err(failure) => switch.close(failure.to_string()),
    }
}

/// Our number of a request; none of what wants no answer.
fn posted(message: Bytes) -> Option<u64> {
    let message = Message::parse(message).ok()?;
    match &message.shape {
        Shape::Request(id) => std::str::from_utf8(id.raw()).ok()?.parse().ok(),
        Shape::Notification | Shape::Result(_) | Shape::Error(_) => None,
    }
}

async fn read(mut events: Events, switch: Switch) {
    while let Some(event) = events.next().await {
        if event.is_message() {
            switch.take(event.data.into());
        }
    }
    switch.close("the event stream has ended".to_owned());
}

struct Events {
    body: Incoming,
    decoder: sse::Decoder,
}

impl Events {
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.decoder.next_event() {
                return Some(event);
            }
            let chunk = self.body.chunk().await?.ok()?;
            self.decoder.push(&chunk).ok()?;
        }
    }
}
