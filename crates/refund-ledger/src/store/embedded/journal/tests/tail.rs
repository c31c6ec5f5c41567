//! What lies behind the last good batch after a crash: one torn batch is cut, more than that is damage.

use std::ops::Range;

use super::damage::{DIR, FIRST, SECOND, of};
use super::*;

/// A journal of one segment whose last batches were lost to `alter` after a crash: what a start says.
fn after_a_crash(alter: impl FnOnce(&mut Vec<u8>)) -> Result<usize, Flaw> {
    let mut image = of(1);
    image.remove(&Path::new(DIR).join(CLEAN_NAME));
    let bytes = image
        .get_mut(&Path::new(DIR).join(segment_name(1)))
        .unwrap();
    let length = bytes.len();
    alter(bytes);
    bytes.truncate(length);
    let disk = SimulatedDisk::new(1);
    disk.set_image(&image);
    match open(&disk, Path::new(DIR), options(1)) {
        Ok((_, records)) => Ok(records.len()),
        Err(JournalError::Damaged(damage)) => {
            assert_eq!(disk.image(), image, "refused and changed");
            Err(damage.what)
        }
        Err(error) => panic!("{error}"),
    }
}

/// Once lost: zeros over the end of a batch and the header of the next and last one, whose other bytes were still there.
#[test]
fn the_remains_of_a_later_batch_are_a_witness() {
    let zero = |place: Range<usize>| after_a_crash(|bytes| bytes[place].fill(0));
    assert_eq!(zero(4600..5120 + 48), Err(Flaw::Unreadable));
    assert_eq!(zero(4600..5632), Err(Flaw::Unreadable));
    // One byte of it is enough.
    let all_but_one = after_a_crash(|bytes| {
        bytes[4600..SECOND.end].fill(0);
        bytes[SECOND.start + 700] = 1;
    });
    assert_eq!(all_but_one, Err(Flaw::Unreadable));
    // No byte of it may as well mean that it never was.
    assert_eq!(zero(4600..SECOND.end), Ok(0));
    // Without a header of its own a batch may have been as long as all that is there.
    assert_eq!(zero(FIRST.start..SECOND.start + 48), Ok(0));
    // A torn batch may be there without its header, or with nothing else.
    assert_eq!(zero(SECOND.start..SECOND.start + 512), Ok(1));
    assert_eq!(zero(SECOND.start + 512..SECOND.end), Ok(1));
}

#[test]
fn batches_that_were_shifted_are_a_witness() {
    for (at, flaw) in [
        (FIRST.start, Flaw::Misplaced(1)),
        (FIRST.start + 60, Flaw::Unreadable),
        (SECOND.start, Flaw::Misplaced(2)),
    ] {
        assert_eq!(after_a_crash(|bytes| bytes.insert(at, 0)), Err(flaw));
        assert_eq!(after_a_crash(|bytes| bytes.insert(at, 7)), Err(flaw));
    }
}

/// No batch reaches further than the longest.
#[test]
fn what_lies_beyond_the_longest_batch_is_a_witness() {
    let disk = SimulatedDisk::new(1);
    let long = JournalOptions {
        segment_bytes: BATCH_BYTES_MAX as u64 + (64 << 10),
        ..options(1)
    };
    drop(open(&disk, Path::new(DIR), long).unwrap());
    let mut sound = disk.image();
    // As if it were a later segment, which has all of its length.
    let header = SegmentHeader {
        ledger: long.ledger,
        first: 1,
        file_bytes: long.segment_bytes,
        previous: 0,
    };
    for bytes in sound.values_mut() {
        bytes.resize(long.segment_bytes as usize, 0);
        bytes[..SEGMENT_HEADER_BYTES].copy_from_slice(&header.encode());
    }
    let outcome = |at: usize| {
        let mut image = sound.clone();
        image.values_mut().for_each(|bytes| bytes[at] = 1);
        disk.set_image(&image);
        open(&disk, Path::new(DIR), long).map(|(_, records)| records.len())
    };
    let end = SEGMENT_HEADER_BYTES + BATCH_BYTES_MAX;
    assert!(matches!(outcome(end - 1), Ok(0)));
    assert!(matches!(outcome(end), Err(JournalError::Damaged(_))));
}

