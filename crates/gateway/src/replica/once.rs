//! Headers that were used already: a copied one opens nothing.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::hop::{HOP_WINDOW, Once};

/// Headers remembered in each of two spans of time; beyond, requests of other replicas are refused until the span is over.
const USED_MAX: usize = 500_000;
/// A header said by a clock that is ahead is fresh for twice the window.
const SPAN: Duration = Duration::from_secs(2 * HOP_WINDOW.as_secs());

/// The headers used in this span of time and the one before.
#[derive(Debug)]
pub(super) struct Used {
    now: HashSet<Once>,
    before: HashSet<Once>,
    turned: Instant,
}

impl Used {
    pub(super) fn new() -> Self {
        Self {
            now: HashSet::new(),
            before: HashSet::new(),
            turned: Instant::now(),
        }
    }

    /// Uses a header; false when it was used before, or when there are too many to know.
    pub(super) fn take(&mut self, once: Once) -> bool {
        let now = Instant::now();
        if now.duration_since(self.turned) > SPAN {
            self.before = std::mem::take(&mut self.now);
            self.turned = now;
        }
        self.now.len() < USED_MAX && !self.before.contains(&once) && self.now.insert(once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_header_is_good_once_for_as_long_as_it_could_be_fresh() {
        let mut used = Used::new();
        assert!(used.take([1; 16]));
        for _ in 0..2 {
            assert!(!used.take([1; 16]));
            tokio::time::advance(HOP_WINDOW).await;
            assert!(used.take(crate::handles::random()));
        }
        assert!(!used.take([1; 16]), "2 windows later");
    }
}
