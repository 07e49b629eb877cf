//! What this process hands out and gets back: sealed, and naming the process whose conversation it belongs to.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use auth::{Bound, Caller, KEY_BYTES, Key, KeyRing, NONCE_BYTES, Purpose, Unsealed};

/// Bytes that name one run of one process.
pub const INCARNATION_BYTES: usize = 8;

/// One run of one process: a restarted process is another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub [u8; INCARNATION_BYTES]);

impl fmt::Debug for Incarnation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// Seals and opens handles.
#[derive(Debug)]
pub struct Handles {
    ring: KeyRing,
    own: Incarnation,
}

impl Handles {
    /// Handles under these keys, owned by a run that begins now.
    #[must_use]
    pub fn new(ring: KeyRing) -> Self {
        Self {
            ring,
            own: Incarnation(random()),
        }
    }

    /// Handles that die with this process: their key is kept nowhere.
    #[must_use]
    pub fn fleeting() -> Self {
        Self::new(KeyRing::new(Key::new(&random::<KEY_BYTES>()), Vec::new()))
    }

    /// A key that nobody has yet, as text.
    #[must_use]
    pub fn fresh_key() -> String {
        URL_SAFE_NO_PAD.encode(random::<KEY_BYTES>())
    }

    /// This run of this process.
    #[must_use]
    pub const fn own(&self) -> Incarnation {
        self.own
    }

    /// A handle for one caller of one toolset.
    pub(crate) fn seal(
        &self,
        purpose: Purpose,
        caller: &Caller,
        toolset: &str,
        plain: &[u8],
    ) -> String {
        let nonce = random::<NONCE_BYTES>();
        self.ring
            .seal(purpose, Bound { caller, toolset }, plain, nonce)
    }

    /// As [`Self::seal`], and the same text looks the same.
    pub(crate) fn seal_same(
        &self,
        purpose: Purpose,
        caller: &Caller,
        toolset: &str,
        plain: &[u8],
    ) -> String {
        self.ring
            .seal_same(purpose, Bound { caller, toolset }, plain)
    }

    /// What is behind a handle of this caller and toolset.
    pub(crate) fn open(
        &self,
        purpose: Purpose,
        caller: &Caller,
        toolset: &str,
        text: &[u8],
    ) -> Result<Vec<u8>, Unsealed> {
        self.ring.open(purpose, Bound { caller, toolset }, text)
    }
}

/// The run that a handle's plain text names first, where it names one.
pub(crate) fn owner(plain: &[u8]) -> Option<Incarnation> {
    plain.first_chunk().copied().map(Incarnation)
}

/// Random bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}
