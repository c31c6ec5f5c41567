#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

use fastrand::Rng;

use super::layout::{ENTRY_BYTES, INDEX, encode_entry, entry};
use super::*;
use crate::store::embedded::disk::{Disk, DiskFile, GIVEN_BACK, SimulatedDisk};

const DIR: &str = "cold/runs";

fn open(disk: &SimulatedDisk, noted: Option<&[u8]>, sizes: Sizes) -> Result<Arc<Runs>, ColdError> {
    Runs::open(Arc::new(disk.clone()), Path::new(DIR), noted, sizes).map(Arc::new)
}

fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    disk.create_dir(Path::new(DIR)).unwrap();
    disk
}

fn put(run: &mut NewRun, entry: &Entry<'_>) {
    let mut bytes = Vec::new();
    let append = |record: &[u8]| {
        let record = record.to_vec();
        move |to: &mut Vec<u8>| to.extend(record)
    };
    let record = entry.record.map(append);
    encode_entry(&mut bytes, entry.key, entry.rrn, entry.date, record);
    run.put(entry, &bytes).unwrap();
}

/// Writes entries as one run and notes it.
fn write(runs: &Arc<Runs>, entries: &[Entry<'_>], live: u64) -> Vec<u8> {
    let mut run = runs.begin();
    for entry in entries {
        put(&mut run, entry);
    }
    let manifest = runs.with(run.finish().unwrap(), live);
    let noted = runs.note(&manifest);
    runs.install(manifest);
    runs.keep_filters();
    noted
}

fn merge(runs: &Arc<Runs>, mut merging: Merging, keys: usize) -> Vec<u8> {
    while merging.step(keys).unwrap() {}
    let (manifest, inputs) = merging.finish().unwrap();
    let noted = runs.note(&manifest);
    runs.install(manifest);
    runs.remove(inputs).unwrap();
    noted
}

/// What a record of the naive model is.
#[derive(Clone, PartialEq, Debug)]
struct Known {
    rrn: Option<u32>,
    date: u32,
    record: Vec<u8>,
}

fn of(key: u128, known: &Known) -> Entry<'_> {
    Entry {
        key,
        rrn: known.rrn,
        date: known.date,
        record: Some(&known.record),
    }
}

/// Few merchants, STANs and times, so that names meet.
fn random_key(random: &mut Rng) -> u128 {
    let merchant = random.u128(1..4) << 88;
    let stan = random.u128(0..50) << 68;
    merchant | stan | random.u128(0..5) << 34 | random.u128(0..3)
}

fn check(runs: &Runs, model: &BTreeMap<u128, Known>, random: &mut Rng, story: &str) {
    let mut merged = runs.from(0).unwrap();
    let mut all = BTreeMap::new();
    while merged
        .next(&mut |entry, _| {
            if let Some(record) = entry.record {
                let known = Known {
                    rrn: entry.rrn,
                    date: entry.date,
                    record: record.to_vec(),
                };
                assert_eq!(all.insert(entry.key, known), None, "{story}");
            }
            Ok(())
        })
        .unwrap()
    {}
    assert_eq!(all, *model, "{story}");
    for _ in 0..30 {
        let key = random_key(random);
        let found = runs.get(key, |entry| entry.record.map(<[u8]>::to_vec));
        let expected = model.get(&key).map(|known| known.record.clone());
        assert_eq!(found.unwrap().flatten(), expected, "{story}");
        let first = key >> 68 << 68;
        let last = first | ((1 << 68) - 1);
        let expected: Vec<_> = model
            .range(first..=last)
            .map(|(_, known)| &known.record)
            .cloned()
            .collect();
        assert_eq!(runs.of_stan(first, last).unwrap(), expected, "{story}");
        let merchant = key >> 88;
        let time = (key >> 34) as u64 & ((1 << 34) - 1);
        let rrn = random.u32(0..6);
        for by in [NameBy::Time(time), NameBy::Rrn(rrn)] {
            let found = runs.named(merchant as u64, by).unwrap();
            let is_named = |key: u128, known: &Known| match by {
                NameBy::Time(time) => (key >> 34) as u64 & ((1 << 34) - 1) == time,
                NameBy::Rrn(rrn) => known.rrn == Some(rrn),
            };
            for (key, known) in model {
                let expected = key >> 88 == merchant && is_named(*key, known);
                // Of an older version, or of one that is gone, a key may be left.
                assert!(!expected || found.contains(key), "{story}: {by:?}");
            }
        }
    }
    let dates = runs.dates();
    let mut dated = BTreeSet::new();
    for hour in dates.hours() {
        for file in 0..dates.files() {
            let (mut from, mut keys) = (0, Vec::new());
            loop {
                let blocks = dates.blocks(file, hour, from).unwrap();
                from += blocks.len() as u32;
                if blocks.is_empty() {
                    break;
                }
                for block in blocks {
                    dates.keys(file, block, hour, &mut keys).unwrap();
                }
            }
            assert!(!keys.is_empty() || file > 0 || dates.files() > 1);
            dated.extend(keys.into_iter().map(|key| (key, hour)));
        }
    }
    for (key, known) in model {
        assert!(dated.contains(&(*key, known.date)), "{story}");
    }
    assert_eq!(
        runs.check(&mut |_| Ok(())).unwrap(),
        Vec::<String>::new(),
        "{story}"
    );
}

