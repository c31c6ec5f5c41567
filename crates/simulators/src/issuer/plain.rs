//! An issuer that approves everything and keeps nothing, as fast as it goes: the answer to a message of a known shape is a copy of
//! the first one's with this message's values, and nothing is decoded.

use iso8583_codec::Message;
use iso8583_framing::{Deframer, Framing, Step};

use super::accounts::{APPROVED, Request, Verdict, six_digits};
use super::host::ECHOED;
use crate::MESSAGE_BYTES_MAX;
use crate::shape::{Run, Shape};

/// Shapes that are remembered; messages of others are decoded each time.
const SHAPES_MAX: usize = 64;

/// Answers by shape.
#[derive(Default)]
pub(super) struct Plain {
    known: Vec<Known>,
    approvals: u32,
}

/// How messages of one shape are answered.
struct Known {
    request: Shape,
    /// The answer to the first, then to the last one.
    answer: Vec<u8>,
    echoed: Vec<Run>,
    /// Where DE38 stands, unless the answer has none.
    approval: Option<usize>,
}

impl Plain {
    /// Approves what is complete.
    pub(super) fn decide(&mut self, request: &Request) -> Verdict {
        let class = request.facts.mti.class();
        let is_complete = match class {
            1 | 2 => {
                request.facts.processing_code.is_some()
                    && request.facts.amount.is_some()
                    && request.facts.pan.is_some()
            }
            _ => true,
        };
        if class != 8 && (request.stan.is_none() || request.time.is_none() || !is_complete) {
            return Verdict::FORMAT;
        }
        Verdict {
            approval: matches!(class, 1 | 2).then(|| self.next_approval()),
            ..Verdict::code(APPROVED)
        }
    }

    /// The answer to a message, without its frame header; `None` where no such message was approved yet.
    pub(super) fn answer(&mut self, message: &[u8]) -> Option<&[u8]> {
        let position = self
            .known
            .iter()
            .position(|known| known.request.fits(message))?;
        let approval = self.next_approval();
        let known = self.known.get_mut(position)?;
        for run in &known.echoed {
            let from = message.get(run.from..run.from + run.len)?;
            known
                .answer
                .get_mut(run.to..run.to + run.len)?
                .copy_from_slice(from);
        }
        if let Some(at) = known.approval {
            known.answer.get_mut(at..at + 6)?.copy_from_slice(&approval);
        }
        Some(&known.answer)
    }

    /// Remembers how a message was answered, where that was an approval. `answer` is framed.
    pub(super) fn learn(&mut self, message: &Message<'_>, answer: &[u8], framing: Framing) {
        if self.known.len() >= SHAPES_MAX {
            return;
        }
        let mut deframer = Deframer::new(framing, MESSAGE_BYTES_MAX);
        let Ok(Step::Message { body, .. }) = deframer.next(answer) else {
            return;
        };
        let Ok(decoded) = message.spec().decode(body) else {
            return;
        };
        if decoded.response_code() != Ok(Some(APPROVED)) {
            return;
        }
        let (request, shape) = (Shape::of(message), Shape::of(&decoded));
        let Ok(echoed) = request.runs(&shape, ECHOED) else {
            return;
        };
        let approval = shape.place(38);
        if approval.as_ref().is_some_and(|place| place.len() != 6) {
            return;
        }
        self.known.push(Known {
            request,
            answer: body.to_vec(),
            echoed,
            approval: approval.map(|place| place.start),
        });
    }

    #[cfg(test)]
    pub(super) fn known_shapes(&self) -> usize {
        self.known.len()
    }

    fn next_approval(&mut self) -> [u8; 6] {
        self.approvals = (self.approvals + 1) % 1_000_000;
        six_digits(self.approvals)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::BytesMut;
    use iso8583_codec::Spec;

    use super::super::host::{Host, Origin, Outbox};
    use crate::{Card, Merchant, Message};

    use super::*;

    fn host(spec: &'static Spec) -> Host {
        let mut host = Host::new(spec, Framing::LEN2, Vec::new(), 0, 1, None);
        host.be_plain();
        host
    }

    fn ask(host: &mut Host, spec: &'static Spec, message: &Message) -> Message {
        let mut outbox = Outbox::default();
        let origin = Origin {
            connection: 1,
            tpdu: None,
            now: Duration::ZERO,
        };
        host.receive(&message.encode(spec).unwrap(), origin, &mut outbox);
        let out: BytesMut = outbox.out;
        let mut deframer = Deframer::new(Framing::LEN2, MESSAGE_BYTES_MAX);
        let Step::Message { body, consumed } = deframer.next(&out).unwrap() else {
            panic!("one answer");
        };
        assert_eq!(consumed, out.len());
        Message::decode(spec, body).unwrap()
    }

    #[test]
    fn later_answers_are_like_the_first_but_for_their_values() {
        for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
            let mut host = host(spec);
            let shop = Merchant::new("TERM0001", "MERCHANT0000001");
            let other = Merchant::new("TERM0002", "MERCHANT0000002");
            let make: [fn(&Merchant) -> Message; 3] = [
                |shop| shop.purchase(&Card::visa(), 12_345),
                |shop| shop.refund(&shop.purchase(&Card::visa(), 700), 699),
                |shop| shop.reversal(&shop.purchase(&Card::visa(), 700)),
            ];
            for (number, make) in make.into_iter().enumerate() {
                let (first, second) = (make(&shop), make(&other));
                let learned = ask(&mut host, spec, &first);
                let fast = ask(&mut host, spec, &second);
                for (request, answer) in [(&first, &learned), (&second, &fast)] {
                    assert_eq!(answer.mti(), request.mti().response());
                    assert_eq!(answer.get(39), Some("00"));
                    assert_eq!(answer.get(38).is_some(), number < 2);
                    for de in ECHOED {
                        assert_eq!(answer.bytes(de), request.bytes(de), "DE {de}");
                    }
                }
                assert_ne!(number < 2, learned.get(38) == fast.get(38));
                assert_eq!(host.counts().answered, 2 * number as u64 + 2);
                assert_eq!(host.known_shapes(), number + 1);
            }
        }
    }

    #[test]
    fn what_is_not_approved_is_not_remembered() {
        let spec = Spec::iso87_ascii();
        let mut host = host(spec);
        let shop = Merchant::new("TERM0001", "MERCHANT0000001");
        let incomplete = shop.purchase(&Card::visa(), 100).remove(4);
        for _ in 0..2 {
            assert_eq!(ask(&mut host, spec, &incomplete).get(39), Some("30"));
        }
        assert_eq!(host.known_shapes(), 0);
        assert_eq!(
            ask(&mut host, spec, &shop.network("301")).get(39),
            Some("00")
        );
    }
}
