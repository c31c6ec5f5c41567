//! Card data among the EMV tags of DE 55.

use std::ops::Range;

use super::{hex_of, numbers, stars};

/// Tags whose values are card data: track 1, track 2, the card number, the cardholder's name, discretionary data of the
/// tracks, and the tracks of contactless magnetic stripe mode. Source: EMV book 3, annex A.
const CARD_DATA: &[u32] = &[0x56, 0x57, 0x5A, 0x5F20, 0x9F0B, 0x9F1F, 0x9F20, 0x9F6B];

/// Whether the value of this tag, in hexadecimal digits, is card data.
pub(super) fn is_card_data(tag: &str) -> bool {
    u32::from_str_radix(tag, 16).is_ok_and(|tag| CARD_DATA.contains(&tag))
}

/// The bytes in hexadecimal digits, with stars for card data, and with every number masked that may be one of a card.
pub(super) fn masked_hex(bytes: &[u8]) -> String {
    let mut text = match objects(bytes) {
        Some(objects) => {
            let mut text = hex_of(bytes);
            for object in objects.iter().filter(|object| !object.constructed) {
                let value = bytes.get(object.value.clone()).unwrap_or_default();
                let digits =
                    object.value.start.saturating_mul(2)..object.value.end.saturating_mul(2);
                text.replace_range(digits, &numbers::masked_hex(value));
            }
            text
        }
        // It may begin anywhere.
        None => numbers::masked_hex(bytes),
    };
    for Range { start, end } in card_data(bytes) {
        let digits = start.saturating_mul(2)..end.saturating_mul(2);
        let hidden = stars(digits.len());
        text.replace_range(digits, &hidden);
    }
    text
}

/// One object of BER-TLV, those inside others too.
pub(super) struct Object {
    /// Tag in upper-case hexadecimal digits.
    pub(super) tag: String,
    /// How many objects it lies in.
    pub(super) depth: usize,
    /// Whether it holds objects itself.
    pub(super) constructed: bool,
    /// Whether its value is card data.
    pub(super) card_data: bool,
    /// Where tag and length start.
    pub(super) start: usize,
    /// Where the value lies.
    pub(super) value: Range<usize>,
}

/// The objects of these bytes; `None` if they are not BER-TLV up to the last byte, filling zeros aside.
pub(super) fn objects(bytes: &[u8]) -> Option<Vec<Object>> {
    let mut found = Vec::new();
    // Ends of the constructed objects around the present place.
    let mut around: Vec<usize> = Vec::new();
    let mut at = 0usize;
    loop {
        let padding = bytes.iter().skip(at).take_while(|byte| **byte == 0);
        at = at.saturating_add(padding.count());
        around.retain(|end| *end > at);
        if at >= bytes.len() {
            return Some(found);
        }
        let (tag, constructed, start, end) = element(bytes, at)?;
        let limit = around.last().copied().unwrap_or(bytes.len());
        if end > limit || found.len() >= OBJECTS_MAX {
            return None;
        }
        let tag_bytes = tag_bytes(tag);
        found.push(Object {
            tag: hex_of(bytes.get(at..at.saturating_add(tag_bytes))?),
            depth: around.len(),
            constructed,
            card_data: CARD_DATA.contains(&tag),
            start: at,
            value: start..end,
        });
        if constructed {
            around.push(end);
        }
        at = if constructed { start } else { end };
    }
}

/// Most objects that are told apart.
const OBJECTS_MAX: usize = 1024;

/// How many bytes a tag has.
fn tag_bytes(tag: u32) -> usize {
    let bits = u32::BITS.saturating_sub(tag.leading_zeros());
    usize::try_from(bits.div_ceil(8).max(1)).unwrap_or(1)
}

/// Where the values of card data lie. An element that claims more bytes than there are is not to be trusted: its value may hold
/// anything, and is taken for card data. Zeros may stand between elements. Source: EMV book 3, annex B.
fn card_data(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0usize;
    loop {
        let padding = bytes.iter().skip(at).take_while(|byte| **byte == 0);
        at = at.saturating_add(padding.count());
        let Some((tag, constructed, start, end)) = element(bytes, at) else {
            break;
        };
        let is_cut = end > bytes.len();
        let end = end.min(bytes.len());
        if CARD_DATA.contains(&tag) || (is_cut && !constructed) {
            found.push(start..end);
        }
        // The elements inside a constructed one come next.
        at = if constructed { start } else { end };
    }
    found
}

/// Tag, whether it is constructed, and where its value starts and should end.
fn element(bytes: &[u8], at: usize) -> Option<(u32, bool, usize, usize)> {
    let mut rest = bytes.get(at..)?.iter();
    let first = *rest.next()?;
    let mut tag = u32::from(first);
    if first & 0x1F == 0x1F {
        loop {
            let byte = *rest.next()?;
            tag = tag.wrapping_shl(8) | u32::from(byte);
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    let mut length = usize::from(*rest.next()?);
    if length & 0x80 != 0 {
        let count = (length & 0x7F).min(4);
        length = 0;
        for _ in 0..count {
            length = length.wrapping_shl(8) | usize::from(*rest.next()?);
        }
    }
    let start = bytes.len().saturating_sub(rest.len());
    Some((tag, first & 0x20 != 0, start, start.saturating_add(length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], shown: &str) {
        assert_eq!(masked_hex(bytes), shown);
    }

    #[test]
    fn card_data_becomes_stars() {
        check(
            &[
                0x9F, 0x26, 2, 0xAB, 0xCD, 0x5A, 3, 0x47, 0x61, 0x73, 0x82, 1, 0x80,
            ],
            "9F2602ABCD5A03******820180",
        );
        check(&[0x57, 2, 0x47, 0xD2], "5702****");
        check(&[0x5F, 0x20, 1, 0x41], "5F2001**");
        check(&[0x70, 4, 0x5A, 2, 0x47, 0x61], "70045A02****");
        check(&[0x5A, 0x81, 2, 0x47, 0x61, 0x95, 0], "5A8102****9500");
    }

    #[test]
    fn what_is_cut_or_no_tag() {
        check(&[0x5A, 8, 0x47, 0x61], "5A08****");
        check(&[0x5A], "5A");
        check(&[0xFF, 0xFF, 0xFF], "FFFFFF");
        check(
            &[0x5A, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0x47],
            "5A84FFFFFFFF**",
        );
        check(&[], "");
        check(&[0x82, 9, 0x5A, 2, 0x47, 0x61], "8209********");
        check(&[0x70, 9, 0x5A, 2, 0x47, 0x61], "70095A02****");
    }

    #[test]
    fn zeros_between_elements() {
        check(&[0, 0x5A, 2, 0x47, 0x61, 0, 0, 0], "005A02****000000");
        check(&[0x95, 0, 0, 0x57, 1, 0x47], "9500005701**");
    }
}
