//! The doors of the process: listening, calling out, and child processes.
//!
//! - Nothing else in the program opens a socket or starts a process.
//! - Every wait, buffer, queue and count here has a limit with a name and a documented default.
//! - A request leaves at most once, unless HTTP itself says that no byte of it was sent.
//! - A child process never outlives this one, however this one ends.
//!
//! Start reading at `inbound/mod.rs` (a connection from accept to end), `outbound/mod.rs` (a request out and back) and `child/mod.rs`.

pub mod body;
#[cfg(unix)]
pub mod child;
pub mod inbound;
pub mod outbound;
#[cfg(feature = "simulated")]
pub mod simulated;
mod socket;
mod tls;

pub use self::body::{Body, BodyError};
pub use self::tls::{CertificateDer, Identity, TlsError, Trust, identity, parse_certificates};
