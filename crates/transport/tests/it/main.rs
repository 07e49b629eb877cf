//! The doors, tested with real sockets and real processes.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

#[cfg(target_os = "linux")]
mod child;
mod fixture;
mod inbound;
mod outbound;
mod tls;
