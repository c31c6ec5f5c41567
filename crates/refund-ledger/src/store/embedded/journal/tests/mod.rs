#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

use std::path::Path;

use super::*;
use crate::store::embedded::disk::{Fault, RealDisk, SimulatedDisk};

mod crash;
mod damage;
mod tail;

pub(super) const LEDGER: LedgerId = LedgerId(*b"a ledger of ours");

/// A header and eight sectors.
pub(super) const SMALL_SEGMENT_BYTES: u64 = 8192;

pub(super) fn options(from: u64) -> JournalOptions {
    JournalOptions {
        ledger: LEDGER,
        segment_bytes: SMALL_SEGMENT_BYTES,
        from,
        must_exist: false,
    }
}

/// Opens and collects what is replayed, checking that it is numbered without gap.
pub(super) fn open<D: Disk>(
    disk: &D,
    dir: &Path,
    options: JournalOptions,
) -> Result<(Journal<D>, Vec<Vec<u8>>), JournalError> {
    let mut records = Vec::new();
    let journal = Journal::open(disk.clone(), dir, options, &mut |number, payload| {
        assert_eq!(number, options.from.max(1) + records.len() as u64);
        records.push(payload.to_vec());
        Ok(())
    })?;
    assert_eq!(
        journal.next_number(),
        options.from.max(1) + records.len() as u64
    );
    Ok((journal, records))
}

pub(super) fn batch(payloads: &[Vec<u8>]) -> Batch {
    let mut batch = Batch::new();
    for payload in payloads {
        batch
            .record(|bytes| bytes.extend_from_slice(payload))
            .unwrap();
    }
    batch
}

fn payloads(lengths: &[usize]) -> Vec<Vec<u8>> {
    lengths
        .iter()
        .map(|length| vec![*length as u8; *length])
        .collect()
}

fn check_round_trip(disk: &impl Disk, dir: &Path) {
    let mut all = Vec::new();
    let (mut journal, records) = open(disk, dir, options(1)).unwrap();
    assert!(records.is_empty());
    for lengths in [
        &[0, 1, 2][..],
        &[500],
        &[464],
        &[3000, 900],
        &[20_000],
        &[7; 100],
    ] {
        let payloads = payloads(lengths);
        let first = journal.append(&mut batch(&payloads), 17).unwrap();
        assert_eq!(first, all.len() as u64 + 1);
        all.extend(payloads);
    }
    assert_eq!(
        journal.append(&mut Batch::new(), 0).unwrap(),
        all.len() as u64 + 1
    );
    assert!(matches!(
        open(disk, dir, options(1)),
        Err(JournalError::Locked {
            holder: Some(_),
            ..
        })
    ));
    drop(journal); // as a crash
    let (journal, records) = open(disk, dir, options(1)).unwrap();
    assert_eq!(records, all);
    journal.close().unwrap();
    let (mut journal, records) = open(disk, dir, options(6)).unwrap();
    assert_eq!(records, all[5..]);
    journal.append(&mut batch(&payloads(&[5])), 18).unwrap();
    all.extend(payloads(&[5]));
    journal.close().unwrap();
    let (journal, records) = open(disk, dir, options(1)).unwrap();
    assert_eq!(records, all);
    drop(journal);
    let summary = verify(disk, dir, None, 1, &mut |_, _| Ok(())).unwrap();
    assert_eq!(summary.ledger, Some(LEDGER));
    assert_eq!(
        (summary.last, summary.records),
        (all.len() as u64, all.len() as u64)
    );
    assert!(
        summary.clean && !summary.torn && summary.segments > 2,
        "{summary:?}"
    );
}

/// Makes the next segment ready, if there is none and the present one is in use.
fn prepare(journal: &mut Journal<SimulatedDisk>) -> io::Result<()> {
    match journal.wanted_spare() {
        Some(spare) => spare
            .make(journal.disk(), || true)
            .map(|()| journal.keep(spare)),
        None => Ok(()),
    }
}

#[test]
fn round_trip_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    check_round_trip(&RealDisk, &dir.path().join("journal"));
}

#[test]
fn round_trip_on_a_simulated_disk() {
    check_round_trip(&SimulatedDisk::new(1), Path::new("journal"));
}

#[test]
fn a_batch_too_long_for_the_empty_first_segment_replaces_it() {
    let (disk, dir) = (SimulatedDisk::new(1), Path::new("journal"));
    let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
    let long = payloads(&[50_000]);
    assert_eq!(journal.append(&mut batch(&long), 0).unwrap(), 1);
    drop(journal);
    disk.restart();
    assert_eq!(open(&disk, dir, options(1)).unwrap().1, long);
}

