//! A day of one merchant with something of everything, and what must be known of it afterwards.

use simulators::{Card, Merchant, Message, Reply};

use super::{World, amount, answered, approved, merchant};

/// Messages and what came back.
pub(crate) struct Day {
    pub(crate) shop: Merchant,
    /// Of 100.00, of which a quarter is refunded.
    pub(crate) purchase: Message,
    /// The refund.
    pub(crate) refund: Message,
    /// A purchase that is voided, and one of which 5.00 stays.
    voided: Message,
    reversed: Message,
    /// With the code that each is answered.
    pub(crate) messages: Vec<(Message, &'static str)>,
    answers: Vec<Reply>,
}

impl Day {
    /// For an issuer that declines 51.00 with code 51.
    pub(crate) fn new() -> Day {
        let shop = merchant();
        let purchase = shop.purchase(&Card::visa(), 10_000);
        let refund = shop.refund(&purchase, 2_500);
        let voided = shop.purchase(&Card::mastercard(), 700);
        let reversed = shop.purchase(&Card::visa(), 900);
        let declined = shop.purchase(&Card::visa(), 5_100);
        let messages = vec![
            (purchase.clone(), "00"),
            (refund.clone(), "00"),
            (shop.refund(&purchase, 7_501), "61"),
            (voided.clone(), "00"),
            (shop.void(&voided), "00"),
            (reversed.clone(), "00"),
            (shop.partial_reversal(&reversed, 500), "00"),
            (declined, "51"),
            (shop.preauthorisation(&Card::unionpay(), 300), "00"),
            (shop.reversal(&shop.purchase(&Card::visa(), 1)), "25"),
        ];
        Day {
            shop,
            purchase,
            refund,
            voided,
            reversed,
            messages,
            answers: Vec::new(),
        }
    }

    /// Sends all of it, and waits until nothing is owed to the issuer.
    pub(crate) async fn send(&mut self, world: &World) {
        let terminal = world.terminal().await;
        for (message, code) in &self.messages {
            self.answers.push(answered(&terminal, message, code).await);
        }
        world.saf_empty().await;
    }

    /// Repeats are answered as before, what is too much is refused, and the issuer hears nothing of it.
    pub(crate) async fn is_known(&self, world: &World) {
        let (terminal, shop) = (world.terminal().await, &self.shop);
        let before = world.relayed().len();
        for ((message, code), first) in self.messages.iter().zip(&self.answers) {
            let again = answered(&terminal, &shop.repeat(message), code).await;
            assert_eq!(again.message(), first.message());
        }
        answered(&terminal, &shop.refund(&self.purchase, 7_501), "61").await;
        answered(&terminal, &shop.refund(&self.voided, 1), "21").await;
        answered(&terminal, &shop.refund(&self.reversed, 501), "61").await;
        answered(&terminal, &self.purchase.clone().set(4, amount(1)), "94").await;
        assert_eq!(world.relayed().len(), before);
    }

    /// All that is left is refunded.
    pub(crate) async fn refund_the_rest(&self, world: &World) {
        let terminal = world.terminal().await;
        approved(&terminal, &self.shop.refund(&self.purchase, 7_500)).await;
        approved(&terminal, &self.shop.refund(&self.reversed, 500)).await;
    }
}
