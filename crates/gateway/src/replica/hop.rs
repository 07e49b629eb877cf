//! The one header by which replicas know each other's requests: sealed with the key that only they have.
//!
//! It covers all that is passed on: for whom, to whom, when, and a digest of method, path, headers and body.

use std::sync::Arc;
use std::time::Duration;

use auth::{Bound, Caller, KeyRing, NONCE_BYTES, Purpose};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, Method};
use sha2::{Digest as _, Sha256};

use crate::handles::{INCARNATION_BYTES, Incarnation, random};

/// Where the sealed words of one replica to another stand.
pub(crate) const HOP: HeaderName = HeaderName::from_static("marque-hop");
/// How far the clocks of two replicas may differ, and how long a header may be under way.
pub(crate) const HOP_WINDOW: Duration = Duration::from_secs(30);
/// Bytes that make each header unlike any other.
const ONCE_BYTES: usize = 16;

/// What makes a header good for one use.
pub(super) type Once = [u8; ONCE_BYTES];

/// What one replica says to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop {
    /// Who says it.
    pub(super) from: Incarnation,
    /// When, in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// Told from every other; an answer repeats it.
    pub(super) once: Once,
    /// What it is about.
    pub(super) matter: Matter,
}

/// What a header is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Matter {
    /// Who are you?
    Hello,
    /// I am.
    Welcome,
    /// A client's request that is yours to answer.
    Errand {
        /// Whose it is to answer.
        to: Incarnation,
        /// Who the client is.
        caller: Caller,
        /// The listener it came to.
        listener: u32,
        /// What else is passed on.
        digest: [u8; 32],
    },
}

impl Hop {
    /// Says something now.
    pub(super) fn new(from: Incarnation, now: Duration, matter: Matter) -> Self {
        Self {
            from,
            at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            once: random(),
            matter,
        }
    }

    /// Whether it was said just now.
    pub(super) fn is_fresh(&self, now: Duration) -> bool {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        u128::from(now.abs_diff(self.at_ms)) <= HOP_WINDOW.as_millis()
    }

    pub(super) fn seal(&self, ring: &KeyRing) -> String {
        ring.seal(Purpose::Hop, BOUND, &self.plain(), random::<NONCE_BYTES>())
    }

    pub(super) fn open(ring: &KeyRing, text: &[u8]) -> Option<Self> {
        Self::read(&ring.open(Purpose::Hop, BOUND, text).ok()?)
    }

    fn plain(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&self.from.0);
        out.extend_from_slice(&self.at_ms.to_be_bytes());
        out.extend_from_slice(&self.once);
        match &self.matter {
            Matter::Hello => out.push(1),
            Matter::Welcome => out.push(2),
            Matter::Errand {
                to,
                caller,
                listener,
                digest,
            } => {
                out.push(3);
                out.extend_from_slice(&to.0);
                out.extend_from_slice(&listener.to_be_bytes());
                out.extend_from_slice(digest);
                match caller {
                    Caller::Anonymous => out.push(1),
                    Caller::Key { id, name } => {
                        out.push(2);
                        out.extend_from_slice(&(id.len() as u64).to_be_bytes());
                        out.extend_from_slice(id.as_bytes());
                        out.extend_from_slice(name.as_bytes());
                    }
                }
            }
        }
        out
    }

    fn read(plain: &[u8]) -> Option<Self> {
        let (from, rest) = plain.split_first_chunk::<INCARNATION_BYTES>()?;
        let (at_ms, rest) = rest.split_first_chunk()?;
        let (once, rest) = rest.split_first_chunk()?;
        let matter = match rest.split_first()? {
            (1, []) => Matter::Hello,
            (2, []) => Matter::Welcome,
            (3, rest) => errand(rest)?,
            _ => return None,
        };
        Some(Self {
            from: Incarnation(*from),
            at_ms: u64::from_be_bytes(*at_ms),
            once: *once,
            matter,
        })
    }
}

