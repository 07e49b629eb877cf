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

/// A time since 1970 as ISO 8601 says it, in UTC.
pub(crate) fn utc(since_1970: Duration) -> String {
    const DAY: u64 = 24 * 3600;
    let (seconds, millis) = (since_1970.as_secs(), since_1970.subsec_millis());
    let (mut days, second) = (seconds / DAY, seconds % DAY);
    let mut year = 1970_u64;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let day = days + 1;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_utc() {
        for (millis, said) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (1_785_196_800_001, "2026-07-28T00:00:00.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(Duration::from_millis(millis)), said);
        }
    }
}
