//! Messages made once, whose numbers are then written in place.

use std::ops::Range;

use bytes::BytesMut;
use iso8583_codec::Spec;
use iso8583_framing::{Deframer, Framing, Step};

use crate::shape::{Shape, place_in};
use crate::{MESSAGE_BYTES_MAX, Message};

/// Which of the templates a message was made of.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// `0200` without an original.
    Sale,
    /// `0200` about an original.
    About,
    /// `0400` about an original.
    Reversal,
}

impl Form {
    pub(super) const ALL: [Form; 3] = [Form::Sale, Form::About, Form::Reversal];
}

/// A framed message and the places in it; all messages of a form differ in these alone.
pub(super) struct Template {
    frame: Vec<u8>,
    body: Range<usize>,
    shape: Shape,
    places: Places,
}

/// Where numbers stand in the frame.
struct Places {
    mti: Number,
    code: Number,
    amount: Number,
    time: Number,
    stan: Number,
    local_time: Number,
    local_date: Number,
    reference: Range<usize>,
    terminal: Range<usize>,
    original_stan: Number,
    original_time: Number,
}

/// A number of so many digits, in characters or two to a byte. Zero digits where the message has none such.
#[derive(Copy, Clone, Default, Debug)]
struct Number {
    at: usize,
    digits: usize,
    is_packed: bool,
}

/// What a message says beyond its template.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Values {
    /// DE3.
    pub(super) processing_code: u32,
    /// DE4, minor units.
    pub(super) amount: u32,
    /// DE11.
    pub(super) stan: u32,
    /// DE7, and DE13 with DE12: `MMDDhhmmss`.
    pub(super) time: u32,
    /// DE37.
    pub(super) reference: [u8; 12],
    /// DE41.
    pub(super) terminal: [u8; 8],
    /// DE11 and DE7 of the original.
    pub(super) original: (u32, u32),
}

/// What all messages of a connection have in common.
pub(super) struct Common<'a> {
    pub(super) card: &'a str,
    pub(super) merchant: &'a str,
    pub(super) currency: &'a str,
}

impl Template {
    /// The template of a form; says why it cannot be made.
    pub(super) fn new(
        form: Form,
        common: &Common<'_>,
        spec: &'static Spec,
        framing: Framing,
    ) -> Result<Template, String> {
        let mut message = Message::new(if form == Form::Reversal {
            "0400"
        } else {
            "0200"
        })
        .set(2, common.card)
        .set(3, "000000")
        .set(4, "000000000000")
        .set(7, "0101000000")
        .set(11, "000000")
        .set(12, "000000")
        .set(13, "0101")
        .set(14, "3012")
        .set(18, "5411")
        .set(22, "051")
        .set(25, "00")
        .set(37, "000000000000")
        .set(41, "00000000")
        .set(42, common.merchant)
        .set(43, "LOAD GENERATOR          EVERYWHERE    DE")
        .set(49, common.currency);
        if form != Form::Sale {
            message = message.set(90, format!("0200{:038}", 0));
        }
        let encoded = message
            .encode(spec)
            .map_err(|error| format!("a message cannot be written in {}: {error}", spec.name()))?;
        let mut frame = BytesMut::new();
        let mark = framing.begin(&mut frame);
        frame.extend_from_slice(&encoded);
        framing
            .finish(&mut frame, mark)
            .map_err(|error| format!("a message cannot be framed: {error}"))?;
        let frame = frame.to_vec();
        let mut deframer = Deframer::new(framing, MESSAGE_BYTES_MAX);
        let body = match deframer.next(&frame) {
            Ok(Step::Message { body, .. }) => place_in(&frame, body),
            _ => None,
        };
        let body = body.ok_or("this framing changes messages, which load cannot do in place")?;
        let decoded = frame.get(body.clone()).map(|body| spec.decode(body));
        let Some(Ok(decoded)) = decoded else {
            return Err("a message cannot be read back".to_owned());
        };
        let shape = Shape::of(&decoded);
        let places = Places::find(&shape, &encoded, body.start)
            .ok_or("a message lacks a number that load writes")?;
        Ok(Template {
            places,
            shape,
            frame,
            body,
        })
    }

    /// Where its elements lie in the body.
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Where its body lies in the frame.
    pub(super) fn body(&self) -> Range<usize> {
        self.body.clone()
    }

    /// Writes a whole message in place of what `frame` held.
    pub(super) fn write(&self, values: &Values, frame: &mut Vec<u8>) {
        frame.clear();
        frame.extend_from_slice(&self.frame);
        let Places {
            code,
            amount,
            time,
            stan,
            local_time,
            local_date,
            ..
        } = self.places;
        code.write(values.processing_code, frame);
        amount.write(values.amount, frame);
        time.write(values.time, frame);
        stan.write(values.stan, frame);
        local_time.write(values.time % 1_000_000, frame);
        local_date.write(values.time / 1_000_000, frame);
        self.places.original_stan.write(values.original.0, frame);
        self.places.original_time.write(values.original.1, frame);
        copy(&values.reference, &self.places.reference, frame);
        copy(&values.terminal, &self.places.terminal, frame);
    }

