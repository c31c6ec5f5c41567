//! Years, leap days, and originals that look alike.

use refund_ledger::Reason;

use super::{SALE, sale, story};
use crate::core::tests::world::{DAY, HOUR, SECOND, VISA, VISA_2, issuer_answer};

/// Given a sale at 22:59:59 whose answer comes after the issuer's cut-over, then the day that it is settled on is the answer's
/// DE 15, for a repeat too; its reversal is of the new day and names the sale of the old one.
#[test]
fn scenario_53_cut_over_between_sale_and_answer() {
    story(|w| {
        // From 13:35:00.
        w.pass(33_899 * SECOND);
        let sale = w.purchase(SALE);
        assert_eq!(sale.at(7), "1122225959");
        let relayed = w.relay(&sale);
        w.pass(2 * SECOND);
        w.issuer_sends(&issuer_answer(&relayed, "00").with(15, "1123"));
        let answer = w.answer();
        assert_eq!((answer.code(), answer.at(15)), ("00", "1123"));
        assert_eq!(answer.at(7), sale.at(7));
        w.pass(2 * HOUR);
        assert_eq!(w.refused(&sale.repeated(), "00"), answer);
        let reversal = w.reversal(&sale);
        assert_eq!(w.ask(&reversal).code(), "00");
        let advice = w.advice_answered("00");
        assert!(advice.at(7).starts_with("1123"));
        assert_eq!(
            &advice.at(90)[..20],
            format!("0200{}{}", relayed.at(11), relayed.at(7))
        );
        assert_eq!(w.left(&sale), 0);
    });
}

/// Given a sale, when its void comes one second after the issuer's cut-over, then it is the issuer that refuses it, since it
/// has settled the sale (12): the sale stands as it did, and a refund of it is approved.
#[test]
fn scenario_54_a_void_after_cut_over() {
    story(|w| {
        w.pass(33_899 * SECOND);
        let sale = sale(w);
        w.pass(2 * SECOND);
        let void = w.void(&sale);
        let (_, answer) = w.exchange(&void, "12");
        assert_eq!(answer.code(), "12");
        assert_eq!(w.left(&sale), SALE);
        let refund = w.refund(&sale, SALE);
        w.approved(&refund);
        assert_eq!(w.left(&sale), 0);
    });
}

/// Given a sale on 31 December, when it is refunded on 2 January, by DE 90, whose DE 7 has no year, then it is found; so is a
/// sale of 29 February.
#[test]
fn scenario_55_the_year_changes_and_29_february() {
    story(|w| {
        // From 22 November.
        w.pass(39 * DAY);
        let december = sale(w);
        assert!(december.at(7).starts_with("1231"));
        w.pass(2 * DAY);
        let refund = w.refund(&december, SALE);
        assert!(refund.at(7).starts_with("0102"));
        w.approved(&refund);
        assert_eq!(w.left(&december), 0);
        // 2028 is a leap year.
        w.pass(423 * DAY);
        let february = sale(w);
        assert!(february.at(7).starts_with("0229"));
        w.pass(DAY);
        let refund = w.refund(&february, SALE);
        assert!(refund.at(7).starts_with("0301"));
        w.approved(&refund);
        assert_eq!(w.left(&february), 0);
    });
}

/// Given two sales with the same RRN at different terminals of one merchant, when a third terminal refunds one, then the card
/// chooses; with the same card and amount, it is refused as ambiguous.
#[test]
fn scenario_56_two_originals_of_one_rrn() {
    story(|w| {
        let at = |w: &mut super::World, terminal: &str, card: &str, rrn: &str| {
            let sale = w
                .purchase(SALE)
                .with(41, terminal)
                .with(2, card)
                .with(37, rrn);
            w.approved(&sale);
            sale
        };
        let first = at(w, "TERM0001", VISA, "TWOCARDS0001");
        let second = at(w, "TERM0002", VISA_2, "TWOCARDS0001");
        let refund = w
            .blank("0200", "200000", 3000)
            .with(37, "TWOCARDS0001")
            .with(2, VISA_2)
            .with(41, "TERM0003");
        w.approved(&refund);
        assert_eq!([w.left(&first), w.left(&second)], [SALE, 7000]);

        let first = at(w, "TERM0001", VISA, "ONECARD00001");
        let second = at(w, "TERM0002", VISA, "ONECARD00001");
        let refund = w
            .blank("0200", "200000", SALE)
            .with(37, "ONECARD00001")
            .with(41, "TERM0003");
        w.refused_for(&refund, Reason::UnknownOriginal);
        assert_eq!([w.left(&first), w.left(&second)], [SALE, SALE]);
    });
}
