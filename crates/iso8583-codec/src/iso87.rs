//! ISO 8583:1987, the data elements.
//!
//! Where the standard and what implementations exchange differ, the latter is followed: DE 65 is one byte, DE 93 has six
//! characters and DE 96 sixteen bytes, DE 36 and the amounts of DE 95 are characters, currency codes are three
//! characters also where digits are packed.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "run by the compiler only, which stops at what is out of bounds"
)]

use crate::spec::Format::{An, Ans, B, N, Xn, Z};
use crate::spec::{FieldSpec, Format, HeadEncoding, Length, PrefixEncoding, ValueEncoding};

/// Data elements 2 to 128.
const ROWS: usize = 127;

const fn fixed(length: u16) -> Length {
    Length::Fixed(length)
}

const fn ll(max: u16) -> Length {
    Length::Variable { digits: 2, max }
}

const fn lll(max: u16) -> Length {
    Length::Variable { digits: 3, max }
}

/// First and last data element of the row, name, format and length; in ascending order, without gaps.
const ELEMENTS: &[(u8, u8, &str, Format, Length)] = &[
    (2, 2, "Primary account number", N, ll(19)),
    (3, 3, "Processing code", N, fixed(6)),
    (4, 4, "Amount, transaction", N, fixed(12)),
    (5, 5, "Amount, settlement", N, fixed(12)),
    (6, 6, "Amount, cardholder billing", N, fixed(12)),
    (7, 7, "Transmission date and time", N, fixed(10)),
    (8, 8, "Amount, cardholder billing fee", N, fixed(8)),
    (9, 9, "Conversion rate, settlement", N, fixed(8)),
    (10, 10, "Conversion rate, cardholder billing", N, fixed(8)),
    (11, 11, "System trace audit number", N, fixed(6)),
    (12, 12, "Time, local transaction", N, fixed(6)),
    (13, 13, "Date, local transaction", N, fixed(4)),
    (14, 14, "Date, expiration", N, fixed(4)),
    (15, 15, "Date, settlement", N, fixed(4)),
    (16, 16, "Date, conversion", N, fixed(4)),
    (17, 17, "Date, capture", N, fixed(4)),
    (18, 18, "Merchant type", N, fixed(4)),
    (19, 19, "Acquiring institution country code", N, fixed(3)),
    (
        20,
        20,
        "Primary account number extended, country code",
        N,
        fixed(3),
    ),
    (21, 21, "Forwarding institution country code", N, fixed(3)),
    (22, 22, "Point of service entry mode", N, fixed(3)),
    (23, 23, "Card sequence number", N, fixed(3)),
    (24, 24, "Network international identifier", N, fixed(3)),
    (25, 25, "Point of service condition code", N, fixed(2)),
    (26, 26, "Point of service PIN capture code", N, fixed(2)),
    (
        27,
        27,
        "Authorization identification response length",
        N,
        fixed(1),
    ),
    (28, 28, "Amount, transaction fee", Xn, fixed(9)),
    (29, 29, "Amount, settlement fee", Xn, fixed(9)),
    (30, 30, "Amount, transaction processing fee", Xn, fixed(9)),
    (31, 31, "Amount, settlement processing fee", Xn, fixed(9)),
    (
        32,
        32,
        "Acquiring institution identification code",
        N,
        ll(11),
    ),
    (
        33,
        33,
        "Forwarding institution identification code",
        N,
        ll(11),
    ),
    (34, 34, "Primary account number, extended", Ans, ll(28)),
    (35, 35, "Track 2 data", Z, ll(37)),
    (36, 36, "Track 3 data", Ans, lll(104)),
    (37, 37, "Retrieval reference number", An, fixed(12)),
    (
        38,
        38,
        "Authorization identification response",
        An,
        fixed(6),
    ),
    (39, 39, "Response code", An, fixed(2)),
    (40, 40, "Service restriction code", An, fixed(3)),
    (
        41,
        41,
        "Card acceptor terminal identification",
        Ans,
        fixed(8),
    ),
    (42, 42, "Card acceptor identification code", Ans, fixed(15)),
    (43, 43, "Card acceptor name and location", Ans, fixed(40)),
    (44, 44, "Additional response data", Ans, ll(25)),
    (45, 45, "Track 1 data", Ans, ll(76)),
    (46, 46, "Additional data, ISO", Ans, lll(999)),
    (47, 47, "Additional data, national", Ans, lll(999)),
    (48, 48, "Additional data, private", Ans, lll(999)),
    (49, 49, "Currency code, transaction", An, fixed(3)),
    (50, 50, "Currency code, settlement", An, fixed(3)),
    (51, 51, "Currency code, cardholder billing", An, fixed(3)),
    (52, 52, "PIN data", B, fixed(8)),
    (53, 53, "Security related control information", N, fixed(16)),
    (54, 54, "Additional amounts", Ans, lll(120)),
    (55, 55, "ICC data", Ans, lll(999)),
    (56, 56, "Reserved, ISO", Ans, lll(999)),
    (57, 59, "Reserved, national", Ans, lll(999)),
    (60, 63, "Reserved, private", Ans, lll(999)),
    (64, 64, "Message authentication code", B, fixed(8)),
    (65, 65, "Bitmap, extended", B, fixed(1)),
    (66, 66, "Settlement code", N, fixed(1)),
    (67, 67, "Extended payment code", N, fixed(2)),
    (68, 68, "Receiving institution country code", N, fixed(3)),
    (69, 69, "Settlement institution country code", N, fixed(3)),
    (70, 70, "Network management information code", N, fixed(3)),
    (71, 71, "Message number", N, fixed(4)),
    (72, 72, "Message number, last", N, fixed(4)),
    (73, 73, "Date, action", N, fixed(6)),
    (74, 74, "Credits, number", N, fixed(10)),
    (75, 75, "Credits, reversal number", N, fixed(10)),
    (76, 76, "Debits, number", N, fixed(10)),
    (77, 77, "Debits, reversal number", N, fixed(10)),
    (78, 78, "Transfer, number", N, fixed(10)),
    (79, 79, "Transfer, reversal number", N, fixed(10)),
    (80, 80, "Inquiries, number", N, fixed(10)),
    (81, 81, "Authorizations, number", N, fixed(10)),
    (82, 82, "Credits, processing fee amount", N, fixed(12)),
    (83, 83, "Credits, transaction fee amount", N, fixed(12)),
    (84, 84, "Debits, processing fee amount", N, fixed(12)),
    (85, 85, "Debits, transaction fee amount", N, fixed(12)),
    (86, 86, "Credits, amount", N, fixed(16)),
    (87, 87, "Credits, reversal amount", N, fixed(16)),
    (88, 88, "Debits, amount", N, fixed(16)),
    (89, 89, "Debits, reversal amount", N, fixed(16)),
    (90, 90, "Original data elements", N, fixed(42)),
    (91, 91, "File update code", An, fixed(1)),
    (92, 92, "File security code", An, fixed(2)),
    (93, 93, "Response indicator", An, fixed(6)),
    (94, 94, "Service indicator", An, fixed(7)),
    (95, 95, "Replacement amounts", An, fixed(42)),
    (96, 96, "Message security code", B, fixed(16)),
    (97, 97, "Amount, net settlement", Xn, fixed(17)),
    (98, 98, "Payee", Ans, fixed(25)),
    (
        99,
        99,
        "Settlement institution identification code",
        N,
        ll(11),
    ),
    (
        100,
        100,
        "Receiving institution identification code",
        N,
        ll(11),
    ),
    (101, 101, "File name", Ans, ll(17)),
    (102, 102, "Account identification 1", Ans, ll(28)),
    (103, 103, "Account identification 2", Ans, ll(28)),
    (104, 104, "Transaction description", Ans, lll(100)),
    (105, 111, "Reserved, ISO", Ans, lll(999)),
    (112, 119, "Reserved, national", Ans, lll(999)),
    (120, 127, "Reserved, private", Ans, lll(999)),
    (128, 128, "Message authentication code", B, fixed(8)),
];

