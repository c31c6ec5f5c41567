//! What a dialect from a file has otherwise than the built-in ones, beyond the bytes of its messages.
//!
//! The files themselves are read elsewhere: here are the questions that the core asks of what they say, in a form that is
//! answered quickly. A built-in dialect has none of this, and pays nothing for it.

use std::fmt::Debug;

use iso8583_codec::{Message, Mti, Spec};
use refund_ledger::Kind;

use crate::dispatch::Intent;
use crate::elements;

/// The rules and switches of a dialect.
#[derive(Debug, Default)]
pub struct Switches {
    /// Which messages are which class of transaction; `None` for those of the built-in dialects.
    pub classes: Option<Classes>,
    /// What names the original of a refund or void.
    pub naming: Naming,
    /// What messages must and must not have; `None` where nothing is asked of them.
    pub rules: Option<Box<dyn Rules>>,
}

/// What a dialect asks of messages beyond their bytes.
pub trait Rules: Debug + Send + Sync {
    /// What the message does against the rules, without any value of it; `None` where it keeps them.
    fn broken(&self, message: &Message<'_>) -> Option<String>;
}

/// What names the original of a refund or void. A reversal always names it by DE 90.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Naming {
    /// DE 90; where it gives too little, DE 37.
    #[default]
    DataThenRrn,
    /// DE 90 only.
    Data,
    /// DE 37; without it, DE 90.
    RrnThenData,
    /// DE 37 only.
    Rrn,
}

impl Naming {
    /// Whether DE 37 may name it.
    pub(crate) fn by_rrn(self) -> bool {
        self != Naming::Data
    }

    /// Whether DE 90 is looked at in a message with (or without) DE 37.
    pub(crate) fn by_data(self, rrn_given: bool) -> bool {
        match self {
            Naming::DataThenRrn | Naming::Data => true,
            Naming::RrnThenData => !rrn_given,
            Naming::Rrn => false,
        }
    }
}

/// The classes of a dialect: the message of the longest processing code that fits is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Classes {
    /// Those with longer processing codes first.
    rows: Vec<Row>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    mti: [u8; 4],
    /// How the processing code begins; empty for any.
    processing: Vec<u8>,
    intent: Intent,
}

/// The classes by their names, with the message types that this switch knows as such. What a message type means to the ledger and
/// to issuers is fixed; its processing codes are the dialect's.
const CLASSES: &[(&str, &[&str], Intent)] = &[
    ("purchase", &["0200"], Intent::Transaction(Kind::Purchase)),
    ("preauth", &["0100"], Intent::Transaction(Kind::Preauth)),
    (
        "refund",
        &["0200", "0220"],
        Intent::Transaction(Kind::Refund),
    ),
    ("void", &["0200"], Intent::Transaction(Kind::Void)),
    (
        "refund_void",
        &["0200"],
        Intent::Transaction(Kind::RefundVoid),
    ),
    (
        "reversal",
        &["0400", "0420"],
        Intent::Transaction(Kind::Reversal),
    ),
    ("network", &["0800"], Intent::Network),
];

impl Classes {
    /// The classes of these rows: name of the class, message type without repeat digit, and how the processing code begins.
    ///
    /// # Errors
    /// What a row asks for that this switch does not do, by its name.
    pub fn new<'r>(
        rows: impl IntoIterator<Item = (&'r str, &'r str, &'r str)>,
    ) -> Result<Classes, String> {
        let mut read: Vec<Row> = Vec::new();
        for (class, mti, processing) in rows {
            let Some((_, mtis, intent)) = CLASSES.iter().find(|(name, _, _)| *name == class) else {
                return Err(format!("the class `{class}` is none of this switch"));
            };
            let said = format!("{mti} {processing}");
            let said = said.trim_end();
            if !mtis.contains(&mti) {
                return Err(format!(
                    "class {class}: `{said}` cannot be one here; expected {}",
                    mtis.join(" or ")
                ));
            }
            let row = Row {
                mti: *mti.as_bytes().first_chunk().unwrap_or(b"0000"),
                processing: processing.as_bytes().to_vec(),
                intent: *intent,
            };
            let same = |known: &&Row| known.mti == row.mti && known.processing == row.processing;
            if read
                .iter()
                .find(same)
                .is_some_and(|known| known.intent != row.intent)
            {
                return Err(format!(
                    "class {class}: `{said}` is of another class already"
                ));
            }
            read.push(row);
        }
        read.sort_by_key(|row| std::cmp::Reverse(row.processing.len()));
        Ok(Classes { rows: read })
    }

    /// Whether there is any message of a class.
    #[must_use]
    pub fn has(&self, class: &str) -> bool {
        let known = CLASSES.iter().find(|(name, _, _)| *name == class);
        known.is_some_and(|(_, _, intent)| self.rows.iter().any(|row| row.intent == *intent))
    }

