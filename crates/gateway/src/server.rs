//! One server behind us: how to reach it, what it offers in each era, and how it fares.

mod health;
mod upkeep;
mod way;

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use protocol::json_rpc::Message;
use protocol::mcp::{Era, Version};
use resources::{FailureMode, Finding, Isolation, ProtocolPin, ResourceSet, ServerId};
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::conversation::{Conversation, Hello, Way};
use crate::failure::UpstreamFailure;
use crate::inventory::Inventory;

pub(crate) use health::Health;

/// How long a call waits for a server's lists to be read again.
const REFRESH_WAIT: Duration = Duration::from_secs(3);
/// Messages without an exchange, waiting for their owner.
const UNCORRELATED_MAX: usize = 256;

/// How long a call waits for a lost shared session to be opened again.
const RENEW_WAIT: Duration = Duration::from_secs(10);
/// Updates of a shared server's resources that one session may be behind.
const UPDATES_MAX: usize = 256;
/// How often something that is to be ended is looked at.
const UNUSED_LOOK: Duration = Duration::from_millis(100);

/// What is known of a server in one era.
#[derive(Debug, Clone)]
pub(crate) enum Status {
    /// The first attempt is under way.
    Starting,
    /// It does not speak this era.
    NotSpoken(Arc<str>),
    /// It is there.
    Ready(Arc<Inventory>),
    /// It is not there; what it offered last is kept for a while.
    Down {
        /// What happened.
        reason: Arc<str>,
        /// Since when.
        since: Instant,
        /// What it offered.
        last: Option<Arc<Inventory>>,
    },
}

impl Status {
    /// What the server offers, or offered until just now.
    pub(crate) fn inventory(&self) -> Option<&Arc<Inventory>> {
        match self {
            Self::Ready(inventory) => Some(inventory),
            Self::Down { last, .. } => last.as_ref(),
            Self::Starting | Self::NotSpoken(_) => None,
        }
    }
}

/// One server behind us.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) id: ServerId,
    pub(crate) name: Arc<str>,
    pub(crate) failure_mode: FailureMode,
    pub(crate) isolation: Isolation,
    /// The longest a call may take.
    pub(crate) total: Duration,
    pub(crate) health: Health,
    /// Since when it is kept.
    pub(crate) born: Instant,
    pin: ProtocolPin,
    way: Way,
    /// The way of the legacy era, once it turned out to be another.
    legacy_way: Mutex<Option<Way>>,
    ids: Arc<AtomicU64>,
    modern: watch::Sender<Status>,
    legacy: watch::Sender<Status>,
    modern_line: ArcSwapOption<Conversation>,
    legacy_line: ArcSwapOption<Conversation>,
    /// Rung when what the server offers may have changed.
    bell: Arc<Notify>,
    /// Rung to look again at once.
    again: Notify,
    /// What a shared legacy session hears of resources, for the clients that subscribed.
    pub(crate) updates: broadcast::Sender<Bytes>,
}

/// A server and the tasks that keep it; they end with the handle.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) server: Arc<Server>,
    pub(crate) fingerprint: [u8; 32],
    _tasks: Mutex<JoinSet<()>>,
}

impl Kept {
    /// Starts to keep a server: connects, reads its lists, follows its changes.
    pub(crate) fn start(server: Server, fingerprint: [u8; 32]) -> Self {
        let server = Arc::new(server);
        let mut tasks = JoinSet::new();
        for era in [Era::Modern, Era::Legacy] {
            tasks.spawn(upkeep::keep(server.clone(), era));
        }
        Self {
            server,
            fingerprint,
            _tasks: Mutex::new(tasks),
        }
    }

    /// Stops to keep a server that is no longer declared; its own session ends when nobody uses it any more.
    pub(crate) async fn retire(self: Arc<Self>) {
        let server = self.server.clone();
        unused(&self, 1, server.total).await;
        drop(self);
        let Some(conversation) = server.legacy_line.swap(None) else {
            return;
        };
        unused(&conversation, 1, server.total).await;
        conversation.end().await;
    }
}

/// Waits until at most `holders` hold something that nobody can get hold of any more, for a time that a call may take.
pub(crate) async fn unused<T>(thing: &Arc<T>, holders: usize, total: Duration) {
    let end = Instant::now() + total;
    while Arc::strong_count(thing) > holders && Instant::now() < end {
        tokio::time::sleep(UNUSED_LOOK).await;
    }
}

impl Server {
    /// Prepares a server from its resource; nothing is contacted yet.
    ///
    /// # Errors
    /// A finding when the resource cannot be turned into a way to reach it.
    pub(crate) fn new(
        set: &ResourceSet,
        resource: &resources::Server,
        supervisor: &PathBuf,
        bell: Arc<Notify>,
    ) -> Result<Self, Box<Finding>> {
        let name: Arc<str> = resource.id.as_str().into();
        let way = way::find(set, resource, &name, supervisor)?;
        Ok(Self {
            id: resource.id.clone(),
            name,
            failure_mode: resource.spec.failure_mode,
            isolation: resource.spec.isolation,
            total: resource.spec.timeouts.total.as_std(),
            health: Health::default(),
            born: Instant::now(),
            pin: resource.spec.protocol,
            way,
            legacy_way: Mutex::new(None),
            ids: Arc::new(AtomicU64::new(1)),
            modern: watch::Sender::new(Status::Starting),
            legacy: watch::Sender::new(Status::Starting),
            modern_line: ArcSwapOption::empty(),
            legacy_line: ArcSwapOption::empty(),
            bell,
            again: Notify::new(),
            updates: broadcast::Sender::new(UPDATES_MAX),
        })
    }

