//! Damage to the files of a ledger: a start serves what was there, or refuses and says where the damage is and what to do; it never
//! serves anything else, and `ledger verify` finds whatever a start would.
//!
//! Two folders are damaged, one of a node that was stopped and one of a node that was killed. The seed is printed, and `SEED` sets
//! it; `TRIALS` sets how many random damages there are.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use node::{Random, Setup, ask, merchant};
use simulators::Card;

const TRIALS: usize = 30;

/// A sector: what the journal's batches are aligned to.
const SECTOR: usize = 512;

/// The header of a segment of the journal, and of a batch.
const SEGMENT_HEADER: usize = 4096;
const BATCH_HEADER: usize = 48;

/// The longest batch.
const BATCH_MAX: usize = 8 << 20;

/// A file: its bytes up to the last that is not zero, and its length.
#[derive(Clone, PartialEq)]
struct Content {
    head: Vec<u8>,
    len: u64,
}

/// A folder in memory, by path below it.
#[derive(Clone)]
struct Image(BTreeMap<PathBuf, Content>);

impl Image {
    fn read(dir: &Path) -> Image {
        let mut image = Image(BTreeMap::new());
        image.read_below(dir, dir);
        image
    }

    fn read_below(&mut self, root: &Path, dir: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.read_below(root, &path);
            } else if path.is_file() {
                let mut head = fs::read(&path).unwrap();
                let len = head.len() as u64;
                let used = head.iter().rposition(|byte| *byte != 0);
                head.truncate(used.map_or(0, |last| last + 1));
                let name = path.strip_prefix(root).unwrap().to_owned();
                self.0.insert(name, Content { head, len });
            }
        }
    }

    fn write(&self) -> tempfile::TempDir {
        // In memory where there is such a folder: a sync costs nothing.
        let shared_memory = Path::new("/dev/shm");
        let dir = match tempfile::tempdir_in(shared_memory) {
            Ok(dir) => dir,
            Err(_) => tempfile::tempdir().unwrap(),
        };
        for (name, content) in &self.0 {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut file = File::create(path).unwrap();
            file.write_all(&content.head).unwrap();
            // What is zero takes no room.
            file.set_len(content.len).unwrap();
        }
        dir
    }

    fn names(&self) -> Vec<PathBuf> {
        self.0.keys().cloned().collect()
    }

    fn named(&self, end: &str) -> PathBuf {
        let found = self
            .0
            .keys()
            .find(|name| name.to_str().unwrap().ends_with(end));
        found.unwrap_or_else(|| panic!("no {end}")).clone()
    }

    fn content(&mut self, name: &Path) -> &mut Content {
        self.0.get_mut(name).unwrap()
    }

    /// The journal's only segment, and where its batches stand in it, by what their headers say.
    fn batches(&self) -> (PathBuf, Vec<Range<usize>>) {
        let name = self.named(".log");
        let head = &self.0[&name].head;
        let (mut batches, mut at) = (Vec::new(), SEGMENT_HEADER);
        while head.get(at..at + 4) == Some(b"RFJB") {
            let records = u32::from_le_bytes(head[at + 20..at + 24].try_into().unwrap());
            let end = (at + BATCH_HEADER + records as usize).next_multiple_of(SECTOR);
            batches.push(at..end);
            at = end;
        }
        assert!(head.len() <= at, "the journal has more than was found");
        (name, batches)
    }
}

/// What is done to a folder.
#[derive(Clone, Debug)]
enum Damage {
    Flip {
        file: PathBuf,
        at: usize,
        bit: u8,
    },
    Cut {
        file: PathBuf,
        at: usize,
    },
    Zero {
        file: PathBuf,
        at: usize,
        len: usize,
    },
    /// A block comes twice, and the rest moves on.
    Twice {
        file: PathBuf,
        at: usize,
        len: usize,
    },
    /// A block lies over another.
    Over {
        file: PathBuf,
        from: usize,
        to: usize,
        len: usize,
    },
    Remove {
        file: PathBuf,
    },
    RemoveFolder {
        folder: &'static str,
    },
    Swap {
        one: PathBuf,
        other: PathBuf,
    },
}

