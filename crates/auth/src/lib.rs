//! Who is calling, and what we hand out so that nobody can forge or borrow it.
//!
//! Pure: time and random bytes are arguments.

mod caller;
mod seal;

pub use caller::Caller;
pub use seal::{Bound, KEY_BYTES, Key, KeyRing, NONCE_BYTES, Purpose, Unsealed};
