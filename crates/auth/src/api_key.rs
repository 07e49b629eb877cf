//! Static API keys: random text with a prefix that scanners of secrets can recognize, known to us by its hash only.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// How every API key begins.
pub const API_KEY_PREFIX: &str = "mk_";
/// Random bytes of an API key.
pub const API_KEY_RANDOM_BYTES: usize = 32;
/// The prefix and 32 bytes in base64url.
const TEXT_BYTES: usize = API_KEY_PREFIX.len() + 43;

/// A whole API key: shown once when it is made, and never stored. It cannot be printed by accident.
pub struct ApiKey(String);

impl ApiKey {
    /// Makes a key of random bytes.
    #[must_use]
    pub fn new(random: [u8; API_KEY_RANDOM_BYTES]) -> Self {
        Self(format!(
            "{API_KEY_PREFIX}{}",
            URL_SAFE_NO_PAD.encode(random)
        ))
    }

    /// The key itself, for the one moment in which it is handed out.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(..)")
    }
}

/// SHA-256 of an API key. The key has 256 random bits, so nothing slower is needed, and nobody can aim at a hash that begins like another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// Of what somebody presents; nothing, if it cannot be one of our keys.
    #[must_use]
    pub fn of_presented(text: &[u8]) -> Option<Self> {
        let ours = text.len() == TEXT_BYTES && text.starts_with(API_KEY_PREFIX.as_bytes());
        ours.then(|| Self(Sha256::digest(text).into()))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recognizable_and_known_by_its_hash() {
        let key = ApiKey::new([0xff; API_KEY_RANDOM_BYTES]);
        assert_eq!(
            key.expose(),
            "mk___________________________________________8"
        );
        let presented = KeyHash::of_presented(key.expose().as_bytes());
        assert_eq!(presented, Some(key.hash()));
        let other = ApiKey::new([0xfe; API_KEY_RANDOM_BYTES]);
        assert_ne!(other.hash(), key.hash());
    }

    #[test]
    fn what_cannot_be_a_key_is_not_hashed() {
        let key = ApiKey::new([1; API_KEY_RANDOM_BYTES]);
        let text = key.expose();
        for wrong in [
            "",
            "mk_",
            &text[1..],
            &text.replace("mk_", "mK_"),
            &format!("{text} "),
        ] {
            assert_eq!(KeyHash::of_presented(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let key = ApiKey::new([255; API_KEY_RANDOM_BYTES]);
        assert_eq!(
            format!("{key:?} {:?}", key.hash()),
            "ApiKey(..) KeyHash(..)"
        );
    }
}
