//! The calendar time that terminals print and send.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment in UTC, as ISO 8583 writes it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Moment {
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Moment {
    /// The present.
    #[expect(
        clippy::disallowed_methods,
        reason = "a simulated terminal is an edge of its own and lives by the wall clock"
    )]
    pub(crate) fn now() -> Moment {
        Moment::at(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or(Duration::ZERO),
        )
    }

    /// The moment this long after the start of 1970.
    fn at(since_1970: Duration) -> Moment {
        let seconds = since_1970.as_secs();
        let (month, day) = month_and_day(seconds / 86_400);
        Moment {
            month,
            day,
            hour: seconds / 3_600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }

    /// DE7, and DE13 with DE12: `MMDDhhmmss`.
    pub(crate) fn month_to_second(&self) -> String {
        let Moment {
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}")
    }

    /// The same as a number.
    pub(crate) fn month_to_second_number(&self) -> u32 {
        let pairs = [self.month, self.day, self.hour, self.minute, self.second];
        // At most 1231235959.
        pairs
            .into_iter()
            .fold(0, |number, pair| number * 100 + pair) as u32
    }
}

/// Month and day, both from 1, of the day that comes so many days after 1 January 1970.
fn month_and_day(days: u64) -> (u64, u64) {
    // Years that begin in March, so that the leap day is their last; 719,468 days before 1970 such a year 0 began.
    let days = days + 719_468;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(
                Moment::at(Duration::from_secs(seconds)).month_to_second(),
                expected
            );
            let number = Moment::at(Duration::from_secs(seconds)).month_to_second_number();
            assert_eq!(format!("{number:010}"), expected);
        };
        check(0, "0101000000");
        check(951_782_399, "0228235959");
        check(951_782_400, "0229000000"); // 2000 was a leap year
        check(1_709_251_199, "0229235959");
        check(1_709_251_200, "0301000000");
        check(1_767_225_599, "1231235959");
        check(4_107_542_400, "0301000000"); // 2100 is none
    }
}
