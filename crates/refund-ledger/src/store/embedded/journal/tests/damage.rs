//! Damage anywhere: a start gives everything that was acknowledged, or refuses and changes nothing. Only what no witness
//! vouches for, the last batch before a crash, may go unnoticed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use fastrand::Rng;

use super::*;

pub(super) const DIR: &str = "journal";

type Image = BTreeMap<PathBuf, Vec<u8>>;

/// A journal of several segments and what is known about it.
struct Sample {
    image: Image,
    records: Vec<Vec<u8>>,
    /// Where each batch stands, and how many records there are with it.
    batches: Vec<(PathBuf, Range<usize>, usize)>,
    clean: bool,
}

impl Sample {
    fn new(clean: bool) -> Self {
        let (disk, dir) = (SimulatedDisk::new(1), Path::new(DIR));
        let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
        let (mut records, mut batches) = (Vec::new(), Vec::new());
        for number in 0..13_usize {
            let payloads = vec![vec![number as u8 + 1; 100 + 60 * number]; 1 + number % 3];
            let mut batch = batch(&payloads);
            journal.append(&mut batch, 0).unwrap();
            records.extend(payloads);
            let path = dir.join(segment_name(*journal.segments.last().unwrap()));
            let end = journal.offset as usize;
            batches.push((path, end - batch.sealed_len()..end, records.len()));
        }
        assert!(journal.segments.len() >= 3);
        if clean {
            journal.close().unwrap();
        }
        Self {
            image: disk.image(),
            records,
            batches,
            clean,
        }
    }

    /// Opens the damaged `image`, of which `altered` differs from the sound one.
    fn check(&self, image: &Image, altered: (&Path, Range<usize>), story: &str) -> Verdict {
        let disk = SimulatedDisk::new(1);
        disk.set_image(image);
        let summary = verify(&disk, Path::new(DIR), None, 1, &mut |_, _| Ok(()));
        assert_eq!(&disk.image(), image, "{story}: verifying changes nothing");
        let (journal, found) = match open(&disk, Path::new(DIR), options(1)) {
            Ok(opened) => opened,
            Err(JournalError::Damaged(damage)) => {
                assert_eq!(&disk.image(), image, "{story}: refused and changed");
                assert!(matches!(summary, Err(JournalError::Damaged(same)) if same == damage));
                return Verdict::Refused(*damage);
            }
            Err(error) => panic!("{story}: {error}"),
        };
        assert_eq!(summary.unwrap().last, journal.next_number() - 1);
        assert_eq!(found, self.records[..found.len()], "{story}");
        if found.len() == self.records.len() {
            return Verdict::Whole;
        }
        assert!(!self.clean, "{story}: records are gone after a clean stop");
        for (path, place, last) in &self.batches {
            let hit =
                path == altered.0 && place.start < altered.1.end && altered.1.start < place.end;
            assert!(
                *last <= found.len() || hit,
                "{story}: record {last} is gone"
            );
        }
        Verdict::Cut
    }

    /// Alters `place` of `path` and checks.
    fn alter(
        &self,
        path: &Path,
        place: Range<usize>,
        alter: impl FnOnce(&mut [u8]),
        story: &str,
    ) -> Verdict {
        let mut image = self.image.clone();
        alter(&mut image.get_mut(path).unwrap()[place.clone()]);
        let story = format!(
            "{story} of {} at {place:?}, clean {}",
            path.display(),
            self.clean
        );
        self.check(&image, (path, place), &story)
    }

    fn lengths(&self) -> Vec<(PathBuf, usize)> {
        let lengths = self
            .image
            .iter()
            .map(|(path, bytes)| (path.clone(), bytes.len()));
        lengths.collect()
    }
}

enum Verdict {
    Whole,
    Cut,
    Refused(Damage),
}

#[derive(Debug, Default)]
struct Count {
    whole: u32,
    cut: u32,
    refused: u32,
}

impl Count {
    fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Whole => self.whole += 1,
            Verdict::Cut => self.cut += 1,
            Verdict::Refused(_) => self.refused += 1,
        }
    }
}

