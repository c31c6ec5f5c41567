//! Whether the switch can do with a dialect: which elements it reads and writes itself, and in what form.

use iso8583_codec::Format;
use iso8583_codec::model::{Body, Dialect, Encoding, Field, Length};

use super::{Side, SpecFile};

/// What the switch needs of an element.
struct Need {
    de: u8,
    /// What it is.
    name: &'static str,
    form: Form,
    /// What becomes of it on this side where it is not there.
    listener: Absent,
    issuer: Absent,
}

/// What an element must be to be read and written by the switch.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Form {
    /// Exactly so many digits.
    Digits(u32),
    /// Up to so many digits, with a length.
    DigitsUpTo(u32),
    /// Exactly so many characters.
    Characters(u32),
}

/// What it means that an element is not there.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Absent {
    /// Nothing works.
    Refused,
    /// This is said.
    Warned(&'static str),
    /// Nobody misses it.
    Fine,
}

use Absent::{Fine, Refused, Warned};
use Form::{Characters, Digits, DigitsUpTo};

const fn need(de: u8, name: &'static str, form: Form, listener: Absent, issuer: Absent) -> Need {
    Need {
        de,
        name,
        form,
        listener,
        issuer,
    }
}

const NO_APPROVAL_CODE: Absent = Warned("approval codes do not pass");

/// Every element that the switch itself reads or writes; the others only pass.
const NEEDS: &[Need] = &[
    need(2, "the card number", DigitsUpTo(19), Fine, Refused),
    need(3, "the processing code", Digits(6), Refused, Refused),
    need(4, "the amount", Digits(12), Refused, Refused),
    need(7, "the transmission time", Digits(10), Refused, Refused),
    need(11, "the trace number", Digits(6), Refused, Refused),
    need(12, "the local time", Digits(6), Fine, Fine),
    need(13, "the local date", Digits(4), Fine, Fine),
    need(22, "the entry mode", Digits(3), Fine, Fine),
    need(25, "the condition code", Digits(2), Fine, Fine),
    need(
        32,
        "the acquirer",
        DigitsUpTo(11),
        Fine,
        Warned("the issuer is not told the acquirer"),
    ),
    need(33, "the forwarder", DigitsUpTo(11), Fine, Fine),
    need(
        37,
        "the retrieval reference number",
        Characters(12),
        Refused,
        Refused,
    ),
    need(
        38,
        "the approval code",
        Characters(6),
        NO_APPROVAL_CODE,
        NO_APPROVAL_CODE,
    ),
    need(39, "the response code", Characters(2), Refused, Refused),
    need(41, "the terminal", Characters(8), Refused, Refused),
    need(42, "the merchant", Characters(15), Refused, Refused),
    need(49, "the currency", Digits(3), Refused, Refused),
    need(
        70,
        "the network management code",
        Digits(3),
        Warned("sign-on and echo messages of terminals are answered 30"),
        Refused,
    ),
    need(
        90,
        "the original data elements",
        Digits(42),
        Warned(
            "refunds and voids name their original by element 37 only, and every reversal is answered 30",
        ),
        Refused,
    ),
    need(
        95,
        "the replacement amounts",
        Characters(42),
        Fine,
        Warned("the advices of partial reversals cannot be written and become dead letters"),
    ),
];

impl Need {
    fn absent(&self, side: Side) -> Absent {
        match side {
            Side::Listener => self.listener,
            Side::Issuer => self.issuer,
        }
    }

    /// Why this row cannot carry it.
    fn unfit(&self, field: &Field) -> Option<String> {
        if field.body != Body::Value {
            return Some("has subfields".to_owned());
        }
        if !matches!(
            field.format,
            Format::N | Format::An | Format::Ans | Format::Any
        ) {
            return Some(format!("is of format {}", field.format.letters()));
        }
        if matches!(
            field.encoding,
            Encoding::Binary | Encoding::HexAscii | Encoding::HexEbcdic
        ) {
            return Some("holds bytes".to_owned());
        }
        if matches!(field.encoding, Encoding::EbcdicOverpunch { .. }) {
            return Some("is a signed number".to_owned());
        }
        match (self.form, &field.length) {
            (Digits(units) | Characters(units), Length::Fixed(length)) => {
                (*length != units).then(|| format!("is always {length} long"))
            }
            (Digits(_) | Characters(_), other) => {
                Some(format!("has a length of its own, up to {}", other.max()))
            }
            // Of a card number that is longer than the room in one dialect, that one message does not fit.
            (DigitsUpTo(units), length) => (self.de != 2 && length.max() > units)
                .then(|| format!("is up to {} long", length.max())),
        }
    }

