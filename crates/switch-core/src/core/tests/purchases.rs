//! What passes toward the issuer and what comes back.

use super::{Msg, World, story};
use crate::core::tests::world::{VISA, issuer_answer};

/// A purchase with everything that a terminal may send.
fn rich_purchase(w: &mut World) -> Msg {
    w.purchase(12_345)
        .with(14, "2912")
        .with(23, "001")
        .with(32, "00000048025")
        .with(33, "777")
        .with(35, "4761739001010119=29122011143804400000")
        .with(37, "POS000000001")
        .with(48, "A FREE TEXT")
        .with(52, "0123456789ABCDEF")
        .with(55, "9F2608C0FFEE0011223344")
        .with(60, "RESERVED")
        .with(64, "0011223344556677")
        .with(102, "ACCOUNT 1")
        .with(127, "PRIVATE")
        .with(128, "7766554433221100")
}

#[test]
fn a_request_passes_but_for_what_is_the_switchs() {
    story(|w| {
        let purchase = rich_purchase(w);
        let relayed = w.relay(&purchase);
        assert_eq!(relayed.mti, "0200");
        assert_ne!(relayed.at(11), purchase.at(11), "the terminal's STAN");
        assert_eq!(relayed.at(7), "1122133500");
        for de in (2..=128).filter(|de| ![7, 11, 64, 128].contains(de)) {
            assert_eq!(relayed.get(de), purchase.get(de), "DE {de}");
        }
        assert!(!relayed.has(64) && !relayed.has(128));
        w.issuer_answers(&relayed, "00");
        w.answer();
    });
}

#[test]
fn what_the_terminal_left_out_is_added_for_the_issuer_only() {
    story(|w| {
        let purchase = w.purchase(100).without(12).without(13).without(22);
        let (relayed, answer) = w.exchange(&purchase, "00");
        assert_eq!(relayed.at(32), "00000000001");
        assert_eq!(relayed.at(37).len(), 12);
        assert!(!relayed.has(12) && !relayed.has(13) && !relayed.has(22) && !relayed.has(90));
        assert_eq!(answer.at(37), relayed.at(37), "assigned");
        for de in [12, 13, 32, 70, 90] {
            assert!(!answer.has(de), "DE {de}");
        }
    });
}

#[test]
fn an_answer_passes_but_for_what_is_the_terminals() {
    story(|w| {
        let purchase = rich_purchase(w);
        let relayed = w.relay(&purchase);
        let issuers = issuer_answer(&relayed, "00")
            .with(2, VISA)
            .with(12, "999999")
            .with(13, "0101")
            .with(15, "1123")
            .with(37, "ISSUERS00001")
            .with(44, "SAYS MORE")
            .with(54, "0002978C000000001000")
            .with(55, "910A00112233445566778899")
            .with(63, "PRIVATE ANSWER")
            .with(102, "ACCOUNT 2")
            .with(64, "FFFFFFFFFFFFFFFF");
        w.issuer_sends(&issuers);
        let answer = w.answer();
        assert_eq!(answer.mti, "0210");
        for de in [2, 3, 4, 7, 11, 12, 13, 32, 41, 42, 49, 70, 90, 37] {
            assert_eq!(answer.get(de), purchase.get(de), "DE {de}");
        }
        for de in [15, 38, 39, 44, 54, 55, 63, 102] {
            assert_eq!(answer.get(de), issuers.get(de), "DE {de}");
        }
        assert!(!answer.has(64));
        assert_eq!(answer.elements().count(), 12 + 8, "{answer:?}");
    });
}