/// The rows of the dialect that writes its head this way, and everything else accordingly.
pub(crate) const fn rows(head: HeadEncoding) -> [FieldSpec<'static>; ROWS] {
    let mut rows = [row(0, "", B, fixed(0), head); ROWS];
    let mut element = 0;
    let mut count = 0;
    while element < ELEMENTS.len() {
        let (first, last, name, format, length) = ELEMENTS[element];
        let mut de = first;
        while de <= last {
            assert!(de as usize == count + 2, "the elements have a gap");
            rows[count] = row(de, name, format, length, head);
            count += 1;
            de += 1;
        }
        element += 1;
    }
    assert!(count == ROWS, "elements are missing");
    rows
}

const fn row(
    de: u8,
    name: &'static str,
    format: Format,
    length: Length,
    head: HeadEncoding,
) -> FieldSpec<'static> {
    match head {
        HeadEncoding::Characters | HeadEncoding::Other => {
            let value = if matches!(format, B) {
                ValueEncoding::Hex
            } else {
                ValueEncoding::Plain
            };
            FieldSpec {
                de,
                name,
                format,
                length,
                value,
                prefix: PrefixEncoding::Characters,
            }
        }
        HeadEncoding::Packed => {
            // ICC data is hex text where everything is text, and its length counts the characters of that.
            let format = if de == 55 { B } else { format };
            let value = match format {
                N | Z => ValueEncoding::Bcd,
                Xn => ValueEncoding::SignedBcd,
                An | Ans | B | Format::Any => ValueEncoding::Plain,
            };
            FieldSpec {
                de,
                name,
                format,
                length,
                value,
                prefix: PrefixEncoding::Bcd,
            }
        }
    }
}
