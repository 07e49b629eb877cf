//! One event stream of a session: what it said lately, who writes it and who reads it.
//!
//! Messages have positions, from 1.
//! What was read stays for a while, so that it can be read again; there is one reader at a time, and a newer one takes over.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use protocol::json_rpc::{Message, Shape};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// Messages kept of one stream; beyond, the oldest notifications are dropped.
const MESSAGES_MAX: usize = 256;
/// Bytes kept of one stream; beyond, the oldest notifications are dropped.
const STREAM_BYTES_MAX: usize = 1024 * 1024;
/// Bytes kept of all streams of one session; beyond, the streams that ended first are forgotten, then questions and answers are dropped.
const SESSION_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes kept of all streams of all sessions; beyond, nothing is kept that was sent.
const PROCESS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Messages that a connected client has not taken yet; beyond, its call waits.
const UNREAD_MAX: usize = 64;
/// The same in bytes.
const UNREAD_BYTES_MAX: usize = 256 * 1024;
/// A connected client that takes nothing for this long is taken for gone, and its call goes on without it.
const UNREAD_WAIT: Duration = Duration::from_secs(120);
/// How long a stream that ended is kept for a client that has not taken all of it.
const UNTAKEN_KEPT_MAX: Duration = Duration::from_secs(300);
/// How long a stream that ended, or what was sent on the session's own stream, is kept for a client that may have missed its last events.
const TAKEN_KEPT_MAX: Duration = Duration::from_secs(60);

/// Bytes kept by this process.
static PROCESS_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes kept by one session.
#[derive(Debug, Default)]
pub(super) struct Budget(AtomicUsize);

impl Budget {
    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        PROCESS_BYTES.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
        PROCESS_BYTES.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether this session or this process keeps more than it may.
    fn is_over(&self) -> bool {
        !self.takes(0)
    }

    /// Whether it may keep so much more.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        self.0.load(Ordering::Relaxed) + bytes <= SESSION_BYTES_MAX
            && PROCESS_BYTES.load(Ordering::Relaxed) + bytes <= PROCESS_BYTES_MAX
    }
}

/// One event stream of a session.
#[derive(Debug)]
pub(super) struct Track {
    kept: Mutex<Kept>,
    /// Rings for the reader: a message, the end, or a newer reader.
    bell: Notify,
    /// Rings for the writer: room, or nobody to wait for.
    room: Notify,
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct Kept {
    messages: VecDeque<Event>,
    bytes: usize,
    /// The position of the last message.
    last: u64,
    /// The position that is read next.
    next: u64,
    /// Bytes from `next` on.
    unread_bytes: usize,
    /// Up to here something was dropped.
    dropped: u64,
    /// Up to here something was dropped that was no notification.
    lost: u64,
    /// When something was last read, or the stream ended.
    touched: Instant,
    ended: bool,
    /// The reader that may read.
    reader: Option<u64>,
    /// Readers so far.
    readers: u64,
    /// Whether anybody can ask for what was read.
    replays: bool,
}

/// One message of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Where it stands in the stream.
    pub(crate) position: u64,
    /// The message.
    pub(crate) message: Bytes,
}

/// What may be read from some position on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Everything that was said after it.
    Whole,
    /// All but some notifications, which are not kept any more.
    Holed,
    /// More than notifications is missing.
    Lost,
    /// Nothing follows.
    Over,
    /// There is no such position.
    Unknown,
}

