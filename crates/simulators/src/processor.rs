//! How much processor time a process has used.

use std::io;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What this process has used so far, all threads together, in its own code and in the kernel.
#[must_use]
pub fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// What another process has used so far, in steps of the kernel's clock tick (10 ms as a rule). Its children are not counted.
///
/// # Errors
/// Where there is no such process, or the system has no `/proc`.
pub fn time_of(pid: u32) -> io::Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks(&text).ok_or(io::ErrorKind::InvalidData)?;
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Duration::from_secs_f64(
        ticks as f64 / ticks_per_second as f64,
    ))
}

/// User and kernel time in a line of `/proc/PID/stat`: its 14th and 15th word. The second is the program's name in brackets, in
/// which anything may stand.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut words = behind_name.split_ascii_whitespace().skip(11);
    let mut number = || words.next()?.parse::<u64>().ok();
    number()?.checked_add(number()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "42 (a ) b (c) S 1 2 3 4 5 6 7 8 9 10 250 31 77 78 20";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("42 (short) S 1 2"), None);
    }

    #[test]
    fn this_process_is_seen_from_within_and_from_outside() {
        let before = own_time();
        let outside = time_of(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while own_time() < before + Duration::from_millis(50) {
            sum = sum.wrapping_mul(31).wrapping_add(1);
        }
        assert_ne!(sum, 0);
        let used = time_of(std::process::id()).unwrap() - outside;
        assert!(used >= Duration::from_millis(20), "{used:?}");
        assert!(time_of(u32::MAX).is_err());
    }
}
