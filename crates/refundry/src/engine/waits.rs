//! How long what is read has waited to be read: requests that waited for too long are not taken.

/// Time between two passes in which nobody waits for the second one; microseconds.
const PASSES_APART: u64 = 50_000;

/// Where a connection is never seen empty for as long as a request may wait, a wait of so small a part of that is too long: what
/// waits on the peer's side is not seen here.
const STANDING_PART: u64 = 10;

/// What has waited for no longer than so small a part of that shows that a connection has caught up.
const CAUGHT_UP_PART: u64 = 20;

/// Of a connection that brings more than is read of it: when came what is read now.
///
/// What is there unread at some moment came before it, and what follows behind it came after; so the bytes that wait are counted
/// once, and again when they have been read. In between they count as having come evenly.
///
/// Once something has waited for too long, everything has until what is read has hardly waited: else the peer's queue would stay
/// as long as it is, and so would every wait. Until there is nothing more to read would be too long: while nothing is taken, those
/// behind this thread have nothing to do.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Behind {
    /// Between these times came the bytes that are read now, microseconds of the clock.
    from: u64,
    to: u64,
    /// So many were these bytes, and
    bytes: u64,
    /// so many of them are not read yet.
    left: u64,
    /// Since when there has always been more to read.
    since: u64,
    /// Something has waited for too long.
    late: bool,
}

impl Behind {
    /// So many bytes are there unread; `before` is what was read until now, or there was none, and nothing was read between
    /// `unread_since` and `now`.
    pub(crate) fn new(
        before: Option<Behind>,
        bytes: u64,
        unread_since: u64,
        now: u64,
    ) -> Option<Behind> {
        (bytes > 0).then_some(Behind {
            from: before.map_or(unread_since, |before| before.to),
            to: now,
            bytes,
            left: bytes,
            since: before.map_or(unread_since, |before| before.since),
            late: before.is_some_and(|before| before.late),
        })
    }

    /// How long what is read next has waited, microseconds; more than `most` where it is not to be taken.
    pub(crate) fn waited(&mut self, now: u64, most: u64) -> u64 {
        let read = self.bytes - self.left;
        let after = (self.to - self.from).saturating_mul(read) / self.bytes;
        let waited = now.saturating_sub(self.from + after);
        let stands = now.saturating_sub(self.since) > most && waited > most / STANDING_PART;
        let caught_up = waited <= most / CAUGHT_UP_PART;
        self.late = waited > most || stands || self.late && !caught_up;
        if self.late {
            waited.max(most.saturating_add(1))
        } else {
            waited
        }
    }

    /// So many bytes have been read; whether some of those that were counted are left.
    pub(crate) fn read(&mut self, bytes: u64) -> bool {
        self.left = self.left.saturating_sub(bytes);
        self.left > 0
    }
}

/// Passes of the data plane's thread over all connections that can be read. Whoever can be read when one begins has its turn
/// before it ends, so that nobody waits for longer than two of them take.
#[derive(Debug, Default)]
pub(crate) struct Passes {
    /// When the present one began, microseconds.
    began: Option<u64>,
    /// When the last one ended, and how long it took.
    ended: u64,
    took: u64,
    /// When the thread was seen last, and for how long it had not been.
    seen: Option<u64>,
    absent: u64,
}

impl Passes {
    /// A connection is read; whether a pass begins with it.
    pub(crate) fn reads(&mut self, now: u64) -> bool {
        if self.began.is_some() {
            return false;
        }
        if now.saturating_sub(self.ended) > PASSES_APART {
            self.took = 0;
        }
        self.absent = self.absent.max(self.unseen(now));
        self.began = Some(now);
        true
    }

    /// The timer went off, as it does many times a second. Where it did not for long, the machine or the process stood still, and what is
    /// read until it goes off again has waited for so long.
    pub(crate) fn ticks(&mut self, now: u64) {
        self.absent = self.unseen(now);
        self.seen = Some(now);
    }

    /// For how long the thread was not seen, if that is longer than usual.
    fn unseen(&self, now: u64) -> u64 {
        let unseen = self.seen.map_or(0, |seen| now.saturating_sub(seen));
        if unseen > PASSES_APART { unseen } else { 0 }
    }

    /// Everybody who could be read when it began has been.
    pub(crate) fn end(&mut self, now: u64) {
        if let Some(began) = self.began.take() {
            self.took = now.saturating_sub(began);
            self.ended = now;
        }
    }