impl Track {
    pub(super) fn new(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::new(Kept {
                messages: VecDeque::new(),
                bytes: 0,
                last: 0,
                next: 1,
                unread_bytes: 0,
                dropped: 0,
                lost: 0,
                touched: Instant::now(),
                ended: false,
                reader: None,
                readers: 0,
                replays: true,
            }),
            bell: Notify::new(),
            room: Notify::new(),
            budget,
        })
    }

    /// Appends a message.
    pub(super) fn push(&self, message: Bytes) {
        let mut kept = self.kept();
        kept.push(message, &self.budget);
        drop(kept);
        self.bell.notify_waiters();
    }

    /// Appends a message unless a connected client has too many to take already; says whether it did.
    pub(super) fn offer(&self, message: Bytes) -> bool {
        let mut kept = self.kept();
        let takes = !kept.ended && (kept.reader.is_none() || !kept.is_full());
        if takes {
            kept.push(message, &self.budget);
        }
        drop(kept);
        self.bell.notify_waiters();
        takes
    }

    /// Waits until a connected client has taken enough, or has gone.
    pub(super) async fn has_room(&self) {
        let room = async {
            loop {
                let room = self.room.notified();
                {
                    let kept = self.kept();
                    if kept.reader.is_none() || kept.has_room() {
                        return;
                    }
                }
                room.await;
            }
        };
        if timeout(UNREAD_WAIT, room).await.is_err() {
            tracing::debug!("a client does not read its stream; the call goes on without it");
            self.detach();
        }
    }

    /// What all streams of the session keep together.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Nothing follows.
    pub(super) fn end(&self) {
        let mut kept = self.kept();
        kept.ended = true;
        kept.touched = Instant::now();
        drop(kept);
        self.bell.notify_waiters();
        self.room.notify_waiters();
    }

    /// Whether something may follow.
    pub(super) fn is_live(&self) -> bool {
        !self.kept().ended
    }

    /// Whether somebody reads it.
    pub(super) fn is_read(&self) -> bool {
        self.kept().reader.is_some()
    }

    /// What may be read after `position`.
    pub(super) fn rest(&self, position: u64) -> Rest {
        let kept = self.kept();
        if position > kept.last {
            Rest::Unknown
        } else if position < kept.lost {
            Rest::Lost
        } else if kept.ended && position == kept.last {
            Rest::Over
        } else if position < kept.dropped {
            Rest::Holed
        } else {
            Rest::Whole
        }
    }

    /// Reads on after `position`, or where the last reader ended; whoever read before is sent away.
    pub(super) fn read(self: &Arc<Self>, after: Option<u64>, replays: bool) -> Reader {
        let mut kept = self.kept();
        if let Some(position) = after {
            kept.next = position + 1;
            let from = kept.index(kept.next);
            let unread = kept.messages.range(from..).map(|event| event.message.len());
            kept.unread_bytes = unread.sum();
        }
        kept.replays = replays;
        kept.readers += 1;
        kept.reader = Some(kept.readers);
        let reader = Reader {
            track: self.clone(),
            number: kept.readers,
            after: kept.next - 1,
        };
        drop(kept);
        self.bell.notify_waiters();
        self.room.notify_waiters();
        reader
    }

    /// Sends the reader away.
    fn detach(&self) {
        let mut kept = self.kept();
        kept.reader = None;
        kept.touched = Instant::now();
        kept.trim(&self.budget);
        drop(kept);
        self.bell.notify_waiters();
        self.room.notify_waiters();
    }

    /// Whether it ended so long ago that nobody will ask for it.
    pub(super) fn is_past(&self, now: Instant) -> bool {
        let kept = self.kept();
        let limit = if kept.next > kept.last {
            TAKEN_KEPT_MAX
        } else {
            UNTAKEN_KEPT_MAX
        };
        kept.ended && kept.reader.is_none() && now.saturating_duration_since(kept.touched) > limit
    }

    /// Drops what was read so long ago that nobody will ask for it.
    pub(super) fn forget_read(&self, now: Instant) {
        let mut kept = self.kept();
        if now.saturating_duration_since(kept.touched) > TAKEN_KEPT_MAX {
            kept.forget_read(&self.budget);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        self.budget.give_back(self.kept().bytes);
    }
}

impl Kept {
    fn push(&mut self, message: Bytes, budget: &Budget) {
        self.last += 1;
        self.bytes += message.len();
        self.unread_bytes += message.len();
        budget.add(message.len());
        self.messages.push_back(Event {
            position: self.last,
            message,
        });
        self.trim(budget);
    }

    fn has_room(&self) -> bool {
        self.ended || (self.unread() < UNREAD_MAX && self.unread_bytes < UNREAD_BYTES_MAX)
    }

