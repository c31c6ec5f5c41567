#![expect(clippy::indexing_slicing, reason = "tests")]

use std::path::Path;

use super::{Disk, DiskFile, Fault, GIVEN_BACK, LockError, RealDisk, SimulatedDisk, give_back};

/// What both disks must do alike.
fn check(disk: &impl Disk, dir: &Path) {
    disk.create_dir(dir).unwrap();
    let (first, second) = (dir.join("first"), dir.join("second"));
    let mut file = disk.create(&first).unwrap();
    file.preallocate(1000).unwrap();
    assert_eq!(file.len().unwrap(), 1000);
    file.write_at(990, b"0123456789").unwrap();
    file.sync_data().unwrap();
    let mut buffer = [0xFF; 20];
    assert_eq!(file.read_at(985, &mut buffer).unwrap(), 15);
    assert_eq!(&buffer[..15], b"\0\0\0\0\x000123456789");
    file.truncate(995).unwrap();
    assert_eq!(file.len().unwrap(), 995);
    drop(file);

    disk.rename(&first, &second).unwrap();
    disk.sync_dir(dir).unwrap();
    assert_eq!(disk.list(dir).unwrap(), ["second"]);
    assert_eq!(
        disk.open(&first, false).err().map(|error| error.kind()),
        Some(std::io::ErrorKind::NotFound)
    );
    let mut file = disk.open(&second, false).unwrap();
    assert!(file.write_at(0, b"x").is_err(), "opened for reading alone");
    drop(file);
    let mut file = disk.open(&second, true).unwrap();
    file.preallocate(3 * GIVEN_BACK + 5).unwrap();
    disk.remove(&second).unwrap();
    give_back(&mut file);
    assert_eq!(file.len().unwrap(), 5);
    assert!(disk.list(dir).unwrap().is_empty());

    let lock = disk.lock(&dir.join("lock")).unwrap();
    match disk.lock(&dir.join("lock")) {
        Err(LockError::Held(holder)) => assert_eq!(holder, Some(std::process::id())),
        other => panic!("locked twice: {}", other.is_ok()),
    }
    drop(lock);
    drop(disk.lock(&dir.join("lock")).unwrap());
}

#[test]
fn real() {
    let dir = tempfile::tempdir().unwrap();
    check(&RealDisk, &dir.path().join("a/b"));
}

#[test]
fn simulated() {
    check(&SimulatedDisk::new(1), Path::new("a/b"));
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_may_lose_the_rest() {
    let (mut lost, mut kept, mut mixed) = (0, 0, 0);
    for seed in 0..200 {
        let disk = SimulatedDisk::new(seed);
        let (dir, path) = (Path::new("d"), Path::new("d/f"));
        let mut file = disk.create(path).unwrap();
        file.write_at(0, &[1; 2048]).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(dir).unwrap();
        file.write_at(512, &[2; 1024]).unwrap();
        disk.restart();
        assert!(file.write_at(0, b"x").is_err(), "a file of the time before");
        let bytes = disk.image().remove(path).unwrap();
        assert_eq!(bytes.len(), 2048);
        assert_eq!(
            (bytes[0], bytes[511], bytes[1536], bytes[2047]),
            (1, 1, 1, 1)
        );
        match bytes[512..1536].iter().filter(|byte| **byte == 2).count() {
            0 => lost += 1,
            1024 => kept += 1,
            _ => mixed += 1,
        }
    }
    assert!(
        lost > 20 && kept > 20 && mixed > 20,
        "{lost} {kept} {mixed}"
    );
}

#[test]
fn a_failed_sync_may_lose_what_a_read_still_shows() {
    let mut lost = 0;
    for seed in 0..50 {
        let disk = SimulatedDisk::new(seed);
        let path = Path::new("d/f");
        let mut file = disk.create(path).unwrap();
        file.preallocate(512).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
        file.write_at(0, &[2; 512]).unwrap();
        disk.fail_at(disk.operations(), Fault::Error);
        assert!(file.sync_data().is_err());
        assert_eq!(disk.image()[path], [2; 512]);
        file.sync_data().unwrap();
        disk.kill();
        assert_eq!(disk.image()[path], [2; 512]);
        disk.restart();
        lost += usize::from(disk.image()[path] == [0; 512]);
    }
    assert!(lost > 5, "{lost}");
}