    /// Whether this message type with this processing code is of any class.
    #[must_use]
    pub fn has_message(&self, mti: &[u8; 4], processing: &[u8]) -> bool {
        self.find(mti, Some(processing)).is_some()
    }

    fn find(&self, mti: &[u8], processing: Option<&[u8]>) -> Option<&Row> {
        self.rows.iter().find(|row| {
            row.mti == *mti
                && processing.map_or(row.processing.is_empty(), |code| {
                    code.starts_with(&row.processing)
                })
        })
    }

    /// What a request is.
    pub(crate) fn intent(&self, message: &Message<'_>, mti: Mti) -> Intent {
        let mti = mti.without_repeat();
        let of_type = |row: &Row| row.mti == *mti.as_bytes();
        if !self.rows.iter().any(of_type) {
            return Intent::Unsupported;
        }
        let code = message.processing_code();
        let code = code
            .as_ref()
            .map(|code| code.as_ref().map(|code| &code[..]));
        match self.find(mti.as_bytes(), code.unwrap_or_default()) {
            Some(row) => row.intent,
            None if matches!(code, Ok(Some(_))) => Intent::Unsupported,
            None => Intent::Malformed,
        }
    }
}

/// Elements that the switch writes toward an issuer whatever came from the terminal, or that must not be lost on the way there:
/// the card, its PIN and chip, the amounts.
pub(crate) const NEEDED_BY_ISSUERS: [u8; 15] =
    [2, 3, 4, 7, 11, 35, 37, 39, 41, 42, 49, 52, 55, 90, 95];

/// Whether an element can be left out of a message toward an issuer whose dialect does not have it.
pub(crate) fn is_left_out(de: u8, spec: &Spec) -> bool {
    de > elements::ELEMENT_MAX || (!spec.has(de) && !NEEDED_BY_ISSUERS.contains(&de))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use iso8583_codec::Draft;

    use super::*;

    fn check(classes: &Classes, mti: Mti, code: Option<&str>, expected: Intent) {
        let spec = Spec::iso87_ascii();
        let mut draft = Draft::new(mti);
        if let Some(code) = code {
            draft.set(3, code.as_bytes());
        }
        let mut out = BytesMut::new();
        draft.encode(spec, &mut out).unwrap();
        let message = spec.decode(&out).unwrap();
        let intent = classes.intent(&message, message.mti());
        assert_eq!(intent, expected, "{mti} {code:?}");
    }

    #[test]
    fn the_longest_code_that_fits_is_the_class() {
        let rows = [
            ("purchase", "0200", ""),
            ("refund", "0200", "20"),
            ("void", "0200", "2001"),
            ("refund", "0220", "20"),
            ("reversal", "0420", ""),
        ];
        let classes = Classes::new(rows).unwrap();
        let of = Intent::Transaction;
        check(
            &classes,
            Mti::literal("0200"),
            Some("310000"),
            of(Kind::Purchase),
        );
        check(
            &classes,
            Mti::literal("0201"),
            Some("200000"),
            of(Kind::Refund),
        );
        check(
            &classes,
            Mti::literal("0200"),
            Some("200100"),
            of(Kind::Void),
        );
        check(&classes, Mti::literal("0200"), None, of(Kind::Purchase));
        check(
            &classes,
            Mti::literal("0221"),
            Some("200000"),
            of(Kind::Refund),
        );
        check(
            &classes,
            Mti::literal("0220"),
            Some("000000"),
            Intent::Unsupported,
        );
        check(&classes, Mti::literal("0220"), None, Intent::Malformed);
        check(&classes, Mti::literal("0421"), None, of(Kind::Reversal));
        check(&classes, Mti::literal("0400"), None, Intent::Unsupported);
        check(&classes, Mti::literal("0800"), None, Intent::Unsupported);
        assert!(classes.has("void") && !classes.has("network") && !classes.has("preauth"));
        assert!(
            classes.has_message(b"0220", b"200000") && !classes.has_message(b"0220", b"000000")
        );
    }

    #[test]
    fn what_cannot_be_a_class_is_refused() {
        let check = |rows: &[(&'static str, &'static str, &'static str)], what: &str| {
            let error = Classes::new(rows.iter().copied()).unwrap_err();
            assert!(error.contains(what), "{error}");
        };
        check(&[("completion", "0220", "00")], "`completion`");
        check(&[("purchase", "0220", "00")], "class purchase: `0220 00`");
        check(&[("reversal", "0200", "")], "expected 0400 or 0420");
        check(
            &[("purchase", "0200", "20"), ("refund", "0200", "20")],
            "another class already",
        );
    }
}
