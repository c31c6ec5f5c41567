//! Where the elements of a message lie, learned once and used for all messages that look the same.

use std::ops::Range;

use iso8583_codec::Message;

/// The places of a message's elements. They are those of every message of the dialect with the same beginning (MTI and bitmaps), the
/// same length and the same length prefixes.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    head: Box<[u8]>,
    len: usize,
    prefixes: Vec<(usize, Box<[u8]>)>,
    elements: Vec<(u8, Range<usize>)>,
}

/// Bytes that are the same in two messages, at different places.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) len: usize,
}

impl Shape {
    /// The shape of this message.
    pub(crate) fn of(message: &Message<'_>) -> Shape {
        let frame = message.frame();
        let mut shape = Shape {
            head: Box::default(),
            len: frame.len(),
            prefixes: Vec::new(),
            elements: Vec::new(),
        };
        let mut end = None;
        for de in message.elements() {
            let Some(place) = message.raw(de).and_then(|raw| place_in(frame, raw)) else {
                continue;
            };
            // What stands between two values is the length of the second; before the first, MTI and bitmaps too.
            match end {
                None => shape.head = frame.get(..place.start).unwrap_or_default().into(),
                Some(end) if end < place.start => {
                    let prefix = frame.get(end..place.start).unwrap_or_default();
                    shape.prefixes.push((end, prefix.into()));
                }
                Some(_) => {}
            }
            end = Some(place.end);
            shape.elements.push((de, place));
        }
        if shape.elements.is_empty() {
            shape.head = frame.into();
        }
        shape
    }

    /// Whether a message has this shape.
    #[inline]
    pub(crate) fn fits(&self, body: &[u8]) -> bool {
        body.len() == self.len
            && body.starts_with(&self.head)
            && self
                .prefixes
                .iter()
                .all(|(at, prefix)| body.get(*at..).is_some_and(|rest| rest.starts_with(prefix)))
    }

    /// Where the value of an element lies; `None` where it is absent.
    pub(crate) fn place(&self, de: u8) -> Option<Range<usize>> {
        self.elements
            .iter()
            .find(|(element, _)| *element == de)
            .map(|(_, place)| place.clone())
    }

    /// The runs of bytes that these elements are here and in `other`, neighbours put together. The first element that one of the
    /// two lacks, or that has another length there, is the error.
    pub(crate) fn runs(
        &self,
        other: &Shape,
        elements: impl IntoIterator<Item = u8>,
    ) -> Result<Vec<Run>, u8> {
        let mut runs: Vec<Run> = Vec::new();
        for de in elements {
            let (from, to) = match (self.place(de), other.place(de)) {
                (None, None) => continue,
                (Some(from), Some(to)) if from.len() == to.len() => (from, to),
                _ => return Err(de),
            };
            match runs.last_mut() {
                Some(last)
                    if last.from + last.len == from.start && last.to + last.len == to.start =>
                {
                    last.len += from.len();
                }
                _ => runs.push(Run {
                    from: from.start,
                    to: to.start,
                    len: from.len(),
                }),
            }
        }
        Ok(runs)
    }
}

/// Where a part of a slice lies in it; `None` where it is no part of it.
pub(crate) fn place_in(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let place = start..start + part.len();
    (place.end <= whole.len()).then_some(place)
}

#[cfg(test)]
mod tests {
    use iso8583_codec::Spec;

    use super::*;
    use crate::Message as Owned;

    fn message(pan: &str, acquirer: &str, stan: &str) -> Owned {
        Owned::new("0200")
            .set(2, pan)
            .set(3, "000000")
            .set(11, stan)
            .set(32, acquirer)
            .set(41, "TERM0001")
    }

    fn shape(spec: &'static Spec, message: &Owned) -> Shape {
        Shape::of(&spec.decode(&message.encode(spec).unwrap()).unwrap())
    }

    #[test]
    fn a_shape_fits_what_differs_in_values_alone() {
        for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
            let known = shape(spec, &message("4761739001010119", "123456", "000001"));
            let check = |message: Owned, fits| {
                let bytes = message.encode(spec).unwrap();
                assert_eq!(known.fits(&bytes), fits, "{message:?}");
            };
            check(message("4111111111111111", "654321", "000002"), true);
            check(message("4111111111111111", "6543", "000002"), false);
            // As long as the known one in all, but the bytes are shared out otherwise.
            check(message("411111111111111111", "1234", "000001"), false);
            check(
                message("4761739001010119", "123456", "000001").remove(41),
                false,
            );
            check(
                message("4761739001010119", "123456", "000001").set(39, "00"),
                false,
            );
        }
    }

    /// MTI, bitmaps and length are equal; only the length prefixes say that the bytes are shared out otherwise.
    #[test]
    fn prefixes_tell_shapes_apart() {
        for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
            let with = |acquirer, forwarder| {
                message("4761739001010119", acquirer, "000001").set(33, forwarder)
            };
            let known = shape(spec, &with("123456", "65"));
            let fits = |message: Owned| known.fits(&message.encode(spec).unwrap());
            assert!(fits(with("654321", "12")));
            assert!(!fits(with("65", "123456")));
        }
    }

    #[test]
    fn runs_join_neighbours_and_name_what_is_missing() {
        let spec = Spec::iso87_ascii();
        let request = message("4761739001010119", "123456", "000001");
        let (from, to) = (
            shape(spec, &request),
            shape(spec, &request.clone().set(39, "00")),
        );
        let runs = from.runs(&to, [2, 3, 11, 41]).unwrap();
        let lengths: Vec<usize> = runs.iter().map(|run| run.len).collect();
        assert_eq!(lengths, [16 + 6 + 6, 8]);
        assert_eq!(from.runs(&to, [2, 39]), Err(39));
        let shorter = shape(spec, &message("4761739001010119", "1234", "000001"));
        assert_eq!(from.runs(&shorter, [2, 32]), Err(32));
    }
}
