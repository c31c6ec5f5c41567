//! Tags and lengths of BER-TLV (ISO 8825-1, as EMV uses them).

use nom::bytes::complete::{take, take_while};
use nom::combinator::{recognize, verify};
use nom::number::complete::be_u8;
use nom::{IResult, Parser};

/// Most bytes of a tag.
const TAG_BYTES_MAX: usize = 4;

/// Most bytes of a length, the first one not counted.
const LENGTH_BYTES_MAX: u8 = 4;

/// One object.
pub(crate) struct Object<'b> {
    pub(crate) tag: &'b [u8],
    /// Bytes of tag and length.
    pub(crate) head: usize,
    pub(crate) value: &'b [u8],
}

impl Object<'_> {
    /// Whether the value is objects again.
    pub(crate) fn is_constructed(&self) -> bool {
        self.tag.first().is_some_and(|first| first & 0x20 != 0)
    }
}

fn tag(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let single = verify(be_u8, |first| first & 0x1F != 0x1F);
    let first_of_more = verify(be_u8, |first| first & 0x1F == 0x1F);
    let middle = take_while(|byte| byte & 0x80 != 0);
    let last = verify(be_u8, |byte| byte & 0x80 == 0);
    let more = verify(recognize((first_of_more, middle, last)), |tag: &[u8]| {
        tag.len() <= TAG_BYTES_MAX
    });
    nom::branch::alt((recognize(single), more)).parse(input)
}

fn length(input: &[u8]) -> IResult<&[u8], usize> {
    let (input, first) = be_u8(input)?;
    if first & 0x80 == 0 {
        return Ok((input, usize::from(first)));
    }
    let count = verify(
        |input| Ok((input, first & 0x7F)),
        |count: &u8| (1..=LENGTH_BYTES_MAX).contains(count),
    )
    .parse(input)
    .map(|(_, count): (&[u8], u8)| count)?;
    let (input, bytes) = take(count).parse(input)?;
    let number = bytes.iter().fold(0usize, |number, byte| {
        number
            .saturating_mul(256)
            .saturating_add(usize::from(*byte))
    });
    Ok((input, number))
}

/// The object at the front of `input`, or the byte at fault.
pub(crate) fn object(input: &[u8]) -> Result<Object<'_>, usize> {
    let (rest, tag) = tag(input).map_err(|_| 0usize)?;
    let (rest, length) = length(rest).map_err(|_| tag.len())?;
    let head = input.len().saturating_sub(rest.len());
    let value = rest.get(..length).ok_or(head)?;
    Ok(Object { tag, head, value })
}

/// Bytes between objects that mean nothing.
pub(crate) fn filling(input: &[u8]) -> usize {
    input
        .iter()
        .take_while(|byte| matches!(byte, 0x00 | 0xFF))
        .count()
}

/// Appends a length in as few bytes as possible.
pub(crate) fn write_length(length: usize, out: &mut Vec<u8>) {
    match length {
        0..=0x7F => out.push(length as u8),
        _ => {
            let bytes = length.to_be_bytes();
            let significant: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | significant.len() as u8);
            out.extend(significant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], expected: Result<(&[u8], &[u8]), usize>) {
        let found = object(input).map(|object| (object.tag, object.value));
        assert_eq!(found, expected);
    }

    #[test]
    fn objects() {
        check(
            &[0x82, 0x02, 0x58, 0x00, 0x95],
            Ok((&[0x82], &[0x58, 0x00])),
        );
        check(&[0x9F, 0x02, 0x01, 0xAA], Ok((&[0x9F, 0x02], &[0xAA])));
        check(&[0xDF, 0x81, 0x01, 0x00], Ok((&[0xDF, 0x81, 0x01], &[])));
        check(&[0x5A, 0x81, 0x01, 0xAA], Ok((&[0x5A], &[0xAA])));
        check(&[0x5A, 0x82, 0x00, 0x01, 0xAA], Ok((&[0x5A], &[0xAA])));
    }

    #[test]
    fn what_is_none() {
        check(&[], Err(0));
        check(&[0x9F], Err(0));
        check(&[0xDF, 0x81, 0x82, 0x83, 0x04, 0x00], Err(0));
        check(&[0x82], Err(1));
        check(&[0x82, 0x80], Err(1));
        check(&[0x82, 0x85, 0, 0, 0, 0, 0], Err(1));
        check(&[0x82, 0x81], Err(1));
        check(&[0x82, 0x03, 0xAA, 0xBB], Err(2));
    }

    #[test]
    fn lengths_on_writing() {
        let check = |length: usize, bytes: &[u8]| {
            let mut out = Vec::new();
            write_length(length, &mut out);
            assert_eq!(out, bytes);
        };
        check(0, &[0]);
        check(127, &[0x7F]);
        check(128, &[0x81, 0x80]);
        check(256, &[0x82, 0x01, 0x00]);
    }
}
