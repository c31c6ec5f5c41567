//! UTC dates of unix times, as messages and people read them.

use std::fmt;

/// A unix time in microseconds as MMDDhhmmss (DE 7).
pub fn transmission_time(now: u64) -> u64 {
    let civil = Civil::from_unix_seconds(now / 1_000_000);
    [
        civil.month,
        civil.day,
        civil.hour,
        civil.minute,
        civil.second,
    ]
    .into_iter()
    .fold(0, |time, two| time * 100 + u64::from(two))
}

/// A date and time of day in UTC.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Civil {
    /// Year, four digits until 9999.
    pub year: u64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

impl Civil {
    /// The date and time of day of a unix time in seconds.
    pub fn from_unix_seconds(seconds: u64) -> Civil {
        let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = date(days);
        Civil {
            year,
            month,
            day,
            hour: small(second_of_day / 3_600),
            minute: small(second_of_day / 60 % 60),
            second: small(second_of_day % 60),
        }
    }
}

impl Civil {
    /// Day of the year, 1 to 366.
    pub(crate) fn day_of_year(self) -> u64 {
        let Civil { year, month, .. } = self;
        let leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        before[usize::from(month) - 1] + u64::from(self.day) + u64::from(leap && month > 2)
    }
}

impl fmt::Display for Civil {
    /// As RFC 3339: `2026-11-22T10:30:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// Year, month and day of a number of days since 1970-01-01.
///
/// Years are counted from 1 March, so that 29 February is the last day of a year; a period of 400 years has 146,097 days.
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn date(days_since_1970: u64) -> (u64, u8, u8) {
    const DAYS_TO_1970: u64 = 719_468; // from 1 March of the year 0
    const DAYS_IN_PERIOD: u64 = 146_097;
    let days = days_since_1970.saturating_add(DAYS_TO_1970);
    let (period, day_of_period) = (days / DAYS_IN_PERIOD, days % DAYS_IN_PERIOD);
    let leap_days = day_of_period / 1_460 + day_of_period / 146_096 - day_of_period / 36_524;
    let year_of_period = (day_of_period - leap_days) / 365;
    let day_of_year =
        day_of_period - (365 * year_of_period + year_of_period / 4 - year_of_period / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_period + 400 * period + u64::from(month <= 2);
    (year, small(month), small(day))
}

/// A value that is below 100 by its computation.
fn small(value: u64) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(Civil::from_unix_seconds(seconds).to_string(), expected);
        };
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_399, "2000-02-28T23:59:59Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(951_868_800, "2000-03-01T00:00:00Z");
        check(1_709_164_800, "2024-02-29T00:00:00Z");
        check(1_735_689_599, "2024-12-31T23:59:59Z");
        check(1_735_689_600, "2025-01-01T00:00:00Z");
        check(4_107_542_399, "2100-02-28T23:59:59Z");
        check(4_107_542_400, "2100-03-01T00:00:00Z"); // no leap year
    }

    #[test]
    fn days_follow_each_other_for_two_centuries() {
        const LENGTHS: [u8; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut expected = (1970, 1, 1);
        for day in 0..73_049 {
            assert_eq!(date(day), expected, "day {day}");
            let (year, month, of_month) = expected;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = LENGTHS[usize::from(month) - 1] + u8::from(leap && month == 2);
            expected = match (of_month == length, month == 12) {
                (false, _) => (year, month, of_month + 1),
                (true, false) => (year, month + 1, 1),
                (true, true) => (year + 1, 1, 1),
            };
        }
        assert_eq!(expected, (2170, 1, 1));
    }

    #[test]
    fn as_messages_carry_them() {
        let check = |seconds: u64, time: u64, day_of_year: u64| {
            let civil = Civil::from_unix_seconds(seconds);
            assert_eq!(
                (transmission_time(seconds * 1_000_000), civil.day_of_year()),
                (time, day_of_year)
            );
        };
        check(0, 101_000_000, 1);
        check(1_709_164_800, 229_000_000, 60); // 2024-02-29
        check(1_709_251_199, 229_235_959, 60);
        check(1_735_689_599, 1_231_235_959, 366);
        check(1_735_689_600, 101_000_000, 1);
        check(1_795_354_500, 1_122_133_500, 326); // 2026-11-22 13:35
    }
}