#[test]
fn a_flipped_bit() {
    let mut random = Rng::with_seed(1);
    for clean in [false, true] {
        let (sample, mut count) = (Sample::new(clean), Count::default());
        for (path, length) in sample.lengths() {
            // Long stretches are alike: every thirteenth byte will do.
            for at in (0..length).step_by(13) {
                let bit = 1 << random.u8(..8);
                count.add(&sample.alter(&path, at..at + 1, |bytes| bytes[0] ^= bit, "a flip"));
            }
        }
        assert!(count.whole > 100 && count.refused > 500, "{count:?}");
        assert_eq!(count.cut > 0, !clean, "{count:?}");
    }
}

#[test]
fn a_flipped_bit_in_every_byte_that_counts() {
    let sample = Sample::new(true);
    let refused = |path: &Path, at: usize| {
        let verdict = sample.alter(path, at..at + 1, |bytes| bytes[0] ^= 0x10, "a flip");
        assert!(
            matches!(verdict, Verdict::Refused(_)),
            "{} byte {at}",
            path.display()
        );
    };
    let clean_path = Path::new(DIR).join(CLEAN_NAME);
    (0..format::CLEAN_BYTES).for_each(|at| refused(&clean_path, at));
    for (path, place, _) in &sample.batches {
        (0..64).for_each(|at| refused(path, at));
        place
            .clone()
            .take(format::BATCH_HEADER_BYTES + 20)
            .for_each(|at| refused(path, at));
        place
            .clone()
            .rev()
            .take(20)
            .for_each(|at| refused(path, at));
    }
}

#[test]
fn damage_names_file_offset_and_record() {
    let sample = Sample::new(false);
    let (path, place, last) = &sample.batches[4];
    let payload_bytes = sample.records[last - 1].len();
    let at =
        place.start + format::BATCH_HEADER_BYTES + format::RECORD_HEAD_BYTES + payload_bytes + 20;
    match sample.alter(path, at..at + 1, |bytes| bytes[0] ^= 1, "a flip") {
        Verdict::Refused(damage) => {
            let record_at = place.start
                + format::BATCH_HEADER_BYTES
                + format::RECORD_HEAD_BYTES
                + payload_bytes;
            assert_eq!((&damage.file, damage.offset), (path, record_at as u64));
            assert_eq!(
                (damage.record, damage.what),
                (*last as u64, Flaw::Unreadable)
            );
            let text = JournalError::Damaged(Box::new(damage)).to_string();
            assert!(text.contains("copy the whole folder aside"), "{text}");
        }
        _ => panic!("not refused"),
    }
}

#[test]
fn a_zeroed_a_copied_and_a_random_block() {
    let mut random = Rng::with_seed(1);
    for clean in [false, true] {
        let (sample, mut count) = (Sample::new(clean), Count::default());
        for (path, length) in sample.lengths() {
            for block in [512, 4096] {
                for at in (0..length.saturating_sub(block - 1)).step_by(512) {
                    let place = at..at + block;
                    let mut garbage = vec![0; block];
                    random.fill(&mut garbage);
                    let from = 512 * random.usize(..=(length - block) / 512);
                    let copy = sample.image[&path][from..from + block].to_vec();
                    let fill = |with: &[u8], story: &str| {
                        sample.alter(
                            &path,
                            place.clone(),
                            |bytes| bytes.copy_from_slice(with),
                            story,
                        )
                    };
                    count.add(&fill(&vec![0; block], "zeros"));
                    count.add(&fill(&garbage, "garbage"));
                    count.add(&fill(&copy, "a copy"));
                }
            }
        }
        assert!(count.whole > 5 && count.refused > 100, "{count:?}");
        assert_eq!(count.cut > 0, !clean, "{count:?}");
    }
}

#[test]
fn a_file_cut_or_grown() {
    let sample = Sample::new(false);
    for (path, length) in sample.lengths() {
        for cut in (0..length).step_by(512).chain([length - 1, length + 1]) {
            let mut image = sample.image.clone();
            image.get_mut(&path).unwrap().resize(cut, 0);
            let verdict = sample.check(&image, (&path, 0..0), "a cut");
            assert!(
                matches!(verdict, Verdict::Refused(_)),
                "{} at {cut}",
                path.display()
            );
        }
    }
}

