//! The clock: the only place that asks the system for the time. Everything else takes `now` as an argument.

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
    /// The offset when [`Clock::set_forward`] was asked last.
    noticed: AtomicU64,
}

/// Less than this is a clock being slewed, not one being set; microseconds.
const SET: u64 = 1_000_000;

impl Clock {
    /// A clock that goes by the system's.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    pub fn start() -> Clock {
        Clock {
            started: Instant::now(),
            offset: AtomicU64::new(0),
            noticed: AtomicU64::new(0),
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

    /// By how much the clock was set forward since this was asked last, microseconds; 0 for less than a second. What waits
    /// must wait so much longer.
    #[must_use]
    pub fn set_forward(&self) -> u64 {
        let offset = self.offset.load(Ordering::Relaxed);
        let by = offset.saturating_sub(self.noticed.load(Ordering::Relaxed));
        if by < SET {
            return 0;
        }
        self.noticed.store(offset, Ordering::Relaxed);
        by
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn steps_are_noticed_once_and_slewing_is_none() {
        let clock = Clock::start();
        clock.advance(0, 5_000_000);
        assert_eq!(clock.set_forward(), 5_000_000);
        clock.advance(10, 5_000_010);
        assert_eq!(clock.set_forward(), 0);
        clock.advance(20, 5_900_000);
        assert_eq!(clock.set_forward(), 0);
        clock.advance(30, 65_000_030);
        assert_eq!(clock.set_forward(), 60_000_000);
        assert_eq!(clock.set_forward(), 0);
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
