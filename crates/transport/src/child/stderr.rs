//! What a child says on stderr: to the log, within a rate, and the last of it into error texts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use memchr::memchr;
use tokio::io::AsyncReadExt;
use tokio::process::ChildStderr;
use tokio::time::Instant;

/// Lines a second that are logged in the long run.
pub(super) const LINES_PER_SECOND: f64 = 20.0;
/// Lines that are logged at once after a rest.
pub(super) const LINES_BURST: f64 = 200.0;
/// The longest piece that is logged; the rest of a line is left out.
const LINE_BYTES_MAX: usize = 4 * 1024;
/// Lines that are kept for error texts.
const LAST_LINES_MAX: usize = 20;
const READ_BYTES: usize = 4 * 1024;

/// The last lines of a child.
#[derive(Debug, Clone, Default)]
pub(super) struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// Reads a child's stderr to its end. It is always read, so that no child hangs on a full pipe.
pub(super) async fn listen(label: String, mut stderr: ChildStderr, last: LastWords) {
    let mut buffer = BytesMut::new();
    let mut log = Log::new(label, Instant::now());
    // The rest of a long line is passed over.
    let mut skipping = false;
    loop {
        while let Some(at) = memchr(b'\n', &buffer) {
            let line = buffer.split_to(at + 1);
            if !std::mem::take(&mut skipping) {
                tell(&line[..at], &mut log, &last);
            }
        }
        if buffer.len() > LINE_BYTES_MAX {
            if !std::mem::replace(&mut skipping, true) {
                tell(&buffer[..LINE_BYTES_MAX], &mut log, &last);
            }
            buffer.clear();
        }
        buffer.reserve(READ_BYTES);
        match stderr.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    if !skipping {
        tell(&buffer, &mut log, &last);
    }
    log.report();
}

fn tell(line: &[u8], log: &mut Log, last: &LastWords) {
    let line = printable(line);
    if !line.is_empty() {
        log.line(&line, Instant::now());
        last.push(line);
    }
}

/// The text without what could move a terminal's cursor or color.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.trim_end().chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            // ECMA-48: a control sequence is ESC [, parameters, and one final byte from @ to ~.
            '\u{1b}' if characters.peek() == Some(&'[') => {
                characters.next();
                while let Some(part) = characters.next()
                    && !('@'..='~').contains(&part)
                {}
            }
            '\t' => clean.push('\t'),
            control if control.is_control() => clean.push('\u{fffd}'),
            other => clean.push(other),
        }
    }
    clean
}

/// A token bucket before the log.
#[derive(Debug)]
struct Log {
    label: String,
    tokens: f64,
    filled: Instant,
    left_out: u64,
}

impl Log {
    fn new(label: String, now: Instant) -> Self {
        Self {
            label,
            tokens: LINES_BURST,
            filled: now,
            left_out: 0,
        }
    }

    fn line(&mut self, line: &str, now: Instant) {
        if self.admit(now) {
            self.report();
            tracing::info!(target: "server.stderr", server = %self.label, "{line}");
        }
    }

    /// True when one more line may be logged.
    fn admit(&mut self, now: Instant) -> bool {
        let rested = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = rested
            .mul_add(LINES_PER_SECOND, self.tokens)
            .min(LINES_BURST);
        self.filled = now;
        if self.tokens < 1.0 {
            self.left_out += 1;
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    fn report(&mut self) {
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            tracing::warn!(target: "server.stderr", server = %self.label, left_out, "lines left out: the server writes too many");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn control_sequences_do_not_reach_the_terminal() {
        assert_eq!(
            printable(b"\x1b[31mred\x1b[0m\tok\x07 \r"),
            "red\tok\u{fffd}"
        );
        assert_eq!(printable(b"\x1b[99"), "");
    }

    #[test]
    fn bursts_pass_and_floods_are_counted() {
        let begin = Instant::now();
        let mut log = Log::new("s".into(), begin);
        let admitted = (0..1000).filter(|_| log.admit(begin)).count();
        assert_eq!((admitted, log.left_out), (200, 800));
        let later = begin + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| log.admit(later)).count(), 20);
    }
}
