//! An issuer and a terminal that is connected to it.

use std::time::Duration;

use iso8583_codec::Spec;
use iso8583_framing::Framing;
use simulators::issuer::{Issuer, IssuerConfig};
use simulators::{Card, Merchant, Message, Terminal};

/// Long enough for a slow machine, never waited for in full where all is well.
pub(crate) const LONG: Duration = Duration::from_secs(10);
/// Waited for in full where nothing must come.
pub(crate) const SHORT: Duration = Duration::from_millis(60);

pub(crate) struct World {
    pub(crate) issuer: Issuer,
    pub(crate) terminal: Terminal,
    pub(crate) merchant: Merchant,
    pub(crate) card: Card,
}

impl World {
    pub(crate) async fn with(spec: &'static Spec, framing: Framing, rules: &[&str]) -> World {
        let mut config = IssuerConfig::new(spec, framing);
        config.rules = rules
            .iter()
            .map(|rule| rule.parse().expect("a rule"))
            .collect();
        World::of(config).await
    }

    pub(crate) async fn of(config: IssuerConfig) -> World {
        let (spec, framing) = (config.spec, config.framing);
        let issuer = Issuer::start(config).await.expect("a free port");
        let terminal = Terminal::connect(issuer.address(), spec, framing)
            .await
            .expect("the issuer");
        World {
            issuer,
            terminal,
            merchant: Merchant::new("TERM0001", "MERCHANT0000001"),
            card: Card::visa(),
        }
    }

    pub(crate) async fn new(rules: &[&str]) -> World {
        World::with(Spec::iso87_ascii(), Framing::LEN2, rules).await
    }

    pub(crate) fn purchase(&self, amount: u64) -> Message {
        self.merchant.purchase(&self.card, amount)
    }

    pub(crate) async fn code(&self, message: &Message) -> String {
        self.terminal
            .request(message)
            .await
            .expect("an answer")
            .code()
            .to_owned()
    }

    pub(crate) fn net(&self) -> i64 {
        self.issuer.books().net(self.card.pan())
    }
}
