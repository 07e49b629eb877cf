//! Lines from a child's stdout.

use bytes::{Bytes, BytesMut};
use memchr::memchr;
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;

use super::ChildFailure;

/// The longest line of a child.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Space asked for before each read.
const READ_BYTES: usize = 16 * 1024;
/// A buffer that a long line has made larger than this is given back when it is empty.
const KEEP_BYTES_MAX: usize = 256 * 1024;

/// Reads a child's stdout, line by line.
#[derive(Debug)]
pub struct ChildReader {
    label: String,
    stdout: ChildStdout,
    lines: Lines,
}

impl ChildReader {
    pub(super) fn new(label: String, stdout: ChildStdout) -> Self {
        Self {
            label,
            stdout,
            lines: Lines::new(LINE_BYTES_MAX),
        }
    }

    /// The next line without its end, never blank; `None` when the child has closed its stdout.
    /// After a line that is too long, reading goes on with the next.
    ///
    /// # Errors
    /// The line is too long, or the pipe cannot be read.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Result<Bytes, ChildFailure>> {
        loop {
            match self.lines.next() {
                Some(Ok(line)) => return Some(Ok(line)),
                Some(Err(TooLong)) => {
                    return Some(Err(ChildFailure::LineTooLong {
                        label: self.label.clone(),
                        bytes_max: LINE_BYTES_MAX,
                    }));
                }
                None => {}
            }
            self.lines.buffer.reserve(READ_BYTES);
            match self.stdout.read_buf(&mut self.lines.buffer).await {
                // A last line without its end is not a message: the child was cut off in it.
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => {
                    return Some(Err(ChildFailure::Unreadable {
                        label: self.label.clone(),
                        reason: error.to_string(),
                    }));
                }
            }
        }
    }
}

/// Bytes in, lines out.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    /// The rest of a line that was too long is being passed over.
    skipping: bool,
    bytes_max: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Lines {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            skipping: false,
            bytes_max,
        }
    }

    /// The next whole line that is not blank; `None` when more bytes are needed.
    pub(super) fn next(&mut self) -> Option<Result<Bytes, TooLong>> {
        loop {
            let Some(at) = memchr(b'\n', &self.buffer[self.searched..]) else {
                return self.unfinished();
            };
            let line = self.buffer.split_to(self.searched + at + 1);
            self.searched = 0;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if line.len() > self.bytes_max + 1 {
                return Some(Err(TooLong));
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Some(Ok(without_end(line.freeze())));
            }
        }
    }

    fn unfinished(&mut self) -> Option<Result<Bytes, TooLong>> {
        self.searched = self.buffer.len();
        if self.buffer.is_empty() {
            if self.buffer.capacity() > KEEP_BYTES_MAX {
                self.buffer = BytesMut::new();
            }
            return None;
        }
        if self.skipping || self.buffer.len() > self.bytes_max {
            self.buffer = BytesMut::new();
            self.searched = 0;
            if !std::mem::replace(&mut self.skipping, true) {
                return Some(Err(TooLong));
            }
        }
        None
    }
}

/// The line without `\n` or `\r\n`.
fn without_end(mut line: Bytes) -> Bytes {
    line.truncate(line.len() - 1);
    if line.ends_with(b"\r") {
        line.truncate(line.len() - 1);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the chunks one by one and says what came out: lines, or `!` for one that is too long.
    fn lines(chunks: &[&str]) -> Vec<String> {
        let mut lines = Lines::new(8);
        let mut found = Vec::new();
        for chunk in chunks {
            lines.buffer.extend_from_slice(chunk.as_bytes());
            while let Some(line) = lines.next() {
                found.push(line.map_or_else(
                    |TooLong| "!".to_owned(),
                    |line| String::from_utf8_lossy(&line).into_owned(),
                ));
            }
        }
        found
    }

    #[test]
    fn lines_are_cut_at_their_ends_only() {
        let cases: &[(&[&str], &[&str])] = &[
            (&["a\nb\n"], &["a", "b"]),
            (&["a", "b", "\n", "c"], &["ab"]),
            (&["\n \r\n\na\r\n"], &["a"]),
            (&["12345678\n"], &["12345678"]),
            (&["123456789\nok\n"], &["!", "ok"]),
            (&["12345", "67890", "more", "x\nok\n"], &["!", "ok"]),
            (
                &["1234567890123\n", "1234567890123\nok\n"],
                &["!", "!", "ok"],
            ),
        ];
        for (chunks, expected) in cases {
            assert_eq!(lines(chunks), *expected, "{chunks:?}");
        }
    }
}
