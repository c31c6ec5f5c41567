//! Card numbers, tracks and keys are nowhere but where they must be: not in clear on disk, not in logs, metrics or exports.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use node::{Setup, Site, World, answered, approved, merchant, until};
use simulators::{Card, Message};

/// What nobody may find, as ASCII; digits also as BCD at either alignment.
const SECRETS: [&str; 6] = [
    "4761739001010119",
    "5413330089010012",
    "6222021234567890128",
    "4761739001010119=30121011234567890",
    "B4761739001010119^CARDHOLDER/TEST^3012101",
    "015413330089010012=3012101",
];

/// The bytes of DE52.
const PIN_BLOCK: [u8; 8] = [0x9A, 0x31, 0xC7, 0x5E, 0x02, 0xF4, 0x68, 0xBD];

/// A secret as it could stand in a file or a log.
fn patterns() -> Vec<(String, Vec<u8>)> {
    let mut patterns = vec![
        ("PIN block".to_owned(), PIN_BLOCK.to_vec()),
        (
            "PIN block in hexadecimal".to_owned(),
            b"9A31C75E02F468BD".to_vec(),
        ),
        (
            "PIN block in hexadecimal".to_owned(),
            b"9a31c75e02f468bd".to_vec(),
        ),
    ];
    for secret in SECRETS {
        patterns.push((secret.to_owned(), secret.as_bytes().to_vec()));
        let nibbles: Option<Vec<u8>> = secret
            .chars()
            .map(|character| {
                if character == '=' {
                    Some(0xD)
                } else {
                    character.to_digit(10).map(|digit| digit as u8)
                }
            })
            .collect();
        for shift in [0, 1] {
            let Some(nibbles) = &nibbles else { continue };
            let whole = nibbles[shift..]
                .chunks_exact(2)
                .map(|pair| pair[0] << 4 | pair[1])
                .collect();
            patterns.push((format!("{secret} in BCD"), whole));
        }
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        patterns.push((
            format!("{secret} in hexadecimal"),
            hex.to_uppercase().into_bytes(),
        ));
        patterns.push((format!("{secret} in hexadecimal"), hex.into_bytes()));
    }
    patterns
}

fn check_clean(place: &str, bytes: &[u8]) {
    // One pass: only where a pattern's first two bytes stand is it compared.
    let patterns = patterns();
    let mut heads = vec![false; 1 << 16];
    let head = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
    patterns
        .iter()
        .for_each(|(_, pattern)| heads[head(pattern)] = true);
    for at in 0..bytes.len().saturating_sub(1) {
        if heads[head(&bytes[at..])] {
            let found = patterns
                .iter()
                .find(|(_, pattern)| bytes[at..].starts_with(pattern));
            assert!(
                found.is_none(),
                "{} in {place}",
                found.map_or("", |(what, _)| what)
            );
        }
    }
}

/// Every file of a folder, and how many there were.
fn check_folder(folder: &Path) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += check_folder(&path);
        } else if path.is_file() {
            let mut bytes = std::fs::read(&path).unwrap();
            // A preallocated file ends in zeros, which take long to search.
            let end = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            bytes.truncate(end);
            check_clean(&path.display().to_string(), &bytes);
            files += 1;
        }
    }
    files
}

/// The search finds what it is to find.
#[test]
fn the_search_finds() {
    for bytes in [
        &b"x4761739001010119y"[..],
        &[0, 0x47, 0x61, 0x73, 0x90, 0x01, 0x01, 0x01, 0x19],
        &[0x04, 0x76, 0x17, 0x39, 0x00, 0x10, 0x10, 0x11, 0x9F],
    ] {
        assert!(std::panic::catch_unwind(|| check_clean("a test", bytes)).is_err());
    }
    check_clean("a test", b"476173******0119");
}

/// With every secret that a terminal can send.
fn with_secrets(message: Message) -> Message {
    let number = message.get(2).unwrap_or("4761739001010119").to_owned();
    message
        .set(35, format!("{number}=30121011234567890"))
        .set(36, "015413330089010012=3012101")
        .set(45, "B4761739001010119^CARDHOLDER/TEST^3012101")
        .set(52, PIN_BLOCK)
}

