//! What one lane of a connection knows: its purchases, what is left of them, and what the answer in flight must be.

use fastrand::Rng;

use super::mix::{Deed, Mix};
use super::template::{Form, Template, Values};

/// Approved.
pub(super) const APPROVED: [u8; 2] = *b"00";
/// Above what is left.
const CEILING: [u8; 2] = *b"61";
/// Nothing is left.
const EXHAUSTED: [u8; 2] = *b"21";

/// STANs are below this; 0 is none.
const STAN_END: u32 = 1_000_000;

/// Purchases are of 10.00 up to, not including, 1,000.00.
const AMOUNTS: std::ops::Range<u32> = 1_000..100_000;

/// Originals that are looked at for one that serves.
const LOOKS_MAX: usize = 8;

/// A purchase that was approved.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Original {
    stan: u32,
    time: u32,
    amount: u32,
    left: u32,
}

/// A terminal that has one message in flight at a time, so that every answer is certain beforehand.
pub(super) struct Lane {
    /// The message that was sent last, framed.
    pub(super) frame: Vec<u8>,
    pub(super) form: Form,
    /// When it was to be sent, in nanoseconds; `None` where nothing is in flight.
    pub(super) sent: Option<u64>,
    deed: Deed,
    /// DE39 of the right answer.
    expected: [u8; 2],
    values: Values,
    /// Number of the original that the message is about.
    about: usize,
    originals: Vec<Original>,
    /// Where the next one goes when there are as many as are kept.
    replaced_next: usize,
    /// The answer to the last message, where repeats must get it again.
    answer: Vec<u8>,
    /// Digits of the reference number that are this lane's.
    reference: [u8; 6],
}

/// What the answer to a repeat is compared with.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Due {
    pub(super) deed: Deed,
    pub(super) expected: [u8; 2],
}

impl Lane {
    /// `terminal`: its DE41. `reference`: the first half of its DE37s. `stan`: the last one that was used.
    pub(super) fn new(terminal: [u8; 8], reference: [u8; 6], stan: u32) -> Lane {
        Lane {
            frame: Vec::new(),
            form: Form::Sale,
            sent: None,
            deed: Deed::Purchase,
            expected: APPROVED,
            values: Values {
                processing_code: 0,
                amount: 0,
                stan,
                time: 0,
                reference: [b'0'; 12],
                terminal,
                original: (0, 0),
            },
            about: 0,
            originals: Vec::new(),
            replaced_next: 0,
            answer: Vec::new(),
            reference,
        }
    }

    /// What is in flight.
    pub(super) fn due(&self) -> Due {
        Due {
            deed: self.deed,
            expected: self.expected,
        }
    }

    pub(super) fn values(&self) -> &Values {
        &self.values
    }

    /// Whether this is the answer that the message of which the one in flight is a repeat got.
    pub(super) fn answered_before(&self, answer: &[u8]) -> bool {
        self.answer == answer
    }

    /// Chooses what is next and writes it into `frame`. `time` is DE7.
    pub(super) fn prepare(
        &mut self,
        mix: &Mix,
        random: &mut Rng,
        time: u32,
        templates: &[Template; Form::ALL.len()],
    ) {
        let drawn = mix.draw(random);
        if drawn == Deed::Repeat && !self.answer.is_empty() {
            self.deed = Deed::Repeat;
            templates[self.form as usize].mark_as_repeat(&mut self.frame);
            return;
        }
        self.deed = drawn;
        let chosen = match drawn {
            Deed::Purchase | Deed::Repeat => None,
            Deed::Refund => self.find(random, |original| original.left > 0),
            Deed::Excess => self.find(random, |_| true),
            Deed::Void | Deed::Reversal => {
                self.find(random, |original| original.left == original.amount)
            }
        };
        match chosen {
            Some(about) => self.ask_about(about),
            None => {
                self.deed = Deed::Purchase;
                self.form = Form::Sale;
                self.expected = APPROVED;
                self.values.processing_code = 0;
                self.values.amount = random.u32(AMOUNTS);
            }
        }
        self.values.time = time;
        self.values.stan = self.values.stan % (STAN_END - 1) + 1;
        self.write_reference();
        templates[self.form as usize].write(&self.values, &mut self.frame);
    }

    fn ask_about(&mut self, about: usize) {
        let Original {
            stan,
            time,
            amount,
            left,
        } = self.originals[about];
        let (form, code, asked, expected) = match self.deed {
            Deed::Refund => (Form::About, 200_000, (amount / 4).min(left), APPROVED),
            Deed::Excess if left > 0 => (Form::About, 200_000, left + 1, CEILING),
            Deed::Excess => (Form::About, 200_000, 1, EXHAUSTED),
            Deed::Void => (Form::About, 20_000, amount, APPROVED),
            Deed::Reversal => (Form::Reversal, 0, amount, APPROVED),
            Deed::Purchase | Deed::Repeat => unreachable!("these are about no original"),
        };
        self.about = about;
        self.form = form;
        self.expected = expected;
        self.values.processing_code = code;
        self.values.amount = asked;
        self.values.original = (stan, time);
    }

    /// An original that serves, from a random one on.
    fn find(&self, random: &mut Rng, serves: impl Fn(&Original) -> bool) -> Option<usize> {
        let count = self.originals.len();
        let start = if count > 1 { random.usize(..count) } else { 0 };
        (0..count.min(LOOKS_MAX))
            .map(|step| (start + step) % count)
            .find(|&at| serves(&self.originals[at]))
    }

