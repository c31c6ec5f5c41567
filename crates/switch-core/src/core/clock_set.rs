//! A clock that is set forward.

use std::cmp::Reverse;

use super::Core;

impl Core {
    /// The clock was set forward: `by` microseconds of the next input's time did not pass. Nothing that waits waits shorter
    /// for that; above all an approval that is still on its way is not forgotten. Ages and windows go by the date.
    pub fn clock_set_forward(&mut self, by: u64) {
        let timers = std::mem::take(&mut self.timers);
        let later = timers
            .into_iter()
            .map(|Reverse((due, timer))| Reverse((due.saturating_add(by), timer)));
        self.timers = later.collect();
        for link in &mut self.links {
            link.clock_set_forward(by);
        }
        self.advices_wait_on(by);
        self.committing.clock_set_forward(by);
        self.fetching.clock_set_forward(by);
    }
}