#[test]
fn files_missing_swapped_renamed_or_from_elsewhere() {
    for clean in [false, true] {
        let sample = Sample::new(clean);
        let paths: Vec<_> = sample.lengths().into_iter().map(|(path, _)| path).collect();
        let refused = |image: &Image, story: &str| {
            let verdict = sample.check(image, (Path::new(""), 0..0), story);
            assert!(
                matches!(verdict, Verdict::Refused(_)),
                "{story}, clean {clean}"
            );
        };
        for path in &paths {
            let mut image = sample.image.clone();
            let bytes = image.remove(path).unwrap();
            if path.ends_with(CLEAN_NAME) {
                // Without it there is less to compare with, and all records still.
                assert!(matches!(
                    sample.check(&image, (path, 0..0), "no witness"),
                    Verdict::Whole
                ));
                continue;
            }
            refused(&image, "a missing file");
            image.insert(Path::new(DIR).join(segment_name(1000)), bytes);
            refused(&image, "a renamed file");
            for other in &paths {
                let mut image = sample.image.clone();
                image.insert(path.clone(), sample.image[other].clone());
                if path != other {
                    refused(&image, "a file in another's place");
                }
            }
            let mut image = sample.image.clone();
            let header = SegmentHeader::decode(&image[path]).unwrap();
            let header = SegmentHeader {
                ledger: LedgerId([7; 16]),
                ..header
            };
            image.get_mut(path).unwrap()[..SEGMENT_HEADER_BYTES].copy_from_slice(&header.encode());
            let disk = SimulatedDisk::new(1);
            disk.set_image(&image);
            match open(&disk, Path::new(DIR), options(1)) {
                Err(JournalError::Damaged(damage)) => {
                    assert_eq!(damage.what, Flaw::OtherLedger(header.ledger))
                }
                _ => panic!("a file of another ledger"),
            }
        }
    }
}

#[test]
fn an_older_copy_of_the_last_file() {
    let (disk, dir) = (SimulatedDisk::new(1), Path::new(DIR));
    let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
    journal.append(&mut batch(&[vec![1; 10]]), 0).unwrap();
    let path = dir.join(segment_name(1));
    let older = disk.image()[&path].clone();
    journal.append(&mut batch(&[vec![2; 10]]), 0).unwrap();
    journal.close().unwrap();
    let mut image = disk.image();
    image.insert(path, older);
    disk.set_image(&image);
    assert!(matches!(
        open(&disk, dir, options(1)),
        Err(JournalError::Damaged(_))
    ));
    // A checkpoint knows it too.
    image.remove(&dir.join(CLEAN_NAME));
    disk.set_image(&image);
    assert!(matches!(
        open(&disk, dir, options(3)),
        Err(JournalError::Damaged(_))
    ));
    assert_eq!(open(&disk, dir, options(2)).unwrap().1.len(), 0);
}

#[test]
fn an_unknown_version_is_not_damage() {
    let mut sample = Sample::new(false);
    let bytes = sample.image.values_mut().next().unwrap();
    bytes[8] = 1;
    bytes[12..16].copy_from_slice(&[0; 4]);
    let checksum = crc32c::crc32c_append(
        crc32c::crc32c(&bytes[..12]),
        &bytes[16..SEGMENT_HEADER_BYTES],
    );
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    let disk = SimulatedDisk::new(1);
    disk.set_image(&sample.image);
    let outcome = open(&disk, Path::new(DIR), options(1));
    assert!(matches!(
        outcome,
        Err(JournalError::UnknownVersion { version: 1, .. })
    ));
}

/// A journal of one segment whose two batches hold `byte`s.
pub(super) fn of(byte: u8) -> Image {
    let (disk, dir) = (SimulatedDisk::new(1), Path::new(DIR));
    let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
    for _ in 0..2 {
        journal.append(&mut batch(&[vec![byte; 700]]), 0).unwrap();
    }
    journal.close().unwrap();
    disk.image()
}

fn flaw(image: &Image, from: u64) -> Flaw {
    let disk = SimulatedDisk::new(1);
    disk.set_image(image);
    match open(&disk, Path::new(DIR), options(from)) {
        Err(JournalError::Damaged(damage)) => damage.what,
        Err(other) => panic!("{other}"),
        Ok((_, records)) => panic!("opened with {} records", records.len()),
    }
}

