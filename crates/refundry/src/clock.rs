//! The clock: the only place that asks the system for the time. Everything else takes `now` as an argument.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Unix time that never goes backwards and never stands still.
///
/// The time is that of the monotonic clock plus an offset to the system's clock. The offset only grows: when the system's clock
/// is set forward, this one follows; when it is set back, this one runs on, ahead of it, until the process starts again.
/// Time-outs and windows thus never stretch, and no two records are dated against their order.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    /// Unix microseconds at `started`, as far as known.
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

    /// Lets the clock go on from `unix_microseconds` where it is behind: records of that time are there already.
    pub fn not_before(&self, unix_microseconds: u64) {
        let elapsed = microseconds(self.started.elapsed());
        self.advance(elapsed, unix_microseconds);
    }

    /// Microseconds since 1970-01-01 00:00 UTC, leap seconds not counted.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    pub fn microseconds(&self) -> u64 {
        let elapsed = microseconds(self.started.elapsed());
        // A system clock before 1970 is as good as none; the offset keeps what was known.
        let system = SystemTime::now().duration_since(UNIX_EPOCH);
        self.advance(elapsed, system.map_or(0, microseconds))
    }

    /// Milliseconds since 1970-01-01 00:00 UTC, leap seconds not counted.
    #[must_use]
    pub fn milliseconds(&self) -> u64 {
        self.microseconds() / 1_000
    }

    /// The monotonic time of a unix time in microseconds, to sleep until. What lies before the clock's start is its start.
    #[must_use]
    pub fn instant_of(&self, unix_microseconds: u64) -> Instant {
        let offset = self.offset.load(Ordering::Relaxed);
        self.started + Duration::from_micros(unix_microseconds.saturating_sub(offset))
    }

    /// The time `elapsed` after the start, when the system's clock says `system`; microseconds.
    fn advance(&self, elapsed: u64, system: u64) -> u64 {
        let seen = system.saturating_sub(elapsed);
        let offset = self.offset.fetch_max(seen, Ordering::Relaxed).max(seen);
        offset.saturating_add(elapsed)
    }
}

/// Nanoseconds of a monotonic clock, to measure how long something takes.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where time enters")]
pub fn monotonic_nanoseconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
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
    #[must_use]
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
    fn one_can_sleep_until_a_unix_time() {
        let clock = Clock::start();
        let now = clock.microseconds();
        let later = clock.instant_of(now + 5_000_000) - clock.instant_of(now);
        assert_eq!(later, Duration::from_secs(5));
        assert_eq!(clock.instant_of(0), clock.started);
    }

    #[test]
    fn it_never_goes_backwards_between_threads() {
        let clock = Clock::start();
        let before = clock.microseconds();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut last = 0;
                    for _ in 0..10_000 {
                        let now = clock.microseconds();
                        assert!(now >= last);
                        last = now;
                    }
                });
            }
        });
        assert!(clock.microseconds() >= before && before > 1_600_000_000_000_000);
    }
}
