//! A terminal's message in the ledger's terms: the inward half of the mapping (the outward half is `outward.rs`).

use iso8583_codec::{FieldError, Message, OriginalData, Pan};
use refund_ledger::{
    Card, CardDigest, Class, Currency, Institution, Key, Kind, MerchantKey, MinorUnits, Name,
    Opened, Request, Rrn, Sealed, Stan, Transaction, Vault, VaultError, WireTime, fingerprint,
};

use crate::dialect::Naming;

/// A request of a terminal that is well formed.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) kind: Kind,
    /// The MTI's repeat digit was set.
    pub(crate) repeat: bool,
    /// Its name, generation 0.
    pub(crate) key: Key,
    pub(crate) merchant: MerchantKey,
    pub(crate) request: Request,
    pub(crate) pan: Option<Pan>,
    pub(crate) digest: Option<CardDigest>,
    pub(crate) in_de2: bool,
    /// DE 4, where it came.
    pub(crate) amount: Option<MinorUnits>,
    /// DE 49, where it came.
    pub(crate) currency: Option<Currency>,
    /// DE 90; empty where absent, all zero, or not what names the original here.
    pub(crate) original: OriginalData,
    /// DE 37 may name the original: of a refund or void with one.
    pub(crate) named_by_rrn: bool,
    /// DE 39 of a reversal: the reason.
    pub(crate) reason: Option<[u8; 2]>,
    /// What the content hash is made of, but for the card.
    content: ContentParts,
}

#[derive(Clone, Debug)]
struct ContentParts {
    original: [u8; 42],
    replacement: [u8; 42],
    rrn: [u8; 12],
}

/// What is wrong with a message: the first needed element that is missing or malformed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Malformed {
    pub(crate) field: u8,
}

impl From<FieldError> for Malformed {
    fn from(error: FieldError) -> Malformed {
        Malformed {
            field: error.field(),
        }
    }
}

fn need<T>(value: Result<Option<T>, FieldError>, field: u8) -> Result<T, Malformed> {
    value?.ok_or(Malformed { field })
}

/// Reads a message of `kind`. `realm` and `naming` are its listener's.
pub(crate) fn read(
    message: &Message<'_>,
    kind: Kind,
    realm: Name,
    naming: Naming,
    vault: &Vault,
) -> Result<Asked, Malformed> {
    let reversal = kind == Kind::Reversal;
    // In the order of the elements, so that the first that is wrong is named.
    let pan = message.pan()?;
    if pan.is_none() && !reversal {
        return Err(Malformed { field: 2 });
    }
    let processing_code = if reversal {
        message.processing_code()?
    } else {
        Some(need(message.processing_code(), 3)?)
    };
    let amount = if reversal {
        message.amount(4)?
    } else {
        Some(need(message.amount(4), 4)?)
    };
    let time = WireTime(need(message.transmission_time(), 7)?.value());
    let stan = Stan(need(message.stan(), 11)?.value());
    let rrn = message
        .rrn()?
        .map(|rrn| *rrn.as_bytes())
        .filter(|rrn| !rrn.iter().all(|byte| *byte == b' '));
    let terminal = need(message.terminal_id(), 41)?;
    let merchant = need(message.merchant_id(), 42)?;
    let currency = if reversal {
        message.currency()?
    } else {
        Some(need(message.currency(), 49)?)
    };
    let original = message
        .original_data()?
        .filter(|original| !original.is_empty());
    if reversal && original.is_none() {
        return Err(Malformed { field: 90 });
    }
    let replacement = message.replacement_amount()?;

    let mti = message.mti();
    let merchant_key = MerchantKey::new(realm.as_str(), &merchant);
    let class = Class(mti.class());
    let key = Key::new(merchant_key, realm.as_str(), &terminal, class, stan, time);
    let names_by_rrn = matches!(kind, Kind::Refund | Kind::Void | Kind::RefundVoid);
    let content = ContentParts {
        original: original.map_or([b'0'; 42], |original| original.to_digits()),
        replacement: text(message, 95),
        rrn: rrn.filter(|_| names_by_rrn).unwrap_or_default(),
    };
    let mut asked = Asked {
        kind,
        repeat: mti.is_repeat(),
        key,
        merchant: merchant_key,
        request: Request {
            realm,
            merchant,
            terminal,
            mti: number(mti.without_repeat().as_bytes()) as u16,
            processing_code: processing_code.unwrap_or(*b"000000"),
            amount: MinorUnits(amount.unwrap_or(0)),
            currency: Currency(currency.map_or(0, |currency| currency.code())),
            stan,
            time,
            local_time: digits(message, 12).map(|value| value as u32),
            local_date: digits(message, 13).map(|value| value as u16),
            entry_mode: digits(message, 22).map(|value| value as u16),
            condition: digits(message, 25).map(|value| value as u8),
            acquirer: institution(message, 32),
            forwarder: institution(message, 33),
            rrn: Rrn(rrn.unwrap_or(*b"            ")),
            rrn_given: rrn.is_some(),
            replacement: replacement.map(MinorUnits),
            content: 0,
        },
        digest: pan.as_ref().map(|pan| vault.digest(pan.digits())),
        in_de2: message.has(2),
        pan,
        amount: amount.map(MinorUnits),
        currency: currency.map(|currency| Currency(currency.code())),
        original: original
            .filter(|_| reversal || naming.by_data(rrn.is_some()))
            .unwrap_or_default(),
        named_by_rrn: !reversal && rrn.is_some() && naming.by_rrn(),
        reason: if reversal {
            message.response_code()?
        } else {
            None
        },
        content,
    };
    asked.request.content = asked.content(asked.digest);
    Ok(asked)
}

