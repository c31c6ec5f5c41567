//! What the issuer executes: its transactions and their effect on cards. No socket, no clock.

use std::collections::{HashMap, HashSet, VecDeque};

use iso8583_codec::{FieldError, Message, OriginalData, Rrn, Stan, TransmissionTime};

use super::books::{CardTotals, Kind, Transaction};
use super::rule::Facts;

/// The second digit of the MTI of network messages.
const NETWORK_CLASS: u8 = 8;

/// The code of an approval.
pub(super) const APPROVED: [u8; 2] = *b"00";
/// Approved for a smaller amount.
pub(super) const APPROVED_PARTIALLY: [u8; 2] = *b"10";
/// What no issuer of this kind does, and a message whose reversal came before it.
const INVALID: [u8; 2] = *b"12";
/// Not the amount that this message must carry.
const WRONG_AMOUNT: [u8; 2] = *b"13";
/// Nothing is left to undo.
const NOTHING_LEFT: [u8; 2] = *b"21";
/// The original is unknown.
const UNKNOWN: [u8; 2] = *b"25";
/// A needed data element is missing or malformed.
const FORMAT: [u8; 2] = *b"30";

/// Codes that say "try again": the message is decided anew when it comes again.
const TRY_AGAIN: [[u8; 2]; 7] = [*b"09", *b"68", *b"90", *b"91", *b"92", *b"96", *b"98"];

/// The transactions of an issuer, the oldest forgotten when there are too many.
pub(super) struct Accounts {
    transactions: VecDeque<Transaction>,
    /// Number of the transaction at the front.
    first: u64,
    index: HashMap<Key, u64>,
    /// Originals whose reversal came before them.
    reversed_unseen: HashSet<Key>,
    cards: HashMap<Vec<u8>, CardTotals>,
    transactions_max: usize,
    approvals: u32,
}

/// What joins a repeat to its transaction, and a reversal to its original.
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Second digit of the MTI.
    class: u8,
    stan: Stan,
    time: TransmissionTime,
}

/// What the issuer reads of a message.
pub(super) struct Request {
    pub(super) facts: Facts,
    pub(super) stan: Option<Stan>,
    pub(super) time: Option<TransmissionTime>,
    pub(super) rrn: Option<Rrn>,
    pub(super) terminal: Option<[u8; 8]>,
    pub(super) merchant: Option<[u8; 15]>,
    pub(super) original: Option<OriginalData>,
    /// First part of DE95: what stays.
    pub(super) replacement: Option<u64>,
}

impl Request {
    pub(super) fn read(message: &Message<'_>) -> Result<Request, FieldError> {
        Ok(Request {
            facts: Facts {
                mti: message.mti(),
                processing_code: message.processing_code()?,
                amount: message.amount(4)?,
                pan: message.pan()?,
                network: message
                    .text(70)
                    .and_then(|code| <[u8; 3]>::try_from(&*code).ok()),
            },
            stan: message.stan()?,
            time: message.transmission_time()?,
            rrn: message.rrn()?,
            terminal: message.terminal_id()?,
            merchant: message.merchant_id()?,
            original: message.original_data()?,
            replacement: message.replacement_amount()?,
        })
    }

    fn key(&self) -> Option<Key> {
        Some(Key {
            class: self.facts.mti.class(),
            stan: self.stan?,
            time: self.time?,
        })
    }

    fn kind(&self) -> Option<Kind> {
        match (self.facts.mti.class(), self.facts.processing_code?) {
            (1, _) => Some(Kind::PreAuthorisation),
            (2, [b'0' | b'2', b'2', ..]) => Some(Kind::Void),
            (2, [b'0' | b'1', ..]) => Some(Kind::Purchase),
            (2, [b'2', ..]) => Some(Kind::Refund),
            (2, _) => Some(Kind::Other),
            _ => None,
        }
    }
}

/// What a rule wants of the decision.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Approve,
    Decline([u8; 2]),
    Partial(u64),
}

/// What the issuer decided, and answers to every repeat.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    pub(super) code: [u8; 2],
    /// DE38.
    pub(super) approval: Option<[u8; 6]>,
    /// DE4 where it is not the request's.
    pub(super) amount: Option<u64>,
    /// Whether the message had been decided before.
    pub(super) repeat: bool,
}

impl Verdict {
    pub(super) const fn code(code: [u8; 2]) -> Verdict {
        Verdict {
            code,
            approval: None,
            amount: None,
            repeat: false,
        }
    }

    pub(super) const FORMAT: Verdict = Verdict::code(FORMAT);
}