    /// What is known of it in one era.
    pub(crate) fn status(&self, era: Era) -> Status {
        self.sender(era).borrow().clone()
    }

    /// Waits until the first attempt in this era is over.
    pub(crate) async fn started(&self, era: Era) {
        let mut status = self.sender(era).subscribe();
        // The sender lives as long as `self`.
        drop(
            status
                .wait_for(|status| !matches!(status, Status::Starting))
                .await,
        );
    }

    /// The conversation that all clients of an era share: always for modern ones, for legacy ones if they may.
    pub(crate) fn shared(&self, era: Era) -> Result<Arc<Conversation>, UpstreamFailure> {
        let line = match era {
            Era::Modern => self.modern_line.load_full(),
            Era::Legacy => self.legacy_line.load_full(),
        };
        line.ok_or_else(|| self.why_not(era))
    }

    /// Has the shared conversation opened anew, after the server has lost it, and waits a bounded time for that.
    pub(crate) async fn renewed(&self, era: Era, lost: &Conversation) {
        let mut status = self.sender(era).subscribe();
        let is_new = |line: Arc<Conversation>| !std::ptr::eq(&raw const *line, lost);
        self.look_again();
        let renewed = status.wait_for(|_| self.shared(era).is_ok_and(is_new));
        // Too late or not, what there is then is what the call gets.
        drop(tokio::time::timeout(RENEW_WAIT, renewed).await);
    }

    /// Opens a legacy session of its own for one client, and the messages that belong to no call of it.
    pub(crate) async fn open(
        &self,
        hello: &Hello,
    ) -> Result<(Conversation, Message, mpsc::Receiver<Bytes>), UpstreamFailure> {
        if let Status::NotSpoken(_) = *self.legacy.borrow() {
            return Err(self.why_not(Era::Legacy));
        }
        let (sender, uncorrelated) = mpsc::channel(UNCORRELATED_MAX);
        let opened = Conversation::legacy(
            self.name.clone(),
            &self.legacy_way(),
            self.ids.clone(),
            hello,
            sender,
        )
        .await;
        self.health.note(&opened);
        let (conversation, answer) = opened?;
        Ok((conversation, answer, uncorrelated))
    }

    /// Has the server looked at again at once, because a call found it changed.
    pub(crate) fn look_again(&self) {
        self.again.notify_waiters();
    }

    /// Has a modern server looked at again and waits, for a bounded time, until that has happened.
    pub(crate) async fn refreshed(&self) {
        let mut status = self.modern.subscribe();
        self.look_again();
        drop(tokio::time::timeout(REFRESH_WAIT, status.changed()).await);
    }

    fn why_not(&self, era: Era) -> UpstreamFailure {
        let server = self.name.clone();
        match self.status(era) {
            Status::NotSpoken(reason) => UpstreamFailure::OtherEra {
                server,
                era: era.as_str(),
                reason: reason.to_string(),
            },
            Status::Down { reason, .. } => UpstreamFailure::Unreachable {
                server,
                reason: reason.to_string(),
            },
            Status::Starting | Status::Ready(_) => UpstreamFailure::Unreachable {
                server,
                reason: "it is still starting".to_owned(),
            },
        }
    }

    fn legacy_way(&self) -> Way {
        let known = self
            .legacy_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.clone().unwrap_or_else(|| self.way.clone())
    }

    fn sender(&self, era: Era) -> &watch::Sender<Status> {
        match era {
            Era::Modern => &self.modern,
            Era::Legacy => &self.legacy,
        }
    }

    /// The revision asked for in the legacy era, or none when the server is pinned to the other.
    const fn pinned(&self, era: Era) -> Option<Version> {
        match (self.pin, era) {
            (ProtocolPin::Auto | ProtocolPin::V2026_07_28, Era::Modern) => {
                Some(Version::V2026_07_28)
            }
            (ProtocolPin::Auto | ProtocolPin::V2025_11_25, Era::Legacy) => {
                Some(Version::V2025_11_25)
            }
            (ProtocolPin::V2025_06_18, Era::Legacy) => Some(Version::V2025_06_18),
            (ProtocolPin::V2025_03_26, Era::Legacy) => Some(Version::V2025_03_26),
            (ProtocolPin::V2024_11_05, Era::Legacy) => Some(Version::V2024_11_05),
            (ProtocolPin::V2026_07_28, Era::Legacy)
            | (
                ProtocolPin::V2025_11_25
                | ProtocolPin::V2025_06_18
                | ProtocolPin::V2025_03_26
                | ProtocolPin::V2024_11_05,
                Era::Modern,
            ) => None,
        }
    }
}
