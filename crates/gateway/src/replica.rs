//! The other processes that serve the same endpoints: who lives, and how a request gets to the one it belongs to.
//!
//! A handle names a run of a process, never an address; who that is and whether it lives is learned by greeting.
//! What is passed on once is answered there: nobody passes it on again.

mod carry;
mod hop;
mod members;
mod once;
mod peering;

use std::sync::{Arc, Mutex, PoisonError};

use auth::{Caller, KeyRing};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response};
use sha2::{Digest as _, Sha256};
use transport::body::Body;

use crate::clock::unix_now;
use crate::handles::Incarnation;
use crate::refuse::Refusal;
use hop::{Hop, Matter};
use members::Members;
use once::Used;

pub(crate) use carry::Missed;
pub(crate) use hop::HOP;
pub(crate) use members::Member;
pub use peering::{Peer, Peering};

/// The other processes that serve the same endpoints.
#[derive(Debug)]
pub struct Replicas {
    own: Incarnation,
    joined: Option<Joined>,
}

#[derive(Debug)]
struct Joined {
    ring: KeyRing,
    members: Members,
    used: Mutex<Used>,
}

/// A request of a client that another replica is to answer.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    /// Who the client is.
    pub(crate) caller: &'a Caller,
    /// The listener it came to.
    pub(crate) listener: usize,
    /// Its method.
    pub(crate) method: &'a Method,
    /// Its path and query.
    pub(crate) path: &'a str,
    /// Its headers; only some of them travel.
    pub(crate) headers: &'a HeaderMap,
    /// All of its body.
    pub(crate) body: Bytes,
}

/// What another replica has said in the one header.
#[derive(Debug)]
pub(crate) enum Heard {
    /// It wants to know who we are; this is the answer.
    Greeting(String),
    /// A request that is ours to answer.
    Errand(Promise),
}

/// A request that is ours to answer, once it is whole.
#[derive(Debug)]
pub(crate) struct Promise {
    /// Who the client is.
    pub(crate) caller: Caller,
    /// The listener it came to.
    pub(crate) listener: usize,
    digest: [u8; 32],
}

impl Promise {
    /// Whether this is the request that was promised.
    pub(crate) fn is_kept(&self, parts: &Parts, body: &[u8]) -> bool {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        hop::digest(&parts.method, path, &parts.headers, body) == self.digest
    }
}

impl Replicas {
    /// No others.
    #[must_use]
    pub fn alone(own: Incarnation) -> Arc<Self> {
        Arc::new(Self { own, joined: None })
    }

    /// Those at some addresses that have the same key.
    #[must_use]
    pub fn join(own: Incarnation, peering: Peering) -> Arc<Self> {
        let joined = Joined {
            ring: peering.key,
            members: Members::new(own, peering.peers),
            used: Mutex::new(Used::new()),
        };
        Arc::new(Self {
            own,
            joined: Some(joined),
        })
    }

    /// Greets every other replica once; they are known when this returns.
    pub async fn greet(&self) {
        if let Some(joined) = &self.joined {
            joined.members.round(&joined.ring).await;
        }
    }

    /// Greets the others again and again, so that it is known who lives.
    pub(crate) async fn follow(self: Arc<Self>) {
        if let Some(joined) = &self.joined {
            joined.members.follow(&joined.ring).await;
        }
    }

    /// Whether there are no others to ask.
    pub(crate) const fn is_alone(&self) -> bool {
        self.joined.is_none()
    }

    /// The living replica of this name. One that is not known is looked for before it is taken for dead.
    pub(crate) async fn living(&self, incarnation: Incarnation) -> Option<Arc<Member>> {
        let joined = self.joined.as_ref()?;
        joined.members.find(incarnation, &joined.ring).await
    }

    /// Whether a replica answers now, where another replica says that it does not.
    pub(crate) async fn still_lives(&self, incarnation: Incarnation) -> bool {
        match &self.joined {
            Some(joined) => {
                let members = &joined.members;
                members.still_lives(incarnation, &joined.ring).await
            }
            None => false,
        }
    }

    /// Whether a replica still lives, as far as is known.
    pub(crate) fn lives(&self, member: &Member) -> bool {
        let joined = self.joined.as_ref();
        joined.is_some_and(|joined| joined.members.living().contains_key(&member.incarnation))
    }

    /// Which living replica takes over what a dead one had: the same answer everywhere; `None` for this one.
    pub(crate) fn heir(&self, of: &[u8]) -> Option<Arc<Member>> {
        let joined = self.joined.as_ref()?;
        let weight = |incarnation: Incarnation| {
            let mut hash = Sha256::new();
            hash.update(of);
            hash.update(incarnation.0);
            <[u8; 32]>::from(hash.finalize())
        };
        let own = weight(self.own);
        let living = joined.members.living();
        let others = living
            .values()
            .map(|member| (weight(member.incarnation), member));
        let (heaviest, member) = others.max_by_key(|(weight, _)| *weight)?;
        (heaviest > own).then(|| member.clone())
    }

