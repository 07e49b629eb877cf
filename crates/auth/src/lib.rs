//! Who is calling, and what we hand out so that nobody can forge or borrow it.
//!
//! Pure, except that [`KeyDirectory`] keeps up with the store: elsewhere time and random bytes are arguments.

mod api_key;
mod caller;
mod key_directory;
mod seal;

pub use api_key::{API_KEY_PREFIX, API_KEY_RANDOM_BYTES, ApiKey, KeyHash};
pub use caller::Caller;
pub use key_directory::{KEYS_REFRESH, KEYS_STALE_MAX, KeyDirectory, NotAccepted};
pub use seal::{Bound, KEY_BYTES, Key, KeyRing, NONCE_BYTES, Purpose, Unsealed, WrongKeys};