impl Asked {
    /// The content hash under a card digest.
    fn content(&self, digest: Option<CardDigest>) -> u64 {
        let request = &self.request;
        let card = digest.map_or([0; 16], |digest| digest.bytes);
        let flags = [u8::from(self.amount.is_some()) | u8::from(self.currency.is_some()) << 1];
        fingerprint(&[
            &request.mti.to_le_bytes(),
            &card,
            &request.processing_code,
            &request.amount.0.to_le_bytes(),
            &request.currency.0.to_le_bytes(),
            &flags,
            &self.content.original,
            &self.content.replacement,
            &self.content.rrn,
        ])
    }

    /// Whether a recorded transaction has the same content. After a change of the digest key the comparison is made
    /// under the key of the record's time.
    pub(crate) fn same_content(&self, known: &Transaction, vault: &Vault) -> bool {
        let digest = match (&known.card, &self.pan) {
            (Some(card), Some(pan))
                if Some(card.digest.key) != self.digest.map(|digest| digest.key) =>
            {
                vault.digest_with(card.digest.key, pan.digits()).ok()
            }
            _ => self.digest,
        };
        self.content(digest) == known.request.content
    }

    /// Whether the message carries the card of `known`; `None` where it carries none.
    pub(crate) fn same_card(&self, known: &Transaction, vault: &Vault) -> Option<bool> {
        let pan = self.pan.as_ref()?;
        let card = known.card.as_ref()?;
        let mine = match self.digest {
            Some(digest) if digest.key == card.digest.key => Some(digest),
            _ => vault.digest_with(card.digest.key, pan.digits()).ok(),
        };
        Some(mine == Some(card.digest))
    }

    /// A record of the message, version 1, generation 0, with nothing decided. Seals the PAN.
    pub(crate) fn transaction(
        &self,
        key: Key,
        rrn: Rrn,
        vault: &Vault,
        now_ms: u64,
    ) -> Result<Transaction, VaultError> {
        let mut request = self.request.clone();
        request.rrn = rrn;
        let card = match (self.digest, &self.pan) {
            (Some(digest), Some(pan)) => {
                let sealed = seal_pan(vault, key, pan)?;
                Some(Card {
                    digest,
                    sealed: Some(sealed),
                    in_de2: self.in_de2,
                })
            }
            _ => None,
        };
        Ok(blank(key, self.kind, request, card, now_ms))
    }

    /// A record that only holds a key: [`Kind::Tombstone`] or [`Kind::SameAs`].
    pub(crate) fn marker(&self, key: Key, kind: Kind, now_ms: u64) -> Transaction {
        let mut request = self.request.clone();
        (request.stan, request.time) = (key.stan(), key.time());
        blank(key, kind, request, None, now_ms)
    }
}

fn blank(key: Key, kind: Kind, request: Request, card: Option<Card>, now_ms: u64) -> Transaction {
    Transaction {
        key,
        version: 1,
        kind,
        status: refund_ledger::Status::InFlight,
        request,
        card,
        original: None,
        issuer: None,
        books: refund_ledger::Books::default(),
        counted: MinorUnits::ZERO,
        column: refund_ledger::Column::None,
        void: refund_ledger::VoidState::None,
        answer: None,
        was_approved: false,
        created: now_ms,
        decided: 0,
        moved: now_ms,
        advices: 0,
        reused: 0,
    }
}

/// Seals PAN digits for the record `key`.
fn seal_pan(vault: &Vault, key: Key, pan: &Pan) -> Result<Sealed, VaultError> {
    vault.seal_pan(pan.digits(), &key.value().to_be_bytes())
}

/// The PAN digits of a record.
pub(crate) fn open_pan(
    vault: &Vault,
    transaction: &Transaction,
) -> Option<Result<Opened, VaultError>> {
    let sealed = transaction.card.as_ref()?.sealed.as_ref()?;
    Some(vault.open_pan(sealed, &transaction.key.value().to_be_bytes()))
}

fn text<const N: usize>(message: &Message<'_>, de: u8) -> [u8; N] {
    let mut bytes = [0; N];
    if let Some(value) = message.text(de) {
        let fits = value.len().min(N);
        bytes[..fits].copy_from_slice(&value[..fits]);
    }
    bytes
}

fn digits(message: &Message<'_>, de: u8) -> Option<u64> {
    match message.amount(de) {
        Ok(digits) => digits,
        // A dialect may have other characters there.
        Err(_) => message.text(de).map(|value| number(&value)),
    }
}

fn institution(message: &Message<'_>, de: u8) -> Option<Institution> {
    message
        .text(de)
        .map(|value| Institution::new(number(&value), value.len() as u8))
}

/// Digits as a number. Whoever calls has validated the message, and the elements have at most eleven digits.
fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0u64, |sum, digit| {
        sum.wrapping_mul(10)
            .wrapping_add(u64::from(digit.wrapping_sub(b'0')))
    })
}
