//! UTC dates of unix times, as messages carry them.

/// A unix time in microseconds as MMDDhhmmss (DE 7).
pub fn transmission_time(now: u64) -> u64 {
    let seconds = now / 1_000_000;
    let (_, month, day) = civil(seconds / 86_400);
    let clock = seconds % 86_400;
    ((month * 100 + day) * 100 + clock / 3600) * 10_000 + clock / 60 % 60 * 100 + clock % 60
}

/// Last digit of the year, day of the year (1 to 366), hour.
pub(crate) fn year_day_hour(now: u64) -> (u64, u64, u64) {
    let seconds = now / 1_000_000;
    let (year, month, day) = civil(seconds / 86_400);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][(month - 1) as usize];
    let day_of_year = before + day + u64::from(leap && month > 2);
    (year % 10, day_of_year, seconds % 86_400 / 3600)
}

/// Days since 1970-01-01 as (year, month, day), after Howard Hinnant's `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leap_days_and_year_changes() {
        let check = |unix: u64, time: u64, ydh: (u64, u64, u64)| {
            assert_eq!(transmission_time(unix * 1_000_000), time);
            assert_eq!(year_day_hour(unix * 1_000_000), ydh);
        };
        check(0, 101_000_000, (0, 1, 0));
        check(1_709_164_800, 229_000_000, (4, 60, 0)); // 2024-02-29
        check(1_709_251_199, 229_235_959, (4, 60, 23));
        check(1_735_689_599, 1_231_235_959, (4, 366, 23));
        check(1_735_689_600, 101_000_000, (5, 1, 0));
        check(1_795_354_500, 1_122_133_500, (6, 326, 13)); // 2026-11-22 13:35
    }
}
