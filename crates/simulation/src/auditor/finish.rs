//! The last audit, of a world at rest: issuers, ledger and receipts say the same.

use refund_ledger::store::embedded::disk::SimulatedDisk;
use refund_ledger::{Kind, Status, Transaction, VoidState};

use super::ledger::link_of;
use super::{Auditor, is_of};
use crate::issuer::{Entry, Issuer};
use crate::plan::{CARDS, LINKS};
use crate::terminal::{self, Operation};

impl Auditor {
    pub(crate) fn finish(
        &mut self,
        operations: &[Operation],
        issuers: &[Issuer; LINKS],
        disk: &SimulatedDisk,
    ) {
        let mut found = Vec::new();
        found.extend(self.ledger.open());
        for known in self.ledger.transactions.values() {
            found.extend(self.check_settled(known, issuers));
        }
        for (link, issuer) in issuers.iter().enumerate() {
            for numbers in issuer.entries.keys() {
                if self.transaction(link, *numbers).is_none() {
                    found.push(format!(
                        "issuer {link} knows {numbers:?}, the ledger does not"
                    ));
                }
            }
        }
        for operation in operations {
            found.extend(self.check_receipts(operation, operations, issuers));
        }
        let image = disk.image();
        let files = image
            .iter()
            .map(|(path, bytes)| (path.display().to_string(), &bytes[..]));
        let rows = ("the database".to_owned(), &self.stored[..]);
        found.extend(
            files
                .chain([rows])
                .find_map(|(place, bytes)| find_pan(&place, bytes)),
        );
        self.violations.extend(found);
    }

    /// Issuer and ledger agree on a transaction.
    fn check_settled(&self, known: &Transaction, issuers: &[Issuer; LINKS]) -> Option<String> {
        let relayed = known.kind.is_original()
            || matches!(known.kind, Kind::Refund | Kind::Void | Kind::RefundVoid);
        if !relayed || self.ledger.is_dead(known.key) {
            return None;
        }
        let entry = entry_of(known, issuers);
        let moved = entry.map_or(0, Entry::amount);
        // What a void took stays at the issuer beside its void, also where it was reversed afterwards.
        let stands = known.status == Status::Approved
            || known.status == Status::Reversed && known.void == VoidState::Done;
        let counts = match stands {
            true => match known.kind {
                Kind::Purchase | Kind::Preauth => known.books.approved.0 - known.books.partial.0,
                _ => {
                    known
                        .answer
                        .as_ref()
                        .and_then(|answer| answer.amount)
                        .unwrap_or(known.request.amount)
                        .0
                }
            },
            false => 0,
        };
        (moved != counts).then(|| {
            format!(
                "a {} {} is {}: {counts} in the ledger, {moved} at the issuer as {:?}",
                known.kind.name(),
                known.key,
                known.status.name(),
                known.issuer.map(|issuer| (issuer.stan.0, issuer.time.0))
            )
        })
    }

    /// What a till was told is what came to be.
    fn check_receipts(
        &self,
        operation: &Operation,
        operations: &[Operation],
        issuers: &[Issuer; LINKS],
    ) -> Option<String> {
        let told = &operation.message;
        let records: Vec<&Transaction> = self.records(operation).collect();
        if records.iter().any(|known| self.ledger.is_dead(known.key))
            || operation.answers.is_empty()
        {
            return None;
        }
        if operation.kind == terminal::Kind::Reversal {
            return self.check_reversal(operation, operations, issuers);
        }
        let by_hand = |known: &&Transaction| self.ledger.discarded.contains(&known.key);
        let is_settled_by_hand = records.iter().any(by_hand);
        let in_effect = records
            .iter()
            .filter_map(|known| entry_of(known, issuers))
            .filter(|entry| entry.is_in_effect())
            .count();
        if !operation.is_approved() && in_effect > 0 {
            return Some(format!(
                "answered {:?} and in effect at the issuer: {told:?}",
                operation.code()
            ));
        }
        let undone = operations
            .iter()
            .any(|other| other.kind == terminal::Kind::Reversal && may_mean(other, operation));
        if operation.is_approved() && !undone && in_effect != 1 && !is_settled_by_hand {
            return Some(format!(
                "answered approved, nobody reversed it, {in_effect} times in effect: {told:?}"
            ));
        }
        None
    }

    /// A reversal that was taken over had its effect.
    fn check_reversal(
        &self,
        operation: &Operation,
        operations: &[Operation],
        issuers: &[Issuer; LINKS],
    ) -> Option<String> {
        let target = operations.get(operation.target?)?;
        let meant = operations.iter().filter(|other| may_mean(operation, other));
        if !operation.is_approved() || meant.count() > 1 {
            return None;
        }
        let stays = operation.message.stays().unwrap_or(0);
        for known in self.records(target) {
            let is_voided = self.ledger.transactions.values().any(|void| {
                matches!(void.kind, Kind::Void | Kind::RefundVoid)
                    && void.original == Some(known.key)
                    && entry_of(void, issuers).is_some_and(Entry::is_in_effect)
            });
            // A void that stays since what it took was reversed, too: neither stands.
            let is_of_what_is_gone = matches!(known.kind, Kind::Void | Kind::RefundVoid)
                && known
                    .original
                    .and_then(|original| self.ledger.transactions.get(&original))
                    .is_some_and(|original| {
                        original.status == Status::Reversed && original.void == VoidState::Done
                    });
            if is_voided || is_of_what_is_gone || self.ledger.is_dead(known.key) {
                continue;
            }
            let moved = entry_of(known, issuers).map_or(0, Entry::amount);
            if moved > stays {
                return Some(format!(
                    "its reversal was answered 00, and {moved} stays: {:?}",
                    target.message
                ));
            }
        }
        None
    }

    fn records(&self, operation: &Operation) -> impl Iterator<Item = &Transaction> {
        let all = self.ledger.transactions.values();
        all.filter(move |known| {
            is_of(operation, known) && !matches!(known.kind, Kind::SameAs | Kind::Tombstone)
        })
    }
}

/// Whether a reversal's DE 90 fits an operation of its till.
fn may_mean(reversal: &Operation, operation: &Operation) -> bool {
    let (stan, time) = reversal.message.names();
    operation.kind != terminal::Kind::Reversal
        && operation.till == reversal.till
        && (stan == 0 || u64::from(stan) == operation.message.number(11))
        && (time == 0 || operation.times.contains(&time))
}

fn entry_of<'a>(known: &Transaction, issuers: &'a [Issuer; LINKS]) -> Option<&'a Entry> {
    let issuer = known.issuer?;
    let numbers = (issuer.stan.0, issuer.time.0);
    issuers[link_of(issuer.link.as_str())].entries.get(&numbers)
}

/// A card number in what is stored, as digits or packed.
fn find_pan(place: &str, bytes: &[u8]) -> Option<String> {
    let holds = |needle: &[u8]| {
        let mut parts = bytes.windows(needle.len());
        parts.any(|part| part[0] == needle[0] && part == needle)
    };
    let found = CARDS.iter().any(|(pan, _)| {
        let pairs = pan.as_bytes().chunks_exact(2);
        let packed: Vec<u8> = pairs
            .map(|pair| (pair[0] - b'0') << 4 | (pair[1] - b'0'))
            .collect();
        holds(pan.as_bytes()) || holds(&packed)
    });
    found.then(|| format!("a card number is in clear in {place}"))
}
