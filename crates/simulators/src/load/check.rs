//! Whether an answer is the right one.

use std::ops::Range;

use iso8583_codec::Spec;

use super::template::{Form, Template};
use crate::shape::{Run, Shape};

/// Data elements that come back as they were sent, and are absent where they were.
const ECHOED: [u8; 14] = [2, 3, 4, 7, 11, 12, 13, 32, 37, 41, 42, 49, 70, 90];

/// Shapes that are remembered; an answer of another is worked out anew.
const SHAPES_MAX: usize = 64;

/// The shapes of answers that came so far.
pub(super) struct Answers {
    spec: &'static Spec,
    requests: [Shape; Form::ALL.len()],
    known: Vec<Known>,
}

/// Answers of one shape.
struct Known {
    shape: Shape,
    terminal: Range<usize>,
    code: Range<usize>,
    /// What must be equal, by the form of the request; else the element at fault, 0 for the MTI.
    echoed: [Result<Vec<Run>, u8>; Form::ALL.len()],
}

/// An answer whose shape is known.
pub(super) struct Answer<'a> {
    known: &'a Known,
    body: &'a [u8],
}

impl Answers {
    pub(super) fn new(spec: &'static Spec, templates: &[Template; Form::ALL.len()]) -> Answers {
        Answers {
            spec,
            requests: Form::ALL.map(|form| templates[form as usize].shape().clone()),
            known: Vec::new(),
        }
    }

    /// Finds the places in an answer; `None` where it cannot be read or has no DE39 or DE41.
    pub(super) fn read<'a>(&'a mut self, body: &'a [u8]) -> Option<Answer<'a>> {
        let position = self.known.iter().position(|known| known.shape.fits(body));
        let position = match position {
            Some(position) => position,
            None => self.learn(body)?,
        };
        let known = self.known.get(position)?;
        Some(Answer { known, body })
    }

    fn learn(&mut self, body: &[u8]) -> Option<usize> {
        let message = self.spec.decode(body).ok()?;
        let shape = Shape::of(&message);
        let terminal = shape.place(41).filter(|place| place.len() == 8)?;
        let code = shape.place(39).filter(|place| place.len() == 2)?;
        let echoed = Form::ALL.map(|form| {
            let mti = if form == Form::Reversal {
                "0410"
            } else {
                "0210"
            };
            if message.mti().as_str() != mti {
                return Err(0);
            }
            self.requests[form as usize].runs(&shape, ECHOED)
        });
        if self.known.len() >= SHAPES_MAX {
            self.known.clear();
        }
        self.known.push(Known {
            shape,
            terminal,
            code,
            echoed,
        });
        Some(self.known.len() - 1)
    }
}

impl Answer<'_> {
    /// DE41.
    pub(super) fn terminal(&self) -> &[u8] {
        self.body
            .get(self.known.terminal.clone())
            .unwrap_or_default()
    }

    /// DE39.
    pub(super) fn code(&self) -> [u8; 2] {
        let code = self.body.get(self.known.code.clone());
        code.and_then(|code| code.try_into().ok()).unwrap_or(*b"??")
    }

    /// Whether it brings back what was sent; else the element that it does not: 11 before all others, 0 for the MTI.
    pub(super) fn echoes(&self, form: Form, request: &[u8], shape: &Shape) -> Result<(), u8> {
        let runs = match &self.known.echoed[form as usize] {
            Ok(runs) => runs,
            Err(de) => return Err(*de),
        };
        let same = |from: Range<usize>, to: Range<usize>| request.get(from) == self.body.get(to);
        let is_same = runs
            .iter()
            .all(|run| same(run.from..run.from + run.len, run.to..run.to + run.len));
        if is_same {
            return Ok(());
        }
        let differs = |de: &u8| match (shape.place(*de), self.known.shape.place(*de)) {
            (Some(from), Some(to)) => !same(from, to),
            _ => false,
        };
        // With another STAN it is the answer to something else, so that goes before the rest.
        let mut elements = [11].into_iter().chain(ECHOED);
        Err(elements.find(differs).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use iso8583_framing::Framing;

    use super::super::template::{Common, Values};
    use super::*;
    use crate::Message;

    #[test]
    fn what_an_answer_must_bring_back() {
        for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
            let common = Common {
                card: "4761739001010119",
                merchant: "LOADAB000000001",
                currency: "978",
            };
            let templates =
                Form::ALL.map(|form| Template::new(form, &common, spec, Framing::LEN2).unwrap());
            let mut frame = Vec::new();
            let values = Values {
                processing_code: 200_000,
                amount: 100,
                stan: 7,
                time: 1_122_103_405,
                reference: *b"AB0000000007",
                terminal: *b"AB000003",
                original: (6, 1_122_103_404),
            };
            let template = &templates[Form::About as usize];
            template.write(&values, &mut frame);
            let request = &frame[template.body()];
            let right = Message::decode(spec, request)
                .unwrap()
                .with_mti(iso8583_codec::Mti::literal("0210"))
                .set(38, "123456")
                .set(39, "00");
            let right = [14, 18, 22, 25, 43]
                .into_iter()
                .fold(right, Message::remove);
            let mut answers = Answers::new(spec, &templates);
            let mut check = |answer: Message, expected: Result<(), u8>| {
                // Twice: worked out, and by what is known then.
                for _ in 0..2 {
                    let bytes = answer.encode(spec).unwrap();
                    let read = answers.read(&bytes).unwrap();
                    assert_eq!(read.terminal().len(), 8);
                    assert_eq!(read.code(), *b"00");
                    let echoes = read.echoes(Form::About, request, template.shape());
                    assert_eq!(echoes, expected, "{answer:?}");
                }
            };
            check(right.clone(), Ok(()));
            check(right.clone().remove(38), Ok(()));
            check(right.clone().set(44, "more"), Ok(()));
            check(right.clone().set(11, "000008"), Err(11));
            check(right.clone().set(41, "AB000004"), Err(41));
            check(right.clone().set(4, "000000000099"), Err(4));
            check(right.clone().remove(90), Err(90));
            check(right.clone().set(70, "301"), Err(70));
            check(right.clone().set(2, "4111111111111111"), Err(2));
            check(right.clone().set(2, "6222021234567890128"), Err(2));
            check(
                right.clone().with_mti(iso8583_codec::Mti::literal("0410")),
                Err(0),
            );
            let mut unread = |message: Message| {
                assert!(answers.read(&message.encode(spec).unwrap()).is_none());
            };
            unread(right.clone().remove(39));
            unread(right.remove(41));
            assert!(answers.read(b"no message").is_none());
        }
    }
}