    fn expected(&self) -> String {
        match self.form {
            Digits(units) => format!("exactly {units} digits"),
            DigitsUpTo(units) => format!("up to {units} digits"),
            Characters(units) => format!("exactly {units} characters"),
        }
    }

    fn is_digits(&self) -> bool {
        !matches!(self.form, Characters(_))
    }
}

/// Takes elements as the switch needs them: with their filling (a trace number of six digits is six digits), and only digits where
/// it reads digits, whatever else the file would let pass.
pub(super) fn tighten(dialect: &mut Dialect) {
    for need in NEEDS {
        let Some(field) = dialect.fields.get_mut(&need.de) else {
            continue;
        };
        if need.unfit(field).is_some() {
            continue;
        }
        if matches!(field.length, Length::Fixed(_))
            && let Some(pad) = &mut field.pad
        {
            pad.trim = false;
        }
        if need.is_digits() {
            field.format = Format::N;
        }
    }
}

/// Why the switch cannot do with this file on this side.
pub(super) fn problems(file: &SpecFile, side: Side) -> Vec<String> {
    let fields = &file.dialect.fields;
    let mut problems = Vec::new();
    for need in NEEDS {
        let Need { de, name, .. } = need;
        match fields.get(de).map(|field| need.unfit(field)) {
            None if need.absent(side) == Refused => problems.push(format!(
                "element {de} ({name}) is missing; the switch needs {}",
                need.expected()
            )),
            None | Some(None) => {}
            Some(Some(what)) => problems.push(format!(
                "element {de} ({name}) {what}; the switch needs {}",
                need.expected()
            )),
        }
    }
    if side == Side::Listener && !fields.contains_key(&2) && !fields.contains_key(&35) {
        problems.push(
            "elements 2 and 35 are missing; the switch needs one of them, for the card number"
                .to_owned(),
        );
    }
    match side {
        Side::Listener => listener_switches(file, &mut problems),
        Side::Issuer => issuer_switches(file, &mut problems),
    }
    problems
}

fn listener_switches(file: &SpecFile, problems: &mut Vec<String>) {
    let reversals = file.classes().is_none_or(|classes| classes.has("reversal"));
    let original = &file.switches.original;
    let by_data = original.iter().any(|reference| reference.fields == ["90"]);
    if reversals && !original.is_empty() && !by_data {
        problems.push(
            "switch.original: reversals name their original by element 90; expected 90 among these, or switch.classes without reversal"
                .to_owned(),
        );
    }
    let digits_only = file.dialect.fields.get(&39).map(|field| field.format) == Some(Format::N);
    for (reason, code) in file.answers() {
        if digits_only && !code.as_bytes().iter().all(u8::is_ascii_digit) {
            problems.push(format!(
                "switch.answers.{reason}: {code:?} does not fit element 39, which is of format n"
            ));
        }
    }
}

fn issuer_switches(file: &SpecFile, problems: &mut Vec<String>) {
    let original = &file.switches.original;
    if !original.is_empty() && !original.iter().any(|reference| reference.fields == ["90"]) {
        problems.push(
            "switch.original: the switch names originals toward issuers by element 90; expected 90 among these"
                .to_owned(),
        );
    }
    let Some(classes) = file.classes() else {
        return;
    };
    if !classes.has_message(b"0420", b"") {
        problems.push(
            "switch.classes.reversal: the switch reverses what it cannot answer for; expected \"0420\" among these"
                .to_owned(),
        );
    }
    if !classes.has("network") {
        problems.push(
            "switch.classes.network: the switch signs on and tries idle links by these; expected [\"0800\"]"
                .to_owned(),
        );
    }
}

/// What works, but less comfortably than it could.
pub(super) fn warnings(file: &SpecFile, side: Side) -> Vec<String> {
    let fields = &file.dialect.fields;
    let mut warnings = Vec::new();
    for need in NEEDS {
        if let Warned(what) = need.absent(side)
            && !fields.contains_key(&need.de)
        {
            warnings.push(format!(
                "element {} ({}) is missing: {what}",
                need.de, need.name
            ));
        }
    }
    let header = file.dialect.header;
    if side == Side::Issuer && header > 0 {
        warnings.push(format!(
            "the {header} bytes in front of the message type are zeros in messages of the switch itself, and in those from terminals of another dialect"
        ));
    }
    warnings
}