/// Runs of random records and removals, merged now and then, against a map; with files so small that a run has several, and records
/// so long that a block has one.
#[test]
fn runs_hold_what_a_map_holds() {
    for seed in 0..6 {
        let mut random = Rng::with_seed(seed);
        let sizes = Sizes {
            file_entries: [1, 3, 40, 1 << 20][random.usize(..4)],
            merged_runs: random.usize(2..6),
            filter_bytes: [0, 4096, 1 << 20][random.usize(..3)],
        };
        let disk = disk();
        let mut runs = open(&disk, None, sizes).unwrap();
        let mut model: BTreeMap<u128, Known> = BTreeMap::new();
        let mut merged = 0;
        for turn in 0..15 {
            let story = format!("SEED={seed} turn {turn}");
            let mut changes: BTreeMap<u128, Option<Known>> = BTreeMap::new();
            for _ in 0..random.usize(0..60) {
                let key = random_key(&mut random);
                let length = [3, 300, 5000][random.usize(..3)];
                let known = Known {
                    rrn: random.bool().then(|| random.u32(0..6)),
                    date: random.u32(0..4),
                    record: vec![random.u8(..); length],
                };
                changes.insert(key, (random.u8(..4) > 0).then_some(known));
            }
            let entries: Vec<_> = changes
                .iter()
                .map(|(key, known)| match known {
                    Some(known) => of(*key, known),
                    None => Entry {
                        key: *key,
                        rrn: None,
                        date: 0,
                        record: None,
                    },
                })
                .collect();
            let mut next = model.clone();
            for (key, known) in &changes {
                match known {
                    Some(known) => next.insert(*key, known.clone()),
                    None => next.remove(key),
                };
            }
            let mut noted = write(&runs, &entries, next.len() as u64);
            model = next;
            check(&runs, &model, &mut random, &story);
            while let Some(merging) = runs.merge_due().unwrap() {
                noted = merge(&runs, merging, random.usize(1..50));
                merged += 1;
            }
            if random.bool() {
                disk.restart();
                runs = open(&disk, Some(&noted), sizes).unwrap();
                runs.tidy().unwrap();
                let files = runs.dates().files();
                assert_eq!(
                    Disk::list(&disk, Path::new(DIR)).unwrap().len(),
                    files,
                    "{story}"
                );
                assert_eq!(runs.live(), model.len() as u64, "{story}");
            }
            check(&runs, &model, &mut random, &story);
        }
        assert!(merged > 1, "{merged}");
    }
}

/// Where everything is merged, nothing is left of what is gone.
#[test]
fn what_is_gone_leaves_nothing_behind() {
    let disk = disk();
    let runs = open(&disk, None, Sizes::default()).unwrap();
    let known = Known {
        rrn: Some(1),
        date: 7,
        record: vec![1; 100],
    };
    let count = GARBAGE_MIN as u128 + 10;
    let all: Vec<_> = (0..count).map(|key| of(key, &known)).collect();
    write(&runs, &all, count as u64);
    assert!(runs.merge_due().unwrap().is_none());
    let gone: Vec<_> = (0..count)
        .map(|key| Entry {
            key,
            rrn: None,
            date: 0,
            record: None,
        })
        .collect();
    write(&runs, &gone, 0);
    merge(&runs, runs.merge_due().unwrap().unwrap(), 1000);
    assert_eq!(runs.dates().files(), 0);
    assert_eq!(runs.live(), 0);
    assert!(Disk::list(&disk, Path::new(DIR)).unwrap().is_empty());
}

