//! How fast a server is asked again: sooner at first, later when it goes on, and never in step with others.

use std::time::Duration;

use tokio::time::Instant;

use crate::chance;

/// The first wait after a failure; each further failure doubles it.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// The longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Changes within this time are read together.
const SETTLE: Duration = Duration::from_millis(50);
/// The longest time that changes are gathered: a server that announces them without end is read this often.
const GATHER_MAX: Duration = Duration::from_secs(2);

/// The waits after failures.
#[derive(Debug)]
pub(super) struct Backoff {
    wait: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            wait: BACKOFF_FIRST,
        }
    }
}

impl Backoff {
    /// What failed now had lasted so long: after a good time, waits begin anew.
    pub(super) fn after(&mut self, lasted: Duration) {
        if lasted > BACKOFF_MAX {
            *self = Self::default();
        }
    }

    /// The next wait: at least half of what is due, the rest by chance.
    pub(super) fn next(&mut self) -> Duration {
        let due = self.wait;
        self.wait = (due * 2).min(BACKOFF_MAX);
        due / 2 + jittered(due / 2)
    }
}

/// The waits between a change and the read that it calls for.
#[derive(Debug)]
pub(super) struct Pace {
    wait: Duration,
    read: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            wait: SETTLE,
            read: None,
        }
    }
}

impl Pace {
    /// The wait before the next read: short, and longer while one read follows the other.
    pub(super) fn next(&mut self) -> Duration {
        let now = Instant::now();
        let is_quiet = self
            .read
            .is_none_or(|read| now.duration_since(read) > GATHER_MAX);
        self.wait = if is_quiet {
            SETTLE
        } else {
            (self.wait * 2).min(GATHER_MAX)
        };
        self.read = Some(now + self.wait);
        self.wait
    }
}

/// A time up to `most`, by chance.
pub(super) fn jittered(most: Duration) -> Duration {
    most * u32::from(u16::from_ne_bytes(chance::bytes())) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_within_its_limits_and_begins_anew_after_a_good_time() {
        let mut backoff = Backoff::default();
        let mut due = BACKOFF_FIRST;
        for _ in 0..12 {
            let wait = backoff.next();
            assert!(wait >= due / 2 && wait <= due, "{wait:?} for {due:?}");
            due = (due * 2).min(BACKOFF_MAX);
        }
        backoff.after(Duration::from_secs(1));
        assert!(backoff.next() >= BACKOFF_MAX / 2);
        backoff.after(BACKOFF_MAX * 2);
        assert!(backoff.next() <= BACKOFF_FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn changes_without_end_are_read_ever_less_often() {
        let mut pace = Pace::default();
        let began = Instant::now();
        for _ in 0..20 {
            tokio::time::sleep(pace.next()).await;
        }
        assert!(began.elapsed() > GATHER_MAX * 10, "{:?}", began.elapsed());
        tokio::time::sleep(GATHER_MAX * 2).await;
        assert_eq!(pace.next(), SETTLE, "a single change is read soon");
    }
}
