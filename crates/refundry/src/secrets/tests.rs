use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

fn write(file: &Path, mode: u32, content: &str) {
    fs::write(file, content).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

fn line(key_use: &str, id: u32, byte: u8) -> String {
    format!(
        "{key_use} {id} {}\n",
        format!("{byte:02x}").repeat(KEY_BYTES)
    )
}

fn content() -> String {
    format!(
        "# old and new\n\n{HEAD}\n{}{}{}",
        line("digest", 1, 0x11),
        line("digest", 2, 0xAB),
        line("sealing", 7, 0x22)
    )
}

#[test]
fn a_new_file_is_made_only_for_an_empty_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("refundry.key");
    assert!(matches!(
        load_or_create(&file, false),
        Err(SecretsError::Missing(_))
    ));
    assert!(!file.exists());

    let made = load_or_create(&file, true).unwrap();
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no draft stays behind"
    );
    for empty in [true, false] {
        let again = load_or_create(&file, empty).unwrap();
        assert_eq!(again.digest, made.digest);
        assert_eq!(again.sealing, made.sealing);
    }
    assert_ne!(made.digest[0].1, made.sealing[0].1);
    assert_ne!(made.digest[0].1.as_slice(), [0; KEY_BYTES]);
}

#[test]
fn the_highest_id_is_current_and_old_ones_stay() {
    let keys = parse(content().as_bytes()).unwrap();
    let ids: Vec<u32> = keys.digest.iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, [2, 1]);
    assert_eq!(keys.digest[0].1.as_slice(), [0xAB; KEY_BYTES]);
    assert_eq!(keys.sealing[0].0, KeyId(7));
}

#[test]
fn every_key_that_the_ledger_knows_must_be_there_and_be_that_key() {
    let keys = parse(content().as_bytes()).unwrap();
    let file = Path::new("k");
    let known = |key_use: Use, id, byte| key_use.recorded(KeyId(id), &[byte; KEY_BYTES]);
    let all = [
        known(Use::Digest, 1, 0x11),
        known(Use::Digest, 2, 0xAB),
        known(Use::Sealing, 7, 0x22),
    ];
    assert!(keys.require(file, &all).is_ok());
    let refused = |known| keys.require(file, &[known]).unwrap_err().to_string();
    let error = refused(known(Use::Sealing, 8, 0x22));
    assert!(
        error.contains("sealing key 8, which is not in") && error.contains("backup"),
        "{error}"
    );
    let other_use = refused(known(Use::Digest, 7, 0x22));
    assert!(other_use.contains("digest key 7, which is not"));
    for (key_use, id) in [(Use::Digest, 1), (Use::Sealing, 7)] {
        let error = refused(known(key_use, id, 0x77));
        let expected = format!("{} key {id} is not the key that", key_use.word());
        assert!(error.contains(&expected), "{error}");
    }
    // Put on record before checks were kept.
    let unchecked = |key: KnownKey| KnownKey { check: None, ..key };
    let before = all.map(unchecked);
    assert!(keys.require(file, &before).is_ok());
    assert_eq!(keys.to_record(&[]), all[1..]);
    let mut on_record = before.to_vec();
    KnownKey::note(&mut on_record, &keys.to_record(&before));
    assert_eq!(on_record, all);
}

#[test]
fn debug_output_and_errors_hold_no_key() {
    let keys = parse(content().as_bytes()).unwrap();
    assert_eq!(format!("{keys:?}"), "Keys { digest: [2, 1], sealing: [7] }");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("k");
    write(&file, 0o600, &content().replace("sealing", "seeling"));
    let error = load(&file).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("2222"), "{error:?}");
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("k");
    for mode in [0o640, 0o604, 0o620, 0o666, 0o610] {
        write(&file, mode, &content());
        let error = load(&file).unwrap_err().to_string();
        assert!(
            error.contains(&format!("mode 0{mode:o}")) && error.contains("chmod 600"),
            "{error}"
        );
    }
    for mode in [0o600, 0o400] {
        write(&file, mode, &content());
        assert!(load(&file).is_ok());
    }
}

#[test]
fn what_is_no_key_file_is_refused_with_its_line() {
    let check = |content: &str, line: usize| {
        let (found, expected) = parse(content.as_bytes()).map(|_| ()).unwrap_err();
        assert_eq!(found, line, "{content}: {expected}");
    };
    let good = content();
    check("", 0);
    check(&format!("{HEAD}\n"), 0);
    check(&format!("{HEAD}\n{}", line("digest", 1, 1)), 0);
    check(&good.replace(HEAD, "refundry-keys 2"), 3);
    check(&good.replace("digest 2", "digest 1"), 5);
    check(&good.replace("digest 2", "digest 0"), 5);
    check(&good.replace("digest 2", "digest -2"), 5);
    check(&good.replace("digest 2", "digest"), 5);
    check(&good.replace("abab\n", "abag\n"), 5);
    check(&good.replace("abab\n", "ab\n"), 5);
    check(&good.replace("abab\n", "abab x\n"), 5);
    check(&"#".repeat(70_000), 0);
    check("\u{0}\u{1}", 1);
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        load_or_create(folder.path(), true),
        Err(SecretsError::NotAFile(_))
    ));
    let nowhere = folder.path().join("no/such/folder/k");
    assert!(matches!(
        load_or_create(&nowhere, true),
        Err(SecretsError::NotWritten(..))
    ));
    let looped = folder.path().join("loop");
    symlink("loop", &looped).unwrap();
    assert!(matches!(
        load_or_create(&looped, true),
        Err(SecretsError::NotRead(..))
    ));
}
