//! Reversals that fit nothing, and the originals that come after them.

use refund_ledger::{Reason, Status};

use super::story;
use crate::core::tests::world::{DAY, SECOND};

#[test]
fn the_late_original_is_not_relayed() {
    story(|w| {
        let late = w.purchase(1000);
        let reversal = w.reversal(&late);
        w.refused_for(&reversal, Reason::ReversalUnknown);
        let answer = w.refused(&late, "68");
        assert_eq!(w.status(&late), Status::Refused);
        assert_eq!(w.refused(&late, "68"), answer, "stored");
        assert_eq!(
            w.refused(&late.repeated().with(7, "1122143500"), "68")
                .at(7),
            "1122143500"
        );
        // The reversal's own answer stays; another one has nothing to do; a refund finds nothing executed.
        w.refused(&reversal, "25");
        let again = w.reversal(&late);
        w.refused(&again, "00");
        let refund = w.refund(&late, 1);
        w.refused_for(&refund, Reason::OriginalDeclined);
        // Whatever its content is, under that key nothing else comes either.
        w.refused(&late.with(4, "000000000001"), "94");
    });
}

/// The repeat with a refreshed DE 7 was lost, and the till reversed under that DE 7, which the switch did not know: what was
/// approved stands, and a further repeat must not be told that it was reversed.
#[test]
fn a_repeat_is_told_what_became_of_it_under_its_other_name() {
    story(|w| {
        let purchase = w.purchase(1000);
        let approved = w.approved(&purchase);
        let refreshed = purchase.with(7, "1122143507");
        let reversal = w.reversal(&refreshed);
        w.refused_for(&reversal, Reason::ReversalUnknown);
        let again = w.refused(&refreshed.repeated(), "00");
        assert_eq!(again.get(38), approved.get(38));
        assert_eq!(w.left(&purchase), 1000);
        // Now the switch knows it by that name, too.
        let second = w.reversal(&refreshed);
        assert_eq!(w.ask(&second).code(), "00");
        w.advice_answered("00");
        assert_eq!(w.left(&purchase), 0);
    });
}

#[test]
fn for_every_kind_of_message() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let lates = [
            w.blank("0100", "000000", 1000),
            w.refund(&purchase, 100),
            w.refund(&purchase, 100).as_mti("0220"),
            w.void(&purchase),
        ];
        for late in lates {
            let reversal = w.reversal(&late);
            w.refused(&reversal, "25");
            w.refused(&late, "68");
        }
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
    });
}

#[test]
fn also_without_a_time_and_without_a_message_type() {
    story(|w| {
        let late = w.purchase(1000);
        let by_stan = format!("0200{}{}", late.at(11), "0".repeat(32));
        let reversal = w.reversal(&late).with(90, by_stan);
        w.refused(&reversal, "25");
        w.refused(&late, "68");
        w.refused(&late.with(7, "1122133501"), "68");

        for mti in ["0100", "0200"] {
            let late = w.blank(mti, "000000", 1000);
            let any = format!("0000{}{}", late.at(11), "0".repeat(32));
            let reversal = w.reversal(&late).with(90, any);
            w.refused(&reversal, "25");
            w.refused(&late, "68");
        }
        // Of a class that nobody can send nothing is left.
        let late = w.purchase(1000);
        let strange = w.reversal(&late).with(90, late.as_mti("0400").named());
        w.refused(&strange, "25");
        let strange = w.reversal(&late).with(90, late.as_mti("0800").named());
        w.refused(&strange, "25");
        w.approved(&late);
        let reversal = w.reversal(&late);
        let strange = w.reversal(&late).with(90, reversal.named());
        w.refused(&strange, "25");
        assert_eq!(w.ask(&reversal).code(), "00");
        w.advice_answered("00");
        // Nor where no STAN is given.
        let late = w.purchase(1000).with(7, "1122150000");
        let by_time = format!("0200000000{}{}", late.at(7), "0".repeat(22));
        let reversal = w.reversal(&late).with(90, by_time);
        w.refused(&reversal, "25");
        w.approved(&late);
    });
}

#[test]
fn for_the_own_terminal_only_and_also_where_the_terminal_was_the_fault() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let reversal = w.reversal(&purchase).with(41, "TERM0002");
        w.refused_for(&reversal, Reason::ReversalTerminal);
        assert_eq!(w.left(&purchase), 1000);
        w.refused(&purchase.with(41, "TERM0002"), "68");
        w.approved(&purchase.with(41, "TERM0003"));
        // The original itself stands.
        let refund = w.refund(&purchase, 1000);
        w.approved(&refund);
    });
}

#[test]
fn for_a_day() {
    story(|w| {
        let lates = [w.purchase(1000), w.purchase(1000)];
        for late in &lates {
            let reversal = w.reversal(late);
            w.refused(&reversal, "25");
        }
        let timeless = w.purchase(1000);
        let by_stan = format!("0200{}{}", timeless.at(11), "0".repeat(32));
        let reversal = w.reversal(&timeless).with(90, by_stan);
        w.refused(&reversal, "25");
        w.pass(DAY);
        w.refused(&lates[0], "68");
        w.pass(SECOND);
        w.approved(&lates[1]);
        w.approved(&timeless);
        w.refused(&lates[0], "68");
    });
}

#[test]
fn a_reversal_and_its_original_at_once() {
    story(|w| {
        let late = w.purchase(1000);
        let reversal = w.reversal(&late);
        w.hold();
        w.send(&reversal);
        w.send(&late);
        w.release();
        assert_eq!(w.answer().code(), "25");
        assert_eq!(w.answer().code(), "68");
        let late = w.purchase(1000);
        let by_stan = format!("0200{}{}", late.at(11), "0".repeat(32));
        let reversal = w.reversal(&late).with(90, by_stan);
        w.hold();
        w.send(&reversal);
        w.send(&late);
        w.release();
        assert_eq!(w.answer().code(), "25");
        assert_eq!(w.answer().code(), "68");
    });
}

#[test]
fn a_second_reversal_leaves_the_tombstone_where_it_is() {
    story(|w| {
        let late = w.purchase(1000);
        for _ in 0..3 {
            let reversal = w.reversal(&late);
            w.refused(&reversal, "25");
        }
        w.refused(&late, "68");
    });
}
