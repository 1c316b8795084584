//! Times of edits.

use std::fmt;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

/// The time of an edit: milliseconds since 1970, UTC, from a hybrid logical clock.
///
/// A device's stamps never go back and never fall behind a stamp it has seen (Kulkarni et al.,
/// "Logical Physical Clocks", 2014; here the counter is folded into the milliseconds), so a skewed
/// wall clock cannot run backwards past what its owner has read. A stamp never decides what
/// happened before what: clocks of dots do. It only ranks edits that did not know of each other.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Stamp(i64);

/// A text that is not a time larder can take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time like 2026-11-20T10:30:00.123Z")]
pub struct InvalidStamp(String);

/// The last millisecond of the year 9999: later ones have no RFC 3339 form.
const MILLIS_MAX: i64 = 253_402_300_799_999;

impl Stamp {
    /// A stamp of so many milliseconds since 1970; what has no RFC 3339 form is clamped.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, MILLIS_MAX))
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// The stamp for a new edit: `now`, or one millisecond after `last` if `now` is not later.
    pub fn next(now: Self, last: Self) -> Self {
        if now > last { now } else { Self::from_millis(last.0 + 1) }
    }

    /// Parses an RFC 3339 time.
    pub fn parse(text: &str) -> Result<Self, InvalidStamp> {
        DateTime::parse_from_rfc3339(text)
            .map(|time| Self::from_millis(time.timestamp_millis()))
            .map_err(|_| InvalidStamp(text.to_owned()))
    }
}

impl TryFrom<String> for Stamp {
    type Error = InvalidStamp;

    fn try_from(text: String) -> Result<Self, InvalidStamp> {
        Self::parse(&text)
    }
}

impl From<Stamp> for String {
    fn from(stamp: Stamp) -> Self {
        stamp.to_string()
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::from_timestamp_millis(self.0).unwrap_or_default();
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_goes_back() {
        let (early, late) = (Stamp::from_millis(5), Stamp::from_millis(9));
        assert_eq!(Stamp::next(late, early), late);
        assert_eq!(Stamp::next(early, late), Stamp::from_millis(10));
        assert_eq!(Stamp::next(late, late), Stamp::from_millis(10));
    }

    #[test]
    fn reads_what_it_writes() {
        let stamp = Stamp::from_millis(1_763_635_800_123);
        assert_eq!(stamp.to_string(), "2025-11-20T10:50:00.123Z");
        assert_eq!(Stamp::parse(&stamp.to_string()), Ok(stamp));
        assert_eq!(Stamp::from_millis(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert!(Stamp::parse("yesterday").is_err());
    }
}
