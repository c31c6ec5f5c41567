//! What a switch has to know of a dialect beyond its bytes and rules: which messages are which class of transaction, what
//! names an original, which answer codes mean what. Kept as the file has it; nothing here acts on it.

use std::collections::BTreeMap;

/// The switches of a dialect. What is empty is as in the built-in dialects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Switches {
    /// The messages of each class of transaction that there is, by the name of the class (see [`CLASSES`]).
    pub classes: BTreeMap<String, Vec<MessageKind>>,
    /// What names the original of a refund, void or reversal: the first of these that a message has.
    pub original: Vec<Reference>,
    /// The answer code (DE 39) for each reason, by its name (see [`REASONS`]).
    pub answers: BTreeMap<String, String>,
    /// Answer codes that approve.
    pub approved: Vec<String>,
}

/// A message type with the beginning of a processing code.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MessageKind {
    /// The message type indicator, without its repeat digit: four digits.
    pub mti: String,
    /// How the processing code (DE 3) begins; empty for any.
    pub processing: String,
}

/// Fields that together name an original, by their paths.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    /// The paths: `90`, or `60.2` and `11`.
    pub fields: Vec<String>,
}

/// The classes of transactions that a switch knows.
pub const CLASSES: &[&str] = &[
    "purchase",
    "preauth",
    "refund",
    "void",
    "refund_void",
    "reversal",
    "network",
];

/// The reasons that an answer can have.
pub const REASONS: &[&str] = &[
    "approved",
    "declined",
    "unknown_original",
    "original_declined",
    "ceiling",
    "exhausted",
    "has_refunds",
    "currency",
    "card",
    "terminal",
    "reversed",
    "window",
    "unreferenced",
    "duplicate",
    "format",
    "amount",
    "unsupported",
    "no_route",
    "link_down",
    "timeout",
    "system",
    "reversal_unknown",
    "reversal_terminal",
    "reversal_has_refunds",
];

impl Switches {
    /// Whether all of them are as in the built-in dialects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The class of a message by its type (repeat digit taken off) and processing code, if this dialect has classes.
    #[must_use]
    pub fn class(&self, mti: &str, processing: &str) -> Option<&str> {
        self.classes
            .iter()
            .find(|(_, kinds)| {
                kinds
                    .iter()
                    .any(|kind| kind.mti == mti && processing.starts_with(&kind.processing))
            })
            .map(|(class, _)| class.as_str())
    }
}
