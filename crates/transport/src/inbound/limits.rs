//! What a client may take from us.

use std::time::Duration;

/// The limits of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head, request line included. Beyond: 431. Default: 64 KiB.
    pub header_bytes: usize,
    /// Fields of a request's head. Beyond: 431. Default: 100.
    pub header_count: usize,
    /// From the first byte of a request's head to its last, and from the connection to its first request. Default: 10 s.
    pub header_read: Duration,
    /// How long a connection may rest between two requests. Default: 120 s.
    pub keep_alive_idle: Duration,
    /// How long a client may refuse to take bytes we have for it. Default: 60 s.
    pub write_stall: Duration,
    /// Connections at one time. Beyond, clients wait in the backlog of the socket. Default: 10 000.
    pub connections_max: usize,
    /// The TLS handshake. Default: 10 s.
    pub tls_handshake: Duration,
    /// HTTP/2 streams at one time on one connection. Default: 256.
    pub http2_streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            header_count: HEADER_COUNT_UNTUNED,
            header_read: Duration::from_secs(10),
            keep_alive_idle: Duration::from_secs(120),
            write_stall: Duration::from_secs(60),
            connections_max: 10_000,
            tls_handshake: Duration::from_secs(10),
            http2_streams_max: 256,
        }
    }
}

/// The number of header fields hyper holds on the stack; asking for another number costs an allocation per request.
pub(super) const HEADER_COUNT_UNTUNED: usize = 100;
