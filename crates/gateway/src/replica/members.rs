//! Who lives: every replica greets every address again and again, and forgets who does not answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth::KeyRing;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use transport::outbound::{Target, TargetLimits, Trust, Waits, resolve};
use url::Url;

use super::Peer;
use super::hop::{HOP, Hop, Matter};
use crate::clock::unix_now;
use crate::handles::Incarnation;

/// How often the other replicas are greeted.
const HELLO_INTERVAL: Duration = Duration::from_secs(1);
/// How long a greeting may take; also for a connection that passes a request on.
const HELLO_WAIT: Duration = Duration::from_secs(1);
/// A replica that has not answered for this long is taken for dead; one whose address refuses connections, at once.
const FORGET_WAIT: Duration = Duration::from_secs(3);
/// How long a name may take to give its addresses.
const RESOLVE_WAIT: Duration = Duration::from_secs(1);
/// How long a run that nobody answers for is taken for dead without looking again.
const DEAD_WAIT: Duration = Duration::from_secs(5);
/// Replicas known at one time.
const REPLICAS_MAX: usize = 64;
/// Dead runs remembered at one time.
const DEAD_MAX: usize = 1024;
/// Requests passed on to one replica at one time.
const ERRANDS_MAX: usize = 8192;
/// The answer to a request passed on begins within this time; the server's own limits are shorter.
const ERRAND_ANSWER_WAIT: Duration = Duration::from_secs(24 * 3600);
/// The longest answer to a greeting, in bytes.
const WELCOME_BYTES_MAX: usize = 1024;

/// The living replicas beside this one.
pub(super) type Living = Arc<BTreeMap<Incarnation, Arc<Member>>>;

/// A living replica.
#[derive(Debug)]
pub(crate) struct Member {
    pub(super) incarnation: Incarnation,
    pub(super) target: Arc<Target>,
}

/// Who lives.
#[derive(Debug)]
pub(super) struct Members {
    own: Incarnation,
    peers: Vec<Peer>,
    living: watch::Sender<Living>,
    state: Mutex<State>,
    /// One round at a time; whoever waits for one meanwhile shares the next.
    rounds: tokio::sync::Mutex<u64>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    links: HashMap<SocketAddr, Link>,
    dead: HashMap<Incarnation, Instant>,
}

/// One address, and who was there.
#[derive(Debug)]
struct Link {
    target: Arc<Target>,
    found: Option<(Incarnation, Instant)>,
}

/// What came of a greeting.
enum Greeted {
    Here(Incarnation),
    /// Nobody listens there.
    Nobody,
    /// No answer, or none that a replica gives.
    Silence,
}

impl Members {
    pub(super) fn new(own: Incarnation, peers: Vec<Peer>) -> Self {
        Self {
            own,
            peers,
            living: watch::Sender::default(),
            state: Mutex::default(),
            rounds: tokio::sync::Mutex::default(),
            bell: Notify::new(),
        }
    }

    /// Those that live as far as is known now.
    pub(super) fn living(&self) -> Living {
        self.living.borrow().clone()
    }

    /// Returns when this replica is no longer taken for living.
    pub(super) fn gone(&self, incarnation: Incarnation) -> impl Future<Output = ()> + Send + use<> {
        let mut living = self.living.subscribe();
        async move {
            // When nobody looks any more, this process ends.
            drop(
                living
                    .wait_for(|living| !living.contains_key(&incarnation))
                    .await,
            );
        }
    }

    /// Greets everybody at intervals, and at once when somebody new was heard of.
    pub(super) async fn follow(&self, ring: &KeyRing) {
        #[expect(clippy::infinite_loop, reason = "ends with the gateway's tasks")]
        loop {
            self.round(ring).await;
            drop(timeout(HELLO_INTERVAL, self.bell.notified()).await);
        }
    }

    /// Somebody greeted us: if it is new, it is greeted as well.
    pub(super) fn heard_of(&self, incarnation: Incarnation) {
        if incarnation != self.own && !self.living.borrow().contains_key(&incarnation) {
            self.state().dead.remove(&incarnation);
            self.bell.notify_one();
        }
    }

    /// Something is wrong with a replica: everybody is greeted at once.
    pub(super) fn look(&self) {
        self.bell.notify_one();
    }

    /// Whether a replica answers now, where another replica says that it does not.
    pub(super) async fn still_lives(&self, incarnation: Incarnation, ring: &KeyRing) -> bool {
        if !self.living.borrow().contains_key(&incarnation) {
            return false;
        }
        self.round(ring).await;
        self.living.borrow().contains_key(&incarnation)
    }

    /// The living replica of this name; one that is not known is looked for.
    pub(super) async fn find(
        &self,
        incarnation: Incarnation,
        ring: &KeyRing,
    ) -> Option<Arc<Member>> {
        if let Some(member) = self.living.borrow().get(&incarnation) {
            return Some(member.clone());
        }
        if incarnation == self.own || self.is_known_dead(incarnation) {
            return None;
        }
        self.round(ring).await;
        let found = self.living.borrow().get(&incarnation).cloned();
        if found.is_none() {
            self.note_dead(incarnation);
        }
        found
    }