impl Accounts {
    pub(super) fn new(transactions_max: usize) -> Accounts {
        Accounts {
            transactions: VecDeque::new(),
            first: 0,
            index: HashMap::new(),
            reversed_unseen: HashSet::new(),
            cards: HashMap::new(),
            transactions_max: transactions_max.max(1),
            approvals: 0,
        }
    }

    pub(super) fn transactions(&self) -> Vec<Transaction> {
        self.transactions.iter().cloned().collect()
    }

    pub(super) fn cards(&self) -> &HashMap<Vec<u8>, CardTotals> {
        &self.cards
    }

    /// Decides a message and books its effect. A message that was decided before gets the same again, without effect.
    pub(super) fn execute(&mut self, request: &Request, outcome: Outcome) -> Verdict {
        if request.facts.mti.class() == NETWORK_CLASS {
            return Verdict::code(match outcome {
                Outcome::Decline(code) => code,
                Outcome::Approve | Outcome::Partial(_) => APPROVED,
            });
        }
        let Some(key) = request.key() else {
            return Verdict::FORMAT;
        };
        if let Some(known) = self.find(key)
            && !TRY_AGAIN.contains(&known.code)
        {
            return known.verdict();
        }
        match request.facts.mti.class() {
            1 | 2 => self.execute_financial(key, request, outcome),
            4 => self.execute_reversal(key, request, outcome),
            _ => Verdict::code(INVALID),
        }
    }

    fn execute_financial(&mut self, key: Key, request: &Request, outcome: Outcome) -> Verdict {
        let (Some(kind), Some(amount), Some(pan)) = (
            request.kind(),
            request.facts.amount,
            request.facts.pan.clone(),
        ) else {
            return Verdict::FORMAT;
        };
        let mut transaction = Transaction::new(kind, key.stan, key.time, amount, request);
        transaction.pan = Some(pan);
        transaction.code = match outcome {
            Outcome::Decline(code) => code,
            _ if self.reversed_unseen.contains(&key) => INVALID,
            _ if kind == Kind::Void => self.void(&mut transaction),
            Outcome::Approve => APPROVED,
            Outcome::Partial(_) => APPROVED_PARTIALLY,
        };
        if transaction.is_approved() {
            transaction.approved = match outcome {
                Outcome::Partial(part) if kind != Kind::Void => part.min(amount),
                _ => amount,
            };
            self.approvals = (self.approvals + 1) % 1_000_000;
            transaction.approval = six_digits(self.approvals);
            let approved = transaction.approved;
            self.move_to(&mut transaction, approved);
        }
        let verdict = Verdict {
            repeat: false,
            ..transaction.verdict()
        };
        self.keep(key, transaction);
        verdict
    }

    /// Undoes the original of a void.
    fn void(&mut self, void: &mut Transaction) -> [u8; 2] {
        let Some(number) = void
            .original
            .as_ref()
            .and_then(|original| self.number_of(original))
        else {
            return UNKNOWN;
        };
        let Some(mut original) = self.take(number) else {
            return UNKNOWN;
        };
        let code = match original.kind {
            Kind::Void | Kind::Reversal | Kind::Other => INVALID,
            _ if !original.is_approved() => INVALID,
            _ if original.stands == 0 => NOTHING_LEFT,
            _ if original.stands != void.amount => WRONG_AMOUNT,
            Kind::Purchase | Kind::PreAuthorisation | Kind::Refund => APPROVED,
        };
        if code == APPROVED {
            self.move_to(&mut original, 0);
            void.undid = Some(number);
        }
        self.put_back(number, original);
        code
    }

    fn execute_reversal(&mut self, key: Key, request: &Request, outcome: Outcome) -> Verdict {
        let Some(original) = request
            .original
            .as_ref()
            .filter(|original| !original.is_empty())
        else {
            return Verdict::FORMAT;
        };
        let amount = request.facts.amount.unwrap_or_default();
        let mut reversal = Transaction::new(Kind::Reversal, key.stan, key.time, amount, request);
        reversal.pan.clone_from(&request.facts.pan);
        reversal.code = match outcome {
            Outcome::Decline(code) => code,
            Outcome::Approve | Outcome::Partial(_) => self.reverse(original, request.replacement),
        };
        let verdict = Verdict::code(reversal.code);
        self.keep(key, reversal);
        verdict
    }

    /// Undoes an original, or all of it but `replacement`.
    fn reverse(&mut self, original: &OriginalData, replacement: Option<u64>) -> [u8; 2] {
        let Some(number) = self.number_of(original) else {
            self.reversed_unseen.extend(keys(original));
            return UNKNOWN;
        };
        let Some(mut target) = self.take(number) else {
            return UNKNOWN;
        };
        let stays = replacement.unwrap_or(0);
        let code = if !target.is_approved() || target.stands == 0 {
            APPROVED
        } else if stays > target.stands || (stays > 0 && target.kind == Kind::Void) {
            WRONG_AMOUNT
        } else {
            self.move_to(&mut target, stays);
            if let Some(undone) = target.undid.take() {
                self.restore(undone, target.approved);
            }
            APPROVED
        };
        self.put_back(number, target);
        code
    }

