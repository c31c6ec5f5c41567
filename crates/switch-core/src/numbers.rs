//! Numbers that the switch assigns: its own STANs toward issuers, RRNs toward terminals.

use refund_ledger::{Rrn, Stan, WireTime};

use crate::civil;

const STANS: u32 = 999_999;

/// How far beyond the last number on record a restarted counter goes on, at least: numbers that were used without a record
/// (sign-on, echo) lie in between.
const RESTART_GAP: u32 = 10_000;

/// How many places there are beyond it where a restarted counter may go on, and how far apart they are. Two starts may have the
/// same DE 7 (within one second, or because the system's clock was set back between them, so that both begin at the newest
/// event) and nothing on record in between: drawn anew at every start, their places hardly ever meet.
const RESTART_PLACES: u64 = 9_800;
const STANS_PER_PLACE: u32 = 100;

/// Counts STANs toward one issuer from 1 to 999,999 and around. A pair with DE 7 does not come twice: the time never goes
/// back, and a round takes longer than a second.
#[derive(Debug)]
pub(crate) struct StanCounter {
    last: u32,
    /// Unix microseconds of the newest DE 7 that was given out.
    newest: u64,
}

impl StanCounter {
    /// Goes on after `last`, the newest that is on record, if any, at the place that `draw` says. `now` in unix microseconds.
    pub(crate) fn new(last: Option<Stan>, draw: u64, now: u64) -> StanCounter {
        let place = (draw % RESTART_PLACES) as u32;
        let last = last.map_or(0, |stan| stan.0 + RESTART_GAP);
        StanCounter {
            last: (last + place * STANS_PER_PLACE) % STANS,
            newest: now,
        }
    }

    /// The next STAN that is not `taken`, with DE 7. `None` where a whole round is taken.
    pub(crate) fn next(
        &mut self,
        now: u64,
        taken: impl Fn(Stan) -> bool,
    ) -> Option<(Stan, WireTime)> {
        self.newest = self.newest.max(now);
        for _ in 0..STANS {
            self.last = self.last % STANS + 1;
            if !taken(Stan(self.last)) {
                return Some((
                    Stan(self.last),
                    WireTime(civil::transmission_time(self.newest)),
                ));
            }
        }
        None
    }
}

/// Assigns RRNs: year digit, day of year, hour, then six base-36 digits that count up within the hour. 2,000,000,000 an hour,
/// never twice in ten years as long as the clock does not go back over a restart.
#[derive(Debug, Default)]
pub(crate) struct RrnSource {
    /// Highest number given out: hours since 1970 times [`PER_HOUR`] plus the count within the hour.
    last: u64,
}

const PER_HOUR: u64 = 36 * 36 * 36 * 36 * 36 * 36;
const MICROS_PER_HOUR: u64 = 3_600_000_000;

impl RrnSource {
    pub(crate) fn next(&mut self, now: u64) -> Rrn {
        // Half of the hour's numbers advance with the clock, so that a restart never meets a number given out before.
        let within = now % MICROS_PER_HOUR * (PER_HOUR / 2) / MICROS_PER_HOUR;
        let by_clock = now / MICROS_PER_HOUR * PER_HOUR + within;
        self.last = by_clock.max(self.last + 1);
        let (hour, mut count) = (self.last / PER_HOUR, self.last % PER_HOUR);
        let (year, day, clock_hour) = civil::year_day_hour(hour * MICROS_PER_HOUR);
        let mut rrn = *b"000000000000";
        let head = year * 100_000 + day * 100 + clock_hour;
        for (digit, power) in rrn.iter_mut().zip([100_000, 10_000, 1000, 100, 10, 1]) {
            *digit = b'0' + (head / power % 10) as u8;
        }
        for digit in rrn.iter_mut().rev().take(6) {
            *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[(count % 36) as usize];
            count /= 36;
        }
        Rrn(rrn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stans_go_around_and_pass_over_what_is_pending() {
        let mut counter = StanCounter::new(None, 0, 0);
        assert_eq!(counter.next(0, |_| false).unwrap().0, Stan(1));
        assert_eq!(counter.next(0, |stan| stan.0 < 5).unwrap().0, Stan(5));
        counter.last = 999_999;
        assert_eq!(counter.next(0, |_| false).unwrap().0, Stan(1));
        assert!(counter.next(0, |_| true).is_none());
    }

    #[test]
    fn de7_never_goes_back() {
        let mut counter = StanCounter::new(Some(Stan(999_998)), 0, 0);
        let late = counter.next(1_735_689_600_000_000, |_| false).unwrap();
        let back = counter.next(1_735_689_500_000_000, |_| false).unwrap();
        assert_eq!(late.1, back.1);
        assert_eq!(late.0, Stan(9999 + 1));
    }

    #[test]
    fn starts_with_the_same_time_do_not_meet() {
        let now = 1_795_354_500_000_000;
        for last in [None, Some(Stan(123))] {
            let mut given = std::collections::HashSet::new();
            for draw in [0, 1, 400, RESTART_PLACES - 1] {
                let mut counter = StanCounter::new(last, draw, now);
                for _ in 0..STANS_PER_PLACE {
                    let number = counter.next(now, |_| false).unwrap();
                    assert!(given.insert(number), "{number:?}");
                }
            }
        }
    }

    #[test]
    fn rrns_rise_and_name_their_hour() {
        let mut source = RrnSource::default();
        let now = 1_795_354_500_000_000;
        let (a, b) = (source.next(now), source.next(now));
        assert!(a < b && a.0.starts_with(b"632613"));
        let mut restarted = RrnSource::default();
        assert!(restarted.next(now + 10) > b);
    }
}
