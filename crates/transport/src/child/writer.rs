//! Lines to a child's stdin.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::ChildFailure;

/// How long a write waits for a child that does not read.
pub const WRITE_WAIT: Duration = Duration::from_secs(30);
/// Bytes of broken-off writes that wait for the next one.
pub const PENDING_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A buffer that a large message has made larger than this is given back.
const KEEP_BYTES_MAX: usize = 256 * 1024;

/// A child's stdin, which the writer uses and the guard closes.
#[derive(Debug, Clone)]
pub(super) struct Stdin(Arc<Mutex<Option<ChildStdin>>>);

impl Stdin {
    pub(super) fn new(stdin: ChildStdin) -> Self {
        Self(Arc::new(Mutex::new(Some(stdin))))
    }

    /// Closes it, unless a write holds it: then the child is not reading anyway.
    pub(super) fn close(&self) {
        if let Ok(mut stdin) = self.0.try_lock() {
            drop(stdin.take());
        }
    }
}

/// Writes to a child's stdin, one message per line.
#[derive(Debug)]
pub struct ChildWriter {
    label: String,
    stdin: Stdin,
    pending: BytesMut,
}

impl ChildWriter {
    pub(super) fn new(label: String, stdin: Stdin) -> Self {
        Self {
            label,
            stdin,
            pending: BytesMut::new(),
        }
    }

    /// Writes a message and its line end. The message must hold no line end.
    ///
    /// # Errors
    /// The child has closed its stdin, or does not read.
    ///
    /// # Cancellation
    /// No message is ever torn: what was begun is finished before the next.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), ChildFailure> {
        debug_assert!(!message.contains(&b'\n'), "one message is one line");
        if self.pending.len() + message.len() >= PENDING_BYTES_MAX {
            return Err(self.not_reading());
        }
        self.pending.reserve(message.len() + 1);
        self.pending.extend_from_slice(message);
        self.pending.extend_from_slice(b"\n");
        let written = timeout(WRITE_WAIT, flush(&self.stdin, &mut self.pending)).await;
        if self.pending.is_empty() && self.pending.capacity() > KEEP_BYTES_MAX {
            self.pending = BytesMut::new();
        }
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(ChildFailure::Closed {
                label: self.label.clone(),
                reason,
            }),
            Err(_) => Err(self.not_reading()),
        }
    }

    fn not_reading(&self) -> ChildFailure {
        ChildFailure::NotReading {
            label: self.label.clone(),
            wait: WRITE_WAIT,
        }
    }
}

async fn flush(stdin: &Stdin, pending: &mut BytesMut) -> Result<(), String> {
    let mut stdin = stdin.0.lock().await;
    let Some(stdin) = stdin.as_mut() else {
        return Err("it is being stopped".to_owned());
    };
    while !pending.is_empty() {
        match stdin.write(pending).await {
            Ok(0) => return Err("the pipe takes no bytes".to_owned()),
            Ok(count) => pending.advance(count),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}
