//! Event streams (WHATWG HTML, "Server-sent events"), both ways.

use std::collections::VecDeque;

use memchr::memchr2;

/// The longest event, all its lines together, in bytes.
pub const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One event of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; empty means `message`.
    pub name: String,
    /// The `id` field, when the event carried one.
    pub id: Option<String>,
    /// The `data` fields, joined by line feeds.
    pub data: Vec<u8>,
    /// The `retry` field in milliseconds.
    pub retry_ms: Option<u64>,
}

impl Event {
    /// Whether this event carries a message, as opposed to a priming or control event.
    #[must_use]
    pub fn is_message(&self) -> bool {
        !self.data.is_empty() && (self.name.is_empty() || self.name == "message")
    }
}

/// An event or a line grew past [`EVENT_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {EVENT_BYTES_MAX} bytes")]
pub struct TooLong;

/// Turns bytes into events, whatever the pieces they come in.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    after_return: bool,
    started: bool,
    event: Event,
    has_data: bool,
    ready: VecDeque<Event>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`TooLong`] when an event exceeds its limit; the stream is of no further use then.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), TooLong> {
        if self.after_return && !bytes.is_empty() {
            self.after_return = false;
            if bytes[0] == b'\n' {
                bytes = &bytes[1..];
            }
        }
        while let Some(end) = memchr2(b'\n', b'\r', bytes) {
            if self.line.is_empty() {
                self.take_line(&bytes[..end])?;
            } else {
                self.line.extend_from_slice(&bytes[..end]);
                let line = std::mem::take(&mut self.line);
                self.take_line(&line)?;
            }
            let returned = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if returned {
                match bytes.first() {
                    Some(b'\n') => bytes = &bytes[1..],
                    Some(_) => {}
                    None => self.after_return = true,
                }
            }
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() > EVENT_BYTES_MAX {
            Err(TooLong)
        } else {
            Ok(())
        }
    }

    /// The next whole event.
    pub fn next_event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), TooLong> {
        let line = if self.started {
            line
        } else {
            line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
        };
        self.started = true;
        if line.is_empty() {
            self.dispatch();
            return Ok(());
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(0) => return Ok(()),
            Some(colon) => (
                &line[..colon],
                line[colon + 1..]
                    .strip_prefix(b" ")
                    .unwrap_or_else(|| &line[colon + 1..]),
            ),
            None => (line, &b""[..]),
        };
        self.take_field(field, value)
    }

    fn take_field(&mut self, field: &[u8], value: &[u8]) -> Result<(), TooLong> {
        match field {
            b"data" => {
                if self.event.data.len() + value.len() >= EVENT_BYTES_MAX {
                    return Err(TooLong);
                }
                if self.has_data {
                    self.event.data.push(b'\n');
                }
                self.event.data.extend_from_slice(value);
                self.has_data = true;
            }
            b"event" => self.event.name = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => {
                self.event.id = Some(String::from_utf8_lossy(value).into_owned())
            }
            b"retry" => {
                self.event.retry_ms = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok())
            }
            _ => {}
        }
        Ok(())
    }

    /// The standard drops events without data; we keep those with an id or a retry, which MCP 2025-11-25 uses to prime a stream.
    fn dispatch(&mut self) {
        let event = std::mem::take(&mut self.event);
        if self.has_data || event.id.is_some() || event.retry_ms.is_some() {
            self.ready.push_back(event);
        }
        self.has_data = false;
    }
}

/// A comment line, which keeps idle connections alive.
pub const KEEP_ALIVE: &[u8] = b":\n\n";

/// Appends one message event to `out`.
pub fn write_message(out: &mut Vec<u8>, id: Option<&str>, data: &[u8]) {
    out.reserve(data.len() + 32);
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"event: message\n");
    write_data(out, data);
}

/// Appends the event that opens a stream which can be picked up again: no message, but an id and how long to wait before coming back (MCP 2025-11-25, basic/transports).
pub fn write_primer(out: &mut Vec<u8>, id: &str, retry_ms: u64) {
    out.extend_from_slice(format!("id: {id}\nretry: {retry_ms}\ndata: \n\n").as_bytes());
}

/// Appends how long to wait before coming back, alone.
pub fn write_retry(out: &mut Vec<u8>, retry_ms: u64) {
    out.extend_from_slice(format!("retry: {retry_ms}\n\n").as_bytes());
}

/// Appends one named event to `out`.
pub fn write_event(out: &mut Vec<u8>, name: &str, data: &[u8]) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    write_data(out, data);
}

/// JSON may hold raw line breaks between its tokens; each starts a `data` line of its own.
fn write_data(out: &mut Vec<u8>, mut data: &[u8]) {
    loop {
        out.extend_from_slice(b"data: ");
        let Some(end) = memchr2(b'\n', b'\r', data) else {
            break;
        };
        out.extend_from_slice(&data[..end]);
        out.push(b'\n');
        let pair = data[end] == b'\r' && data.get(end + 1) == Some(&b'\n');
        data = &data[end + if pair { 2 } else { 1 }..];
    }
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &[u8], size: usize) -> Vec<Event> {
        let mut decoder = Decoder::new();
        let mut events = Vec::new();
        for piece in text.chunks(size) {
            decoder.push(piece).unwrap();
            events.extend(std::iter::from_fn(|| decoder.next_event()));
        }
        events
    }

    #[test]
    fn decodes_whatever_the_pieces_and_line_ends() {
        let text = b"\xEF\xBB\xBF: hello\r\nid: 7\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nevent: ping\rdata\r\rretry: 20\nid: 8\ndata: \n\ndata:x\n\n";
        for size in 1..=text.len() {
            let events = decode(text, size);
            assert_eq!(events.len(), 4, "pieces of {size}");
            assert_eq!(events[0].data, b"{\"a\":\n1}");
            assert_eq!(events[0].id.as_deref(), Some("7"));
            assert_eq!(
                (events[1].name.as_str(), events[1].data.as_slice()),
                ("ping", &b""[..])
            );
            assert_eq!(
                (events[2].retry_ms, events[2].is_message()),
                (Some(20), false)
            );
            assert_eq!(events[3].data, b"x");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Vec::new();
        write_message(&mut out, Some("e1"), b"{\n \"a\": 1\r\n}");
        write_event(&mut out, "endpoint", b"/mcp?s=1");
        let events = decode(&out, 3);
        assert_eq!(events[0].data, b"{\n \"a\": 1\n}");
        assert_eq!(events[0].id.as_deref(), Some("e1"));
        assert_eq!(
            (events[1].name.as_str(), events[1].data.as_slice()),
            ("endpoint", &b"/mcp?s=1"[..])
        );
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut decoder = Decoder::new();
        let piece = vec![b'x'; 1024 * 1024];
        let outcome = (0..17).try_for_each(|_| decoder.push(&piece));
        assert_eq!(outcome, Err(TooLong));
    }
}