    /// Has the owner of a conversation answer a request of it.
    ///
    /// # Errors
    /// [`Refusal::Lost`] when the owner does not live, or its answer does not come.
    pub(crate) async fn forward(
        &self,
        owner: Incarnation,
        errand: &Errand<'_>,
    ) -> Result<Response<Body>, Refusal> {
        let member = self.living(owner).await.ok_or(Refusal::Lost)?;
        match self.carry(&member, errand).await {
            Ok(answer) => Ok(answer),
            Err(failure) => {
                tracing::warn!(replica = ?owner, %failure, "a request could not be passed on");
                Err(Refusal::Lost)
            }
        }
    }

    /// Takes the sealed words of another replica; `None` when they are not, not for us, too old, or used before.
    pub(crate) fn hear(&self, words: &[u8]) -> Option<Heard> {
        let joined = self.joined.as_ref()?;
        let now = unix_now();
        let hop = Hop::open(&joined.ring, words).filter(|hop| hop.is_fresh(now))?;
        let mut used = joined.used.lock().unwrap_or_else(PoisonError::into_inner);
        if !used.take(hop.once) {
            return None;
        }
        drop(used);
        match hop.matter {
            Matter::Hello => {
                joined.members.heard_of(hop.from);
                let mut welcome = Hop::new(self.own, now, Matter::Welcome);
                welcome.once = hop.once;
                Some(Heard::Greeting(welcome.seal(&joined.ring)))
            }
            Matter::Errand {
                to,
                caller,
                listener,
                digest,
            } if to == self.own => Some(Heard::Errand(Promise {
                caller,
                listener: usize::try_from(listener).ok()?,
                digest,
            })),
            // A welcome is an answer, and what is for another run is not for us.
            Matter::Welcome | Matter::Errand { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use auth::{KEY_BYTES, Key};

    use super::*;
    use crate::handles::random;

    fn replica(key: u8) -> Arc<Replicas> {
        let peering = Peering {
            key: KeyRing::new(Key::new(&[key; KEY_BYTES]), Vec::new()),
            peers: Vec::new(),
        };
        Replicas::join(Incarnation(random()), peering)
    }

    fn errand(from: &Replicas, to: Incarnation) -> String {
        let matter = Matter::Errand {
            to,
            caller: Caller::Anonymous,
            listener: 0,
            digest: hop::digest(&Method::GET, "/", &HeaderMap::new(), b""),
        };
        let ring = &from.joined.as_ref().unwrap().ring;
        Hop::new(from.own, unix_now(), matter).seal(ring)
    }

    #[tokio::test]
    async fn an_errand_is_heard_once_and_by_the_one_it_is_for() {
        let (one, two) = (replica(1), replica(1));
        let words = errand(&one, two.own);
        assert!(one.hear(words.as_bytes()).is_none(), "it is for the other");
        assert!(two.hear(words.as_bytes()).is_some());
        assert!(two.hear(words.as_bytes()).is_none(), "it was used");
        let stranger = replica(2);
        let words = errand(&stranger, two.own);
        assert!(two.hear(words.as_bytes()).is_none(), "another key");
        let alone = Replicas::alone(two.own);
        let words = errand(&one, two.own);
        assert!(alone.hear(words.as_bytes()).is_none());
    }

    #[tokio::test]
    async fn a_promise_is_kept_by_the_very_request_only() {
        let (one, two) = (replica(1), replica(1));
        let words = errand(&one, two.own);
        let Some(Heard::Errand(promise)) = two.hear(words.as_bytes()) else {
            panic!("an errand");
        };
        let parts = |path: &str| {
            let (parts, ()) = http::Request::get(path).body(()).unwrap().into_parts();
            parts
        };
        assert!(promise.is_kept(&parts("/"), b""));
        assert!(!promise.is_kept(&parts("/?more"), b""));
        assert!(!promise.is_kept(&parts("/"), b"more"));
    }

    #[tokio::test]
    async fn a_greeting_is_answered_by_who_has_the_key() {
        let (one, two) = (replica(1), replica(1));
        let ring = &one.joined.as_ref().unwrap().ring;
        let hello = Hop::new(one.own, unix_now(), Matter::Hello);
        let Some(Heard::Greeting(welcome)) = two.hear(hello.seal(ring).as_bytes()) else {
            panic!("a greeting");
        };
        let welcome = Hop::open(ring, welcome.as_bytes()).unwrap();
        assert_eq!((welcome.from, welcome.once), (two.own, hello.once));
        assert!(replica(2).hear(hello.seal(ring).as_bytes()).is_none());
    }
}
