//! A whole ledger as a file, to be moved from one engine to another: every record in its stored form, card numbers sealed as they are.
//!
//! ```text
//! {"refundry_ledger":1,"id":"<32 hex>","keys":[[7,"<16 hex>"]],"last_event":1795354500000,"last_sent":[["bank-a",1122101500,17]]}
//! {"t":"<hex>"}         a transaction, in the order of keys
//! {"a":"<hex>"}         an advice
//! {"end":{"transactions":2,"advices":1,"check":"<16 hex>"}}
//! ```
//!
//! `check` is the XXH3 of all lines before it: a file that was cut off or altered is not taken for a whole one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use ledger_postgres::PostgresStore;
use refund_ledger::store::{Cursor, Facts, Store, embedded};
use refund_ledger::{
    Advice, Key, KeyCheck, KeyId, KnownKey, Name, Reader, Stan, Transaction, WireTime, Writer,
};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::Failure;
use crate::cli::LedgerImportArgs;
use crate::clock::monotonic_nanoseconds;
use crate::commands::place::{Place, database_failure};

/// The form of the file.
const FORM: u32 = 1;

/// Transactions that are read, or written, in one go.
const PAGE: usize = 1000;

/// Between two lines that say how far it is.
const SAY_EVERY_NANOSECONDS: u64 = 2_000_000_000;

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    refundry_ledger: u32,
    /// Another one for each export.
    id: String,
    /// Ids, and what tells keys of one id apart.
    keys: Vec<(u32, Option<String>)>,
    last_event: u64,
    last_sent: Vec<(String, u64, u32)>,
}

/// The last line.
#[derive(Serialize, Deserialize)]
struct Tail {
    end: End,
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct End {
    transactions: u64,
    advices: u64,
    check: String,
}

/// Says on stderr how far something is, now and then.
pub(super) struct Progress {
    word: &'static str,
    said: u64,
}

impl Progress {
    pub(super) fn new(word: &'static str) -> Progress {
        let said = monotonic_nanoseconds();
        Progress { word, said }
    }

    pub(super) fn at(&mut self, done: u64) {
        let now = monotonic_nanoseconds();
        if now.saturating_sub(self.said) >= SAY_EVERY_NANOSECONDS {
            self.said = now;
            eprintln!("{} {done} transactions", self.word);
        }
    }
}

/// Writes everything to stdout. The ledger must rest: what a node did meanwhile would be there in part.
pub(super) fn export(place: &Place) -> Result<(), Failure> {
    let failed = |error: refund_ledger::store::StoreError| Failure::Failed(error.to_string());
    if let Some(options) = place.database() {
        let store = PostgresStore::view(&options).map_err(|error| database_failure(&error))?;
        let before = store.resting().map_err(failed)?;
        let out = write_all(&store, &before.facts, &before.advices)?;
        if store.resting().map_err(failed)? != before {
            return Err(Failure::Failed(
                "a node worked on the ledger meanwhile; export it again".to_owned(),
            ));
        }
        store.close().map_err(failed)?;
        return out.finish();
    }
    let store = place.open_files()?;
    let recovered = store.recovered();
    let facts = Facts {
        keys: store.keys(),
        last_event: recovered.last_event,
        last_sent: recovered.last_sent,
    };
    write_all(&store, &facts, &store.advices())?.finish()
}

/// Lines on their way out, and what they come to.
struct Lines {
    out: Box<dyn Write>,
    end: End,
    check: Check,
}

impl Lines {
    fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.check.line(line);
        writeln!(self.out, "{line}").map_err(|error| Failure::output(&error))
    }

    /// The last line; without it the file is not whole.
    fn finish(mut self) -> Result<(), Failure> {
        self.end.check = self.check.told();
        let end = Tail { end: self.end };
        let end =
            serde_json::to_string(&end).map_err(|error| Failure::Failed(error.to_string()))?;
        let written = writeln!(self.out, "{end}").and_then(|()| self.out.flush());
        written.map_err(|error| Failure::output(&error))
    }
}

/// What lines come to.
#[derive(Default)]
struct Check(Xxh3);

impl Check {
    fn line(&mut self, line: &str) {
        self.0.update(line.as_bytes());
        self.0.update(b"\n");
    }

    fn told(&self) -> String {
        format!("{:016x}", self.0.digest())
    }
}