    /// The void of this transaction was undone: its amount stands again.
    fn restore(&mut self, number: u64, amount: u64) {
        if let Some(mut original) = self.take(number) {
            self.move_to(&mut original, amount);
            self.put_back(number, original);
        }
    }

    /// Lets `stands` of a transaction stand, and moves its card's totals by the difference.
    fn move_to(&mut self, transaction: &mut Transaction, stands: u64) {
        let before = std::mem::replace(&mut transaction.stands, stands);
        let Some(pan) = &transaction.pan else { return };
        let totals = match self.cards.get_mut(pan.digits()) {
            Some(totals) => totals,
            None => self.cards.entry(pan.digits().to_vec()).or_default(),
        };
        let total = match transaction.kind {
            Kind::Purchase => &mut totals.debits,
            Kind::Refund => &mut totals.credits,
            Kind::PreAuthorisation => &mut totals.holds,
            Kind::Void | Kind::Reversal | Kind::Other => return,
        };
        // What stood was added before, so this does not go below zero.
        *total = total.saturating_sub(before).saturating_add(stands);
    }

    fn find(&self, key: Key) -> Option<&Transaction> {
        let number = *self.index.get(&key)?;
        self.transactions
            .get(usize::try_from(number - self.first).ok()?)
    }

    fn number_of(&self, original: &OriginalData) -> Option<u64> {
        keys(original).find_map(|key| self.index.get(&key).copied())
    }

    fn take(&self, number: u64) -> Option<Transaction> {
        let position = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.transactions.get(position).cloned()
    }

    fn put_back(&mut self, number: u64, transaction: Transaction) {
        let position = number
            .checked_sub(self.first)
            .and_then(|position| usize::try_from(position).ok());
        if let Some(place) = position.and_then(|position| self.transactions.get_mut(position)) {
            *place = transaction;
        }
    }

    fn keep(&mut self, key: Key, transaction: Transaction) {
        if self.transactions.len() == self.transactions_max
            && let Some(oldest) = self.transactions.pop_front()
        {
            let oldest_key = Key {
                class: oldest.mti.class(),
                stan: oldest.stan,
                time: oldest.time,
            };
            // A transaction that was decided anew has taken the key over.
            if self.index.get(&oldest_key) == Some(&self.first) {
                self.index.remove(&oldest_key);
            }
            self.first += 1;
        }
        if self.reversed_unseen.len() > self.transactions_max {
            self.reversed_unseen.clear();
        }
        self.index
            .insert(key, self.first + self.transactions.len() as u64);
        self.transactions.push_back(transaction);
    }
}

/// The keys that an original named by DE90 can have: without its MTI it may be a request of either class.
fn keys(original: &OriginalData) -> impl Iterator<Item = Key> + use<> {
    let classes = original.mti.map_or([2, 1], |mti| [mti.class(); 2]);
    let named = original.stan.zip(original.time);
    classes
        .into_iter()
        .filter_map(move |class| named.map(|(stan, time)| Key { class, stan, time }))
}

/// `number` below a million, in six digits.
pub(super) fn six_digits(number: u32) -> [u8; 6] {
    Stan::new(number).map_or([b'0'; 6], Stan::to_digits)
}

impl Transaction {
    fn new(
        kind: Kind,
        stan: Stan,
        time: TransmissionTime,
        amount: u64,
        request: &Request,
    ) -> Transaction {
        Transaction {
            mti: request.facts.mti,
            kind,
            stan,
            time,
            pan: None,
            amount,
            approved: 0,
            stands: 0,
            code: UNKNOWN,
            approval: [b'0'; 6],
            rrn: request.rrn,
            terminal: request.terminal,
            merchant: request.merchant,
            original: request.original,
            undid: None,
        }
    }

    fn verdict(&self) -> Verdict {
        Verdict {
            code: self.code,
            approval: (self.is_approved() && self.kind != Kind::Reversal).then_some(self.approval),
            amount: (self.code == APPROVED_PARTIALLY).then_some(self.approved),
            repeat: true,
        }
    }

    /// Whether the issuer executed it.
    #[must_use]
    pub fn is_approved(&self) -> bool {
        self.code == APPROVED || self.code == APPROVED_PARTIALLY
    }
}

#[cfg(test)]
mod tests;
