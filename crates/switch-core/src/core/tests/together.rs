//! Messages that are read together: what comes of them is what comes of them one by one.

use std::cell::RefCell;

use super::{Msg, story};
use crate::core::tests::world::{BANK_A, issuer_answer};

/// What terminals hear when all of this comes at once; more than is asked for ahead at a time, some of it about each other.
fn heard(together: bool) -> Vec<(u64, Msg)> {
    let heard = RefCell::new(Vec::new());
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let purchase = w.purchase(100);
        let [first, second, third] = [700, 200, 400].map(|amount| w.refund(&original, amount));
        let (void, reversal) = (w.void(&purchase), w.reversal(&second));
        let unknown = w.blank("0200", "310000", 100);
        let network = Msg::new("0800")
            .with(7, "1122133500")
            .with(11, "000009")
            .with(70, "301");
        let messages = [
            purchase.clone(),
            purchase.clone(),
            purchase.with(4, "000000000200"),
            first.clone(),
            second,
            third,
            purchase.without(49),
            purchase.as_mti("0210").with(39, "00"),
            network,
            unknown,
            void,
            reversal,
            w.refund(&first, 100),
            w.refund(&original, 100).without(90),
            w.blank("0200", "000000", 0),
            w.purchase(300),
            w.purchase(400),
        ];
        let spec = w.listener_spec(0);
        let mut frames: Vec<_> = messages
            .iter()
            .map(|message| message.encode(spec))
            .collect();
        frames.insert(3, [0xFF; 30][..].into());
        frames.insert(12, frames[0][..60].into());
        let frames: Vec<(u64, &[u8])> = (1..).zip(frames.iter().map(|frame| &frame[..])).collect();
        if together {
            w.core.terminal_frames(0, &frames, w.now);
        } else {
            for (connection, frame) in frames {
                w.core.terminal_frame(connection, 0, frame, w.now);
            }
        }
        w.settle();
        while !w.is_quiet() {
            let (connection, request) = w.issuer_gets_over();
            w.issuer_sends_over(connection, &issuer_answer(&request, "00"));
        }
        while let Some(answer) = w.next_answer_over() {
            heard.borrow_mut().push(answer);
        }
    });
    heard.into_inner()
}

#[test]
fn requests_that_come_together_are_dealt_with_one_by_one() {
    let one_by_one = heard(false);
    let approved = one_by_one
        .iter()
        .filter(|(_, answer)| answer.code() == "00");
    assert!(approved.count() > 10, "{one_by_one:?}");
    assert_eq!(heard(true), one_by_one);
}

/// More than are asked for ahead at a time; among them what belongs to nothing, and what can not be read.
#[test]
fn answers_that_come_together_are_dealt_with_one_by_one() {
    story(|w| {
        let requests: Vec<Msg> = (0..20)
            .map(|_| {
                let purchase = w.purchase(100);
                w.send(&purchase);
                w.issuer_gets()
            })
            .collect();
        let spec = w.core.config.links[0].spec;
        let mut frames: Vec<_> = requests
            .iter()
            .rev()
            .zip(["00", "05"].into_iter().cycle())
            .map(|(request, code)| issuer_answer(request, code).encode(spec))
            .collect();
        // Again, for another request, of a request that was never made, cut off.
        frames.insert(2, frames[0].clone());
        frames.insert(
            3,
            issuer_answer(&requests[0].with(41, "TERM0009"), "00").encode(spec),
        );
        frames.insert(
            9,
            issuer_answer(&requests[0].with(11, "999999"), "00").encode(spec),
        );
        frames.insert(11, frames[12][..40].into());
        frames.insert(12, frames[13][..60].into());
        frames.insert(13, [0xFF; 30][..].into());
        let frames: Vec<&[u8]> = frames.iter().map(|frame| &frame[..]).collect();
        w.core.link_frames(0, BANK_A, &frames, w.now);
        w.settle();
        for (request, code) in requests.iter().rev().zip(["00", "05"].into_iter().cycle()) {
            let answer = w.answer();
            assert_eq!((answer.at(41), answer.code()), (request.at(41), code));
            assert_eq!(answer.at(37), request.at(37));
        }
        w.no_answer();
    });
}
