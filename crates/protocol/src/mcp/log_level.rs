//! The levels of log messages.

/// How severe a level is: RFC 5424's names, `debug` is 0 and `emergency` 7; none for any other word.
#[must_use]
pub fn severity(level: &str) -> Option<u8> {
    const LEVELS: [&str; 8] = [
        "debug",
        "info",
        "notice",
        "warning",
        "error",
        "critical",
        "alert",
        "emergency",
    ];
    LEVELS
        .iter()
        .position(|known| *known == level)
        .and_then(|at| u8::try_from(at).ok())
}
