//! Card numbers among other digits.

use std::ops::Range;

use super::{characters, hex_of, is_card_number, mask, stars, tracks};

/// What is taken for a card number.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Like {
    /// Digits that stand alone, of the right count and with the right check digit; and what is [`Like::Brand`].
    Any,
    /// What also begins as the numbers of a brand do, wherever it stands among digits.
    Brand,
}

/// The text with every number masked that may be one of a card.
pub(super) fn masked(text: &[u8], like: Like) -> String {
    let mut seen: Vec<char> = text.iter().copied().map(char::from).collect();
    for number in found(text, like) {
        hide(&mut seen, text, number);
    }
    seen.into_iter().collect()
}

/// Puts the masked digits of a number of `text` into what is seen of it.
fn hide(seen: &mut [char], text: &[u8], number: Range<usize>) {
    let (places, digits) = (seen.get_mut(number.clone()), text.get(number));
    let masked = mask(digits.unwrap_or_default());
    for (seen, masked) in places.unwrap_or_default().iter_mut().zip(masked.chars()) {
        *seen = masked;
    }
}

/// The hexadecimal digits of bytes, with every number masked that may be one of a card, in characters or in packed digits.
pub(super) fn masked_hex(bytes: &[u8]) -> String {
    let mut hidden = vec![false; bytes.len()];
    for number in found(bytes, Like::Any) {
        hidden.get_mut(number).unwrap_or_default().fill(true);
    }
    for (hidden, seen) in hidden
        .iter_mut()
        .zip(tracks::masked(&characters(bytes)).chars())
    {
        *hidden |= seen == '*';
    }
    let hex: String = bytes
        .iter()
        .zip(&hidden)
        .map(|(byte, hidden)| if *hidden { stars(2) } else { hex_of(&[*byte]) })
        .collect();
    let mut seen: Vec<char> = hex.chars().collect();
    for number in found(hex.as_bytes(), Like::Any) {
        // Digits in characters look like longer ones in packed digits, and were looked at above.
        let under = bytes
            .get(number.start / 2..number.end.div_ceil(2))
            .unwrap_or_default();
        if under.iter().all(u8::is_ascii_digit) {
            continue;
        }
        hide(&mut seen, hex.as_bytes(), number);
    }
    seen.into_iter().collect()
}

/// Where card numbers stand.
fn found(text: &[u8], like: Like) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0usize;
    for run in text.chunk_by(|one, next| one.is_ascii_digit() == next.is_ascii_digit()) {
        if like == Like::Any && is_card_number(run) {
            found.push(at..at.saturating_add(run.len()));
        } else {
            let numbers = of_brands(run).into_iter();
            found.extend(
                numbers
                    .map(|number| at.saturating_add(number.start)..at.saturating_add(number.end)),
            );
        }
        at = at.saturating_add(run.len());
    }
    found
}

/// Where in a run of digits the numbers of brands stand, a length before them, say, or the next value behind.
fn of_brands(run: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0usize;
    while let Some(rest) = run.get(at..) {
        let Some((first, _)) = rest.split_first_chunk() else {
            break;
        };
        let lengths = lengths(*first).iter().rev();
        let length = lengths
            .copied()
            .find(|length| rest.get(..*length).is_some_and(is_card_number));
        let next = at.saturating_add(length.unwrap_or(1));
        found.extend(length.map(|_| at..next));
        at = next;
    }
    found
}

/// How many digits a card number has that begins with these; none where no brand has such. Sources: ISO/IEC 7812-1 for the industries, the
/// brands' own ranges.
fn lengths(first: [u8; 4]) -> &'static [usize] {
    match &first {
        [b'4', ..] => &[13, 16, 19],
        [b'5', b'1'..=b'5', ..] | b"9792" => &[16],
        [b'2', b'2', b'2', b'1'..=b'9'] | [b'2', b'2', b'3'..=b'9', _] => &[16],
        [b'2', b'3'..=b'6', ..] | [b'2', b'7', b'0' | b'1', _] | b"2720" => &[16],
        [b'3', b'4' | b'7', ..] => &[15],
        [b'3', b'0', b'0'..=b'5', _] | [b'3', b'6' | b'8' | b'9', ..] => &[14],
        [b'3', b'5', b'2', b'8' | b'9'] | [b'3', b'5', b'3'..=b'8', _] => &[16, 17, 18, 19],
        [b'2', b'2', b'0', b'0'..=b'4'] => &[16, 17, 18, 19],
        [b'5', b'0' | b'6'..=b'8', ..] | [b'6', ..] => &[16, 17, 18, 19],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_stands_alone() {
        assert_eq!(
            masked(b"a 4761739001010119 b", Like::Any),
            "a 476173******0119 b"
        );
        // Of no brand: the check digit is all that tells.
        assert_eq!(masked(b"9000000000000002", Like::Any), "9000000000000002");
        assert_eq!(masked(b"9000000000000001", Like::Brand), "9000000000000001");
        assert_eq!(masked(b"9000000000000001", Like::Any), "900000******0001");
    }

    #[test]
    fn a_number_of_a_brand_among_digits() {
        assert_eq!(
            masked(b"164761739001010119", Like::Any),
            "16476173******0119"
        );
        assert_eq!(
            masked(b"08378282246310005G", Like::Any),
            "08378282*****0005G"
        );
        assert_eq!(
            masked(b"0000378282246310005", Like::Brand),
            "0000378282*****0005"
        );
        assert_eq!(
            masked(b"20261124123457000000", Like::Any),
            "20261124123457000000"
        );
        let two = b"37828224631000547617390010101190";
        assert_eq!(masked(two, Like::Any), "378282*****0005476173******01190");
    }

    #[test]
    fn packed_and_in_characters() {
        let packed = [0x08, 0x47, 0x61, 0x73, 0x90, 0x01, 0x01, 0x01, 0x19, 0x5F];
        assert_eq!(masked_hex(&packed), "08476173******01195F");
        let odd = [0x03, 0x78, 0x28, 0x22, 0x46, 0x31, 0x00, 0x05];
        assert_eq!(masked_hex(&odd), "037828******0005");
        assert_eq!(
            masked_hex(b"\x0116 4761739001010119"),
            format!("01313620{}", "**".repeat(16))
        );
        // A date in characters is no number in packed digits.
        assert_eq!(masked_hex(b"36101241"), "3336313031323431");
    }

    #[test]
    fn published_test_numbers_of_all_brands() {
        for number in [
            "4222222222222",
            "4111111111111111",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "30569309025904",
            "38520000023237",
            "3530111333300000",
            "6011111111111117",
            "6200000000000005",
        ] {
            assert!(is_card_number(number.as_bytes()), "{number}");
            let among = format!("0{number}0");
            assert_ne!(masked(among.as_bytes(), Like::Brand), among);
        }
    }
}
