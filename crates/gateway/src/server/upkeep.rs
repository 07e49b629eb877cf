//! Keeps one server in one era: finds out whether it speaks it, reads its lists, follows its changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use protocol::json_rpc::Message;
use protocol::mcp::{Era, Version};
use resources::ProtocolPin;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::changes::{Changes, concerns_lists};
use super::pace::{Backoff, Pace, jittered};
use super::{Done, Overheard, Server, Status, UNCORRELATED_MAX};
use crate::conversation::{Conversation, Way};
use crate::failure::UpstreamFailure;
use crate::inventory::Inventory;

/// How long "does not speak this era" is believed (`mcp-requirements` calls for ageing legacy verdicts).
const VERDICT_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How often lists are read again when the server announces no changes and names no time.
const POLL: Duration = Duration::from_secs(300);
/// How soon lists are read again when the server could not give all of them.
const POLL_UNREAD: Duration = Duration::from_secs(30);
/// The shortest time between two reads of the lists, whatever time the server names.
const POLL_MIN: Duration = Duration::from_secs(1);
/// How long the stream of changes may take to open.
const STREAM_WAIT: Duration = Duration::from_secs(2);
/// How long what a dead server offered stays listed.
const STALE_MAX: Duration = Duration::from_secs(600);

/// Keeps `server` until the task is dropped.
pub(super) async fn keep(server: Arc<Server>, era: Era) {
    let Some(version) = server.pinned(era) else {
        server.set(
            era,
            Status::NotSpoken("its `protocol` is pinned to another revision".into()),
        );
        return;
    };
    visit_again_and_again(&server, era, version).await
}

async fn visit_again_and_again(server: &Server, era: Era, version: Version) -> ! {
    let mut backoff = Backoff::default();
    // From here on no wish for a look is lost: each is a number, and this one has seen all up to now.
    let mut wanted = server.looks(era).wanted.subscribe();
    loop {
        let opened = Instant::now();
        let other_speaks = matches!(server.status(era.other()), Status::Ready(_));
        let failure = match server.visit(era, version, &mut wanted).await {
            Ok(()) => UpstreamFailure::NoAnswer {
                server: server.name.clone(),
                reason: "the connection has ended".to_owned(),
            },
            Err(failure) => failure,
        };
        if let UpstreamFailure::OtherEra { reason, .. } = &failure
            && !server.may_come_back(era)
        {
            server.set(era, Status::NotSpoken(reason.as_str().into()));
            if other_speaks || !server.was_mute(era) {
                backoff = Backoff::default();
                wait(VERDICT_AGE_MAX, &mut wanted).await;
                continue;
            }
            // Something else answered in its place, for instance an ingress while the server was rolled out.
            if wait(backoff.next(), &mut wanted).await {
                server.looks(era.other()).ask();
            }
            continue;
        }
        server.set_down(era, &failure);
        backoff.after(opened.elapsed());
        wait(backoff.next(), &mut wanted).await;
    }
}

/// Waits, unless somebody wants the server looked at now; says whether the time is over.
async fn wait(time: Duration, wanted: &mut watch::Receiver<u64>) -> bool {
    // The sender lives as long as the server.
    timeout(time, wanted.changed()).await.is_err()
}

impl Server {
    /// Opens a conversation, reads the lists, and follows changes until the conversation ends.
    async fn visit(
        &self,
        era: Era,
        version: Version,
        wanted: &mut watch::Receiver<u64>,
    ) -> Result<(), UpstreamFailure> {
        let (sender, mut uncorrelated) = mpsc::channel(UNCORRELATED_MAX);
        let (conversation, opening) = match era {
            Era::Modern => self.open_modern(sender).await?,
            Era::Legacy => {
                let _handshake = self.handshake.lock().await;
                self.open_legacy(version, sender).await?
            }
        };
        let conversation = Arc::new(conversation);
        let line = if era == Era::Modern {
            &self.modern_line
        } else {
            &self.legacy_line
        };
        line.store(Some(conversation.clone()));
        let outcome = self
            .follow(era, &conversation, opening, &mut uncorrelated, wanted)
            .await;
        // A stateless HTTP server can still be asked; a connection that ended cannot.
        if conversation.is_closed() || era == Era::Legacy {
            line.store(None);
        }
        if era == Era::Legacy && !matches!(outcome, Err(UpstreamFailure::SessionLost { .. })) {
            self.leave(conversation);
        }
        outcome
    }

    async fn follow(
        &self,
        era: Era,
        conversation: &Conversation,
        mut opening: Message,
        uncorrelated: &mut mpsc::Receiver<Bytes>,
        wanted: &mut watch::Receiver<u64>,
    ) -> Result<(), UpstreamFailure> {
        let mut ear = Ear {
            server: self,
            conversation,
            uncorrelated,
            changed: false,
        };
        let (mut changes, mut pace) = (Changes::default(), Pace::default());
        let mut known: Option<Arc<Inventory>> = None;
        loop {
            // First the stream, then the lists: a change between the two is not missed.
            if changes.may_open() {
                // A server that is slow to open the stream is not held to be slow to start.
                let opening = timeout(STREAM_WAIT, Changes::open(conversation, &opening));
                let opened = ear.during(opening).await.ok().flatten();
                if opened.is_some() && changes.was_open {
                    drop(self.updates.send(Overheard::Gap));
                }
                changes.opened(opened);
            }
            let look = *wanted.borrow_and_update();
            ear.changed = false;
            let last = known
                .clone()
                .or_else(|| self.status(era).inventory().cloned());
            let fetched = Inventory::fetch(conversation, &opening, last.as_deref());
            let inventory = Arc::new(ear.during(fetched).await?);
            self.health.well();
            self.warn(&inventory, last.as_deref());
            self.set(era, Status::Ready(inventory.clone()));
            self.looks(era).done.send_replace(Done {
                look,
                at: Some(Instant::now()),
            });
            if let Wake::Ended = ear.await_change(&inventory, &mut changes, wanted).await {
                return Ok(());
            }
            ear.during(sleep(pace.next())).await;
            if era == Era::Modern {
                let asked = conversation.ask("server/discover", "{}");
                opening = ear.during(asked).await?;
            }
            known = Some(inventory);
        }
    }