    /// Books the right answer. `kept`: originals that a lane remembers.
    pub(super) fn settle(&mut self, answer: &[u8], keep_answer: bool, kept: usize) {
        match self.deed {
            Deed::Purchase => {
                let original = Original {
                    stan: self.values.stan,
                    time: self.values.time,
                    amount: self.values.amount,
                    left: self.values.amount,
                };
                if self.originals.len() < kept {
                    self.originals.push(original);
                } else if let Some(place) = self.originals.get_mut(self.replaced_next) {
                    *place = original;
                    self.replaced_next = (self.replaced_next + 1) % kept;
                }
            }
            Deed::Refund => self.originals[self.about].left -= self.values.amount,
            Deed::Void | Deed::Reversal => self.originals[self.about].left = 0,
            Deed::Excess | Deed::Repeat => {}
        }
        if keep_answer {
            self.answer.clear();
            self.answer.extend_from_slice(answer);
        }
    }

    /// The answer was another than the right one: what the switch did is not known, so nothing is built upon it.
    pub(super) fn forget(&mut self) {
        self.answer.clear();
        match self.deed {
            Deed::Purchase => {}
            Deed::Repeat if self.form == Form::Sale => self.originals.clear(),
            _ if self.about < self.originals.len() => {
                self.originals.swap_remove(self.about);
            }
            _ => {}
        }
        self.replaced_next = 0;
    }

    /// DE37: the lane's digits, then the STAN.
    fn write_reference(&mut self) {
        let (own, counted) = self.values.reference.split_at_mut(6);
        own.copy_from_slice(&self.reference);
        let mut stan = self.values.stan;
        for digit in counted.iter_mut().rev() {
            *digit = b'0' + (stan % 10) as u8;
            stan /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use iso8583_codec::Spec;
    use iso8583_framing::Framing;

    use super::super::template::Common;
    use super::*;
    use crate::Message;

    const KEPT: usize = 4;

    fn templates() -> [Template; 3] {
        let common = Common {
            card: "4761739001010119",
            merchant: "LOADAB000000001",
            currency: "978",
        };
        Form::ALL
            .map(|form| Template::new(form, &common, Spec::iso87_ascii(), Framing::LEN2).unwrap())
    }

    /// A ledger of the simplest kind answers; the lane must expect just that.
    #[test]
    fn what_a_lane_expects_is_what_a_ledger_says() {
        let mix: Mix = "purchase=20,refund=40,excess=10,void=10,reversal=10,repeat=10"
            .parse()
            .unwrap();
        let templates = templates();
        let mut random = Rng::with_seed(11);
        let mut lane = Lane::new(*b"AB000000", *b"AB0000", 0);
        let mut ledger = std::collections::HashMap::new();
        let mut done = [0_u32; 6];
        for step in 0..20_000_u32 {
            lane.prepare(&mix, &mut random, 1_122_000_000 + step % 60, &templates);
            let message = Message::decode(Spec::iso87_ascii(), &lane.frame[2..]).unwrap();
            done[lane.due().deed as usize] += 1;
            if lane.due().deed == Deed::Repeat {
                assert!(message.mti().is_repeat());
                assert!(lane.answered_before(&[1]));
                lane.settle(&[1], true, KEPT);
                continue;
            }
            let amount: u64 = message.get(4).unwrap().parse().unwrap();
            let original = message.get(90).map(|original| original[4..20].to_owned());
            let code = match (&original, message.get(3).unwrap()) {
                (None, _) => {
                    let name = format!("{}{}", message.get(11).unwrap(), message.get(7).unwrap());
                    assert!(ledger.insert(name, amount).is_none(), "a name twice");
                    *b"00"
                }
                (Some(original), "200000") => {
                    let left = ledger.get_mut(original).unwrap();
                    match (*left, left.checked_sub(amount)) {
                        (0, _) => *b"21",
                        (_, None) => *b"61",
                        (_, Some(less)) => {
                            *left = less;
                            *b"00"
                        }
                    }
                }
                (Some(original), _) => {
                    assert_eq!(ledger.insert(original.clone(), 0), Some(amount));
                    *b"00"
                }
            };
            assert_eq!(lane.due().expected, code, "{message:?}");
            lane.settle(&[1], true, KEPT);
            assert!(lane.originals.len() <= KEPT);
        }
        assert!(done.iter().all(|count| *count > 500), "{done:?}");
    }

    #[test]
    fn nothing_is_built_upon_what_is_not_known() {
        let (templates, mut random) = (templates(), Rng::with_seed(3));
        let mut lane = Lane::new(*b"AB000000", *b"AB0000", 0);
        let mut next = |lane: &mut Lane, mix: &str| {
            lane.prepare(
                &mix.parse().unwrap(),
                &mut random,
                1_122_000_000,
                &templates,
            );
            lane.due().deed
        };
        assert_eq!(next(&mut lane, "purchase=1"), Deed::Purchase);
        lane.settle(&[1], true, KEPT);
        assert_eq!(next(&mut lane, "refund=1"), Deed::Refund);
        lane.forget();
        assert_eq!(next(&mut lane, "refund=1"), Deed::Purchase);
        lane.forget();
        assert_eq!(next(&mut lane, "repeat=1"), Deed::Purchase);
        lane.settle(&[1], true, KEPT);
        assert_eq!(next(&mut lane, "repeat=1"), Deed::Repeat);
        lane.forget();
        assert_eq!(next(&mut lane, "void=1"), Deed::Purchase);
    }
}