#[test]
fn what_is_too_long_is_refused_and_the_batch_stays_as_it_was() {
    let mut batch = batch(&payloads(&[3]));
    let before = batch.len();
    let long = batch.record(|bytes| bytes.resize(bytes.len() + PAYLOAD_BYTES_MAX + 1, 0));
    assert!(matches!(
        long,
        Err(JournalError::TooLong {
            bytes_max: PAYLOAD_BYTES_MAX,
            ..
        })
    ));
    assert_eq!((batch.len(), batch.count()), (before, 1));
    let full = std::iter::repeat_with(|| {
        batch.record(|bytes| bytes.resize(bytes.len() + PAYLOAD_BYTES_MAX, 0))
    })
    .find_map(Result::err);
    assert!(matches!(
        full,
        Some(JournalError::TooLong {
            bytes_max: BATCH_BYTES_MAX,
            ..
        })
    ));
    assert_eq!(batch.count(), 8);

    let (disk, dir) = (SimulatedDisk::new(1), Path::new("journal"));
    let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
    assert_eq!(journal.append(&mut batch, 0).unwrap(), 1);
    batch.clear();
    assert!(batch.is_empty());
    assert_eq!(journal.append(&mut batch, 0).unwrap(), 9);
    drop(journal);
    assert_eq!(open(&disk, dir, options(1)).unwrap().1.len(), 8);
}

#[test]
fn a_failure_poisons() {
    for (fault_at, fault) in [(0, Fault::Error), (0, Fault::Full), (1, Fault::Error)] {
        let (disk, dir) = (SimulatedDisk::new(1), Path::new("journal"));
        let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
        disk.fail_at(disk.operations() + fault_at, fault);
        let mut batch = batch(&payloads(&[3]));
        assert!(matches!(
            journal.append(&mut batch, 0),
            Err(JournalError::OutcomeUnknown(_))
        ));
        assert!(matches!(
            journal.append(&mut batch, 0),
            Err(JournalError::Poisoned)
        ));
        assert!(matches!(journal.close(), Err(JournalError::Poisoned)));
        assert!(!disk.image().contains_key(&dir.join(CLEAN_NAME)));
    }
}

#[test]
fn a_segment_that_cannot_be_made_leaves_no_doubt() {
    let (disk, dir) = (SimulatedDisk::new(1), Path::new("journal"));
    let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
    disk.fail_at(disk.operations(), Fault::Full);
    let outcome = journal.append(&mut batch(&payloads(&[5000])), 0);
    assert!(matches!(outcome, Err(JournalError::NotAppended(_))));
    assert!(matches!(
        journal.append(&mut batch(&payloads(&[1])), 0),
        Err(JournalError::Poisoned)
    ));
}

/// Once lost: the journal was opened after a failed sync, found the batch in memory, acknowledged it by its replay, and a
/// power cut took it.
#[test]
fn what_a_failed_sync_left_in_memory_alone_is_written_again() {
    let mut found = 0;
    for seed in 0..50 {
        let (disk, dir) = (SimulatedDisk::new(seed), Path::new("journal"));
        let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
        disk.fail_at(disk.operations() + 1, Fault::Error);
        assert!(journal.append(&mut batch(&payloads(&[700])), 0).is_err());
        drop(journal);
        disk.kill();
        let (_, records) = open(&disk, dir, options(1)).unwrap();
        found += records.len();
        disk.restart();
        assert_eq!(
            open(&disk, dir, options(1)).unwrap().1,
            records,
            "seed {seed}"
        );
    }
    assert_eq!(found, 50);
}

#[test]
fn dropped_segments_are_used_again() {
    let (disk, dir) = (SimulatedDisk::new(1), Path::new("journal"));
    let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
    prepare(&mut journal).unwrap();
    let mut names_max = 0;
    for round in 0..200_u64 {
        journal.append(&mut batch(&payloads(&[900])), 0).unwrap();
        if round % 8 == 7 {
            journal.drop_before(journal.next_number() - 3).unwrap();
        }
        names_max = names_max.max(disk.image().len());
    }
    assert!(names_max <= 7, "{names_max} files");
    assert!(journal.first_number() > 180, "{}", journal.first_number());
    let from = journal.next_number() - 3;
    drop(journal);
    disk.kill();
    assert_eq!(
        open(&disk, dir, options(from)).unwrap().1,
        payloads(&[900; 3])
    );
    // Older records are gone, and that is not passed over.
    assert!(matches!(
        open(&disk, dir, options(1)),
        Err(JournalError::Damaged(_))
    ));
}

#[test]
fn a_replay_that_refuses_is_named_by_its_record() {
    let (disk, dir) = (SimulatedDisk::new(1), Path::new("journal"));
    let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
    journal
        .append(&mut batch(&payloads(&[1, 2, 3])), 0)
        .unwrap();
    drop(journal);
    let outcome = Journal::open(disk, dir, options(1), &mut |number, _| match number {
        2 => Err("no".into()),
        _ => Ok(()),
    });
    assert!(matches!(
        outcome,
        Err(JournalError::Replay { record: 2, .. })
    ));
}

#[test]
fn a_folder_without_its_journal_is_damage() {
    let dir = Path::new("journal");
    for options in [
        JournalOptions {
            must_exist: true,
            ..options(1)
        },
        options(2),
    ] {
        let outcome = open(&SimulatedDisk::new(1), dir, options);
        assert!(matches!(outcome, Err(JournalError::Damaged(_))));
    }
}
