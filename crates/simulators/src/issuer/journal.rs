//! Every message that the issuer decided, as JSON lines in a file, synced before it is answered.
//!
//! A test that kills processes compares this with what the others believe. The card number is masked; a salted hash beside it
//! says which lines are about the same card.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use iso8583_codec::mask;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::accounts::{Request, Verdict};

pub(super) struct Journal {
    file: File,
    salt: String,
    /// Lines that are not written yet.
    lines: Vec<u8>,
}

impl Journal {
    /// Opens a journal, behind what is in it.
    pub(super) fn open(path: &Path, salt: &str) -> io::Result<Journal> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Journal {
            file,
            salt: salt.to_owned(),
            lines: Vec::new(),
        })
    }

    /// Takes a line; [`Journal::sync`] writes it.
    pub(super) fn add(&mut self, connection: u64, request: &Request, verdict: Verdict, sent: bool) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let facts = &request.facts;
        let line = json!({
            "connection": connection,
            "mti": facts.mti.to_string(),
            "stan": request.stan.map(|stan| stan.to_string()),
            "time": request.time.map(|time| time.to_string()),
            "pan": facts.pan.as_ref().map(|pan| mask(pan.digits())),
            "card": facts.pan.as_ref().map(|pan| card_hash(&self.salt, pan.digits())),
            "processing_code": facts.processing_code.map(|code| text(&code)),
            "amount": facts.amount,
            "replacement": request.replacement,
            "original": request.original.map(|original| text(&original.to_digits())),
            "rrn": request.rrn.map(|rrn| rrn.to_string()),
            "terminal": request.terminal.map(|terminal| text(&terminal)),
            "merchant": request.merchant.map(|merchant| text(&merchant)),
            "code": text(&verdict.code),
            "approved_amount": verdict.amount.or(facts.amount),
            "repeat": verdict.repeat,
            "sent": sent,
        });
        self.lines.extend_from_slice(line.to_string().as_bytes());
        self.lines.push(b'\n');
    }

    /// Writes what was taken in one piece, and syncs it.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let written = self
            .file
            .write_all(&self.lines)
            .and_then(|()| self.file.sync_data());
        self.lines.clear();
        written
    }
}

/// Sixteen hex digits that are the same for the same card and salt.
pub(super) fn card_hash(salt: &str, pan: &[u8]) -> String {
    let digest = Sha256::new()
        .chain_update(salt)
        .chain_update([0])
        .chain_update(pan)
        .finalize();
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