/// A filter that is kept is not read again; one that is damaged, or that there is no room for, is not kept.
#[test]
fn filters_are_kept_as_far_as_there_is_room() {
    let known = Known {
        rrn: Some(1),
        date: 7,
        record: vec![1; 100],
    };
    let all: Vec<_> = (0..2000).map(|key| of(key << 70, &known)).collect();
    for (filter_bytes, is_damaged_before, is_kept) in [
        (1 << 20, false, true),
        (1 << 20, true, false),
        (5000, false, false),
    ] {
        let disk = disk();
        let sizes = Sizes {
            filter_bytes,
            ..Sizes::default()
        };
        let runs = open(&disk, None, sizes).unwrap();
        let mut run = runs.begin();
        all.iter().for_each(|entry| put(&mut run, entry));
        runs.install(runs.with(run.finish().unwrap(), 2000));
        let (path, bytes) = only_file(&disk);
        let segment = runs.manifest().runs[0].segments[0].clone();
        let filter = segment.footer.filter();
        let write = |bytes: &[u8]| {
            let file = Disk::open(&disk, &path, true);
            file.unwrap().write_at(0, bytes).unwrap();
        };
        let mut damaged = bytes.clone();
        damaged[filter.offset as usize..filter.end() as usize].fill(0xAA);
        if is_damaged_before {
            write(&damaged);
        }
        runs.keep_filters();
        write(&damaged);
        for key in 0..500_u128 {
            let absent = runs
                .get(key << 70 | 1 << 69, |_| ())
                .is_ok_and(|of| of.is_none());
            assert_eq!(absent, is_kept);
        }
        write(&bytes);
        for entry in &all {
            assert_eq!(runs.get(entry.key, |_| ()).unwrap(), Some(()));
        }
    }
}

/// The name of the only file, and its bytes.
fn only_file(disk: &SimulatedDisk) -> (PathBuf, Vec<u8>) {
    let names = Disk::list(disk, Path::new(DIR)).unwrap();
    assert_eq!(names.len(), 1, "{names:?}");
    let path = Path::new(DIR).join(&names[0]);
    let file = Disk::open(disk, &path, false).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    (path, bytes)
}

fn replace(disk: &SimulatedDisk, path: &Path, bytes: &[u8]) {
    Disk::create(disk, path)
        .unwrap()
        .write_at(0, bytes)
        .unwrap();
}

/// Whatever bit is flipped, wherever a file is cut, and whatever follows it: it is not opened, or a whole check names the file.
#[test]
fn damage_anywhere_in_a_file_is_found() {
    let disk = disk();
    let runs = open(&disk, None, Sizes::default()).unwrap();
    let known = Known {
        rrn: Some(3),
        date: 9,
        record: vec![5; 1000],
    };
    let entries: Vec<_> = (1..30).map(|key| of(key << 70, &known)).collect();
    let noted = write(&runs, &entries, 29);
    let (path, bytes) = only_file(&disk);
    let is_found = |damaged: &[u8]| {
        replace(&disk, &path, damaged);
        let opened = open(&disk, Some(&noted), Sizes::default());
        let checked = opened.and_then(|runs| runs.check(&mut |_| Ok(())));
        match checked {
            Err(ColdError::Damaged { file, .. }) => assert_eq!(file, path),
            Err(other) => panic!("{other}"),
            Ok(wrong) => return !wrong.is_empty(),
        }
        true
    };
    assert!(!is_found(&bytes));
    for at in 0..bytes.len() {
        // Bytes of records are all alike.
        if at > 200 && at < 30_000 && !at.is_multiple_of(97) {
            continue;
        }
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(is_found(&flipped), "byte {at} of {}", bytes.len());
        if at.is_multiple_of(7) {
            assert!(is_found(&bytes[..at]), "cut at {at}");
        }
    }
    assert!(is_found(&[&bytes[..], &[0]].concat()), "a byte more");
    // A whole block where another should be.
    let mut over = bytes.clone();
    let block = 8 * (ENTRY_BYTES + 1000) + 4;
    over.copy_within(24..24 + block, 24 + block);
    assert!(is_found(&over));
    let moved = open(&disk, Some(&noted), Sizes::default()).unwrap();
    assert!(moved.get(9 << 70, |_| ()).is_err(), "it is in that block");
    // Another file of the same number, whole in itself.
    let other = open(&disk, None, Sizes::default()).unwrap();
    let older = Known { date: 8, ..known };
    let entries: Vec<_> = (1..30).map(|key| of(key << 70, &older)).collect();
    write(&other, &entries, 29);
    let (_, bytes) = only_file(&disk);
    assert!(is_found(&bytes));
    Disk::remove(&disk, &path).unwrap();
    let missing = open(&disk, Some(&noted), Sizes::default());
    assert!(matches!(missing, Err(ColdError::Damaged { .. })));
}

