//! Numbers that the switch assigns: its own STANs toward issuers, RRNs toward terminals.

use refund_ledger::store::Share;
use refund_ledger::{Rrn, Stan, WireTime};

use crate::civil::{self, Civil};

const STANS: u32 = 999_999;

/// Counts STANs toward one issuer through this node's part of 1 to 999,999 and around. A pair with DE 7 does not come twice: every number is on
/// record before it is used, so that a restart goes on after it; the time never goes back behind the newest record; and a round
/// takes longer than a second.
#[derive(Debug)]
pub(crate) struct StanCounter {
    /// The part is what lies above `floor`, up to `top`.
    floor: u32,
    top: u32,
    last: u32,
    /// Unix microseconds of the newest DE 7 that was given out.
    newest: u64,
    /// The second that `time` is of, and the DE 7 of that second.
    second: u64,
    time: WireTime,
}

impl StanCounter {
    /// Goes on after `last`, the newest that is on record, if any. `now` in unix microseconds.
    pub(crate) fn new(share: Share, last: Option<Stan>, now: u64) -> StanCounter {
        let length = STANS / share.of.max(1);
        let floor = share.slot * length;
        let last = last.map(|stan| stan.0);
        StanCounter {
            floor,
            top: floor + length,
            last: last
                .filter(|last| (floor..floor + length).contains(last))
                .unwrap_or(floor),
            newest: now,
            second: u64::MAX,
            time: WireTime::NONE,
        }
    }

    /// The next STAN that is not `taken`, with DE 7. `None` where a whole round is taken.
    pub(crate) fn next(
        &mut self,
        now: u64,
        taken: impl Fn(Stan) -> bool,
    ) -> Option<(Stan, WireTime)> {
        self.newest = self.newest.max(now);
        for _ in self.floor..self.top {
            self.last = if self.last >= self.top {
                self.floor + 1
            } else {
                self.last + 1
            };
            if !taken(Stan(self.last)) {
                let second = self.newest / 1_000_000;
                if second != self.second {
                    self.second = second;
                    self.time = WireTime(civil::transmission_time(self.newest));
                }
                return Some((Stan(self.last), self.time));
            }
        }
        None
    }
}

/// Assigns RRNs: year digit, day of year, hour, then six base-36 digits that count up within the hour. 2,000,000,000 an hour,
/// never twice in ten years as long as the clock does not go back over a restart.
#[derive(Debug)]
pub(crate) struct RrnSource {
    /// Numbers with this remainder are this node's.
    share: Share,
    /// Highest number given out: hours since 1970 times [`PER_HOUR`] plus the count within the hour.
    last: u64,
}

const PER_HOUR: u64 = 36 * 36 * 36 * 36 * 36 * 36;
const MICROS_PER_HOUR: u64 = 3_600_000_000;

impl RrnSource {
    pub(crate) fn new(share: Share) -> RrnSource {
        RrnSource { share, last: 0 }
    }

    pub(crate) fn next(&mut self, now: u64) -> Rrn {
        // Half of the hour's numbers advance with the clock, so that a restart never meets a number given out before.
        let within = now % MICROS_PER_HOUR * (PER_HOUR / 2) / MICROS_PER_HOUR;
        let by_clock = now / MICROS_PER_HOUR * PER_HOUR + within;
        let (slot, of) = (u64::from(self.share.slot), u64::from(self.share.of.max(1)));
        let least = by_clock.max(self.last + 1);
        self.last = least + (slot + of - least % of) % of;
        let (hour, mut count) = (self.last / PER_HOUR, self.last % PER_HOUR);
        let civil = Civil::from_unix_seconds(hour * 3600);
        let mut rrn = *b"000000000000";
        let head = civil.year % 10 * 100_000 + civil.day_of_year() * 100 + u64::from(civil.hour);
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
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn stans_go_around_and_pass_over_what_is_pending() {
        let mut counter = StanCounter::new(Share::WHOLE, None, 0);
        assert_eq!(counter.next(0, |_| false).unwrap().0, Stan(1));
        assert_eq!(counter.next(0, |stan| stan.0 < 5).unwrap().0, Stan(5));
        counter.last = 999_999;
        assert_eq!(counter.next(0, |_| false).unwrap().0, Stan(1));
        assert!(counter.next(0, |_| true).is_none());
    }

    #[test]
    fn de7_never_goes_back() {
        let mut counter = StanCounter::new(Share::WHOLE, Some(Stan(999_998)), 0);
        let late = counter.next(1_735_689_600_000_000, |_| false).unwrap();
        let back = counter.next(1_735_689_500_000_000, |_| false).unwrap();
        assert_eq!(late.1, back.1);
        assert_eq!((late.0, back.0), (Stan(999_999), Stan(1)));
    }

    #[test]
    fn rrns_rise_and_name_their_hour() {
        let mut source = RrnSource::new(Share::WHOLE);
        let now = 1_795_354_500_000_000;
        let (a, b) = (source.next(now), source.next(now));
        assert!(a < b && a.0.starts_with(b"632613"));
        let mut restarted = RrnSource::new(Share::WHOLE);
        assert!(restarted.next(now + 10) > b);
    }

    #[test]
    fn no_number_is_in_the_part_of_two_nodes() {
        let (mut stans, mut rrns) = (HashSet::new(), HashSet::new());
        let parts = (0..16).map(|slot| Share { slot, of: 16 });
        for share in parts {
            let mut counter = StanCounter::new(share, None, 0);
            for _ in 0..STANS / 16 {
                assert!(stans.insert(counter.next(0, |_| false).unwrap().0));
            }
            let again = counter.next(0, |_| false).unwrap().0;
            assert_eq!(again, Stan(share.slot * (STANS / 16) + 1));
            assert!(counter.next(0, |_| true).is_none());
            let goes_on = StanCounter::new(share, Some(again), 0).next(0, |_| false);
            assert_eq!(goes_on.unwrap().0, Stan(again.0 + 1));
            let other = StanCounter::new(share, Some(Stan(999_999)), 0).next(0, |_| false);
            assert_eq!(
                other.unwrap().0,
                again,
                "a number of the whole is no number of the part"
            );
            let mut source = RrnSource::new(share);
            for count in 0..1000 {
                assert!(rrns.insert(source.next(1_795_354_500_000_000 + count % 3)));
            }
        }
    }
}
