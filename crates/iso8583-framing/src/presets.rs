//! The framings that have a name.

use crate::columns::{Columns, FixedBytes, Form};
use crate::{Framing, LengthKind, Tpdu};

/// Two bytes, big-endian, counting the message alone.
const LEN2: Columns = Columns {
    before: FixedBytes::NONE,
    length: LengthKind::Binary,
    width: 2,
    counts_itself: false,
    counts_trailer: true,
    counts_more: 0,
    after: FixedBytes::NONE,
    check_fixed: true,
    tpdu: None,
    tpdu_swap: true,
    trailer: FixedBytes::NONE,
    form: Form::Plain,
    zero_is_keep_alive: true,
    longest: None,
};

const BCD2: Columns = Columns {
    length: LengthKind::Bcd,
    ..LEN2
};

const LEN4_ASCII: Columns = Columns {
    length: LengthKind::Ascii,
    width: 4,
    ..LEN2
};

/// The TPDU that is written where nobody said another: what follows is a message (60), no addresses.
const TPDU: Option<Tpdu> = Some(Tpdu([0x60, 0, 0, 0, 0]));

/// Length, then two bytes of zero.
const TWO_ZEROS_AFTER: Columns = Columns {
    after: fixed(&[0, 0]),
    ..LEN2
};

const fn fixed(bytes: &[u8]) -> FixedBytes {
    match FixedBytes::new(bytes) {
        Some(fixed) => fixed,
        None => panic!("a preset has too many fixed bytes"),
    }
}

const fn row(name: &'static str, columns: Columns) -> Framing {
    match Framing::build(name, columns) {
        Ok(framing) => framing,
        Err(_) => panic!("the columns of a preset do not go together"),
    }
}

/// Every framing that has a name; names are unique.
pub(crate) const TABLE: &[Framing] = &[
    Framing::LEN2,
    Framing::LEN2_INCLUSIVE,
    Framing::LEN4_ASCII,
    Framing::BCD2,
    row("ascii", LEN4_ASCII),
    row("nac", Columns { tpdu: TPDU, ..LEN2 }),
    row("post", LEN2),
    #[cfg(feature = "gzip")]
    row(
        "gzip",
        Columns {
            form: Form::Gzip,
            ..LEN2
        },
    ),
    row("ncc", Columns { tpdu: TPDU, ..BCD2 }),
    row("bcd", Columns { tpdu: TPDU, ..BCD2 }),
    row(
        "hex",
        Columns {
            length: LengthKind::Hex,
            width: 4,
            ..LEN2
        },
    ),
    row(
        "amex",
        Columns {
            counts_itself: true,
            ..LEN2
        },
    ),
    row(
        "base24tcp",
        Columns {
            trailer: fixed(&[0x03]),
            ..LEN2
        },
    ),
    row("vap", TWO_ZEROS_AFTER),
    row("cs", TWO_ZEROS_AFTER),
    row(
        "gicc",
        Columns {
            before: fixed(&[0, 0]),
            ..LEN2
        },
    ),
    row("raw", Columns { width: 4, ..LEN2 }),
    row(
        "rbp",
        Columns {
            before: fixed(&[0xD0, 0x4A]),
            form: Form::Parts,
            ..LEN2
        },
    ),
    row("cmf", Columns { width: 3, ..LEN2 }),
    row(
        "vml",
        Columns {
            form: Form::SessionFlag,
            longest: Some(2048),
            ..LEN2
        },
    ),
];

/// The names of the table's rows.
#[cfg_attr(
    not(test),
    expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "runs at compile time, over the table's own length"
    )
)]
const fn names() -> [&'static str; TABLE.len()] {
    let mut names = [""; TABLE.len()];
    let mut row = 0;
    while row < names.len() {
        names[row] = TABLE[row].name();
        row += 1;
    }
    names
}

impl Framing {
    /// `len2`: two bytes, binary big-endian, excluding themselves.
    pub const LEN2: Framing = row("len2", LEN2);
    /// `len2-inclusive`: two bytes, binary big-endian, including themselves. A length of 0 is an error.
    pub const LEN2_INCLUSIVE: Framing = row(
        "len2-inclusive",
        Columns {
            counts_itself: true,
            zero_is_keep_alive: false,
            ..LEN2
        },
    );
    /// `len4-ascii`: four ASCII digits, excluding themselves.
    pub const LEN4_ASCII: Framing = row("len4-ascii", LEN4_ASCII);
    /// `bcd2`: four BCD digits in two bytes, excluding themselves.
    pub const BCD2: Framing = row("bcd2", BCD2);

    /// The names that [`Framing::by_name`] knows.
    pub const NAMES: &'static [&'static str] = &names();

    /// The framing of this name, as a configuration writes it. The names of jPOS channel classes lead to their presets
    /// too: `NACChannel` and `org.jpos.iso.channel.NACChannel` are `nac`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Framing> {
        let channel = name.rsplit_once('.').map_or(name, |(_, class)| class);
        let channel = channel.strip_suffix("Channel").map(str::to_ascii_lowercase);
        let name = channel.as_deref().unwrap_or(name);
        TABLE.iter().copied().find(|framing| framing.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for (at, name) in Framing::NAMES.iter().enumerate() {
            assert_eq!(Framing::by_name(name).unwrap().name(), *name);
            assert!(!Framing::NAMES[..at].contains(name), "{name} twice");
        }
        assert_eq!(Framing::by_name("len3"), None);
        assert_eq!(Framing::by_name(""), None);
        assert_eq!(Framing::by_name("Channel"), None);
    }

    #[test]
    fn channels_by_the_names_of_their_classes() {
        for (class, name) in [
            ("NACChannel", "nac"),
            ("org.jpos.iso.channel.BASE24TCPChannel", "base24tcp"),
            ("ASCIIChannel", "ascii"),
            ("RBPChannel", "rbp"),
        ] {
            assert_eq!(
                Framing::by_name(class).map(|framing| framing.name()),
                Some(name)
            );
        }
        assert_eq!(Framing::by_name("org.jpos.iso.channel.nac"), None);
    }
}
