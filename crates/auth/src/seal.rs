//! Sealed handles: text that we hand out, get back, and believe only as far as it is ours (authority, "Sealed handles").
//!
//! XChaCha20-Poly1305, whose 192-bit nonces may be random; a sub-key for each purpose; version, key, purpose, caller and toolset are authenticated.
//! There is no choice of algorithms: a handle of another version is not ours.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};

use crate::Caller;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Random bytes that each handle needs.
pub const NONCE_BYTES: usize = 24;
/// The longest text that is looked at, in bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// The same for what we store ourselves.
const RECORD_BYTES_MAX: usize = 64 * 1024;
/// Keys of one ring: the current one, the next and the previous.
const KEYS_MAX: usize = 3;
const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 4;
const HEAD_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;

/// What a handle is for. A handle for one purpose is nothing for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `Mcp-Session-Id`.
    Session,
    /// A position in a list.
    Cursor,
    /// `requestState` of a call that waits for input.
    RequestState,
    /// The id of a task.
    Task,
    /// The id of an event in a stream.
    Event,
    /// The id of a server's question.
    Question,
    /// What one replica tells another about a request that it passes on.
    Hop,
    /// What is stored, and read again by ourselves only.
    Record,
}

impl Purpose {
    const ALL: [Self; 8] = [
        Self::Session,
        Self::Cursor,
        Self::RequestState,
        Self::Task,
        Self::Event,
        Self::Question,
        Self::Hop,
        Self::Record,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Cursor => "cursor",
            Self::RequestState => "request-state",
            Self::Task => "task",
            Self::Event => "event",
            Self::Question => "question",
            Self::Hop => "hop",
            Self::Record => "record",
        }
    }

    const fn text_bytes_max(self) -> usize {
        match self {
            Self::Record => RECORD_BYTES_MAX,
            Self::Session
            | Self::Cursor
            | Self::RequestState
            | Self::Task
            | Self::Event
            | Self::Question
            | Self::Hop => TEXT_BYTES_MAX,
        }
    }
}

/// Whom a handle is for: in other hands it does not open.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    /// Who may use it.
    pub caller: &'a Caller,
    /// Where.
    pub toolset: &'a str,
}

/// One key, with a sub-key for each purpose. It cannot be printed.
pub struct Key {
    id: [u8; KEY_ID_BYTES],
    ciphers: [XChaCha20Poly1305; Purpose::ALL.len()],
    /// Makes nonces of what is sealed, where the same must look the same.
    nonces: [u8; KEY_BYTES],
}

impl Key {
    /// Derives the sub-keys of a master key.
    #[must_use]
    pub fn new(master: &[u8; KEY_BYTES]) -> Self {
        let derived = Hkdf::<Sha256>::new(None, master);
        let ciphers = Purpose::ALL.map(|purpose| {
            let mut sub = [0; KEY_BYTES];
            derived
                .expand(format!("marque/1/{}", purpose.label()).as_bytes(), &mut sub)
                .expect("32 bytes are a length that HKDF-SHA-256 gives");
            XChaCha20Poly1305::new(&sub.into())
        });
        let mut id = [0; KEY_ID_BYTES];
        derived
            .expand(b"marque/1/key-id", &mut id)
            .expect("4 bytes are a length that HKDF-SHA-256 gives");
        let mut nonces = [0; KEY_BYTES];
        derived
            .expand(b"marque/1/nonces", &mut nonces)
            .expect("32 bytes are a length that HKDF-SHA-256 gives");
        Self {
            id,
            ciphers,
            nonces,
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key(..)")
    }
}

/// The keys by which handles are sealed and opened.
#[derive(Debug)]
pub struct KeyRing {
    current: Key,
    accepted: Vec<Key>,
}

impl KeyRing {
    /// `current` seals; `accepted`, the next and the previous keys, only open.
    #[must_use]
    pub fn new(current: Key, accepted: Vec<Key>) -> Self {
        Self { current, accepted }
    }

    /// Reads one to three keys of 32 bytes in base64url, apart by spaces, commas or lines: the current one, then those that only open.
    ///
    /// # Errors
    /// [`WrongKeys`] says what is wrong, and nothing of a key.
    pub fn parse(text: &str) -> Result<Self, WrongKeys> {
        let words = text
            .split(|c: char| c.is_whitespace() || c == ',')
            .filter(|word| !word.is_empty());
        let mut keys = Vec::new();
        for (at, word) in words.enumerate() {
            let word = word.trim_end_matches('=');
            let bytes = URL_SAFE_NO_PAD.decode(word).unwrap_or_default();
            let master: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| WrongKeys::Key(at + 1))?;
            keys.push(Key::new(&master));
        }
        if keys.len() > KEYS_MAX {
            return Err(WrongKeys::Many(keys.len()));
        }
        let mut keys = keys.into_iter();
        let current = keys.next().ok_or(WrongKeys::None)?;
        Ok(Self::new(current, keys.collect()))
    }