    /// Whether all that may be kept waits to be read.
    fn is_full(&self) -> bool {
        self.unread() >= MESSAGES_MAX || self.unread_bytes >= STREAM_BYTES_MAX
    }

    fn unread(&self) -> usize {
        self.messages.len() - self.index(self.next)
    }

    /// Where the messages from `position` on begin.
    fn index(&self, position: u64) -> usize {
        self.messages
            .partition_point(|event| event.position < position)
    }

    fn take(&mut self, budget: &Budget) -> Option<Event> {
        let at = self.index(self.next);
        let event = self.messages.get(at)?.clone();
        self.next = event.position + 1;
        self.unread_bytes -= event.message.len();
        self.touched = Instant::now();
        if self.replays {
            self.trim(budget);
        } else {
            self.forget_read(budget);
        }
        Some(event)
    }

    /// Keeps to the limits; what a connected client has not read yet is not dropped.
    fn trim(&mut self, budget: &Budget) {
        while self.messages.len() > MESSAGES_MAX
            || self.bytes > STREAM_BYTES_MAX
            || budget.is_over()
        {
            let free = match self.reader {
                Some(_) => self.index(self.next),
                None => self.messages.len(),
            };
            match self.messages.range(..free).position(is_notification) {
                Some(at) => self.remove(at, false, budget),
                None if free > 0 && budget.is_over() => self.remove(0, true, budget),
                None => return,
            }
        }
    }

    fn forget_read(&mut self, budget: &Budget) {
        for _ in 0..self.index(self.next) {
            let matters = self.messages.front().is_some_and(|e| !is_notification(e));
            self.remove(0, matters, budget);
        }
        self.messages.shrink_to_fit();
    }

    fn remove(&mut self, at: usize, matters: bool, budget: &Budget) {
        let Some(event) = self.messages.remove(at) else {
            return;
        };
        let bytes = event.message.len();
        self.bytes -= bytes;
        budget.give_back(bytes);
        if event.position >= self.next {
            self.unread_bytes -= bytes;
        }
        self.dropped = self.dropped.max(event.position);
        if matters {
            self.lost = self.lost.max(event.position);
        }
    }
}

/// Whether it can be done without: what a server tells by the way, as opposed to questions and answers.
fn is_notification(event: &Event) -> bool {
    Message::parse(event.message.clone())
        .is_ok_and(|message| matches!(message.shape, Shape::Notification))
}

/// Reads a stream, until a newer reader does. Dropped, the stream goes on without one.
#[derive(Debug)]
pub(crate) struct Reader {
    track: Arc<Track>,
    number: u64,
    after: u64,
}

enum Taken {
    Event(Event),
    Nothing,
    Over,
}

impl Reader {
    /// The position after which it began to read.
    pub(crate) const fn after(&self) -> u64 {
        self.after
    }

    /// The next message; none when the stream has ended, or somebody else reads it now.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub(crate) async fn next(&self) -> Option<Event> {
        loop {
            // Made before the look, so that nothing that comes between is missed.
            let bell = self.track.bell.notified();
            match self.take() {
                Taken::Event(event) => return Some(event),
                Taken::Over => return None,
                Taken::Nothing => bell.await,
            }
        }
    }

    /// The next message if it is here.
    pub(crate) fn ready(&self) -> Option<Event> {
        match self.take() {
            Taken::Event(event) => Some(event),
            Taken::Nothing | Taken::Over => None,
        }
    }

    /// Appends a message of our own; it is refused as others are.
    pub(crate) fn offer(&self, message: Bytes) -> bool {
        self.track.offer(message)
    }

    fn take(&self) -> Taken {
        let mut kept = self.track.kept();
        if kept.reader != Some(self.number) {
            return Taken::Over;
        }
        match kept.take(&self.track.budget) {
            Some(event) => {
                drop(kept);
                self.track.room.notify_waiters();
                Taken::Event(event)
            }
            None if kept.ended => Taken::Over,
            None => Taken::Nothing,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.track.kept().reader == Some(self.number) {
            self.track.detach();
        }
    }
}
