//! Business that goes on while a disk fails, and what must be left of it.

use simulators::{Card, Merchant, Message, Reply, Terminal};

use super::{World, approved, ask, merchant};

/// More than any failure takes to show.
const MESSAGES_MAX: usize = 20_000;

/// How business ended: answers that were 96, and requests without an answer. Of an approval in doubt nobody is told that it failed.
#[derive(Default)]
pub(crate) struct End {
    pub(crate) refused: usize,
    pub(crate) unanswered: usize,
}

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

    /// Asks until the node is gone. What is answered is 00 or 96.
    pub(crate) async fn until_the_end(&mut self, world: &mut World, terminal: &Terminal) -> End {
        let mut end = End::default();
        while world.node.is_running() && self.asked.len() < MESSAGES_MAX {
            let purchase = self.shop.purchase(&self.card, 2_000);
            let reply = terminal.request(&purchase).await;
            match reply.as_ref().map(Reply::code) {
                Some("00") => {}
                Some("96") => end.refused += 1,
                None => end.unanswered += 1,
                Some(code) => panic!("answered {code}"),
            }
            let approved = reply.filter(|reply| reply.code() == "00");
            self.asked.push((purchase, approved));
            if end.unanswered > 0 {
                break;
            }
        }
        end
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
