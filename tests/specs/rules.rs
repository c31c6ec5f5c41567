//! Rules of a spec file: what breaks one is answered `format` with a reason, and not relayed.

use super::node::{answered, approved, merchant, until};
use super::{as_refund, both, purchase, refund};

#[tokio::test]
async fn what_breaks_a_rule_is_not_relayed() {
    let world = both().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let sale = purchase(&shop, 1_000);
    approved(&terminal, &sale).await;
    let mut broken = 0.0;
    for (message, said) in [
        (
            purchase(&shop, 100).remove(22),
            "field 22: is missing in 0200",
        ),
        (
            purchase(&shop, 100).set(39, "00"),
            "field 39: must not be in 0200",
        ),
        (
            purchase(&shop, 100).set(49, "840"),
            "field 49: expected one of 156, 978",
        ),
        (
            purchase(&shop, 100).set(48, "0104IN*9"),
            "field 48.1: expected letters",
        ),
        (
            refund(&shop, &sale, 100).remove(60),
            "field 60.2: is missing in 0200",
        ),
        (
            refund(&shop, &sale, 100).remove(90),
            "field 37: is missing in 0200, where field 90 is not there",
        ),
        (
            shop.repeat(&purchase(&shop, 100).remove(22)),
            "field 22: is missing in 0200",
        ),
    ] {
        answered(&terminal, &message, "Z1").await;
        broken += 1.0;
        let labels = [("listener", "pos"), ("kind", "format")];
        let counted = world.node.metric("refundry_malformed_total", &labels).await;
        assert_eq!(counted, broken, "{message:?}");
        until(said, async || world.node.log().contains(said)).await;
    }
    assert_eq!(world.relayed().len(), 1);
    // What keeps them goes through.
    approved(&terminal, &refund(&shop, &sale, 100)).await;
    let code = as_refund(shop.refund_by_rrn(&sale, "RRN000000001", 100));
    answered(&terminal, &code, "76").await;
}
