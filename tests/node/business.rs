//! Business that goes on while a disk fails, and what must be left of it.

use simulators::{Card, Merchant, Message, Reply, Terminal};

use super::{World, approved, ask, merchant};

/// Messages of one merchant after an end without an answer is counted as that end; more would be no end.
const MESSAGES_MAX: usize = 20_000;

/// What was asked and what was answered.
pub(crate) struct Business {
    shop: Merchant,
    card: Card,
    /// With the answer, if it was 00.
    asked: Vec<(Message, Option<Reply>)>,
}

impl Business {
    pub(crate) fn new() -> Business {
        Business {
            shop: merchant(),
            card: Card::visa(),
            asked: Vec::new(),
        }
    }

    /// So many purchases and partial refunds of them, all approved.
    pub(crate) async fn goes_well(&mut self, terminal: &Terminal, purchases: usize) {
        for _ in 0..purchases {
            let purchase = self.shop.purchase(&self.card, 1_000);
            let refund = self.shop.refund(&purchase, 400);
            for message in [purchase, refund] {
                let reply = approved(terminal, &message).await;
                self.asked.push((message, Some(reply)));
            }
        }
    }

    /// Asks until the node is gone; how many answers were 96, or never came since the issuer's was in doubt. Every other must
    /// be 00.
    pub(crate) async fn until_the_end(&mut self, world: &mut World, terminal: &Terminal) -> usize {
        let mut refused = 0;
        while world.node.is_running() && self.asked.len() < MESSAGES_MAX {
            let purchase = self.shop.purchase(&self.card, 2_000);
            let reply = terminal.request(&purchase).await;
            match reply.as_ref().map(Reply::code) {
                Some("00") | None => {}
                Some("96") => refused += 1,
                Some(code) => panic!("answered {code}"),
            }
            let is_over = reply.is_none();
            refused += usize::from(is_over);
            let approved = reply.filter(|reply| reply.code() == "00");
            self.asked.push((purchase, approved));
            if is_over {
                break;
            }
        }
        refused
    }

    /// Everything again: what was approved is answered as it was, and the issuer's books have what the terminals were told.
    pub(crate) async fn stands(&self, world: &World) {
        let terminal = world.terminal().await;
        let mut paid = 0;
        for (message, first) in &self.asked {
            let again = ask(&terminal, &self.shop.repeat(message)).await;
            if let Some(first) = first {
                assert_eq!(again.message(), first.message());
            }
            if again.code() == "00" {
                let amount: i64 = again.get(4).unwrap().parse().unwrap();
                let is_refund = message.get(3).unwrap().starts_with("20");
                paid += if is_refund { -amount } else { amount };
            }
        }
        world.saf_empty().await;
        assert_eq!(world.issuer.books().net(self.card.pan()), paid);
        world.check_numbers();
    }
}