    /// How long who is read now may have waited for it, microseconds.
    pub(crate) fn waited(&self, now: u64) -> u64 {
        let present = self.began.map_or(0, |began| now.saturating_sub(began));
        present.max(self.took).max(self.absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer sends a byte every microsecond from 0 on, and one is read every two, from `begin` on: what is read at any time is half
    /// as old as the reading.
    #[test]
    fn what_is_read_of_a_queue_has_waited_as_long_as_it_has() {
        let (begin, most) = (1_000, 10_000_000);
        let mut behind = Behind::new(None, begin, begin, begin);
        let mut read = 0;
        for now in (begin..1_000_000).step_by(100) {
            let waited = behind.as_mut().unwrap().waited(now, most);
            let came = read;
            // Of the first nobody knows when they came.
            if read > begin {
                assert!(waited.abs_diff(now - came) <= 200, "{waited} at {now}");
            }
            read += 50;
            if !behind.as_mut().unwrap().read(50) {
                behind = Behind::new(behind, now - read, now, now);
            }
        }
        assert!(Behind::new(behind, 0, 2_000_000, 2_000_000).is_none());
    }

    #[test]
    fn whoever_is_late_is_late_until_it_has_caught_up() {
        let most = 1_000_000;
        let mut behind = Behind::new(None, 100, 0, 0).unwrap();
        assert_eq!(behind.waited(most, most), most);
        assert_eq!(behind.waited(most + 1, most), most + 1);
        assert!(!behind.read(100));
        let mut next = Behind::new(Some(behind), 100, most + 100_000, most + 100_000).unwrap();
        assert!(next.waited(most + 100_000, most) > most);
        // The second half of it came within the last 55 ms, and then 45.
        next.from = most;
        next.read(50);
        assert!(next.waited(most + 105_000, most) > most);
        assert!(Behind::new(Some(next), 0, most + 105_000, most + 105_000).is_none());
        next.read(10);
        assert_eq!(next.waited(most + 105_000, most), 45_000);
        next.read(10);
        assert_eq!(next.waited(most + 155_000, most), 85_000);
    }

    /// What is there after a pause came evenly in it.
    #[test]
    fn what_nobody_read_for_a_while_has_waited_since_then() {
        let mut behind = Behind::new(None, 100, 1_000_000, 1_400_000).unwrap();
        assert_eq!(behind.waited(1_400_000, 1_000_000), 400_000);
        behind.read(50);
        assert_eq!(behind.waited(1_410_000, 1_000_000), 210_000);
    }

    /// New bytes every 150 ms, and never none.
    #[test]
    fn a_queue_that_stands_is_late_sooner() {
        let most = 1_000_000;
        let mut behind = Behind::new(None, 10, 0, 0).unwrap();
        for now in (150_000..=900_000).step_by(150_000) {
            assert_eq!(behind.waited(now, most), 150_000);
            assert!(!behind.read(10));
            behind = Behind::new(Some(behind), 10, now, now).unwrap();
            behind.from = now;
        }
        assert_eq!(behind.waited(most, most), 100_000);
        assert!(behind.waited(most + 50_000, most) > most);
    }

    #[test]
    fn a_pass_tells_how_long_the_next_may_have_waited() {
        let mut passes = Passes::default();
        assert!(passes.reads(1_000_000));
        assert!(!passes.reads(1_300_000));
        assert_eq!(passes.waited(1_300_000), 300_000);
        passes.end(1_400_000);
        assert!(passes.reads(1_410_000));
        assert_eq!(passes.waited(1_410_000), 400_000);
        passes.end(1_420_000);
        // A pause: nobody has waited.
        assert!(passes.reads(2_000_000));
        assert_eq!(passes.waited(2_000_000), 0);
    }

    /// Whichever comes first afterwards: something to read, or the timer.
    #[test]
    fn what_is_read_after_a_standstill_has_waited_for_all_of_it() {
        for ticks_first in [true, false] {
            let mut passes = Passes::default();
            passes.ticks(1_000_000);
            passes.ticks(1_010_000);
            assert!(passes.reads(1_012_000));
            assert_eq!(passes.waited(1_012_000), 0);
            passes.end(1_013_000);
            let now = 31_000_000;
            if ticks_first {
                passes.ticks(now);
            }
            assert!(passes.reads(now));
            assert_eq!(passes.waited(now), now - 1_010_000);
            passes.end(now);
            passes.ticks(now + 1_000);
            passes.ticks(now + 11_000);
            assert!(passes.reads(now + 20_000));
            assert_eq!(passes.waited(now + 20_000), 0);
        }
    }
}