    /// Seals `plain` for one purpose and one holder. `nonce` must be random.
    ///
    /// The text is visible ASCII without `=`, `.` or `~`, and 45 bytes and a third longer than `plain`, rounded up.
    ///
    /// # Panics
    /// When `plain` is longer than 256 GiB.
    #[must_use]
    pub fn seal(
        &self,
        purpose: Purpose,
        bound: Bound<'_>,
        plain: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> String {
        let aad = context(purpose, bound, self.current.id);
        let payload = Payload {
            msg: plain,
            aad: &aad,
        };
        let sealed = self.current.ciphers[purpose as usize]
            .encrypt(&XNonce::from(nonce), payload)
            .expect("no handle is as long as the cipher's limit");
        let mut whole = Vec::with_capacity(HEAD_BYTES + sealed.len());
        whole.push(VERSION);
        whole.extend_from_slice(&self.current.id);
        whole.extend_from_slice(&nonce);
        whole.extend_from_slice(&sealed);
        URL_SAFE_NO_PAD.encode(whole)
    }

    /// Seals so that the same text for the same holder always looks the same, as an id must.
    ///
    /// The nonce is a keyed hash of all that is sealed: it comes twice only for the same text, of which nobody learns more by that.
    #[must_use]
    pub fn seal_same(&self, purpose: Purpose, bound: Bound<'_>, plain: &[u8]) -> String {
        let aad = context(purpose, bound, self.current.id);
        let (hash, _) =
            Hkdf::<Sha256>::extract(Some(&self.current.nonces), &[&aad[..], plain].concat());
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&hash[..NONCE_BYTES]);
        self.seal(purpose, bound, plain, nonce)
    }

    /// What was sealed, if it was sealed by us for this purpose and this holder.
    ///
    /// # Errors
    /// [`Unsealed`] says nothing about why: that would help only whoever tries.
    pub fn open(
        &self,
        purpose: Purpose,
        bound: Bound<'_>,
        text: &[u8],
    ) -> Result<Vec<u8>, Unsealed> {
        if text.len() > purpose.text_bytes_max() {
            return Err(Unsealed);
        }
        let whole = URL_SAFE_NO_PAD.decode(text).map_err(|_| Unsealed)?;
        let (head, sealed) = whole.split_at_checked(HEAD_BYTES).ok_or(Unsealed)?;
        let [version, rest @ ..] = head else {
            return Err(Unsealed);
        };
        if *version != VERSION {
            return Err(Unsealed);
        }
        let (id, nonce) = rest.split_at(KEY_ID_BYTES);
        let key = std::iter::once(&self.current)
            .chain(&self.accepted)
            .find(|key| key.id == id)
            .ok_or(Unsealed)?;
        let aad = context(purpose, bound, key.id);
        let payload = Payload {
            msg: sealed,
            aad: &aad,
        };
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| Unsealed)?;
        key.ciphers[purpose as usize]
            .decrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Unsealed)
    }
}

/// Why a text gives no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongKeys {
    /// There is none.
    #[error("there is no key; expected 32 random bytes in base64url")]
    None,
    /// One is no key, counted from 1.
    #[error("key {0} is not 32 bytes in base64url")]
    Key(usize),
    /// There are more than a rotation needs.
    #[error(
        "there are {0} keys; at most {KEYS_MAX} are taken: the current, the next and the previous one"
    )]
    Many(usize),
}

/// It is not ours, not for this purpose, not for this holder, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handle is not one of ours, or not for this caller")]
pub struct Unsealed;