/// All but the last line.
fn write_all(store: &dyn Store, facts: &Facts, advices: &[Arc<Advice>]) -> Result<Lines, Failure> {
    let mut lines = Lines {
        out: Box::new(BufWriter::new(io::stdout().lock())),
        end: End {
            transactions: 0,
            advices: 0,
            check: String::new(),
        },
        check: Check::default(),
    };
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|error| Failure::Failed(format!("the system gives no random numbers: {error}")))?;
    let head = Head {
        refundry_ledger: FORM,
        id: hex(&id),
        keys: facts
            .keys
            .iter()
            .map(|key| (key.id.0, key.check.map(|check| hex(&check.0))))
            .collect(),
        last_event: facts.last_event,
        last_sent: facts
            .last_sent
            .iter()
            .map(|(link, time, stan)| (link.as_str().to_owned(), time.0, stan.0))
            .collect(),
    };
    let head = serde_json::to_string(&head).map_err(|error| Failure::Failed(error.to_string()))?;
    lines.line(&head)?;
    let mut progress = Progress::new("exported");
    let mut bytes = Vec::new();
    let mut cursor = Some(Cursor::default());
    while let Some(at) = cursor {
        let page = store.scan(&at, PAGE);
        let page = page.map_err(|error| Failure::Failed(error.to_string()))?;
        for transaction in &page.transactions {
            bytes.clear();
            Writer(&mut bytes).transaction(transaction);
            lines.line(&format!("{{\"t\":\"{}\"}}", hex(&bytes)))?;
            lines.end.transactions += 1;
        }
        progress.at(lines.end.transactions);
        cursor = page.next;
    }
    for advice in advices {
        bytes.clear();
        Writer(&mut bytes).advice(advice);
        lines.line(&format!("{{\"a\":\"{}\"}}", hex(&bytes)))?;
        lines.end.advices += 1;
    }
    Ok(lines)
}

/// Where a ledger is moved to.
enum Target {
    Files(Box<embedded::Import>, Vec<Arc<Transaction>>),
    Database(Box<ledger_postgres::Import>),
}

impl Target {
    fn open(place: &Place, id: [u8; 16], facts: &Facts) -> Result<Target, Failure> {
        if let Some(options) = place.database() {
            let import = ledger_postgres::Import::open(&options, id, facts);
            let import = import.map_err(|error| database_failure(&error))?;
            return Ok(Target::Database(Box::new(import)));
        }
        let import = embedded::Import::open(&place.data_dir, id, facts.last_event);
        let import = import.map_err(|error| match error {
            embedded::ImportError::Occupied(_) => Failure::Usage(error.to_string()),
            embedded::ImportError::Open(_) => Failure::Failed(error.to_string()),
        })?;
        Ok(Target::Files(Box::new(import), Vec::new()))
    }

    fn done(&self) -> u64 {
        match self {
            Target::Files(import, _) => import.done(),
            Target::Database(import) => import.done(),
        }
    }

    fn add(&mut self, record: Transaction) -> Result<(), Failure> {
        let record = Arc::new(record);
        match self {
            Target::Files(import, waiting) => {
                waiting.push(record);
                if waiting.len() < PAGE {
                    return Ok(());
                }
                let added = import.add(waiting);
                waiting.clear();
                added.map_err(|error| Failure::Failed(error.to_string()))
            }
            Target::Database(import) => import
                .add(record)
                .map_err(|error| Failure::Failed(error.to_string())),
        }
    }

    fn finish(self, advices: &[Arc<Advice>], facts: &Facts) -> Result<(), Failure> {
        match self {
            Target::Files(mut import, waiting) => import
                .add(&waiting)
                .and_then(|()| import.finish(advices, facts))
                .map_err(|error| Failure::Failed(error.to_string())),
            Target::Database(import) => import
                .finish(advices, facts)
                .map_err(|error| Failure::Failed(error.to_string())),
        }
    }
}

/// Reads such a file into the ledger that the configuration names, which must be empty or have a part of the same import. A file is read
/// to its end before the first record is stored: what was altered must not be there when the right one goes on with the import.
pub(super) fn import(args: &LedgerImportArgs) -> Result<(), Failure> {
    let place = Place::for_import(&args.config)?;
    let mut file = match &args.file {
        Some(path) if path.as_os_str() != "-" => {
            // A pipe gives what it has once.
            if path.is_file() {
                let mut file = Whole::open(path, args.name())?;
                file.head()?;
                file.read_all("checked", |_, _| Ok(()))?;
            }
            Whole::open(path, args.name())?
        }
        _ => Whole::new(Box::new(io::stdin().lock()), args.name()),
    };
    let (id, facts) = file.head()?;
    let mut target = Target::open(&place, id, &facts)?;
    let done = target.done();
    if done > 0 {
        eprintln!("an import that was broken off goes on after {done} transactions");
    }
    let (transactions, advices) = file.read_all("imported", |number, record| {
        if number > done {
            return target.add(record);
        }
        Ok(())
    })?;
    target.finish(&advices, &facts)?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "imported {transactions} transactions and {} advices; look at them with `refundry ledger verify`",
        advices.len()
    )
    .map_err(|error| Failure::output(&error))
}

fn not_read(name: &str, error: &io::Error) -> Failure {
    Failure::Failed(format!("{name}: cannot be read: {error}"))
}

/// The file, line by line.
struct Whole {
    reader: Box<dyn BufRead>,
    name: String,
    number: u64,
    check: Check,
    line: String,
}

/// A line after the first.
enum Line {
    Transaction(Box<Transaction>),
    Advice(Box<Advice>),
    /// What it says of the lines before it, and what these come to.
    End {
        told: End,
        check: String,
    },
}

impl Whole {
    fn open(path: &Path, name: String) -> Result<Whole, Failure> {
        let opened = File::open(path).map_err(|error| not_read(&name, &error))?;
        Ok(Whole::new(
            Box::new(BufReader::with_capacity(1 << 20, opened)),
            name,
        ))
    }

