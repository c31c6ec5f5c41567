//! Durations and sizes as people write them.

use std::time::Duration;

/// The units of a duration with their milliseconds, largest first.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The longest duration: ten years. Beyond it only a mistake is meant.
const DURATION_MAX: Duration = Duration::from_secs(3_650 * 86_400);

/// The units of a size with their bytes, largest first.
const SIZE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Reads a duration: a whole number and one of `ms`, `s`, `m`, `h`, `d`. Longer than zero, at most ten years.
///
/// # Errors
/// What was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || {
        format!(
            "expected a duration such as \"200ms\", \"15s\", \"10m\", \"48h\" or \"180d\", found {text:?}"
        )
    };
    let milliseconds = number_and_unit(text, &DURATION_UNITS).ok_or_else(expected)?;
    match Duration::from_millis(milliseconds) {
        Duration::ZERO => Err("expected a duration longer than zero".to_owned()),
        duration if duration > DURATION_MAX => {
            Err(format!("expected at most \"3650d\", found {text:?}"))
        }
        duration => Ok(duration),
    }
}

/// Writes a duration in the largest unit that leaves no remainder and that people would choose: two days are "48h", one minute is
/// "60s". What is finer than a millisecond is dropped.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    /// Fewer days than these are said in hours.
    const DAYS_MIN: Duration = Duration::from_secs(7 * 86_400);
    /// Fewer minutes or hours than these are said in the next smaller unit.
    const COUNT_MIN: u64 = 2;
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let chosen = |&&(unit, factor): &&(&str, u64)| match unit {
        "d" => duration >= DAYS_MIN,
        "h" | "m" => milliseconds >= COUNT_MIN * factor,
        _ => true,
    };
    let units: Vec<_> = DURATION_UNITS.iter().filter(chosen).copied().collect();
    format_in_units(milliseconds, &units)
}

/// Reads a size: a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024).
///
/// # Errors
/// What was expected.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    number_and_unit(text, &SIZE_UNITS)
        .ok_or_else(|| format!("expected a size such as \"512MiB\" or \"4GiB\", found {text:?}"))
}

/// Writes a size in the largest unit that leaves no remainder.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    format_in_units(bytes, &SIZE_UNITS)
}

fn number_and_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(end)?;
    let number: u64 = digits.parse().ok()?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

fn format_in_units(value: u64, units: &[(&str, u64)]) -> String {
    let fits = units
        .iter()
        .find(|(_, factor)| value.is_multiple_of(*factor));
    match fits {
        Some((unit, factor)) if value > 0 => format!("{}{unit}", value / factor),
        _ => {
            let smallest = units.last().map_or("", |(unit, _)| unit);
            format!("{value}{smallest}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_back() {
        for text in ["200ms", "15s", "10m", "48h", "180d", "1ms", "3650d"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(
                parse_duration(&format_duration(duration)).unwrap(),
                duration,
                "{text}"
            );
        }
        assert_eq!(parse_duration("48h").unwrap(), Duration::from_secs(172_800));
        for text in [
            "48h", "72h", "7d", "60s", "2m", "60m", "2h", "1500ms", "90s", "200ms",
        ] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        let wrong = [
            "",
            "15",
            "s",
            "15 s",
            "-1s",
            "1.5h",
            "15S",
            "15sec",
            "0s",
            "3651d",
            "+5s",
            "99999999999999999999s",
            "18446744073709551615d",
            "1h30m",
            "١s",
        ];
        for text in wrong {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("15").unwrap_err().contains("\"15s\""));
    }

    #[test]
    fn sizes_are_read_and_written_back() {
        for (text, bytes) in [
            ("4GiB", 4 << 30),
            ("64MiB", 64 << 20),
            ("1000B", 1000),
            ("0B", 0),
        ] {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
            assert_eq!(format_bytes(bytes), text);
        }
        for text in ["", "4", "4GB", "4 GiB", "4gib", "99999999999TiB", "-1B"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