/// Version, key, purpose, caller and toolset, each with its length, so that none can borrow from its neighbor.
fn context(purpose: Purpose, bound: Bound<'_>, key: [u8; KEY_ID_BYTES]) -> [u8; 32] {
    let caller = bound.caller.tag();
    let mut hash = Sha256::new();
    hash.update([VERSION]);
    hash.update(key);
    for part in [purpose.label(), &caller, bound.toolset] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];

    fn ring(current: u8, accepted: &[u8]) -> KeyRing {
        let key = |byte: u8| Key::new(&[byte; KEY_BYTES]);
        KeyRing::new(
            key(current),
            accepted.iter().map(|byte| key(*byte)).collect(),
        )
    }

    fn ada() -> Caller {
        Caller::Key {
            id: "1".into(),
            name: "ada".into(),
        }
    }

    fn bound(caller: &Caller) -> Bound<'_> {
        Bound {
            caller,
            toolset: "main",
        }
    }

    #[test]
    fn a_handle_opens_for_its_holder_and_purpose_only() {
        let (ring, ada, other) = (ring(1, &[]), ada(), Caller::Anonymous);
        let text = ring.seal(Purpose::Session, bound(&ada), b"hello", NONCE);
        assert_eq!(
            ring.open(Purpose::Session, bound(&ada), text.as_bytes()),
            Ok(b"hello".to_vec())
        );
        let elsewhere = Bound {
            caller: &ada,
            toolset: "other",
        };
        for (purpose, holder) in [
            (Purpose::Session, bound(&other)),
            (Purpose::Session, elsewhere),
            (Purpose::Event, bound(&ada)),
        ] {
            assert_eq!(ring.open(purpose, holder, text.as_bytes()), Err(Unsealed));
        }
    }

    #[test]
    fn a_changed_handle_does_not_open() {
        let ring = ring(1, &[]);
        let caller = ada();
        let text = ring.seal(Purpose::Cursor, bound(&caller), b"position", NONCE);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                ring.open(Purpose::Cursor, bound(&caller), &changed),
                Err(Unsealed)
            );
            assert_eq!(
                ring.open(Purpose::Cursor, bound(&caller), &text.as_bytes()[..at]),
                Err(Unsealed)
            );
        }
    }

    #[test]
    fn keys_rotate_without_a_gap() {
        let caller = ada();
        let (old, overlap, new) = (ring(1, &[2]), ring(2, &[1]), ring(3, &[2]));
        let text = old.seal(Purpose::Task, bound(&caller), b"x", NONCE);
        assert!(
            overlap
                .open(Purpose::Task, bound(&caller), text.as_bytes())
                .is_ok()
        );
        assert_eq!(
            new.open(Purpose::Task, bound(&caller), text.as_bytes()),
            Err(Unsealed)
        );
        let text = overlap.seal(Purpose::Task, bound(&caller), b"x", NONCE);
        assert!(
            old.open(Purpose::Task, bound(&caller), text.as_bytes())
                .is_ok(),
            "the next key is accepted already"
        );
    }

    #[test]
    fn the_same_looks_the_same_only_where_it_is_wanted() {
        let ring = ring(1, &[]);
        let (ada, other) = (ada(), Caller::Anonymous);
        let sealed = |caller: &Caller, text: &str| {
            ring.seal_same(Purpose::Task, bound(caller), text.as_bytes())
        };
        assert_eq!(sealed(&ada, "t1"), sealed(&ada, "t1"));
        assert_ne!(sealed(&ada, "t1"), sealed(&ada, "t2"));
        assert_ne!(sealed(&ada, "t1"), sealed(&other, "t1"));
        let text = sealed(&ada, "t1");
        assert_eq!(
            ring.open(Purpose::Task, bound(&ada), text.as_bytes()),
            Ok(b"t1".to_vec())
        );
    }

    #[test]
    fn the_first_key_of_a_text_seals_and_the_others_open() {
        let word = |byte: u8| URL_SAFE_NO_PAD.encode([byte; KEY_BYTES]);
        let caller = ada();
        let read = KeyRing::parse(&format!("{}\n{}=,\n", word(2), word(1))).unwrap();
        let text = read.seal(Purpose::Task, bound(&caller), b"x", NONCE);
        let opens = |ring: &KeyRing| ring.open(Purpose::Task, bound(&caller), text.as_bytes());
        assert!(opens(&ring(2, &[])).is_ok());
        assert_eq!(opens(&ring(1, &[])), Err(Unsealed));
        let text = ring(1, &[]).seal(Purpose::Task, bound(&caller), b"x", NONCE);
        assert!(
            read.open(Purpose::Task, bound(&caller), text.as_bytes())
                .is_ok()
        );
    }

    #[test]
    fn wrong_keys_are_told_by_their_place_only() {
        let word = URL_SAFE_NO_PAD.encode([1; KEY_BYTES]);
        let wrong = |text: &str| KeyRing::parse(text).unwrap_err();
        assert_eq!(wrong(" \n"), WrongKeys::None);
        assert_eq!(wrong(&format!("{word} secret")), WrongKeys::Key(2));
        assert_eq!(wrong(&word[1..]), WrongKeys::Key(1));
        let four = [word.as_str(); 4].join(",");
        assert_eq!(wrong(&four), WrongKeys::Many(4));
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        assert!(!format!("{:?}", ring(255, &[])).contains("255"));
    }
}
