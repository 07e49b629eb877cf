//! What a simulation looks at.

use super::Parking;

impl Parking {
    /// Calls that wait.
    pub(crate) fn count(&self) -> usize {
        self.calls().len()
    }
}
