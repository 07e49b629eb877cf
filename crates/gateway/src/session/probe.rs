//! What a simulation looks at.

use super::Session;

impl Session {
    /// Servers' sessions, requests that wait for an answer, and open questions.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let state = self.state();
        (
            state.legs.len(),
            state.inflight.waiting(),
            state.questions.count(),
        )
    }
}