impl Damage {
    fn random(image: &Image, random: &Random) -> Damage {
        let names: Vec<PathBuf> = (image.0.iter())
            .filter(|(_, content)| !content.head.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        // Where most bytes are, most damage is: the two journals.
        let file = match random.below(3) {
            0 => image.named(".log"),
            1 => image.named(".jnl"),
            _ => names[random.below(names.len())].clone(),
        };
        let used = image.0[&file].head.len();
        let at = match random.below(4) {
            0 => random.below(used.min(64)),
            1 => used - 1 - random.below(used.min(2 * SECTOR)),
            _ => random.below(used),
        };
        let len = [1, SECTOR, 4096][random.below(3)].min(used);
        let to = random.below(used) / SECTOR * SECTOR;
        match random.below(12) {
            0..5 => Damage::Flip {
                file,
                at,
                bit: random.byte() % 8,
            },
            5 => Damage::Cut { file, at },
            6 | 7 => Damage::Zero { file, at, len },
            8 => Damage::Twice {
                file,
                at: at / SECTOR * SECTOR,
                len,
            },
            9 => Damage::Over {
                file,
                from: at / SECTOR * SECTOR,
                to,
                len,
            },
            10 => Damage::Remove { file },
            _ => Damage::Swap {
                one: file,
                other: names[random.below(names.len())].clone(),
            },
        }
    }

    fn apply(&self, image: &mut Image) {
        match self {
            Damage::Flip { file, at, bit } => {
                let head = &mut image.content(file).head;
                head.resize(head.len().max(at + 1), 0);
                head[*at] ^= 1 << bit;
            }
            Damage::Cut { file, at } => {
                let content = image.content(file);
                content.head.truncate(*at);
                content.len = *at as u64;
            }
            Damage::Zero { file, at, len } => {
                let head = &mut image.content(file).head;
                let end = head.len().min(at + len);
                head[*at..end].fill(0);
            }
            Damage::Twice { file, at, len } => {
                let content = image.content(file);
                let end = content.head.len().min(at + len);
                let block = content.head[*at..end].to_vec();
                content.len = content.len.max((content.head.len() + block.len()) as u64);
                content.head.splice(*at..*at, block);
            }
            Damage::Over {
                file,
                from,
                to,
                len,
            } => {
                let head = &mut image.content(file).head;
                let len = (*len).min(head.len() - from).min(head.len() - to);
                head.copy_within(*from..from + len, *to);
            }
            Damage::Remove { file } => drop(image.0.remove(file)),
            Damage::RemoveFolder { folder } => image.0.retain(|name, _| !name.starts_with(folder)),
            Damage::Swap { one, other } => {
                let first = image.0[one].clone();
                let second = image.0.insert(other.clone(), first).unwrap();
                image.0.insert(one.clone(), second);
            }
        }
    }
}

/// A folder, and what a start may make of it when it is damaged.
struct Patient {
    image: Image,
    /// Whether the node had stopped by itself.
    clean: bool,
    /// The export.
    whole: String,
}

#[derive(PartialEq)]
enum Outcome {
    Whole,
    Torn,
    Refused,
}

impl Patient {
    fn new(image: Image, clean: bool) -> Patient {
        let whole = export(&image);
        Patient {
            image,
            clean,
            whole,
        }
    }

    /// What is left when a crash may have done this damage: the last batch that was begun is gone, and nothing tells that it was
    /// ever there or that another came after it. `None` where something tells, or the damage is elsewhere.
    fn may_lose(&self, damaged: &Image) -> Option<String> {
        let (file, batches) = self.image.batches();
        let (old, new) = (&self.image.0[&file], damaged.0.get(&file)?);
        let end = batches.last()?.end;
        let padded = |content: &Content| {
            let mut bytes = content.head.clone();
            bytes.resize(bytes.len().max(end), 0);
            bytes
        };
        let (was, is) = (padded(old), padded(new));
        if self.clean || new.len != old.len || was[..SEGMENT_HEADER] != is[..SEGMENT_HEADER] {
            return None;
        }
        let differs = |batch: &&Range<usize>| was[(*batch).clone()] != is[(*batch).clone()];
        let lost = batches.iter().find(differs)?;
        let header = |at: usize| &was[at..at + BATCH_HEADER];
        let is_header = |bytes: &[u8]| batches.iter().any(|batch| bytes == header(batch.start));
        let has_header = &is[lost.start..lost.start + BATCH_HEADER] == header(lost.start);
        let reach = match has_header {
            true => lost.end,
            false => lost.start + BATCH_MAX,
        };
        // Any header behind, and another one in its place, tells; and so does any byte that it cannot have written.
        let behind = lost.start + usize::from(has_header);
        let mut tells = is[behind..].windows(BATCH_HEADER);
        let mut beyond = is.iter().skip(reach);
        if tells.any(is_header) || beyond.any(|byte| *byte != 0) {
            return None;
        }
        let mut image = self.image.clone();
        image.content(&file).head.truncate(lost.start);
        Some(export(&image))
    }

