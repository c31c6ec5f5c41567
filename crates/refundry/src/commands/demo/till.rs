//! How a till asks: again where it hears that it cannot be served now.

use std::time::Duration;

use refund_ledger::Reason;
use simulators::{Message, Reply, Terminal};
use switch_core::iso87_code;
use tokio::time::{Instant, sleep};

/// How long a till waits before it asks again.
const PAUSE: Duration = Duration::from_millis(100);

/// What one request came to.
pub(super) struct Exchange {
    pub(super) message: Message,
    /// The last answer; `None` where none came.
    pub(super) reply: Option<Reply>,
    /// How often it was sent.
    pub(super) times: usize,
}

impl Exchange {
    /// Sends a message, and the same again for as long as `patience` where the switch cannot take it now: on a machine whose disk or
    /// processors are away for a second it says so rather than let a customer wait, and puts nothing on record.
    pub(super) async fn with(
        terminal: &Terminal,
        message: Message,
        patience: Duration,
    ) -> Exchange {
        let until = Instant::now() + patience;
        let mut times = 0;
        loop {
            let reply = terminal.request(&message).await;
            times += 1;
            let busy = reply.as_ref().is_some_and(is_busy);
            if !busy || Instant::now() >= until {
                return Exchange {
                    message,
                    reply,
                    times,
                };
            }
            sleep(PAUSE).await;
        }
    }
}

fn is_busy(reply: &Reply) -> bool {
    reply.code().as_bytes() == iso87_code(Reason::System).as_slice()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test ends where something is not as it should be"
    )]

    use iso8583_codec::Spec;
    use iso8583_framing::Framing;
    use simulators::issuer::{Issuer, IssuerConfig};
    use simulators::{Card, Merchant};

    use super::*;

    /// Buys something of an issuer that obeys this rule, with a till of this patience.
    async fn buy(rule: &str, patience: Duration) -> (Exchange, usize) {
        let (spec, framing) = (Spec::iso87_ascii(), Framing::LEN2);
        let mut config = IssuerConfig::new(spec, framing);
        config.rules = vec![rule.parse().unwrap()];
        let issuer = Issuer::start(config).await.unwrap();
        let terminal = Terminal::connect(issuer.address(), spec, framing).await;
        let merchant = Merchant::new("TILL0001", "COAT SHOP      ");
        let purchase = merchant.purchase(&Card::visa(), 100);
        let exchange = Exchange::with(&terminal.unwrap(), purchase, patience).await;
        (exchange, issuer.books().seen().len())
    }

    #[tokio::test]
    async fn where_the_switch_is_busy_the_same_is_sent_again() {
        let (exchange, seen) = buy("times=2: decline 96", Duration::from_secs(60)).await;
        assert_eq!((exchange.times, seen), (3, 3));
        assert_eq!(exchange.reply.unwrap().code(), "00");
    }

    #[tokio::test]
    async fn where_it_stays_busy_the_till_gives_up() {
        let (exchange, seen) = buy("mti=0200: decline 96", PAUSE).await;
        assert_eq!(exchange.times, seen);
        assert_eq!(exchange.reply.unwrap().code(), "96");
    }

    #[tokio::test]
    async fn another_answer_is_taken() {
        let (exchange, seen) = buy("mti=0200: decline 91", Duration::from_secs(60)).await;
        assert_eq!((exchange.times, seen), (1, 1));
        assert_eq!(exchange.reply.unwrap().code(), "91");
    }
}