fn errand(rest: &[u8]) -> Option<Matter> {
    let (to, rest) = rest.split_first_chunk::<INCARNATION_BYTES>()?;
    let (listener, rest) = rest.split_first_chunk()?;
    let (digest, rest) = rest.split_first_chunk()?;
    let caller = match rest.split_first()? {
        (1, []) => Caller::Anonymous,
        (2, rest) => {
            let (length, texts) = rest.split_first_chunk()?;
            let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
            let (id, name) = texts.split_at_checked(length)?;
            let text = |bytes| std::str::from_utf8(bytes).ok().map(Arc::from);
            Caller::Key {
                id: text(id)?,
                name: text(name)?,
            }
        }
        _ => return None,
    };
    Some(Matter::Errand {
        to: Incarnation(*to),
        caller,
        listener: u32::from_be_bytes(*listener),
        digest: *digest,
    })
}

/// The key is for this purpose alone; there is nobody to bind it to beside those who have it.
const BOUND: Bound<'static> = Bound {
    caller: &Caller::Anonymous,
    toolset: "",
};

/// Whether a header of a client travels to another replica. Credentials do not: who it is was found out already.
pub(super) fn travels(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("mcp-")
        || [ACCEPT.as_str(), CONTENT_TYPE.as_str()].contains(&name)
        || ["last-event-id", "traceparent", "tracestate", "baggage"].contains(&name)
}

/// Method, path, the headers that travel, and the body, each with its length.
pub(super) fn digest(method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> [u8; 32] {
    let mut lines: Vec<(&str, &[u8])> = headers
        .iter()
        .filter(|(name, _)| travels(name))
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    // Stable: what stands twice keeps its order.
    lines.sort_by_key(|(name, _)| *name);
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(method.as_str().as_bytes());
    add(path.as_bytes());
    add(&(lines.len() as u64).to_be_bytes());
    for (name, value) in lines {
        add(name.as_bytes());
        add(value);
    }
    add(body);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use auth::{KEY_BYTES, Key};

    use super::*;

    fn ring(byte: u8) -> KeyRing {
        KeyRing::new(Key::new(&[byte; KEY_BYTES]), Vec::new())
    }

    fn errand(caller: Caller) -> Hop {
        let matter = Matter::Errand {
            to: Incarnation([2; 8]),
            caller,
            listener: 3,
            digest: [4; 32],
        };
        Hop::new(Incarnation([1; 8]), Duration::from_secs(1_000_000), matter)
    }

    #[test]
    fn what_is_said_is_heard_by_replicas_only() {
        let ada = Caller::Key {
            id: "1".into(),
            name: "ada".into(),
        };
        let now = Duration::from_secs(1_000_000);
        for hop in [
            errand(Caller::Anonymous),
            errand(ada),
            Hop::new(Incarnation([1; 8]), now, Matter::Hello),
            Hop::new(Incarnation([1; 8]), now, Matter::Welcome),
        ] {
            let text = hop.seal(&ring(1));
            assert_eq!(Hop::open(&ring(1), text.as_bytes()), Some(hop));
            assert_eq!(Hop::open(&ring(2), text.as_bytes()), None);
        }
        assert_eq!(Hop::open(&ring(1), b"anything"), None);
    }

    #[test]
    fn words_of_long_ago_and_of_the_future_are_not_fresh() {
        let hop = errand(Caller::Anonymous);
        let said = Duration::from_secs(1_000_000);
        assert!(hop.is_fresh(said + HOP_WINDOW) && hop.is_fresh(said - HOP_WINDOW));
        let beyond = HOP_WINDOW + Duration::from_millis(1);
        assert!(!hop.is_fresh(said + beyond) && !hop.is_fresh(said - beyond));
    }

    #[test]
    fn credentials_do_not_travel_and_all_that_does_is_digested() {
        let mut headers = HeaderMap::new();
        headers.insert("mcp-session-id", "a".parse().unwrap());
        headers.insert("authorization", "Bearer secret".parse().unwrap());
        let of = |headers: &HeaderMap, path, body| digest(&Method::POST, path, headers, body);
        let first = of(&headers, "/mcp/a", b"{}");
        assert!(!headers.keys().all(travels));
        headers.remove("authorization");
        assert_eq!(first, of(&headers, "/mcp/a", b"{}"));
        assert_ne!(first, of(&headers, "/mcp/b", b"{}"));
        assert_ne!(first, of(&headers, "/mcp/a", b"{ }"));
        headers.insert("mcp-session-id", "b".parse().unwrap());
        assert_ne!(first, of(&headers, "/mcp/a", b"{}"));
    }
}
