//! What a simulation looks at.

use super::Leases;

impl Leases {
    /// Sessions that rest, or are shared.
    pub(crate) fn count(&self) -> usize {
        let state = self.state();
        state.resting.len() + state.shared.len()
    }
}