/// What leads to the entries must be what follows from them, even if its checksums are right.
#[test]
fn a_check_compares_names_with_records() {
    let disk = disk();
    let runs = open(&disk, None, Sizes::default()).unwrap();
    let known = Known {
        rrn: Some(3),
        date: 9,
        record: vec![5; 10],
    };
    let mut run = runs.begin();
    put(&mut run, &of(1, &known));
    // As if the writer had forgotten a name.
    run.writer.as_mut().unwrap().forget_names();
    let run = run.finish().unwrap();
    runs.install(runs.with(run, 1));
    let wrong = runs.check(&mut |_| Ok(())).unwrap();
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].contains("does not follow"), "{wrong:?}");
}

#[test]
fn runs_of_one_size_become_one_of_the_next() {
    let disk = disk();
    let runs = open(&disk, None, Sizes::default()).unwrap();
    let known = Known {
        rrn: None,
        date: 0,
        record: Vec::new(),
    };
    for count in 1..=200_u64 {
        let entries = [of(u128::from(count), &known)];
        write(&runs, &entries, count);
        while let Some(merging) = runs.merge_due().unwrap() {
            merge(&runs, merging, 100);
        }
        assert!(runs.dates().files() < MERGED_RUNS);
        assert!(!runs.is_behind());
    }
}

#[test]
fn an_entry_that_is_cut_is_none() {
    let known = [7; 10];
    let mut bytes = vec![0; ENTRY_BYTES];
    bytes[24] = 10;
    bytes.extend(known);
    let (found, length) = entry(&bytes).unwrap();
    assert_eq!((found.record, length), (Some(&known[..]), bytes.len()));
    for length in 0..bytes.len() {
        assert!(entry(&bytes[..length]).is_none());
    }
    assert_eq!(INDEX.item, 28);
}

/// A file of several sectors of the filter, and several blocks of the index and of names.
#[test]
fn everything_in_a_large_file_is_found() {
    let disk = disk();
    let runs = open(&disk, None, Sizes::default()).unwrap();
    let known = |number: u128| Known {
        rrn: Some(number as u32),
        date: 1,
        record: vec![0; 1000],
    };
    let all: Vec<_> = (0..3000)
        .map(|number| (number << 68, known(number)))
        .collect();
    let entries: Vec<_> = all.iter().map(|(key, known)| of(*key, known)).collect();
    write(&runs, &entries, 3000);
    for (number, (key, _)) in all.iter().enumerate() {
        assert_eq!(runs.get(*key, |entry| entry.key).unwrap(), Some(*key));
        assert!(runs.get(*key + 1, |_| ()).unwrap().is_none());
        assert_eq!(runs.of_stan(*key, *key + 10).unwrap().len(), 1);
        let found = runs.named(0, NameBy::Rrn(number as u32)).unwrap();
        assert!(found.contains(key));
    }
    assert_eq!(runs.check(&mut |_| Ok(())).unwrap(), Vec::<String>::new());
}

/// Files give back what they take little by little when they are removed, but not while somebody reads them.
#[test]
fn what_is_still_read_stays_until_it_is_not() {
    let sizes = Sizes {
        merged_runs: 2,
        ..Sizes::default()
    };
    let record = vec![7; 4000];
    let entry = |key: u128| Entry {
        key,
        rrn: None,
        date: 1,
        record: Some(&record),
    };
    for is_read in [true, false] {
        let disk = disk();
        let runs = open(&disk, None, sizes).unwrap();
        for first in 0..2 {
            let entries: Vec<_> = (0..800).map(|at| entry(2 * at + first)).collect();
            write(&runs, &entries, 800 * (1 + first as u64));
        }
        let names = Disk::list(&disk, Path::new(DIR)).unwrap();
        let files: Vec<_> = names
            .iter()
            .map(|name| Disk::open(&disk, &Path::new(DIR).join(name), false).unwrap())
            .collect();
        let reader = is_read.then(|| runs.from(0).unwrap());
        merge(&runs, runs.merge_due().unwrap().unwrap(), 100);
        let left: Vec<u64> = files.iter().map(|file| file.len().unwrap()).collect();
        assert_eq!(left.len(), 2);
        let are_cut = left.iter().all(|len| *len <= GIVEN_BACK);
        assert_eq!(are_cut, !is_read, "{left:?}");
        let mut read = 0;
        let mut count = |entry: Entry<'_>, _: &[u8]| {
            read += usize::from(entry.record == Some(&record));
            Ok(())
        };
        if let Some(mut reader) = reader {
            while reader.next(&mut count).unwrap() {}
            assert_eq!(read, 1600);
        }
    }
}
