//! A span of time, written as people write it: `250ms`, `5s`, `1m30s`, `2h`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of time, written as one to four numbers with unit: `250ms`, `5s`, `1m30s`, `2h`.
///
/// The form is that of the Gateway API (GEP-2257), so that both read the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

impl Duration {
    /// Marks the schema of a duration, so that the strict reader knows what to parse.
    pub(crate) const FORMAT: &str = "marque-duration";
    const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
    const PARTS_MAX: usize = 4;
    const DIGITS_MAX: usize = 5;

    /// Makes a duration of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(std::time::Duration::from_secs(secs))
    }

    /// Gives the duration in the form the standard library uses.
    #[must_use]
    pub const fn as_std(self) -> std::time::Duration {
        self.0
    }
}

/// The text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a duration such as `250ms`, `5s`, `1m30s` or `2h`")]
pub struct NotADuration;

impl FromStr for Duration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let mut total_ms: u64 = 0;
        let mut rest = text;
        for _ in 0..Self::PARTS_MAX {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 || digits > Self::DIGITS_MAX {
                return Err(NotADuration);
            }
            let number: u64 = rest[..digits].parse().map_err(|_| NotADuration)?;
            let unit_and_rest = &rest[digits..];
            let (unit_ms, after) = if let Some(after) = unit_and_rest.strip_prefix("ms") {
                (1, after)
            } else if let Some(after) = unit_and_rest.strip_prefix('s') {
                (1000, after)
            } else if let Some(after) = unit_and_rest.strip_prefix('m') {
                (60_000, after)
            } else if let Some(after) = unit_and_rest.strip_prefix('h') {
                (3_600_000, after)
            } else {
                return Err(NotADuration);
            };
            total_ms += number * unit_ms;
            rest = after;
            if rest.is_empty() {
                return Ok(Self(std::time::Duration::from_millis(total_ms)));
            }
        }
        Err(NotADuration)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        if ms == 0 {
            return f.write_str("0s");
        }
        for (amount, unit) in [
            (ms / 3_600_000, "h"),
            (ms / 60_000 % 60, "m"),
            (ms / 1000 % 60, "s"),
            (ms % 1000, "ms"),
        ] {
            if amount > 0 {
                write!(f, "{amount}{unit}")?;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": Self::FORMAT,
            "pattern": Self::PATTERN,
            "description": "A span of time, such as `250ms`, `5s`, `1m30s` or `2h`."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_said_again() {
        for (text, ms) in [
            ("250ms", 250),
            ("5s", 5000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1h1m1s1ms", 3_661_001),
        ] {
            let read: Duration = text.parse().unwrap();
            assert_eq!(read.as_std().as_millis(), ms, "{text}");
            assert_eq!(read.to_string(), text);
        }
        assert_eq!("0s".parse::<Duration>().unwrap().to_string(), "0s");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-1s",
            "1.5s",
            "100000s",
            "1d",
            "1h1m1s1ms1s",
            "5s ",
            "5µs",
        ] {
            assert_eq!(text.parse::<Duration>(), Err(NotADuration), "{text}");
        }
    }
}
