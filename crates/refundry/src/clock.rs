//! The clock: the only place that asks the system for the time. Everything else takes `now` as an argument.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds that never goes backwards and never stands still.
///
/// The time is that of the monotonic clock plus an offset to the system's clock. The offset only grows: when the system's clock
/// is set forward, this one follows; when it is set back, this one runs on, ahead of it, until the process starts again.
/// Time-outs and windows thus never stretch, and no two records are dated against their order.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    /// Unix milliseconds at `started`, as far as known.
    offset: AtomicU64,
}

impl Clock {
    /// A clock that goes by the system's.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    pub fn start() -> Clock {
        Clock {
            started: Instant::now(),
            offset: AtomicU64::new(0),
        }
    }

    /// Milliseconds since 1970-01-01 00:00 UTC, leap seconds not counted.
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    pub fn now(&self) -> u64 {
        let elapsed = milliseconds(self.started.elapsed());
        // A system clock before 1970 is as good as none; the offset keeps what was known.
        let system = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, milliseconds);
        self.advance(elapsed, system)
    }

    /// The time `elapsed` milliseconds after the start, when the system's clock says `system`.
    fn advance(&self, elapsed: u64, system: u64) -> u64 {
        let seen = system.saturating_sub(elapsed);
        let offset = self.offset.fetch_max(seen, Ordering::Relaxed).max(seen);
        offset.saturating_add(elapsed)
    }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
    /// The date and time of day of a unix time in milliseconds.
    #[must_use]
    pub fn from_unix_milliseconds(now: u64) -> Civil {
        let seconds = now / 1_000;
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

    /// Transmission date and time (DE 7): `MMDDhhmmss`.
    #[must_use]
    pub fn transmission_time(&self) -> [u8; 10] {
        let pairs = [self.month, self.day, self.hour, self.minute, self.second];
        let mut digits = [0; 10];
        for (out, value) in digits.chunks_exact_mut(2).zip(pairs) {
            out.copy_from_slice(&[b'0' + value / 10 % 10, b'0' + value % 10]);
        }
        digits
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

    fn check(seconds: u64, expected: &str) {
        let civil = Civil::from_unix_milliseconds(seconds * 1_000 + 999);
        let digits = String::from_utf8(civil.transmission_time().to_vec()).unwrap();
        assert_eq!(format!("{}-{digits}", civil.year), expected, "{seconds}");
    }

    #[test]
    fn dates() {
        check(0, "1970-0101000000");
        check(951_782_399, "2000-0228235959");
        check(951_782_400, "2000-0229000000");
        check(951_868_800, "2000-0301000000");
        check(1_709_164_800, "2024-0229000000");
        check(1_735_689_599, "2024-1231235959");
        check(1_735_689_600, "2025-0101000000");
        check(1_740_787_200, "2025-0301000000");
        check(4_107_542_399, "2100-0228235959");
        check(4_107_542_400, "2100-0301000000"); // no leap year
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
    fn it_follows_a_clock_set_forward_and_outruns_one_set_back() {
        let clock = Clock::start();
        assert_eq!(clock.advance(0, 1_000_000), 1_000_000);
        assert_eq!(clock.advance(10, 1_000_010), 1_000_010);
        assert_eq!(clock.advance(20, 1_005_020), 1_005_020, "set forward");
        assert_eq!(clock.advance(30, 900_000), 1_005_030, "set back");
        assert_eq!(clock.advance(40, 0), 1_005_040, "before 1970");
        assert_eq!(clock.advance(50, 1_000_050), 1_005_050, "set right again");
    }

    #[test]
    fn it_never_goes_backwards_between_threads() {
        let clock = Clock::start();
        let before = clock.now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut last = 0;
                    for _ in 0..10_000 {
                        let now = clock.now();
                        assert!(now >= last);
                        last = now;
                    }
                });
            }
        });
        assert!(clock.now() >= before && before > 1_600_000_000_000);
    }
}
