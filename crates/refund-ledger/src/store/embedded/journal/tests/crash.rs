//! Worlds in which the disk fails at any step: what was acknowledged is there, what was not is there whole or not at all.

use fastrand::Rng;

use super::*;

const WORLDS: u64 = 1500;

#[test]
fn nothing_acknowledged_is_lost() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..WORLDS,
    };
    let mut seen = Seen::default();
    for seed in seeds.clone() {
        World::new(seed).run(&mut seen);
    }
    if seeds.end - seeds.start == WORLDS {
        let Seen {
            whole,
            gone,
            stopped,
            opened,
        } = seen;
        assert!(
            whole > 100 && gone > 100 && stopped > 100 && opened > 20,
            "{seen:?}"
        );
    }
}

/// How often each outcome came, so that a test that tests nothing is noticed.
#[derive(Debug, Default)]
struct Seen {
    /// Batches in doubt that were there after all.
    whole: u64,
    /// Batches in doubt that were not.
    gone: u64,
    /// Clean stops.
    stopped: u64,
    /// Starts that failed.
    opened: u64,
}

struct World {
    seed: u64,
    random: Rng,
    disk: SimulatedDisk,
    /// What was acknowledged, by the number of its record.
    records: Vec<Vec<u8>>,
    /// What may or may not be there beyond.
    doubt: Vec<Vec<u8>>,
    /// All below may be dropped.
    from: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            random: Rng::with_seed(seed),
            disk: SimulatedDisk::new(seed),
            records: Vec::new(),
            doubt: Vec::new(),
            from: 1,
        }
    }

    fn run(mut self, seen: &mut Seen) {
        for _ in 0..self.random.u32(2..8) {
            self.life(seen);
            if self.random.bool() {
                self.disk.kill();
            } else {
                self.disk.restart();
            }
        }
        self.start(seen);
    }

    /// From one start to the next crash.
    fn life(&mut self, seen: &mut Seen) {
        if self.random.u8(..4) > 0 {
            let fault = [Fault::Error, Fault::Full, Fault::PowerCut][self.random.usize(..3)];
            self.disk
                .fail_at(self.disk.operations() + self.random.u64(..40), fault);
        }
        let Some(mut journal) = self.start(seen) else {
            return;
        };
        for _ in 0..self.random.u32(..25) {
            if self.random.u8(..8) == 0 && prepare(&mut journal).is_err() {
                continue; // the journal goes on
            }
            if self.random.u8(..8) == 0 {
                self.from = self.random.u64(self.from..=journal.next_number());
                let _ = journal.drop_before(self.from);
            }
            let payloads = self.payloads();
            match journal.append(&mut batch(&payloads), 0) {
                Ok(first) => {
                    assert_eq!(first, self.records.len() as u64 + 1, "SEED={}", self.seed);
                    self.records.extend(payloads);
                }
                Err(JournalError::OutcomeUnknown(_)) => {
                    self.doubt = payloads;
                    return;
                }
                Err(JournalError::NotAppended(_)) => return,
                Err(error) => panic!("SEED={}: {error}", self.seed),
            }
        }
        if self.random.bool() && journal.close().is_ok() {
            seen.stopped += 1;
        }
    }

    /// Opens the journal and compares. A start may fail while the disk does, never because of what it finds.
    fn start(&mut self, seen: &mut Seen) -> Option<Journal<SimulatedDisk>> {
        let seed = self.seed;
        let (journal, found) = match open(&self.disk, Path::new("journal"), options(self.from)) {
            Ok(opened) => opened,
            Err(JournalError::Io { .. }) => {
                seen.opened += 1;
                return None;
            }
            Err(error) => panic!("SEED={seed}: {error}"),
        };
        let known = &self.records[self.from as usize - 1..];
        assert!(
            found.len() >= known.len(),
            "SEED={seed}: acknowledged records are gone"
        );
        let (old, new) = found.split_at(known.len());
        assert_eq!(old, known, "SEED={seed}");
        if new.is_empty() {
            seen.gone += u64::from(!self.doubt.is_empty());
        } else {
            assert_eq!(
                new, self.doubt,
                "SEED={seed}: a batch in doubt is there in part"
            );
            seen.whole += 1;
        }
        self.records.extend_from_slice(new);
        self.doubt.clear();
        Some(journal)
    }

    fn payloads(&mut self) -> Vec<Vec<u8>> {
        let longest = [10, 300, 2000][self.random.usize(..3)];
        let count = self.random.usize(1..6);
        let payload = |_| {
            let length = self.random.usize(..=longest);
            std::iter::repeat_with(|| self.random.u8(..))
                .take(length)
                .collect()
        };
        (0..count).map(payload).collect()
    }
}