    /// Tells the operator of the problems that were not there before.
    fn warn(&self, inventory: &Inventory, last: Option<&Inventory>) {
        for problem in &inventory.problems {
            if last.is_none_or(|last| !last.problems.contains(problem)) {
                tracing::warn!(server = %self.name, problem, "the server's list has a problem");
            }
        }
    }

    /// Whether something else may stand in a server's place for a while, for instance an ingress during a roll-out:
    /// it spoke this era not long ago, and the other era shows no sign that it was since replaced.
    fn may_come_back(&self, era: Era) -> bool {
        let since = match self.status(era) {
            Status::Ready(_) => return true,
            Status::Down {
                since,
                last: Some(_),
                ..
            } => since,
            Status::Down { last: None, .. } | Status::Starting | Status::NotSpoken(_) => {
                return false;
            }
        };
        let read = self.looks(era.other()).done.borrow().at;
        let replaced = matches!(self.status(era.other()), Status::Ready(_))
            && read.is_some_and(|read| read > since);
        since.elapsed() < STALE_MAX && !replaced
    }

    /// Whether it was ever found to speak neither era: then a verdict is believed only while the other era is spoken.
    fn was_mute(&self, era: Era) -> bool {
        let is_mute = |era| matches!(self.status(era), Status::NotSpoken(_));
        if self.pin == ProtocolPin::Auto
            && is_mute(Era::Modern)
            && is_mute(Era::Legacy)
            && !self.mute.swap(true, Ordering::Relaxed)
        {
            // The other verdict is not to be believed, either.
            self.looks(era.other()).ask();
        }
        self.mute.load(Ordering::Relaxed)
    }

    fn set_down(&self, era: Era, failure: &UpstreamFailure) {
        let (since, last) = match self.status(era) {
            Status::Ready(last) => {
                // It may come back as another: what it speaks, and what it did not, is asked again.
                self.looks(era.other()).ask();
                (Instant::now(), Some(last))
            }
            Status::Down { since, last, .. } => {
                (since, last.filter(|_| since.elapsed() < STALE_MAX))
            }
            Status::Starting | Status::NotSpoken(_) => (Instant::now(), None),
        };
        tracing::warn!(server = %self.name, era = era.as_str(), %failure, "the server is down");
        self.set(
            era,
            Status::Down {
                reason: failure.to_string().into(),
                since,
                last,
            },
        );
    }

    fn set(&self, era: Era, status: Status) {
        match &status {
            Status::Ready(inventory) => self.last_of(era).store(Some(inventory.clone())),
            // Names it had in an era that it no longer speaks are free.
            Status::NotSpoken(_) => self.last_of(era).store(None),
            Status::Starting | Status::Down { .. } => {}
        }
        self.sender(era).send_replace(status);
        self.bell.notify_one();
    }
}

enum Wake {
    Changed,
    Ended,
}

/// Hears what the server says outside our requests, also while we wait for their answers.
struct Ear<'a> {
    server: &'a Server,
    conversation: &'a Conversation,
    uncorrelated: &'a mut mpsc::Receiver<Bytes>,
    /// A list has changed since this was last set back.
    changed: bool,
}

impl Ear<'_> {
    /// Does something while listening: what is not taken from the connection would hold it up.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut open = true;
        loop {
            tokio::select! {
                done = &mut work => return done,
                message = self.uncorrelated.recv(), if open => match message {
                    Some(message) => self.hear(message).await,
                    None => open = false,
                },
            }
        }
    }

    async fn hear(&mut self, message: Bytes) {
        if concerns_lists(self.conversation, &message).await {
            self.changed = true;
        } else {
            // Only sessions that share this conversation listen; none is no failure.
            drop(self.server.updates.send(Overheard::Message(message)));
        }
        self.changed |= self.conversation.take_missed();
    }

    async fn await_change(
        &mut self,
        inventory: &Inventory,
        changes: &mut Changes,
        wanted: &mut watch::Receiver<u64>,
    ) -> Wake {
        let announced = changes.is_open() || matches!(self.server.way, Way::Program(_));
        let poll = match inventory.ttl_ms {
            _ if inventory.unread > 0 => POLL_UNREAD,
            Some(ttl) if ttl > 0 && !announced => Duration::from_millis(ttl).max(POLL_MIN),
            Some(ttl) => Duration::from_millis(ttl).max(POLL),
            None => POLL,
        };
        // Never sooner than the server says; and many gateways do not ask in step.
        let poll = sleep(poll + jittered(poll / 10));
        tokio::pin!(poll);
        while !self.changed {
            let reopen = changes.reopen_at;
            let message = tokio::select! {
                message = self.uncorrelated.recv() => match message {
                    Some(message) => message,
                    None => return Wake::Ended,
                },
                message = changes.next() => match message {
                    Some(message) => message,
                    // It is opened again after a while, and then the lists are read: something may have been missed.
                    None => continue,
                },
                () = sleep_until(reopen.unwrap_or_else(Instant::now)), if reopen.is_some() => return Wake::Changed,
                // The sender lives as long as the server.
                _ = wanted.changed() => return Wake::Changed,
                () = &mut poll => return Wake::Changed,
            };
            self.hear(message).await;
        }
        Wake::Changed
    }
}