    /// Damages a copy, and looks what the program makes of it; `Err` says what it must not do.
    fn suffers(&self, damage: &Damage) -> Result<Outcome, String> {
        let mut image = self.image.clone();
        damage.apply(&mut image);
        let dir = image.write();
        let exported = ledger("export", dir.path());
        let said = stderr(&exported);
        let wrong = |what: &str| Err(format!("{damage:?}: {what}: {said}"));
        match exported.status.code() {
            Some(0) => {
                let found = String::from_utf8(exported.stdout).unwrap();
                if found == self.whole {
                    Ok(Outcome::Whole)
                } else if Some(found) == self.may_lose(&image) {
                    Ok(Outcome::Torn)
                } else {
                    wrong("other balances")
                }
            }
            Some(1) => {
                let advice = ["restore", "put the", "no ledger in this folder"];
                let verified = ledger("verify", image.write().path());
                if !said.contains(dir.path().to_str().unwrap()) {
                    wrong("no file is named")
                } else if !said.contains("at byte") && !is_library_alone(&said) {
                    wrong("no place is named")
                } else if !advice.iter().any(|words| said.contains(words)) {
                    wrong("not said what to do")
                } else if verified.status.code() != Some(1) {
                    wrong(&format!("verify says {:?}", verified.status))
                } else {
                    Ok(Outcome::Refused)
                }
            }
            status => wrong(&format!("{status:?}")),
        }
    }
}

/// Where the cold store's library alone can tell that a file of it is damaged, and does not tell where; or where no ledger is left.
fn is_library_alone(said: &str) -> bool {
    said.contains("FjallError") || said.contains("no ledger in this folder")
}

fn ledger(command: &str, dir: &Path) -> Output {
    let mut process = Command::new(node::PATH);
    process.args(["ledger", command, "--data-dir"]).arg(dir);
    process.output().unwrap()
}

fn export(image: &Image) -> String {
    let output = ledger("export", image.write().path());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Folders of a node that was stopped, and of one that was killed at work.
async fn patients() -> [Patient; 2] {
    let mut world = Setup::new().log("error").start().await;
    let shop = merchant();
    let mut images = Vec::new();
    for is_killed in [false, true] {
        let terminal = world.terminal().await;
        for number in 0..24 {
            let purchase = shop.purchase(&Card::visa(), 1_000 + number);
            ask(&terminal, &purchase).await;
            let refund = shop.refund(&purchase, 300);
            ask(&terminal, &refund).await;
            match number % 6 {
                0 => drop(ask(&terminal, &shop.reversal(&refund)).await),
                1 => drop(ask(&terminal, &shop.refund(&purchase, 700)).await),
                _ => {}
            }
        }
        if is_killed {
            world.node.kill();
        } else {
            assert_eq!(world.node.terminate().await, 0);
        }
        images.push(Image::read(&world.data_dir()));
        if !is_killed {
            world.start_again().await;
        }
    }
    let [stopped, killed] = images.try_into().ok().unwrap();
    let make = || [Patient::new(stopped, true), Patient::new(killed, false)];
    tokio::task::spawn_blocking(make).await.unwrap()
}

/// Damages that are not left to chance.
fn chosen(image: &Image) -> Vec<Damage> {
    let mut damages = Vec::new();
    let (segment, batches) = image.batches();
    let [.., fourth, third, second, last] = batches.as_slice() else {
        panic!("a short journal");
    };
    let library = image.named(".jnl");
    let flip = |file: &PathBuf, at| Damage::Flip {
        file: file.clone(),
        at,
        bit: 3,
    };
    // The header of the segment, of the first batch and of the last.
    damages.extend([0, 9, 20, 33, 41, 100].map(|at| flip(&segment, at)));
    damages.extend([0, 9, 21, 33, 45, 50].map(|at| flip(&segment, 4096 + at)));
    damages.extend([0, 9, 21, 33, 45, 50].map(|at| flip(&segment, last.start + at)));
    // Zeros over the last headers: the whole end, from a header and from inside a batch; all but what is left of the last batch, that is
    // behind what the first of them can have written, and that is not.
    let zeros = [
        fourth.start..last.end,
        fourth.start + 100..last.end,
        second.start + 136..last.start + 136,
        fourth.start + 100..last.start + BATCH_HEADER,
        third.start..last.start + BATCH_HEADER,
    ];
    damages.extend(zeros.map(|place| Damage::Zero {
        file: segment.clone(),
        at: place.start,
        len: place.len(),
    }));
    // Batches that are no longer where they were.
    for at in [fourth.start, fourth.start + SECTOR, last.start] {
        damages.extend([1, SECTOR].map(|len| Damage::Twice {
            file: segment.clone(),
            at,
            len,
        }));
    }
    // The library's journal, from its first byte on.
    damages.extend([0, 1, 5, 12, 13, 15, 26, 30, 34].map(|at| flip(&library, at)));
    // Its highest bit makes the library's next sequence number one too many.
    damages.push(Damage::Flip {
        file: library.clone(),
        at: 12,
        bit: 7,
    });
    let used = image.0[&library].head.len();
    damages.extend([used / 3, used / 2, used - 1].map(|at| Damage::Cut {
        file: library.clone(),
        at,
    }));
    damages.push(Damage::Zero {
        file: library,
        at: used / 2,
        len: SECTOR,
    });
    // One keyspace's folder is like another's.
    let is_alike =
        |file: &PathBuf| (2..4).any(|number| file.starts_with(format!("cold/keyspaces/{number}")));
    for file in image.names().into_iter().filter(|file| !is_alike(file)) {
        let is_marker = file.ends_with("current");
        if is_marker || image.0[&file].head.len() < SECTOR && file.starts_with("cold/keyspaces") {
            damages.push(flip(&file, 3));
        }
        if file.ends_with("journal.clean") {
            damages.extend((0..48).step_by(9).map(|at| flip(&file, at)));
        }
        damages.push(Damage::Remove { file });
    }
    let folders = [
        "cold",
        "journal",
        "cold/keyspaces",
        "cold/keyspaces/1",
        "cold/keyspaces/3",
        "cold/runs",
    ];
    damages.extend(folders.map(|folder| Damage::RemoveFolder { folder }));
    damages
}

/// Damages a folder in every chosen way and in some random ones.
fn damage(patient: &Patient, name: &str, random: Vec<Damage>) {
    let mut damages = chosen(&patient.image);
    damages.extend(random);
    let (mut whole, mut torn, mut refused) = (0, 0, 0);
    let mut wrong = Vec::new();
    for damage in &damages {
        match patient.suffers(damage) {
            Ok(Outcome::Whole) => whole += 1,
            Ok(Outcome::Torn) => torn += 1,
            Ok(Outcome::Refused) => refused += 1,
            Err(what) => wrong.push(what),
        }
    }
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    println!("{name}: {refused} refused, {whole} without harm, {torn} as a torn write");
    assert!(refused > damages.len() / 4 && whole > 0);
}

#[tokio::test]
async fn damage_is_noticed_or_does_no_harm() {
    let random = Random::new();
    let trials = std::env::var("TRIALS").map_or(TRIALS, |trials| trials.parse().unwrap());
    let [stopped, killed] = patients().await;
    let draw = |patient: &Patient| -> Vec<Damage> {
        let damages = (0..trials / 2).map(|_| Damage::random(&patient.image, &random));
        damages.collect()
    };
    let (for_stopped, for_killed) = (draw(&stopped), draw(&killed));
    let one = tokio::task::spawn_blocking(move || damage(&stopped, "stopped", for_stopped));
    let other = tokio::task::spawn_blocking(move || damage(&killed, "killed", for_killed));
    one.await.unwrap();
    other.await.unwrap();
}
