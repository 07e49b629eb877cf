//! The wall clock, which other machines read as well.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since 1970. What must end on every replica at the same moment is counted in it; waits of this process are not.
pub(crate) fn unix_now() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "handles outlive the process: their ends can only be told by the wall clock"
    )]
    let now = SystemTime::now();
    // A clock before 1970 is wrong in any case; then nothing has expired, and nothing is accepted from others.
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}
