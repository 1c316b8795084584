//! Times of edits.

use std::{fmt, ops::Range};

use chrono::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::wire::read_text;

/// The time of an edit: milliseconds since 1970, UTC, from a hybrid logical clock.
///
/// A device's stamps never go back and never fall behind a stamp it has seen (Kulkarni et al.,
/// "Logical Physical Clocks", 2014; here the counter is folded into the milliseconds), so a skewed
/// wall clock cannot run backwards past what its owner has read. A stamp never decides what
/// happened before what: clocks of dots do. It only ranks edits that did not know of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
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
        if let Some(stamp) = read_own(text) {
            return Ok(stamp);
        }
        DateTime::parse_from_rfc3339(text)
            .map(|time| Self::from_millis(time.timestamp_millis()))
            .map_err(|_| InvalidStamp(text.to_owned()))
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = own_form(*self);
        serializer.serialize_str(str::from_utf8(&form).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, Self::parse)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&own_form(*self)).unwrap_or_default())
    }
}

/// The one form in which larder writes a time. A record holds one for each of its fields, so it is
/// read and written here without the generality of chrono; where its digits lie:
const FORM: &[u8; 24] = b"0000-00-00T00:00:00.000Z";
const YEAR: Range<usize> = 0..4;
const MONTH: Range<usize> = 5..7;
const DAY: Range<usize> = 8..10;
const HOUR: Range<usize> = 11..13;
const MINUTE: Range<usize> = 14..16;
const SECOND: Range<usize> = 17..19;
const MILLI: Range<usize> = 20..23;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn own_form(stamp: Stamp) -> [u8; 24] {
    let (days, millis) = (stamp.0 / DAY_MS, stamp.0 % DAY_MS);
    let (year, month, day) = date_of(days);
    let (seconds, minutes) = (millis / 1000, millis / 60_000);
    let parts = [
        (YEAR, year),
        (MONTH, month),
        (DAY, day),
        (HOUR, minutes / 60),
        (MINUTE, minutes % 60),
        (SECOND, seconds % 60),
        (MILLI, millis % 1000),
    ];
    let mut form = *FORM;
    for (range, mut number) in parts {
        for digit in form.get_mut(range).unwrap_or_default().iter_mut().rev() {
            *digit += u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
    }
    form
}

/// Reads larder's own form; nothing for any other, or for a day or a time that there is not.
fn read_own(text: &str) -> Option<Stamp> {
    let text = text.as_bytes();
    let is_own =
        |(byte, own): (&u8, &u8)| if *own == b'0' { byte.is_ascii_digit() } else { byte == own };
    if text.len() != FORM.len() || !text.iter().zip(FORM).all(is_own) {
        return None;
    }
    let number = |range: Range<usize>| {
        let digits = text.get(range).unwrap_or_default().iter();
        digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
    };
    let date = (number(YEAR), number(MONTH), number(DAY));
    let (hour, minute, second) = (number(HOUR), number(MINUTE), number(SECOND));
    let days = days_of(date);
    if date.0 < 1970 || date_of(days) != date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = (hour * 60 + minute) * 60 + second;
    Some(Stamp(days * DAY_MS + seconds * 1000 + number(MILLI)))
}

/// The date so many days after the first of 1970, in the Gregorian calendar. This and its inverse
/// are Howard Hinnant's `civil_from_days` and `days_from_civil` ("chrono-Compatible Low-Level Date
/// Algorithms", 2021), for what comes after 1970.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// How many days after the first of 1970 a date is.
fn days_of((year, month, day): (i64, i64, i64)) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
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

    #[test]
    fn agrees_with_the_calendar_of_others() {
        let days = (0..=MILLIS_MAX).step_by(5_000_000_011);
        for millis in days.chain([MILLIS_MAX]).flat_map(|millis| [millis, millis / 1000 * 1000]) {
            let time = DateTime::from_timestamp_millis(millis).unwrap();
            let text = time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            assert_eq!(Stamp::from_millis(millis).to_string(), text);
            assert_eq!(read_own(&text), Some(Stamp::from_millis(millis)), "{text}");
        }
        for text in [
            "2026-02-29T00:00:00.000Z",
            "2100-02-29T00:00:00.000Z",
            "2026-04-31T00:00:00.000Z",
            "2026-00-01T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "2026-01-00T00:00:00.000Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01T00:60:00.000Z",
            "2026-01-01 00:00:00 000Z",
        ] {
            assert!(Stamp::parse(text).is_err(), "{text}");
        }
        for (text, millis) in [
            ("1969-12-31T23:59:59.999Z", 0),
            ("0000-01-01T00:00:00.000Z", 0),
            ("1970-01-01T01:00:00.500+01:00", 500),
            ("1970-01-01T00:00:60.000Z", 60_000),
            ("1970-01-01T00:00:01Z", 1000),
        ] {
            assert_eq!(Stamp::parse(text), Ok(Stamp::from_millis(millis)), "{text}");
        }
    }
}