    /// Forgets a replica at once: its address refuses connections.
    pub(super) fn forget(&self, incarnation: Incarnation) {
        for link in self.state().links.values_mut() {
            link.found.take_if(|(known, _)| *known == incarnation);
        }
        self.publish();
        self.note_dead(incarnation);
    }

    /// Greets every address once.
    pub(super) async fn round(&self, ring: &KeyRing) {
        let before = *self.rounds.lock().await;
        let mut done = self.rounds.lock().await;
        if *done > before {
            return;
        }
        let targets = self.targets().await;
        let greetings = targets.into_iter().map(|(address, target)| async move {
            let greeted = greet(self.own, &target, ring).await;
            (address, greeted)
        });
        for (address, greeted) in join_all(greetings).await {
            self.note(address, &greeted);
        }
        self.publish();
        *done += 1;
    }

    /// Every address there is now, and those of replicas that still answer though their name forgot them.
    async fn targets(&self) -> Vec<(SocketAddr, Arc<Target>)> {
        let resolved = self.peers.iter().map(|peer| async move {
            let found = resolve(&peer.host, peer.port, RESOLVE_WAIT).await;
            found.unwrap_or_else(|error| {
                tracing::debug!(host = peer.host, %error, "the name of the replicas gives no address");
                Vec::new()
            })
        });
        let found: BTreeSet<SocketAddr> = join_all(resolved).await.into_iter().flatten().collect();
        let mut state = self.state();
        state
            .links
            .retain(|address, link| link.found.is_some() || found.contains(address));
        for address in found {
            if state.links.len() >= REPLICAS_MAX {
                tracing::warn!(
                    limit = REPLICAS_MAX,
                    "there are more replicas than are known to each other"
                );
                break;
            }
            if let Some(target) = target(address) {
                state.links.entry(address).or_insert(Link {
                    target,
                    found: None,
                });
            }
        }
        let links = state.links.iter();
        links
            .map(|(address, link)| (*address, link.target.clone()))
            .collect()
    }

    fn note(&self, address: SocketAddr, greeted: &Greeted) {
        let mut state = self.state();
        let Some(link) = state.links.get_mut(&address) else {
            return;
        };
        match greeted {
            // One of the addresses is our own.
            Greeted::Here(incarnation) if *incarnation == self.own => {}
            Greeted::Here(incarnation) => link.found = Some((*incarnation, Instant::now())),
            Greeted::Nobody => link.found = None,
            Greeted::Silence => {
                link.found
                    .take_if(|(_, heard)| heard.elapsed() > FORGET_WAIT);
            }
        }
    }

    /// Makes known what was found.
    fn publish(&self) {
        let state = self.state();
        let found = state.links.values().filter_map(|link| {
            let (incarnation, _) = link.found?;
            let target = link.target.clone();
            let member = Member {
                incarnation,
                target,
            };
            Some((incarnation, Arc::new(member)))
        });
        let now: BTreeMap<Incarnation, Arc<Member>> = found.collect();
        self.living.send_if_modified(|living| {
            let is_new = !living.keys().eq(now.keys());
            if is_new {
                tracing::info!(others = now.len(), "the replicas that live have changed");
                *living = Arc::new(now);
            }
            is_new
        });
    }

    fn is_known_dead(&self, incarnation: Incarnation) -> bool {
        let state = self.state();
        let found = state.dead.get(&incarnation);
        found.is_some_and(|since| since.elapsed() < DEAD_WAIT)
    }

    fn note_dead(&self, incarnation: Incarnation) {
        let mut state = self.state();
        if state.dead.len() >= DEAD_MAX {
            state.dead.clear();
        }
        state.dead.insert(incarnation, Instant::now());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn target(address: SocketAddr) -> Option<Arc<Target>> {
    let url = Url::parse(&format!("http://{address}/")).ok()?;
    let waits = Waits {
        connect: HELLO_WAIT,
        first_byte: ERRAND_ANSWER_WAIT,
        idle: None,
    };
    let limits = TargetLimits {
        calls_max: ERRANDS_MAX,
        ..TargetLimits::default()
    };
    let target = Target::new(&url, &Trust::default(), waits, limits);
    target.ok().map(Arc::new)
}

/// Asks who is there.
async fn greet(own: Incarnation, target: &Target, ring: &KeyRing) -> Greeted {
    let hello = Hop::new(own, unix_now(), Matter::Hello);
    let request = Request::builder()
        .method(Method::POST)
        .uri("/")
        .header(HOP, hello.seal(ring))
        .body(Bytes::new())
        .expect("a sealed text may stand in a header");
    let answered = async {
        let answer = target.send(request).await?;
        let body = Limited::new(answer.into_body(), WELCOME_BYTES_MAX);
        Ok(body.collect().await.map(|whole| whole.to_bytes()))
    };
    match timeout(HELLO_WAIT, answered).await {
        Ok(Ok(Ok(text))) => {
            let welcome = Hop::open(ring, &text).filter(|welcome| {
                // It answers this very greeting.
                welcome.once == hello.once && welcome.matter == Matter::Welcome
            });
            welcome.map_or(Greeted::Silence, |welcome| Greeted::Here(welcome.from))
        }
        Ok(Err(transport::outbound::Failure::Connect { .. })) => Greeted::Nobody,
        Ok(Err(_) | Ok(Err(_))) | Err(_) => Greeted::Silence,
    }
}
