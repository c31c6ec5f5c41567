//! Names by DE 37: for each the spots of its purchases. A record that moves in memory keeps its spot, and so its name.

use std::collections::BTreeMap;

use super::hash::Spot;
use super::table::Table;

/// What one more entry of the sorted map takes, in bytes.
const CROWD_BYTES: usize = 40;

/// One part of them. A spot stands there as often as it was put in: purchases may share one.
#[derive(Debug, Default)]
pub(super) struct Names {
    table: Table,
    /// Those that are too many of one hash for the table, and how often.
    crowd: BTreeMap<(u32, Spot), u32>,
    /// What others were told that this part takes.
    pub(super) told: u64,
}

impl Names {
    pub(super) fn put(&mut self, name: Spot, spot: Spot) {
        if !self.table.insert(name.hash(), spot.number()) {
            let count = self.crowd.entry((name.hash(), spot)).or_default();
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn remove(&mut self, name: Spot, spot: Spot) {
        let place = (name.hash(), spot);
        match self.crowd.get_mut(&place) {
            Some(1) => {
                self.crowd.remove(&place);
            }
            Some(count) => *count = count.saturating_sub(1),
            None => {
                self.table.remove(name.hash(), spot.number());
            }
        }
    }

    /// Spots of a name and, seldom, of others; those of the sorted map after `after`, at most `limit` of them, and whether there are more.
    pub(super) fn find(&self, name: Spot, after: Option<Spot>, limit: usize) -> (Vec<Spot>, bool) {
        let mut spots: Vec<Spot> = Vec::new();
        if after.is_none() {
            spots.extend(self.table.find(name.hash()).map(Spot::from_number));
            spots.sort_unstable();
            spots.dedup();
        }
        let begin = after.unwrap_or(Spot::from_number(0));
        let crowd = self.crowd.range((name.hash(), begin)..);
        let crowd = crowd.take_while(|((hash, _), _)| *hash == name.hash());
        let mut crowd = crowd
            .map(|((_, spot), _)| *spot)
            .filter(|spot| after != Some(*spot));
        for spot in crowd.by_ref().take(limit) {
            // In the table too, perhaps; whoever looks there again finds the same.
            spots.push(spot);
        }
        let more = crowd.next().is_some();
        (spots, more)
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let crowd = self.crowd.len().saturating_mul(CROWD_BYTES);
        self.table.bytes().saturating_add(crowd) as u64
    }
}
