//! A terminal's message in the ledger's terms: the inward half of the mapping (the outward half is `outward.rs`).

use iso8583_codec::{FieldError, Message, Mti, OriginalData, Pan};
use refund_ledger::{
    Card, CardDigest, Class, Currency, Fingerprint, Institution, Key, Kind, MerchantKey,
    MinorUnits, Name, Opened, Request, Rrn, Sealed, Stan, Transaction, Vault, VaultError, WireTime,
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
    /// DE 90; empty where absent or all zero.
    original: OriginalData,
    /// DE 90 may name the original.
    named_by_data: bool,
    /// DE 37 may name the original: of a refund or void with one.
    pub(crate) named_by_rrn: bool,
    /// DE 39 of a reversal: the reason.
    pub(crate) reason: Option<[u8; 2]>,
    /// DE 95, where it came.
    replacement: Option<Box<[u8; 42]>>,
}

/// What the content hash is made of beside the card.
struct Content<'a> {
    request: &'a Request,
    amount_given: bool,
    currency_given: bool,
    original: &'a [u8; 42],
    replacement: &'a [u8; 42],
    rrn: [u8; 12],
}

impl Content<'_> {
    #[inline(always)]
    fn hash(&self, digest: Option<CardDigest>) -> u64 {
        let request = self.request;
        let card = digest.map_or([0; 16], |digest| digest.bytes);
        let mut all = Fingerprint::new();
        all.put(&request.mti.to_le_bytes());
        all.put(&card);
        all.put(&request.processing_code);
        all.put(&request.amount.0.to_le_bytes());
        all.put(&request.currency.0.to_le_bytes());
        all.put(&[u8::from(self.amount_given) | u8::from(self.currency_given) << 1]);
        all.put(self.original);
        all.put(self.replacement);
        all.put(&self.rrn);
        all.finish()
    }
}

/// What DE 90 is taken for where it is absent, and DE 95.
const NO_ORIGINAL: [u8; 42] = [b'0'; 42];
const NO_REPLACEMENT: [u8; 42] = [0; 42];