/// A day in which everything is logged at its loudest and everything is kept that is ever kept.
async fn a_day(setup: Setup) {
    let rules = [
        "mti=0200 amount=6800: drop",
        "mti=0200 amount=5100: decline 51",
        "mti=042x times=3: ignore",
    ];
    let setup = setup
        .set("refund.store_and_forward", "true")
        .response_timeout("300ms")
        .rules(&rules)
        .log("trace");
    let mut world = setup.start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    for card in [Card::visa(), Card::mastercard(), Card::unionpay()] {
        let purchase = with_secrets(shop.purchase(&card, 1_000));
        let answer = approved(&terminal, &purchase).await;
        approved(&terminal, &shop.repeat(&purchase)).await;
        let refund = with_secrets(shop.refund(&purchase, 300));
        approved(&terminal, &refund).await;
        answered(&terminal, &with_secrets(shop.refund(&purchase, 800)), "61").await;
        answered(&terminal, &with_secrets(shop.purchase(&card, 6_800)), "68").await;
        answered(&terminal, &with_secrets(shop.purchase(&card, 5_100)), "51").await;
        answered(
            &terminal,
            &with_secrets(shop.reversal(&shop.purchase(&card, 1))),
            "25",
        )
        .await;
        answered(
            &terminal,
            &with_secrets(shop.purchase(&card, 1_000)).remove(49),
            "30",
        )
        .await;
        answered(
            &terminal,
            &with_secrets(purchase.clone()).set(4, "000000000001"),
            "94",
        )
        .await;
        approved(&terminal, &with_secrets(shop.reversal(&refund))).await;
        let rrn = answer.get(37).unwrap().to_owned();
        show(
            &world,
            &["--rrn", &rrn, "--merchant", purchase.get(42).unwrap()],
        )
        .await;
    }
    // What cannot be read is logged without its bytes.
    for card in [Card::visa(), Card::mastercard()] {
        let body = with_secrets(shop.purchase(&card, 1_000))
            .encode(world.wire().spec)
            .unwrap();
        for cut in (1..body.len()).step_by(3) {
            terminal.send(&body[..cut]).await.unwrap();
        }
        let track_alone = with_secrets(shop.purchase(&card, 1))
            .remove(2)
            .set(35, "4761739001010119=3X");
        if let Ok(bytes) = track_alone.encode(world.wire().spec) {
            terminal.send(&bytes).await.unwrap();
        }
    }
    let before = shop.purchase(&Card::visa(), 2_000);
    approved(&terminal, &before).await;
    world.issuer.close_listener().await;
    world.issuer.disconnect_all();
    until("the link is down", async || {
        world.node.metric("refundry_issuer_up", &[]).await == 0.0
    })
    .await;
    approved(&terminal, &with_secrets(shop.refund_advice(&before, 500))).await;
    let hold = shop.preauthorisation(&Card::unionpay(), 1_000);
    answered(&terminal, &with_secrets(hold), "91").await;
    // While advices wait, sealed.
    check_world(&world).await;
    world.node.kill();
    check_folder(&world.data_dir());
    world.issuer.open_listener().await.unwrap();
    world.start_again().await;
    world.saf_empty().await;
    check_world(&world).await;
    assert_eq!(world.node.terminate().await, 0);
    assert!(check_folder(&world.data_dir()) > 2);
    check_clean("the log", world.node.log().as_bytes());
}

/// The log, the metrics, the export and the files of a running node.
async fn check_world(world: &World) {
    check_clean("the log", world.node.log().as_bytes());
    check_clean("the metrics", world.node.get("/metrics").await.1.as_bytes());
    let config = world.config();
    for format in ["json", "csv"] {
        let arguments = [
            "ledger",
            "export",
            "--format",
            format,
            "--config",
            config.to_str().unwrap(),
        ];
        let output = run(&arguments).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stdout.len() > 1_000);
        check_clean("the export", &output.stdout);
        check_clean("the export's log", &output.stderr);
    }
    check_folder(&world.data_dir());
    let keys = std::fs::read_to_string(world.key_file()).unwrap();
    let keys = keys
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(' ').nth(2));
    let log = world.node.log();
    let mut found = 0;
    for key in keys.filter(|key| key.len() == 64) {
        assert!(!log.contains(key), "a key in the log");
        found += 1;
    }
    assert_eq!(found, 2);
}

async fn show(world: &World, arguments: &[&str]) {
    let config = world.config();
    let arguments = [
        &["ledger", "show", "--config", config.to_str().unwrap()],
        arguments,
    ]
    .concat();
    let output = run(&arguments).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    check_clean("what is shown", &output.stdout);
}

