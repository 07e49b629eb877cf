//! One server behind us: how to reach it, what it offers in each era, and how it fares.

mod changes;
mod health;
mod lease;
mod pace;
mod probe;
mod subscriptions;
mod upkeep;
mod way;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::HeaderValue;
use protocol::json_rpc::Message;
use protocol::mcp::{Era, Version};
use resources::{FailureMode, Finding, Isolation, ProtocolPin, ResourceSet, ServerId};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::conversation::{Conversation, Hello, Way};
use crate::failure::UpstreamFailure;
use crate::inventory::Inventory;
use crate::upstream::Audience;
use lease::Leases;

pub(crate) use health::Health;
pub(crate) use lease::Lease;
use subscriptions::Subscriptions;
pub(crate) use subscriptions::{Heard, Held, Subscribed};

/// How long a call waits for a server's lists to be read again.
const REFRESH_WAIT: Duration = Duration::from_secs(3);
/// Messages without an exchange, waiting for their owner.
const UNCORRELATED_MAX: usize = 256;

/// How long a call waits for a lost shared session to be opened again.
const RENEW_WAIT: Duration = Duration::from_secs(10);
/// Updates of a shared server's resources that one session may be behind.
const UPDATES_MAX: usize = 256;
/// Processes of one server that serve clients' own sessions at one time.
pub(crate) const PROCESSES_MAX: usize = 128;
/// How long the end waits for a handshake under way.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(2);
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
    /// Whether it was once found to speak no era at all.
    mute: AtomicBool,
    way: Way,
    /// The way of the legacy era, once it turned out to be another.
    legacy_way: Mutex<Option<Way>>,
    ids: Arc<AtomicU64>,
    modern: watch::Sender<Status>,
    legacy: watch::Sender<Status>,
    /// What it offered last in each era, for as long as it is declared: its names stay its own while it is gone.
    modern_last: ArcSwapOption<Inventory>,
    legacy_last: ArcSwapOption<Inventory>,
    modern_line: ArcSwapOption<Conversation>,
    legacy_line: ArcSwapOption<Conversation>,
    /// Held while our own legacy session is opened.
    handshake: tokio::sync::Mutex<()>,
    /// Rung when what the server offers may have changed.
    bell: Arc<Notify>,
    modern_looks: Looks,
    legacy_looks: Looks,
    /// Places for processes of clients' own sessions.
    places: Arc<Semaphore>,
    /// Sessions of ours that are over and wait for the calls under way on them.
    leaving: Mutex<JoinSet<()>>,
    /// Legacy sessions behind modern clients.
    pub(crate) leases: Leases,
    /// Resources followed on the server's own legacy session.
    subscriptions: Subscriptions,
    /// What a shared legacy session hears of resources, for the clients that subscribed.
    pub(crate) updates: broadcast::Sender<Overheard>,
}

/// What those who share a legacy session hear of it.
#[derive(Debug, Clone)]
pub(crate) enum Overheard {
    /// The server said this.
    Message(Bytes),
    /// Its stream was broken for a while.
    Gap,
}

