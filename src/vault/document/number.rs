//! Numbers, read the same way from YAML and from JSON.

use serde_json::Number;

/// Reads a number in JSON's grammar; `None` if it is none, or one that a double cannot hold.
///
/// `serde_json` is not asked: without `float_roundtrip` it may be off by one in the last place, and
/// two devices must read the same number from the same bytes.
pub(super) fn number(raw: &str) -> Option<Number> {
    if !looks_like_number(raw) {
        return None;
    }
    if raw.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) && raw != "-0" {
        return integer(raw);
    }
    let value: f64 = raw.parse().ok()?;
    let mantissa = raw.split(['e', 'E']).next().unwrap_or_default();
    let underflow = value == 0.0 && mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    if underflow { None } else { Number::from_f64(value) }
}

/// Tells whether the text follows JSON's grammar for numbers, whatever their size.
pub(super) fn looks_like_number(raw: &str) -> bool {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => {
            let (mantissa, rest) = digits.split_at(at);
            (mantissa, rest.get(1..))
        }
        None => (digits, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    all_digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(all_digits)
        && exponent.is_none_or(|e| all_digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn integer(raw: &str) -> Option<Number> {
    if let Ok(value) = raw.parse::<u64>() {
        return is_exact(value).then(|| value.into());
    }
    let value: i64 = raw.parse().ok()?;
    is_exact(value.unsigned_abs()).then(|| value.into())
}

/// Tells whether a double holds the integer exactly: no more than 53 bits between its ends.
fn is_exact(value: u64) -> bool {
    value == 0 || value.leading_zeros() + value.trailing_zeros() >= 64 - 53
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_those_of_json_that_a_double_holds() {
        for (raw, spelled) in [
            ("0", "0"),
            ("-7", "-7"),
            ("1.10", "1.1"),
            ("1e3", "1000.0"),
            ("-0", "-0.0"),
            ("9007199254740992", "9007199254740992"),
            ("0.1", "0.1"),
            ("5e-324", "5e-324"),
        ] {
            assert_eq!(number(raw).map(|n| n.to_string()).as_deref(), Some(spelled), "{raw}");
        }
        for raw in [
            "",
            "-",
            "007",
            "+1",
            "1_000",
            ".5",
            "5.",
            "1e",
            "0x1",
            "0o7",
            "1e400",
            "1e-400",
            "9007199254740993",
            "12345678901234567890123",
            ".inf",
            "NaN",
            "1:30",
            "１",
        ] {
            assert_eq!(number(raw), None, "{raw}");
        }
    }
}