    fn new(reader: Box<dyn BufRead>, name: String) -> Whole {
        Whole {
            reader,
            name,
            number: 0,
            check: Check::default(),
            line: String::new(),
        }
    }

    /// Everything behind the head: hands each transaction over with its number, from 1; how many there were, and the advices.
    fn read_all(
        &mut self,
        word: &'static str,
        mut take: impl FnMut(u64, Transaction) -> Result<(), Failure>,
    ) -> Result<(u64, Vec<Arc<Advice>>), Failure> {
        let mut progress = Progress::new(word);
        let (mut transactions, mut advices) = (0, Vec::new());
        let mut last: Option<Key> = None;
        loop {
            match self.next()? {
                Line::Transaction(record) => {
                    if last.is_some_and(|last| record.key <= last) {
                        return Err(self.wrong("is out of order"));
                    }
                    last = Some(record.key);
                    transactions += 1;
                    take(transactions, *record)?;
                    progress.at(transactions);
                }
                Line::Advice(advice) => advices.push(Arc::new(*advice)),
                Line::End { told, check } => {
                    let end = End {
                        transactions,
                        advices: advices.len() as u64,
                        check,
                    };
                    if told != end {
                        return Err(self.wrong("says that more or other lines stood before it"));
                    }
                    self.must_end()?;
                    return Ok((transactions, advices));
                }
            }
        }
    }

    fn read(&mut self) -> Result<(), Failure> {
        self.line.clear();
        self.number += 1;
        let read = self.reader.read_line(&mut self.line);
        match read.map_err(|error| not_read(&self.name, &error))? {
            0 => Err(self.wrong("is missing: the file is cut off")),
            _ => {
                self.line.truncate(self.line.trim_end().len());
                Ok(())
            }
        }
    }

    /// Nothing may stand behind the last line.
    fn must_end(&mut self) -> Result<(), Failure> {
        self.line.clear();
        self.number += 1;
        let read = self.reader.read_line(&mut self.line);
        match read.map_err(|error| not_read(&self.name, &error))? {
            0 => Ok(()),
            _ => Err(self.wrong("stands behind the last one")),
        }
    }

    fn wrong(&self, what: &str) -> Failure {
        Failure::Failed(format!(
            "{}: line {} {what}; expected what `refundry ledger export --format full` writes",
            self.name, self.number
        ))
    }

    fn head(&mut self) -> Result<([u8; 16], Facts), Failure> {
        self.read()?;
        let head: Head =
            serde_json::from_str(&self.line).map_err(|_| self.wrong("is not its head line"))?;
        if head.refundry_ledger != FORM {
            return Err(self.wrong("is of another version of the program"));
        }
        let id = unhex(&head.id).and_then(|id| id.try_into().ok());
        let id = id.ok_or_else(|| self.wrong("has no id"))?;
        self.check.line(&self.line);
        let keys = head.keys.iter().map(|(id, check)| {
            let check = match check {
                Some(digits) => Some(KeyCheck(unhex(digits)?.try_into().ok()?)),
                None => None,
            };
            let id = KeyId(*id);
            Some(KnownKey { id, check })
        });
        let keys: Option<Vec<KnownKey>> = keys.collect();
        let facts = Facts {
            keys: keys.ok_or_else(|| self.wrong("has a key that cannot be read"))?,
            last_event: head.last_event,
            last_sent: head
                .last_sent
                .iter()
                .map(|(link, time, stan)| (Name::new(link), WireTime(*time), Stan(*stan)))
                .collect(),
        };
        Ok((id, facts))
    }

    fn next(&mut self) -> Result<Line, Failure> {
        self.read()?;
        let check = self.check.told();
        if self.line.starts_with("{\"end\"") {
            let tail = serde_json::from_str(&self.line);
            let Tail { end } = tail.map_err(|_| self.wrong("is not its last line"))?;
            return Ok(Line::End { told: end, check });
        }
        self.check.line(&self.line);
        let record = |prefix: &str| {
            let digits = self.line.strip_prefix(prefix)?.strip_suffix("\"}")?;
            unhex(digits)
        };
        if let Some(bytes) = record("{\"t\":\"") {
            let mut reader = Reader::new(&bytes);
            let record = reader.transaction();
            let record = record.and_then(|record| reader.end().map(|()| record));
            let record = record.map_err(|_| self.wrong("has a record that cannot be read"))?;
            return Ok(Line::Transaction(Box::new(record)));
        }
        if let Some(bytes) = record("{\"a\":\"") {
            let mut reader = Reader::new(&bytes);
            let advice = reader.advice();
            let advice = advice.and_then(|advice| reader.end().map(|()| advice));
            let advice = advice.map_err(|_| self.wrong("has an advice that cannot be read"))?;
            return Ok(Line::Advice(Box::new(advice)));
        }
        Err(self.wrong("is neither a record nor the end"))
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.extend([digit(byte >> 4), digit(byte & 0x0F)]);
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let value = |digit: u8| char::from(digit).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(value(*high)? << 4 | value(*low)?).ok();
    pairs.iter().map(byte).collect()
}
