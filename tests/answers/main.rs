//! Every answer that the switch gives by itself: what is sent, what comes back, and whether the issuer saw it.
//!
//! Every row of the table of answers is a test here, in both dialects.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

#[path = "../node/mod.rs"]
mod node;
mod refunds;
mod requests;
mod reversals;

use node::{Setup, World};
use simulators::{Card, Merchant, Message, Reply, Terminal};

/// A node per dialect.
async fn both(setup: impl Fn(Setup) -> Setup) -> [World; 2] {
    [
        setup(Setup::new()).start().await,
        setup(Setup::binary()).start().await,
    ]
}

fn plain(setup: Setup) -> Setup {
    setup
}

/// A terminal of a node, and what it must be told.
struct Till<'a> {
    world: &'a World,
    terminal: Terminal,
}

impl Till<'_> {
    async fn of(world: &World) -> Till<'_> {
        let terminal = world.terminal().await;
        Till { world, terminal }
    }

    async fn approved(&self, message: &Message) -> Reply {
        node::approved(&self.terminal, message).await
    }

    async fn answered(&self, message: &Message, code: &str) -> Reply {
        node::answered(&self.terminal, message, code).await
    }

    /// Answered so, and the issuer must not see it.
    async fn refused(&self, message: &Message, code: &str) {
        let before = self.world.relayed().len();
        self.answered(message, code).await;
        let after = self.world.relayed().len();
        assert_eq!(after, before, "the issuer saw {message:?}");
    }

    /// A purchase that is approved.
    async fn bought(&self, shop: &Merchant, amount: u64) -> Message {
        let purchase = shop.purchase(&Card::visa(), amount);
        self.approved(&purchase).await;
        purchase
    }
}