/// Once refused, with segments shorter than a batch: the file of the segment before took the place of an empty one, and its end
/// mark has the number that the new segment begins with.
#[test]
fn a_file_that_is_used_again_for_the_next_record() {
    let (disk, dir) = (SimulatedDisk::new(1), Path::new(DIR));
    let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
    journal.append(&mut batch(&[vec![1; 3000]]), 0).unwrap();
    let mark = journal.offset as usize..journal.offset as usize + SECTOR_BYTES;
    // The next segment is made, and the end mark; the batch is not written.
    disk.fail_at(disk.operations() + 9, Fault::PowerCut);
    assert!(journal.append(&mut batch(&[vec![2; 1500]]), 0).is_err());
    drop(journal);
    disk.restart();
    let (mut journal, records) = open(&disk, dir, options(1)).unwrap();
    assert_eq!(
        (records.len(), journal.segments.as_slice()),
        (1, &[1, 2][..])
    );
    let left = disk.image()[&dir.join(segment_name(1))][mark.clone()].to_vec();
    journal.drop_before(2).unwrap();
    journal.append(&mut batch(&[vec![2; 9000]]), 0).unwrap();
    drop(journal);
    // The sector of the mark is the one that did not arrive.
    let mut image = disk.image();
    image.get_mut(&dir.join(segment_name(2))).unwrap()[mark].copy_from_slice(&left);
    disk.kill();
    disk.set_image(&image);
    assert_eq!(open(&disk, dir, options(2)).unwrap().1.len(), 0);
}

/// What an earlier segment left in a file that is used again is no witness, wherever the last batch is torn.
#[test]
fn a_torn_batch_in_a_file_that_is_used_again() {
    let (disk, dir) = (SimulatedDisk::new(1), Path::new(DIR));
    let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
    let mut torn = 0;
    for number in 0..200_usize {
        let before = journal.next_number();
        let payload = vec![number as u8 + 1; 100 + 137 * (number % 11)];
        journal.append(&mut batch(&[payload]), 0).unwrap();
        journal.drop_before(before).unwrap();
        let mut image = disk.image();
        let last = image
            .get_mut(&dir.join(segment_name(*journal.segments.last().unwrap())))
            .unwrap();
        let end = journal.offset as usize;
        let is_used_again = last[end..].iter().any(|byte| *byte != 0);
        // The last byte of the payload may stand anywhere in the last sector.
        let in_payload = last[..end].iter().rposition(|byte| *byte != 0).unwrap();
        last[in_payload] ^= 1;
        let crashed = SimulatedDisk::new(1);
        crashed.set_image(&image);
        let (_, records) = open(&crashed, dir, options(before)).unwrap();
        assert_eq!(records.len(), 0);
        torn += u32::from(is_used_again);
    }
    assert!(torn > 50, "{torn}");
}

/// A start that is cut off while it mends the end of a file that is used again leaves nothing that looks like damage.
#[test]
fn a_power_cut_while_the_end_is_mended() {
    let mut begun = 0;
    for seed in 0..2000 {
        let (disk, dir) = (SimulatedDisk::new(seed), Path::new(DIR));
        let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
        // Until the third segment, in the first one's file, has one batch.
        while journal.segments.first() < Some(&15) {
            journal.append(&mut batch(&[vec![9; 400]]), 0).unwrap();
            journal.drop_before(journal.next_number() - 1).unwrap();
        }
        let first = journal.first_number();
        let fault = [Fault::Error, Fault::PowerCut][(seed % 2) as usize];
        disk.fail_at(disk.operations() + 1, fault);
        assert!(journal.append(&mut batch(&[vec![9; 600]]), 0).is_err());
        drop(journal);
        match fault {
            Fault::PowerCut => disk.restart(),
            _ => disk.kill(),
        }
        disk.fail_at(disk.operations() + seed / 2 % 8, Fault::PowerCut);
        match open(&disk, dir, options(first)) {
            Ok(_) => {}
            Err(JournalError::Io { .. }) => begun += 1,
            Err(error) => panic!("seed {seed}: {error}"),
        }
        disk.restart();
        if let Err(error) = open(&disk, dir, options(first)) {
            panic!("seed {seed}: {error}");
        }
    }
    assert!(begun > 100, "{begun}");
}