/// Runs the binary to its end, at its loudest.
async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(node::PATH);
    command.args(arguments).env("REFUNDRY_LOG", "trace");
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn nowhere_in_clear_in_ascii() {
    a_day(Setup::new()).await;
}

#[tokio::test]
async fn nowhere_in_clear_in_binary() {
    a_day(Setup::binary()).await;
}

/// Runs `serve` on a site where it must refuse to start; what it says.
async fn refuses(site: &Site) -> String {
    let config = site.config();
    let serving = run_serve(config.to_str().unwrap()).await;
    assert_eq!(serving.status.code(), Some(2), "{serving:?}");
    String::from_utf8(serving.stderr).unwrap()
}

async fn run_serve(config: &str) -> Output {
    let mut command = Command::new("timeout");
    command.args(["20", node::PATH, "serve", "--config", config]);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// A ledger that is not empty, and no node on it.
async fn used() -> World {
    let mut world = Setup::new().start().await;
    approved(
        &world.terminal().await,
        &merchant().purchase(&Card::visa(), 1_000),
    )
    .await;
    assert_eq!(world.node.terminate().await, 0);
    world
}

#[tokio::test]
async fn the_key_file_is_made_for_its_owner() {
    let world = used().await;
    let mode = std::fs::metadata(world.key_file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    let made = std::fs::read(world.key_file()).unwrap();
    let mut world = world;
    world.start_again().await;
    assert_eq!(
        std::fs::read(world.key_file()).unwrap(),
        made,
        "it is made once"
    );
    let socket = std::fs::metadata(world.data_dir().join("refundry.sock")).unwrap();
    assert_eq!(
        socket.permissions().mode() & 0o077,
        0,
        "the owner alone may ask"
    );
}

#[tokio::test]
async fn a_ledger_without_its_key_file_is_not_opened() {
    let world = used().await;
    let elsewhere = world.dir().join("backup");
    std::fs::rename(world.key_file(), &elsewhere).unwrap();
    let said = refuses(&world).await;
    assert!(said.contains(world.key_file().to_str().unwrap()), "{said}");
    assert!(said.contains("put the file back"), "{said}");
    assert!(!world.key_file().exists(), "no new one is made");
    std::fs::rename(&elsewhere, world.key_file()).unwrap();
    let mut world = world;
    world.start_again().await;
}

/// The key file of another node: its keys have other ids, lest every refund become one of another card.
#[tokio::test]
async fn the_key_file_of_another_ledger_is_refused() {
    let (world, other) = (used().await, used().await);
    std::fs::copy(other.key_file(), world.key_file()).unwrap();
    let said = refuses(&world).await;
    assert!(said.contains("which is not in the key file"), "{said}");
}

/// The right ids and other keys: cards would compare with nothing on record, and no advice would open.
#[tokio::test]
async fn another_key_by_the_id_of_one_in_use_is_refused() {
    let mut world = used().await;
    let keys = std::fs::read_to_string(world.key_file()).unwrap();
    for key_use in ["digest", "sealing"] {
        let line = keys.lines().find(|line| line.starts_with(key_use)).unwrap();
        let [_, id, key] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a use, an id and a key")
        };
        let other: String = key.chars().rev().collect();
        std::fs::write(world.key_file(), keys.replace(key, &other)).unwrap();
        let said = refuses(&world).await;
        let expected = format!("{key_use} key {id} is not the key that the ledger knows");
        assert!(said.contains(&expected), "{said}");
        assert!(!said.contains(&key[..16]) && !said.contains(&other[..16]));
    }
    std::fs::write(world.key_file(), &keys).unwrap();
    world.start_again().await;
}

#[tokio::test]
async fn a_key_file_open_to_others_is_refused() {
    let world = used().await;
    for mode in [0o640, 0o604, 0o620] {
        std::fs::set_permissions(world.key_file(), std::fs::Permissions::from_mode(mode)).unwrap();
        let said = refuses(&world).await;
        assert!(said.contains("chmod 600"), "{said}");
    }
}

#[tokio::test]
async fn a_damaged_key_file_is_refused_without_a_word_of_it() {
    let world = used().await;
    let keys = std::fs::read_to_string(world.key_file()).unwrap();
    let key = keys
        .lines()
        .find_map(|line| line.strip_prefix("digest "))
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap();
    std::fs::write(world.key_file(), keys.replace(key, &key[..62])).unwrap();
    let said = refuses(&world).await;
    assert!(said.contains("refundry.key:"), "{said}");
    assert!(!said.contains(&key[..16]), "{said}");
}
