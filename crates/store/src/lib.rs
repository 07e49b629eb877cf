//! What survives a restart and what replicas share: API keys and the small records of sessions.
//!
//! - One set of queries for both engines, SQLite and PostgreSQL; what differs between them stands in `engine`.
//! - What a call reports as done is on disk, and visible to every replica on the same store.
//! - Times are unix seconds and arguments; deadlines are compared with the store's clock ([`Store::now`]).
//! - An ended session stays ended: nothing that is saved later brings it back.
//! - Every call ends within [`STORE_WAIT`].
//!
//! Start reading at `store.rs`, then `sessions.rs`.

mod store;

mod keys;
mod sessions;

mod writer;

mod schema;

mod engine;

mod wait;

mod error;

pub use error::StoreError;
pub use keys::KeyRecord;
pub use sessions::{DETAILS_BYTES_MAX, OWNER_BYTES, SessionRecord, UID_BYTES};
pub use store::Store;
pub use wait::STORE_WAIT;