    /// Makes the message its own repeat.
    pub(super) fn mark_as_repeat(&self, frame: &mut [u8]) {
        let Number {
            at,
            digits,
            is_packed,
        } = self.places.mti;
        let last = at + if is_packed { digits / 2 } else { digits } - 1;
        // The digit that says "acquirer" becomes the one that says "acquirer, repeat": 0 to 1, packed or not.
        if let Some(byte) = frame.get_mut(last) {
            *byte |= 1;
        }
    }
}

impl Places {
    /// `body_at`: where the body begins in the frame.
    fn find(shape: &Shape, body: &[u8], body_at: usize) -> Option<Places> {
        let within = |de| {
            let place = shape.place(de)?;
            Some(place.start + body_at..place.end + body_at)
        };
        let number = |de, digits| {
            let place: Range<usize> = within(de)?;
            let is_packed = match place.len() {
                len if len == digits => false,
                len if len * 2 == digits => true,
                _ => return None,
            };
            Some(Number {
                at: place.start,
                digits,
                is_packed,
            })
        };
        let part = |whole: Number, from: usize, digits| Number {
            at: whole.at + if whole.is_packed { from / 2 } else { from },
            digits,
            ..whole
        };
        let is_packed = !body.first()?.is_ascii_digit();
        let original = match within(90) {
            Some(_) => Some(number(90, 42)?),
            None => None,
        };
        Some(Places {
            mti: Number {
                at: body_at,
                digits: 4,
                is_packed,
            },
            code: number(3, 6)?,
            amount: number(4, 12)?,
            time: number(7, 10)?,
            stan: number(11, 6)?,
            local_time: number(12, 6)?,
            local_date: number(13, 4)?,
            reference: within(37)?,
            terminal: within(41)?,
            original_stan: original.map_or_else(Number::default, |whole| part(whole, 4, 6)),
            original_time: original.map_or_else(Number::default, |whole| part(whole, 10, 10)),
        })
    }
}

impl Number {
    #[inline]
    fn write(self, mut value: u32, frame: &mut [u8]) {
        let bytes = if self.is_packed {
            self.digits / 2
        } else {
            self.digits
        };
        let Some(place) = frame.get_mut(self.at..self.at + bytes) else {
            return;
        };
        for byte in place.iter_mut().rev() {
            if self.is_packed {
                let pair = value % 100;
                *byte = (((pair / 10) << 4) | (pair % 10)) as u8;
                value /= 100;
            } else {
                *byte = b'0' + (value % 10) as u8;
                value /= 10;
            }
        }
    }
}

#[inline]
fn copy(value: &[u8], place: &Range<usize>, frame: &mut [u8]) {
    if let Some(place) = frame.get_mut(place.clone()) {
        place.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values = Values {
        processing_code: 200_000,
        amount: 12_345,
        stan: 42,
        time: 1_122_103_405,
        reference: *b"AB0000000042",
        terminal: *b"AB000007",
        original: (41, 1_121_235_959),
    };

    const COMMON: Common<'_> = Common {
        card: "4761739001010119",
        merchant: "LOADAB000000001",
        currency: "978",
    };

    #[test]
    fn numbers_stand_where_the_codec_reads_them() {
        for (spec, framing) in [
            (Spec::iso87_ascii(), Framing::LEN2),
            (Spec::iso87_binary(), Framing::LEN2),
            (Spec::iso87_binary(), Framing::by_name("nac").unwrap()),
        ] {
            for form in Form::ALL {
                let template = Template::new(form, &COMMON, spec, framing).unwrap();
                let mut frame = Vec::new();
                template.write(&VALUES, &mut frame);
                let read = |frame: &[u8]| {
                    let body = frame.get(template.body()).unwrap();
                    assert!(spec.decode(body).unwrap().validate().is_ok());
                    Message::decode(spec, body).unwrap()
                };
                let message = read(&frame);
                let mti = if form == Form::Reversal {
                    "0400"
                } else {
                    "0200"
                };
                assert_eq!(message.mti().as_str(), mti);
                for (de, expected) in [
                    (3, "200000"),
                    (4, "000000012345"),
                    (7, "1122103405"),
                    (11, "000042"),
                    (12, "103405"),
                    (13, "1122"),
                    (37, "AB0000000042"),
                    (41, "AB000007"),
                    (42, "LOADAB000000001"),
                ] {
                    assert_eq!(message.get(de), Some(expected), "DE {de}");
                }
                let original = format!("02000000411121235959{:022}", 0);
                let original = (form != Form::Sale).then_some(original.as_str());
                assert_eq!(message.get(90), original);
                template.mark_as_repeat(&mut frame);
                assert_eq!(
                    read(&frame),
                    message.clone().with_mti(message.mti().as_repeat())
                );
            }
        }
    }

    #[test]
    fn a_framing_that_changes_messages_is_refused() {
        let gzip = Framing::by_name("gzip").unwrap();
        let made = Template::new(Form::Sale, &COMMON, Spec::iso87_ascii(), gzip);
        assert!(made.err().unwrap().contains("in place"));
    }
}
