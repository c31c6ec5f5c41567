//! What a terminal's message is: one match over MTI and processing code.

use iso8583_codec::{Message, Mti};
use refund_ledger::Kind;

use crate::dialect::Classes;

/// What to do with a message.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Intent {
    /// Goes through the ledger.
    Transaction(Kind),
    /// `0800`: answered by the switch.
    Network,
    /// A response MTI: nobody asked.
    Response,
    /// DE 3 is needed to tell and is missing or malformed.
    Malformed,
    /// Nothing that this switch knows.
    Unsupported,
}

/// Label of the metrics, with bounded values.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum ClassLabel {
    Purchase,
    Preauth,
    Refund,
    Void,
    Reversal,
    Network,
    Other,
}

impl ClassLabel {
    /// How many there are.
    pub(crate) const COUNT: usize = ClassLabel::Other as usize + 1;

    pub(crate) fn name(self) -> &'static str {
        match self {
            ClassLabel::Purchase => "purchase",
            ClassLabel::Preauth => "preauth",
            ClassLabel::Refund => "refund",
            ClassLabel::Void => "void",
            ClassLabel::Reversal => "reversal",
            ClassLabel::Network => "network",
            ClassLabel::Other => "other",
        }
    }

    pub(crate) fn of(kind: Kind) -> ClassLabel {
        match kind {
            Kind::Purchase => ClassLabel::Purchase,
            Kind::Preauth => ClassLabel::Preauth,
            Kind::Refund => ClassLabel::Refund,
            Kind::Void | Kind::RefundVoid => ClassLabel::Void,
            Kind::Reversal => ClassLabel::Reversal,
            Kind::Tombstone | Kind::SameAs => ClassLabel::Other,
        }
    }
}

/// What a message is. Its MTI is trusted to be four digits, nothing else. `classes` are those of a dialect of its own.
pub(crate) fn intent(message: &Message<'_>, classes: Option<&Classes>) -> Intent {
    let mti = message.mti();
    if mti.is_response() {
        return Intent::Response;
    }
    if let Some(classes) = classes {
        return classes.intent(message, mti);
    }
    match mti.without_repeat().as_bytes() {
        b"0800" => Intent::Network,
        b"0400" | b"0420" => Intent::Transaction(Kind::Reversal),
        b"0100" | b"0200" | b"0220" => by_processing_code(message, mti),
        _ => Intent::Unsupported,
    }
}

fn by_processing_code(message: &Message<'_>, mti: Mti) -> Intent {
    let Ok(Some(code)) = message.processing_code() else {
        return Intent::Malformed;
    };
    match (mti.without_repeat().as_bytes(), &code[..2]) {
        (b"0200", b"00") => Intent::Transaction(Kind::Purchase),
        (b"0100", b"00") => Intent::Transaction(Kind::Preauth),
        (b"0200" | b"0220", b"20") => Intent::Transaction(Kind::Refund),
        (b"0200", b"02") => Intent::Transaction(Kind::Void),
        (b"0200", b"22") => Intent::Transaction(Kind::RefundVoid),
        _ => Intent::Unsupported,
    }
}