/// How often a look at the server was asked for, and which of those was answered last.
///
/// Numbers, not bells: a wish that comes while the lists are being read is not lost.
#[derive(Debug, Default)]
struct Looks {
    wanted: watch::Sender<u64>,
    done: watch::Sender<Done>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Done {
    look: u64,
    at: Option<Instant>,
}

impl Looks {
    /// Asks for a look and gives its number.
    fn ask(&self) -> u64 {
        let mut look = 0;
        self.wanted.send_modify(|wanted| {
            *wanted += 1;
            look = *wanted;
        });
        look
    }
}

/// A server and the tasks that keep it; they end with the handle.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) server: Arc<Server>,
    pub(crate) fingerprint: [u8; 32],
    tasks: Mutex<JoinSet<()>>,
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
            tasks: Mutex::new(tasks),
        }
    }

    /// Stops to keep a server that is no longer declared; its own session ends when nobody uses it any more.
    pub(crate) async fn retire(self: Arc<Self>) {
        let server = self.server.clone();
        unused(&self, 1, server.total).await;
        self.stop(server.total).await;
        drop(self);
        // Calls of modern clients hold the server, not the line they came over.
        unused(&server, 1, server.total).await;
        server.leases.close().await;
        server.modern_line.store(None);
        let Some(conversation) = server.legacy_line.swap(None) else {
            return;
        };
        unused(&conversation, 1, server.total).await;
        conversation.end().await;
    }

    /// Ends our own session at the server now, for the end of everything.
    pub(crate) async fn close(&self) {
        self.stop(HANDSHAKE_WAIT).await;
        self.server.leases.close().await;
        self.server.modern_line.store(None);
        if let Some(conversation) = self.server.legacy_line.swap(None) {
            conversation.end().await;
        }
    }

    /// A handshake under way comes to its end first: the server would keep a session that nobody knows.
    async fn stop(&self, wait: Duration) {
        let _none = tokio::time::timeout(wait, self.server.handshake.lock()).await;
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.abort_all();
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
            mute: AtomicBool::new(false),
            way,
            legacy_way: Mutex::new(None),
            ids: Arc::new(AtomicU64::new(1)),
            modern: watch::Sender::new(Status::Starting),
            legacy: watch::Sender::new(Status::Starting),
            modern_last: ArcSwapOption::empty(),
            legacy_last: ArcSwapOption::empty(),
            modern_line: ArcSwapOption::empty(),
            legacy_line: ArcSwapOption::empty(),
            handshake: tokio::sync::Mutex::default(),
            bell,
            modern_looks: Looks::default(),
            legacy_looks: Looks::default(),
            places: Arc::new(Semaphore::new(PROCESSES_MAX)),
            leaving: Mutex::default(),
            leases: Leases::default(),
            subscriptions: Subscriptions::default(),
            updates: broadcast::Sender::new(UPDATES_MAX),
        })
    }

    /// What is known of it in one era.
    pub(crate) fn status(&self, era: Era) -> Status {
        self.sender(era).borrow().clone()
    }

    /// What it offered last in one era, however long ago.
    pub(crate) fn last(&self, era: Era) -> Option<Arc<Inventory>> {
        self.last_of(era).load_full()
    }

    const fn last_of(&self, era: Era) -> &ArcSwapOption<Inventory> {
        match era {
            Era::Modern => &self.modern_last,
            Era::Legacy => &self.legacy_last,
        }
    }

    /// Fires whenever it is looked at anew in this era.
    pub(crate) fn statuses(&self, era: Era) -> watch::Receiver<Status> {
        self.sender(era).subscribe()
    }

    /// The era in which a client is served: its own, or the other one where that is all the server speaks.
    pub(crate) fn era_for(&self, client: Era) -> Era {
        let is_mute = |era| matches!(*self.sender(era).borrow(), Status::NotSpoken(_));
        if is_mute(client) && !is_mute(client.other()) {
            client.other()
        } else {
            client
        }
    }

    /// Whether the first attempt in this era is under way.
    pub(crate) fn is_starting(&self, era: Era) -> bool {
        matches!(*self.sender(era).borrow(), Status::Starting)
    }

    /// Waits until it is known whether and how a client of this era can be served.
    pub(crate) async fn settled(&self, client: Era) {
        self.started(client).await;
        let spoken = self.era_for(client);
        if spoken != client {
            self.started(spoken).await;
        }
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
        self.looks(era).ask();
        let renewed = status.wait_for(|_| self.shared(era).is_ok_and(is_new));
        // Too late or not, what there is then is what the call gets.
        drop(tokio::time::timeout(RENEW_WAIT, renewed).await);
    }

    /// Opens a legacy session of its own for one client, and the messages that belong to no call of it.
    pub(crate) async fn open(
        &self,
        hello: &Hello,
        audience: Audience,
    ) -> Result<(Conversation, Message, mpsc::Receiver<Bytes>), UpstreamFailure> {
        if let Status::NotSpoken(_) = *self.legacy.borrow() {
            return Err(self.why_not(Era::Legacy));
        }
        let (sender, uncorrelated) = mpsc::channel(UNCORRELATED_MAX);
        let way = self.legacy_way();
        let place = self.place(&way)?;
        let mut hello = hello.clone();
        if let Some(pin) = self.pinned(Era::Legacy) {
            // What the operator pinned is what the server is known to speak.
            hello.version = hello.version.min(pin);
        }
        let opened = Conversation::legacy(
            self.name.clone(),
            &way,
            self.ids.clone(),
            &hello,
            audience,
            sender,
        )
        .await;
        self.health.note(&opened);
        let (conversation, answer) = opened?;
        Ok((conversation.with_place(place), answer, uncorrelated))
    }

    /// Takes up a legacy session that another process of ours has left, where sessions outlive connections.
    pub(crate) fn resume(
        &self,
        session: HeaderValue,
        version: Version,
    ) -> Option<(Conversation, mpsc::Receiver<Bytes>)> {
        let (sender, uncorrelated) = mpsc::channel(UNCORRELATED_MAX);
        let way = self.legacy_way();
        let conversation =
            Conversation::resumed(self.name.clone(), &way, session, version, sender)?;
        Some((conversation, uncorrelated))
    }

    /// A place for one more process, where the way needs one.
    fn place(&self, way: &Way) -> Result<Option<OwnedSemaphorePermit>, UpstreamFailure> {
        if !matches!(way, Way::Program(_)) {
            return Ok(None);
        }
        let place = self.places.clone().try_acquire_owned();
        place.map(Some).map_err(|_| UpstreamFailure::Busy {
            server: self.name.clone(),
            reason: format!(
                "{PROCESSES_MAX} sessions have a process of it already, and more are not started; end sessions that are not used, or set `isolation: Shared`"
            ),
        })
    }

    /// Has the server looked at again, because a call found it changed; an era it does not speak is not asked for.
    pub(crate) fn look_again(&self) {
        for era in [Era::Modern, Era::Legacy] {
            if !matches!(*self.sender(era).borrow(), Status::NotSpoken(_)) {
                self.looks(era).ask();
            }
        }
    }

    /// Has a modern server looked at again and waits, for a bounded time, until that has happened.
    pub(crate) async fn refreshed(&self) {
        let mut done = self.modern_looks.done.subscribe();
        let look = self.modern_looks.ask();
        let refreshed = done.wait_for(|done| done.look >= look);
        drop(tokio::time::timeout(REFRESH_WAIT, refreshed).await);
    }

    /// Ends a session of ours once the calls under way on it are over.
    fn leave(&self, conversation: Arc<Conversation>) {
        let total = self.total;
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        while leaving.try_join_next().is_some() {}
        leaving.spawn(async move {
            unused(&conversation, 1, total).await;
            conversation.end().await;
        });
    }

    const fn looks(&self, era: Era) -> &Looks {
        match era {
            Era::Modern => &self.modern_looks,
            Era::Legacy => &self.legacy_looks,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {name: main}\nspec:\n  servers:\n  - {name: sh, command: [sh, hidden-argument], env: {PLACE: hidden-value}}\n";

    fn server() -> Server {
        let parsed = resources::parse("test.yaml", None, YAML);
        let built = resources::build(&parsed.documents, resources::Values::default());
        assert!(
            built.set.is_some(),
            "{:?}",
            (parsed.findings, built.findings)
        );
        let set = built.set.expect("the text is right");
        let resource = set.servers.values().next().expect("there is one");
        Server::new(&set, resource, &"/bin/false".into(), Arc::default()).expect("it is usable")
    }

    #[test]
    fn processes_of_one_server_are_limited_and_a_place_is_given_back() {
        let server = server();
        let way = server.legacy_way();
        let mut places: Vec<_> = (0..PROCESSES_MAX).map(|_| server.place(&way)).collect();
        assert!(places.iter().all(Result::is_ok));
        let failure = server.place(&way).expect_err("all places are taken");
        assert!(!failure.is_outage(), "it is not the server's fault");
        let text = failure.to_string();
        assert!(
            text.contains("128") && text.contains("isolation: Shared"),
            "{text}"
        );
        places.pop();
        assert!(server.place(&way).is_ok());
    }

    #[test]
    fn debug_shows_no_argument_and_no_environment() {
        let text = format!("{:?}", server());
        assert!(!text.contains("hidden"), "{text}");
    }

    #[test]
    fn an_era_that_is_not_spoken_is_not_looked_at_again() {
        let server = server();
        server.modern.send_replace(Status::NotSpoken("no".into()));
        server.look_again();
        assert_eq!(*server.modern_looks.wanted.borrow(), 0);
        assert_eq!(*server.legacy_looks.wanted.borrow(), 1);
    }
}