/// Where the batches of [`of`] stand: each takes two sectors.
pub(super) const FIRST: Range<usize> = 4096..5120;
pub(super) const SECOND: Range<usize> = 5120..6144;

#[test]
fn parts_of_two_histories_of_one_ledger() {
    let (one, two) = (of(1), of(2));
    let segment = Path::new(DIR).join(segment_name(1));
    let clean = Path::new(DIR).join(CLEAN_NAME);
    let mut image = one.clone();
    image.insert(clean.clone(), two[&clean].clone());
    assert_eq!(flaw(&image, 1), Flaw::OtherEnd);
    let mut image = one.clone();
    image.remove(&clean);
    let second = two[&segment][SECOND].to_vec();
    image.get_mut(&segment).unwrap()[SECOND].copy_from_slice(&second);
    assert_eq!(flaw(&image, 1), Flaw::NotContinued);

    let segments = |byte: u8| {
        let (disk, dir) = (SimulatedDisk::new(1), Path::new(DIR));
        let (mut journal, _) = open(&disk, dir, options(1)).unwrap();
        for _ in 0..6 {
            journal.append(&mut batch(&[vec![byte; 1500]]), 0).unwrap();
        }
        (disk.image(), journal.segments.clone())
    };
    let ((mut image, firsts), (other, same)) = (segments(1), segments(2));
    assert!(firsts == same && firsts.len() > 2);
    let path = Path::new(DIR).join(segment_name(firsts[1]));
    image.insert(path.clone(), other[&path].clone());
    assert_eq!(flaw(&image, 1), Flaw::NotContinued);
}

#[test]
fn a_batch_that_stands_where_it_was_never_written() {
    let mut image = of(1);
    image.remove(&Path::new(DIR).join(CLEAN_NAME));
    let segment = Path::new(DIR).join(segment_name(1));
    let first = image[&segment][FIRST].to_vec();
    for at in [SECOND.end, SECOND.end + 512] {
        let mut image = image.clone();
        let bytes = image.get_mut(&segment).unwrap();
        bytes[at..at + first.len()].copy_from_slice(&first);
        assert_eq!(flaw(&image, 1), Flaw::Misplaced(1));
    }
}

#[test]
fn a_segment_under_another_name() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk, Path::new(DIR), options(1)).unwrap();
    drop(journal);
    let mut image = disk.image();
    let bytes = image.remove(&Path::new(DIR).join(segment_name(1))).unwrap();
    image.insert(Path::new(DIR).join(segment_name(3)), bytes);
    assert_eq!(flaw(&image, 3), Flaw::Misnamed(1));
}

#[test]
fn an_end_mark_that_is_gone() {
    let sample = Sample::new(false);
    let last = sample.batches.last().unwrap().0.clone();
    let mut ends = BTreeMap::new();
    for (path, place, _) in &sample.batches {
        ends.insert(path.clone(), place.end);
    }
    for (path, end) in ends.iter().filter(|(path, _)| **path != last) {
        let verdict = sample.alter(path, *end..*end + 512, |bytes| bytes.fill(0), "zeros");
        assert!(matches!(verdict, Verdict::Refused(_)), "{}", path.display());
    }
}

#[test]
fn what_was_torn_is_zeroed() {
    let mut image = of(1);
    image.remove(&Path::new(DIR).join(CLEAN_NAME));
    let segment = Path::new(DIR).join(segment_name(1));
    image.get_mut(&segment).unwrap()[SECOND.end..].fill(7);
    let disk = SimulatedDisk::new(1);
    disk.set_image(&image);
    assert!(
        verify(&disk, Path::new(DIR), None, 1, &mut |_, _| Ok(()))
            .unwrap()
            .torn
    );
    assert_eq!(open(&disk, Path::new(DIR), options(1)).unwrap().1.len(), 2);
    disk.restart();
    let bytes = disk.image()[&segment].clone();
    assert_eq!(bytes[..SECOND.end], image[&segment][..SECOND.end]);
    assert!(bytes[SECOND.end..].iter().all(|byte| *byte == 0));
}