fn names_by_rrn(kind: Kind) -> bool {
    matches!(kind, Kind::Refund | Kind::Void | Kind::RefundVoid)
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

/// Reads a message of `kind` to where it stays: what is moved after it was made waits for all that was written. `realm` and `naming`
/// are its listener's.
#[inline]
pub(crate) fn read(
    message: &Message<'_>,
    kind: Kind,
    realm: Name,
    naming: Naming,
    vault: &Vault,
    asked: &mut Asked,
) -> Result<(), Malformed> {
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
    // An issuer that looks at the track alone would pay to a card that nobody compared.
    if !kind.is_original() && !message.tracks_agree() {
        return Err(Malformed { field: 35 });
    }

    let mti = message.mti();
    let merchant_key = MerchantKey::new(realm.as_str(), &merchant);
    let class = Class(mti.class());
    let key = Key::new(merchant_key, realm.as_str(), &terminal, class, stan, time);
    let digest = pan.as_ref().map(|pan| vault.digest(pan.digits()));
    let original_text = if original.is_some() {
        text(message, 90)
    } else {
        NO_ORIGINAL
    };
    let replacement_text = if message.has(95) {
        Some(Box::new(text(message, 95)))
    } else {
        None
    };
    let mut request = Request {
        realm,
        merchant,
        terminal,
        mti: mti_number(mti),
        processing_code: processing_code.unwrap_or(*b"000000"),
        amount: MinorUnits(amount.unwrap_or(0)),
        currency: Currency(currency.map_or(0, |currency| currency.code())),
        stan,
        time,
        local_time: digits::<6>(message, 12).map(|value| value as u32),
        local_date: digits::<4>(message, 13).map(|value| value as u16),
        entry_mode: digits::<3>(message, 22).map(|value| value as u16),
        condition: digits::<2>(message, 25).map(|value| value as u8),
        acquirer: institution(message, 32),
        forwarder: institution(message, 33),
        rrn: Rrn(rrn.unwrap_or(*b"            ")),
        rrn_given: rrn.is_some(),
        replacement: replacement.map(MinorUnits),
        content: 0,
    };
    request.content = Content {
        request: &request,
        amount_given: amount.is_some(),
        currency_given: currency.is_some(),
        original: &original_text,
        replacement: replacement_text.as_deref().unwrap_or(&NO_REPLACEMENT),
        rrn: rrn.filter(|_| names_by_rrn(kind)).unwrap_or_default(),
    }
    .hash(digest);
    let reason = if reversal {
        message.response_code()?
    } else {
        None
    };
    *asked = Asked {
        kind,
        repeat: mti.is_repeat(),
        key,
        merchant: merchant_key,
        request,
        digest,
        in_de2: message.has(2),
        pan,
        amount: amount.map(MinorUnits),
        currency: currency.map(|currency| Currency(currency.code())),
        original: original.unwrap_or_default(),
        named_by_data: reversal || naming.by_data(rrn.is_some()),
        named_by_rrn: !reversal && rrn.is_some() && naming.by_rrn(),
        reason,
        replacement: replacement_text,
    };
    Ok(())
}

impl Asked {
    /// Nothing, where something is read to.
    pub(crate) fn blank(realm: Name) -> Asked {
        Asked {
            kind: Kind::Purchase,
            repeat: false,
            key: Key::from_value(0),
            merchant: Key::from_value(0).merchant(),
            request: Request {
                realm,
                merchant: [b' '; 15],
                terminal: [b' '; 8],
                mti: 0,
                processing_code: [b'0'; 6],
                amount: MinorUnits::ZERO,
                currency: Currency(0),
                stan: Stan(0),
                time: WireTime(0),
                local_time: None,
                local_date: None,
                entry_mode: None,
                condition: None,
                acquirer: None,
                forwarder: None,
                rrn: Rrn([b' '; 12]),
                rrn_given: false,
                replacement: None,
                content: 0,
            },
            pan: None,
            digest: None,
            in_de2: false,
            amount: None,
            currency: None,
            original: OriginalData::default(),
            named_by_data: false,
            named_by_rrn: false,
            reason: None,
            replacement: None,
        }
    }

    /// DE 90; empty where absent, all zero, or not what names the original here.
    pub(crate) fn named(&self) -> &OriginalData {
        const NOTHING: &OriginalData = &OriginalData {
            mti: None,
            stan: None,
            time: None,
            acquirer: None,
            forwarder: None,
        };
        if self.named_by_data {
            &self.original
        } else {
            NOTHING
        }
    }

    /// The content hash under a card digest.
    #[cold]
    fn content(&self, digest: Option<CardDigest>) -> u64 {
        let request = &self.request;
        let by_rrn = request.rrn_given && names_by_rrn(self.kind);
        Content {
            request,
            amount_given: self.amount.is_some(),
            currency_given: self.currency.is_some(),
            original: &self.original.to_digits(),
            replacement: self.replacement.as_deref().unwrap_or(&NO_REPLACEMENT),
            rrn: if by_rrn { request.rrn.0 } else { [0; 12] },
        }
        .hash(digest)
    }

    /// Whether a recorded transaction has the same content. After a change of the digest key the comparison is made
    /// under the key of the record's time.
    /// Whether a record under the request's key has its name. The key holds hashes of merchant and terminal alone.
    pub(crate) fn names(&self, known: &Transaction) -> bool {
        known.is_of(self.request.realm, &self.request.merchant)
            && known.request.terminal == self.request.terminal
    }

    pub(crate) fn same_content(&self, known: &Transaction, vault: &Vault) -> bool {
        let content = match (&known.card, &self.pan) {
            (Some(card), Some(pan))
                if Some(card.digest.key) != self.digest.map(|digest| digest.key) =>
            {
                self.content(vault.digest_with(card.digest.key, pan.digits()).ok())
            }
            _ => self.request.content,
        };
        content == known.request.content
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

/// An element that usually has `N` digits, as a number.
#[inline]
fn digits<const N: usize>(message: &Message<'_>, de: u8) -> Option<u64> {
    match message.number::<N>(de) {
        Ok(digits) => digits,
        // A dialect may have other characters there.
        Err(_) => message.text(de).map(|value| number(&value)),
    }
}

fn institution(message: &Message<'_>, de: u8) -> Option<Institution> {
    if !message.has(de) {
        return None;
    }
    message
        .text(de)
        .map(|value| Institution::new(number(&value), value.len() as u8))
}

/// The MTI without its repeat digit as a number.
fn mti_number(mti: Mti) -> u16 {
    let digits = mti.without_repeat();
    digits
        .as_bytes()
        .iter()
        .fold(0, |sum, digit| sum * 10 + u16::from(digit & 0xF))
}

/// Digits as a number. Whoever calls has validated the message, and the elements have at most eleven digits.
fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0u64, |sum, digit| {
        sum.wrapping_mul(10)
            .wrapping_add(u64::from(digit.wrapping_sub(b'0')))
    })
}
